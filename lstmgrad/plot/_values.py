"""The numbers of a result as they are drawn: decimal logarithms, gaps, what is not resolved."""

import math
from typing import Any

import numpy as np

from lstmgrad._norms.maps import NormMap
from lstmgrad._norms.records import NormProfile


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
    return np.isposinf(np.asarray(result.errors)) & np.isfinite(np.asarray(result.log_norms))


def by_lag(result: NormProfile) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Reads a profile with all its leading axes as one.

    Args:
        result: norms of one sequence or of a batch.

    Returns:
        The lags (L,), log₁₀ of the norms (B, L), and which of them are unresolved (B, L).

    Raises:
        ValueError: the lags differ within the batch.
    """
    lags = np.asarray(result.lags)
    lags = lags.reshape(-1, lags.shape[-1])
    if (lags != lags[0]).any():
        raise ValueError("result: expected the same lags in the whole batch, but they differ.")
    shape = (-1, lags.shape[-1])
    return lags[0], log10(result.log_norms).reshape(shape), unresolved(result).reshape(shape)
