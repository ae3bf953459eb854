"""What each word adds, in words: a table, a sentence, a figure, and a file with all numbers."""

from typing import Any

import numpy as np

from lstmgrad.cli._shared.console import ends, fitted, listed, power, rounded, visible
from lstmgrad.cli._shared.json import NONFINITE, floats
from lstmgrad.cli._shared.kinds import CELLS
from lstmgrad.cli.words._study import Study


def tables(study: Study) -> list[str]:
    """Returns the table: a row for every word, or for the first and the last ones."""
    losses = [f"{CELLS[name].title} {read.loss:.3f}" for name, read in study.cells.items()]
    columns = [
        column
        for read in study.cells.values()
        for column in (100 * np.asarray(read.contributions.shares), read.log10_norms)
    ]
    rows = [
        f"{step + 1:4}  {fitted(visible(word), 16)}"
        + "".join(
            f"{rounded(float(column[step]), 2):>{width}}"
            for column, width in zip(columns, (10, 8) * len(losses), strict=True)
        )
        for step, word in enumerate(study.words[:-1])
    ]
    return [
        f"-ln p(last word): {', '.join(losses)} nats",
        "",
        "What each word before it adds to the gradient of this loss with respect to",
        "the weights of the cell: its share in percent (all of them add up to 100, and",
        "a word that works against the others is negative), and log10 of its norm",
        " " * 22 + "".join(f"{CELLS[name].title:>18}" for name in study.cells),
        fitted("   t  word", 22) + f"{'share':>10}{'norm':>8}" * len(losses),
        *ends(rows, " ...  {} more words; words.json has all"),
    ]


def reading(study: Study) -> str:
    """Returns one sentence that says what the table shows, whatever that is."""
    if len(study.words) == 2:
        return "A single word adds all of the gradient: with more of them there is more to see."
    ratios = []
    for name, read in study.cells.items():
        norms = read.log10_norms
        # Both may be exactly zero.
        with np.errstate(invalid="ignore"):
            ratios.append(f"{power(norms[0] - norms[-1])} in the {CELLS[name].title}")
    text = (
        f"{study.stage}, the norm of what the first word adds, divided by that of the last word "
        f"read, is {listed(ratios)}. Another seed is another draw of the weights."
    )
    return text[0].upper() + text[1:]


def figure(study: Study) -> Any:
    """Returns the figure: the norm of what each word adds, one curve per cell."""
    from lstmgrad import plot

    # A dollar sign would begin mathematics.
    labels = [visible(word)[:20].replace("$", r"\$") for word in study.words[:-1]]
    thin = {"linewidth": 1.3, "markersize": 3}

    def draw(ax) -> None:
        for name, read in study.cells.items():
            title = CELLS[name].title
            plot.contributions(read.contributions, labels=labels, label=title, ax=ax, **thin)
        ax.set_title(study.stage, fontsize=8, loc="left")
        ax.legend()

    return plot.page([draw], width=max(3.4, min(7.0, 1.5 + 0.22 * len(labels))), height=2.8)


def record(study: Study) -> dict[str, Any]:
    """Returns the entries of words.json."""
    return {
        **study.settings,
        "units": {
            "loss": "-ln p(last word | words before it), nats",
            "shares": "of each word before the last in dL/dtheta, <g_t, g>/||g||^2; sum 1",
            "log10_norms": "log10 ||g_t||, over all weights and biases of the cell",
            "residuals": "||g - g_L||/||g|| by L = 0, 1, ..., g_L the sum of the last L words",
        },
        "nonfinite": NONFINITE,
        "words": list(study.words),
        "cells": {
            name: {
                "loss": read.loss,
                "shares": floats(read.contributions.shares),
                "log10_norms": floats(read.log10_norms),
                "residuals": floats(read.contributions.residuals),
            }
            for name, read in study.cells.items()
        },
    }
