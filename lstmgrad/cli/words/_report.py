"""What each word adds, as tables, as a figure, and as a file with all numbers."""

from typing import Any

import numpy as np

from lstmgrad.cli._shared.console import ends, fitted, rounded, visible
from lstmgrad.cli._shared.json import NONFINITE, floats
from lstmgrad.cli.words._study import ASKED, LEARNED, QUANTILES, Networks, Stage, Study


def quantiles(values: np.ndarray) -> np.ndarray:
    """Returns the 10 % quantile, the median and the 90 % quantile over the draws, (3, ...).

    Each is the value of one of the draws, so that -inf needs no mean.

    Args:
        values: draws first.
    """
    found = np.quantile(np.asarray(values, np.float64), QUANTILES, axis=0, method="inverted_cdf")
    return np.asarray(found)


def medians(values: np.ndarray) -> np.ndarray:
    """Returns the median over the draws.

    Args:
        values: draws first.
    """
    return np.asarray(quantiles(values)[1])


def tables(study: Study) -> list[str]:
    """Returns a table of the losses, and one with a row for every word for each stage."""
    lines = [
        *_recall(study),
        "",
        "What each word adds to the gradient of this loss with respect to the weights",
        f"of the cell, median of {study.draws}. share: in percent; within one network all of them",
        "add up to 100, and a word that works against the others is negative. norm:",
        "log10 of its norm, relative to that of the last word read",
    ]
    for stage, title in study.stages.items():
        lines += ["", *_words(study, stage, title)]
    return lines


def _recall(study: Study) -> list[str]:
    chance = f"{1 / study.vocabulary:.2f} by chance"
    lines = [
        "loss: -ln p(first word) after the last word, in nats, median; right: the",
        f"share of right answers for {ASKED} random first words ({chance}), median;",
        f"recall: the networks of {study.draws} with {LEARNED} or more",
    ]
    titles = "".join(f"{title:>28}" for title in study.stages.values())
    lines.append(f"{'':14}{titles}")
    lines.append(f"{'network':14}" + f"{'loss':>12}{'right':>8}{'recall':>8}" * len(study.stages))
    for each in study.networks:
        row = f"{each.title:14}"
        for stage in each.stages.values():
            loss, right = float(medians(stage.losses)), float(medians(stage.scores))
            row += f"{loss:12.3f}{right:8.2f}{stage.learned:8}"
        lines.append(row)
    return lines


def _words(study: Study, stage: str, title: str) -> list[str]:
    columns = []
    for each in study.networks:
        found = each.stages[stage]
        columns += [(100 * medians(found.shares), 7, 1), (medians(found.log10_ratios), 8, 2)]
    rows = [
        f"{step + 1:4}  {fitted(visible(word), 14)}"
        + "".join(f"{rounded(float(values[step]), places):>{w}}" for values, w, places in columns)
        for step, word in enumerate(study.words)
    ]
    return [
        f"{title[0].upper()}{title[1:]}:",
        " " * 20 + "".join(f"{each.title:>15}" for each in study.networks),
        fitted("   t  word", 20) + f"{'share':>7}{'norm':>8}" * len(study.networks),
        *ends(rows, " ...  {} more words; words.json has all"),
    ]


def figure(study: Study) -> Any:
    """Returns the figure: shares and norms by word, before and after training."""
    from lstmgrad import plot

    return plot.words(
        {
            title: {each.label: each.stages[stage].contributions for each in study.networks}
            for stage, title in study.stages.items()
        },
        words=[visible(word) for word in study.words],
    )


def record(study: Study) -> dict[str, Any]:
    """Returns the entries of words.json."""
    return {
        **study.settings,
        "units": {
            "loss": "-ln p(first word) after the last word of the text, nats; one for each draw",
            "score": f"share of right answers for {ASKED} random first words; one for each draw",
            "shares": "of each word in dL/dtheta, <g_t, g>/||g||^2; sum 1 within a draw",
            "log10_norms": "log10 ||g_t||, over all weights and biases of the cell",
            "log10_ratios": "log10 ||g_t||/||g_T||, T the last word read",
        },
        "quantiles": list(QUANTILES),
        "chance": 1 / study.vocabulary,
        "nonfinite": NONFINITE,
        "words": list(study.words),
        "cells": {each.name: _entry(each) for each in study.networks},
    }


def _entry(networks: Networks) -> dict[str, Any]:
    return {stage: _stage(found) for stage, found in networks.stages.items()}


def _stage(found: Stage) -> dict[str, Any]:
    by_word = {
        "shares": found.shares,
        "log10_norms": found.log10_norms,
        "log10_ratios": found.log10_ratios,
    }
    return {
        "loss": floats(found.losses),
        "score": floats(found.scores),
        **{name: [floats(row) for row in quantiles(values)] for name, values in by_word.items()},
    }
