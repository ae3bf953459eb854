"""What each word adds, in words: a table, a sentence, and a file with all of it."""

import math
from typing import NamedTuple

import numpy as np

import lstmgrad as lg
from lstmgrad.cli._shared.console import fitted, listed, power, rounded, visible
from lstmgrad.cli._shared.json import NONFINITE, header, json_file
from lstmgrad.cli._shared.sequences import Sequence
from lstmgrad.cli._shared.training import CELLS
from lstmgrad.cli.compare._study import INITIAL, TRAINED, stage_title
from lstmgrad.cli.words._options import WordsOptions

ENDS = 12
"""Of a longer text the table has this many words from the beginning and from the end."""


class WordStudy(NamedTuple):
    """Everything that was measured.

    Attributes:
        words: all words; the last one is predicted.
        losses: by cell, -ln p(last word) in nats.
        parts: by cell, what each word before the last adds to the gradient.
        steps: training steps.
    """

    words: tuple[str, ...]
    losses: dict[str, float]
    parts: dict[str, lg.Contributions]
    steps: int

    @property
    def title(self) -> str:
        """The stage in words."""
        return stage_title(TRAINED if self.steps else INITIAL, self.steps)

    def log10_norms(self, cell: str) -> np.ndarray:
        """log₁₀ ‖g_t‖ of every word."""
        return np.asarray(self.parts[cell].log_norm, np.float64) / math.log(10)


def word_table(study: WordStudy) -> list[str]:
    """The lines of the table, a row for every word, or for the first and the last ones.

    Args:
        study: what was measured.
    """
    cells = list(study.parts)
    count = len(study.words) - 1
    lines = [
        f"-ln p(last word): {', '.join(f'{CELLS[c].title} {study.losses[c]:.3f}' for c in cells)}"
        " nats",
        "",
        "What each word before it adds to the gradient of this loss with respect to",
        "the weights of the cell: its share in percent (all of them add up to 100, and",
        "a word that works against the others is negative), and log10 of its norm",
        " " * 22 + "".join(f"{CELLS[cell].title:>18}" for cell in cells),
        fitted("   t  word", 22) + f"{'share':>10}{'norm':>8}" * len(cells),
    ]
    norms = {cell: study.log10_norms(cell) for cell in cells}
    for step in range(count):
        if count > 2 * ENDS + 1 and ENDS <= step < count - ENDS:
            if step == ENDS:
                lines.append(f" ...  {count - 2 * ENDS} more words; words.json has all")
            continue
        row = [
            f"{rounded(100 * float(study.parts[cell].shares[step]), 2):>10}"
            f"{rounded(norms[cell][step], 2):>8}"
            for cell in cells
        ]
        lines.append(f"{step + 1:4}  {fitted(visible(study.words[step]), 16)}" + "".join(row))
    return [*lines, ""]


def word_reading(study: WordStudy) -> str:
    """One sentence that says what the table shows, whatever that is.

    Args:
        study: what was measured.
    """
    if len(study.words) == 2:
        return "A single word adds all of the gradient: with more of them there is more to see."
    ratios = []
    for cell in study.parts:
        norms = study.log10_norms(cell)
        # Both may be exactly zero.
        with np.errstate(invalid="ignore"):
            ratios.append(f"{power(norms[0] - norms[-1])} in the {CELLS[cell].title}")
    text = (
        f"{study.title}, the norm of what the first word adds, divided by that of the last word "
        f"read, is {listed(ratios)}. Another seed is another draw of the weights."
    )
    return text[0].upper() + text[1:]


def words_file(study: WordStudy, sequence: Sequence, options: WordsOptions) -> bytes:
    """The content of words.json, strict JSON.

    Args:
        study: what was measured.
        sequence: the words as they were read.
        options: what the user asked for.
    """
    return json_file(
        {
            **header("lstmgrad words"),
            "data": f"{sequence.source}: {sequence.summary}",
            "hidden": options.hidden,
            "training_steps": options.train,
            "seed": options.seed,
            "dtype": options.dtype,
            "units": {
                "loss": "-ln p(last word | words before it), nats",
                "shares": "of each word before the last in dL/dtheta, <g_t, g>/||g||^2; sum 1",
                "log10_norms": "log10 ||g_t||, over all weights and biases of the cell",
                "residuals": "||g - g_L||/||g|| by L = 0, 1, ..., g_L the sum of the last L words",
            },
            "nonfinite": NONFINITE,
            "words": list(study.words),
            "cells": {
                cell: {
                    "loss": study.losses[cell],
                    "shares": _floats(parts.shares),
                    "log10_norms": _floats(study.log10_norms(cell)),
                    "residuals": _floats(parts.residuals),
                }
                for cell, parts in study.parts.items()
            },
            "reading": word_reading(study),
        }
    )


def _floats(values) -> list[float]:
    return np.asarray(values, np.float64).tolist()
