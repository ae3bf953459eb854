"""What a result record holds, as numbers and symbols to draw: the part of `plot` without plots."""

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from lstmgrad._norm_map import NormMap
from lstmgrad._norms import NormProfile

SYMBOL = r"$\log_{10}\,\Vert\partial "
"""How the math text of every `symbol` begins."""


def log10(log_norms: Any) -> np.ndarray:
    """Natural logarithms of norms as decimal ones, float64.

    Args:
        log_norms: an array of any shape.
    """
    return np.asarray(log_norms, np.float64) / math.log(10)


def gapped(values: np.ndarray) -> np.ndarray:
    """The values with a gap, NaN, wherever they are not finite.

    Args:
        values: an array of any shape.
    """
    return np.where(np.isfinite(values), values, np.nan)


def by_lag(profile: NormProfile) -> tuple[np.ndarray, np.ndarray]:
    """The lags (L,), and log₁₀ of the norms with all leading axes as one, (B, L).

    Args:
        profile: of one sequence or of a batch.

    Raises:
        ValueError: the lags differ within the batch.
    """
    lags = np.asarray(profile.lags)
    lags = lags.reshape(-1, lags.shape[-1])
    if (lags != lags[0]).any():
        raise ValueError("profile: expected the same lags in the whole batch, but they differ.")
    values = log10(profile.log_norms)
    return lags[0], values.reshape(-1, values.shape[-1])


def vertical_range(curves: Sequence[np.ndarray], threshold: float) -> tuple[float, float]:
    """The bottom and top of an axis on which curves of very different depth can all be read.

    It holds the threshold and the whole of the tamest curve; beyond the threshold's fourth power
    it does not follow the others.

    Args:
        curves: log₁₀ of the norms.
        threshold: log₁₀ of the threshold.
    """
    ends = [_ends(curve) for curve in curves]
    lows, highs = [low for low, _ in ends], [high for _, high in ends]
    depth = max(4 * abs(threshold), 4.0)
    bottom = max(min(*lows, 1.3 * threshold, -1.0), min(-depth, 1.1 * max(lows)))
    top = min(max(*highs, 0.0), max(depth, 1.1 * min(highs)))
    margin = 0.04 * (top - bottom)
    return bottom - margin, top + margin


def symbol(result: NormProfile | NormMap | None, upper: str, lower: str) -> str:
    """log₁₀ ‖∂of_t/∂wrt_k‖₂ as math text; s for the whole state, and for no result at all.

    Args:
        result: gives the names of the parts.
        upper: the time of the effect, "t" or "T".
        lower: the time of the cause, "k" or "0".
    """
    of, wrt = (None, None) if result is None else (result.of, result.wrt)
    return rf"{SYMBOL}{_part(of, upper)}/\partial {_part(wrt, lower)}\Vert_2$"


def _part(name: str | int | None, time: str) -> str:
    """The symbol of a part at a time: a letter, a word, or s with the position as superscript."""
    if name is None:
        return f"s_{{{time}}}"
    if isinstance(name, int):
        return f"s_{{{time}}}^{{({name})}}"
    if len(name) == 1 and name.isalpha():
        return f"{name}_{{{time}}}"
    word = re.sub(r"\W+", " ", name).strip().replace("_", r"\_").replace(" ", r"\ ")
    return rf"\mathrm{{{word or 's'}}}_{{{time}}}"


def _ends(curve: np.ndarray) -> tuple[float, float]:
    """The lowest and highest finite value; a curve without any takes no room."""
    values = curve[np.isfinite(curve)]
    return (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
