"""Quantiles over a batch some of whose members are only bounds.

Without interpolation: a number and -inf have no mean. A member that the arithmetic does not resolve
lies anywhere in an interval, and a quantile is known where it is the same at both ends of all
intervals. So a member at ±inf moves a median by its own rank at most; one that is NaN is not
counted, and it is for the caller to say of how many the quantiles are.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

BAND = (0.1, 0.9)
"""The quantiles at the edges of a batch's band in figures and tables."""


def quantiles(lows: Any, highs: Any, levels: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Returns quantiles over the members that are numbers, and which of them are known.

    Args:
        lows: (B, ...), the least that each member may be.
        highs: (B, ...), the most that it may be; NaN for no member.
        levels: Q numbers from 0 to 1; the least member of which at least that share is no larger.

    Returns:
        (Q, ...) quantiles of the highest that the members may be, NaN where there is no member, or
        where nothing bounds the quantile; and (Q, ...) whether they are known.
    """
    highs = np.asarray(highs, np.float64)
    lows = np.where(np.isnan(highs), np.nan, lows)
    most, least = _ranked(highs, levels), _ranked(lows, levels)
    known = most == least
    return np.where(~known & np.isposinf(most), np.nan, most), known


def _ranked(values: np.ndarray, levels: Sequence[float]) -> np.ndarray:
    """Order statistics along axis 0 of what is not NaN."""
    values = np.sort(values, axis=0)  # NaN last
    counts = np.sum(~np.isnan(values), axis=0)
    # As for a share of N members that is a whole number but for rounding.
    ranks = [np.maximum(np.ceil(level * counts - 1e-9).astype(int) - 1, 0) for level in levels]
    return np.take_along_axis(values, np.stack(ranks), axis=0)
