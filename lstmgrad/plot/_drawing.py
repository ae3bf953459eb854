"""What a result record holds, as numbers and symbols to draw: the part of `plot` without plots."""

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from lstmgrad._norms.profiles import NormProfile

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


def largest_fall(profile: NormProfile, length: int) -> tuple[int, int, float] | None:
    """Where the norm falls most from one lag to the next, and by how much.

    Args:
        profile: of one sequence.
        length: T.

    Returns:
        The first and the last step of the fall (the same where every lag is in the profile) and
        how many nats are lost, inf where the norm becomes exactly zero; None where it never falls.
    """
    lags, values = np.asarray(profile.lags), np.asarray(profile.log_norms, np.float64)
    with np.errstate(invalid="ignore"):
        falls = values[:-1] - values[1:]
    falls = np.where(np.isnan(falls), -np.inf, falls)
    if not (falls > 0).any():
        return None
    at = int(np.argmax(falls))
    near, far = int(lags[at]), int(lags[at + 1])
    first, last = (near + 1, far) if profile.fixed == "start" else (length - far + 1, length - near)
    return first, last, float(falls[at])


def times_of(profile: NormProfile, length: int) -> np.ndarray:
    """The times whose norms a profile holds: t where the start is fixed, k where the end is.

    Args:
        profile: its lags count from the fixed end.
        length: T.
    """
    lags = np.asarray(profile.lags)
    return lags if profile.fixed == "start" else length - lags


def stacked(parts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bottoms and tops of bars on one another, positive parts upward and negative ones downward.

    Args:
        parts: (R, T), one part a row; what is not finite takes no height.

    Returns:
        Where each part begins and where it ends, (R, T) each.
    """
    parts = np.where(np.isfinite(parts), parts, 0.0)
    up, down = np.maximum(parts, 0.0), np.minimum(parts, 0.0)
    bottoms = np.where(parts >= 0, np.cumsum(up, axis=0) - up, np.cumsum(down, axis=0) - down)
    return bottoms, bottoms + parts


def power(log_value: Any) -> str:
    """A number as a power of ten, in math text without the dollar signs; 0 as such.

    Args:
        log_value: its natural logarithm.
    """
    exponent = float(log_value) / math.log(10)
    if not math.isfinite(exponent):
        return {-math.inf: "0", math.inf: r"\infty"}.get(exponent, r"\mathrm{NaN}")
    return f"10^{{{exponent:.1f}}}"


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


def symbol(result: Any, upper: str, lower: str) -> str:
    """log₁₀ ‖∂of_t/∂wrt_k‖₂ as math text; s for the whole state, and for no result at all.

    Args:
        result: a record with the names of the parts, or None.
        upper: the time of the effect, "t" or "T".
        lower: the time of the cause, "k" or "0".
    """
    of, wrt = (None, None) if result is None else (result.of, result.wrt)
    return rf"{SYMBOL}{part(of, upper)}/\partial {part(wrt, lower)}\Vert_2$"


def fraction(result: Any, upper: str, lower: str) -> str:
    """∂of_t/∂wrt_k as math text.

    Args:
        result: as for `symbol`, like the rest.
        upper: the time of the effect.
        lower: the time of the cause.
    """
    return rf"$\partial {part(result.of, upper)}/\partial {part(result.wrt, lower)}$"


def part(name: str | int | None, time: str) -> str:
    """The symbol of a part at a time: a letter, a word, or s with the position as superscript.

    Args:
        name: of the part; None for the whole state.
        time: "t", "T", "k" or "0".
    """
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
