"""The numbers of a result as they are drawn: decimal logarithms, gaps, what is not resolved."""

import math
from typing import Any

import numpy as np

from lstmgrad._norms.maps import NormMap
from lstmgrad._norms.records import NormProfile
from lstmgrad._result import upper_bounds


def log10(log_norms: Any) -> np.ndarray:
    """Converts natural logarithms of norms to decimal ones, in float64.

    Args:
        log_norms: an array of any shape.
    """
    return np.asarray(log_norms, np.float64) / math.log(10)


def gapped(values: np.ndarray) -> np.ndarray:
    """Replaces every value that is not finite by NaN, which leaves a gap in a line.

    Args:
        values: an array of any shape.
    """
    return np.where(np.isfinite(values), values, np.nan)


def unresolved(result: NormProfile | NormMap) -> np.ndarray:
    """Tells which norms the arithmetic does not resolve; their values are only upper bounds.

    A norm that missed its tolerance by a known, finite error is not one of them.

    Args:
        result: norms of one sequence or of a batch.

    Returns:
        Booleans in the shape of `log_norms`.
    """
    return upper_bounds(result.errors, result.log_norms)


def by_lag(result: NormProfile) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Reads a profile with all its leading axes as one.

    Args:
        result: norms of one sequence or of a batch.

    Returns:
        The lags (L,), log₁₀ of the norms (B, L), and which of them are unresolved (B, L).

    Raises:
        ValueError: the lags differ within the batch.
    """
    lags = shared(result.lags, "lags")
    return lags, members(log10(result.log_norms), 1), members(unresolved(result), 1) > 0


def shared(points: Any, what: str) -> np.ndarray:
    """The lags or times of a batch, which are the same in all of it.

    Args:
        points: (..., L).
        what: what they are, in the plural.

    Raises:
        ValueError: they differ.
    """
    points = np.asarray(points)
    points = points.reshape(-1, points.shape[-1])
    if (points != points[0]).any():
        raise ValueError(f"result: expected the same {what} in the whole batch, but they differ.")
    return points[0]


def members(values: Any, axes: int) -> np.ndarray:
    """An array in float64 with all axes of the batch as one, which is one long without a batch.

    Args:
        values: with axes of a batch in front, or without.
        axes: its axes for one sequence.
    """
    array = np.asarray(values, np.float64)
    return array.reshape(-1, *array.shape[array.ndim - axes :])
