"""The numbers of a result record as they are drawn: decimal logarithms, and gaps."""

import math
from typing import Any

import numpy as np

from lstmgrad._norms.profiles import NormProfile


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


def by_lag(result: NormProfile) -> tuple[np.ndarray, np.ndarray]:
    """The lags (L,), and log₁₀ of the norms with all leading axes as one, (B, L).

    Args:
        result: of one sequence or of a batch.

    Raises:
        ValueError: the lags differ within the batch.
    """
    lags = np.asarray(result.lags)
    lags = lags.reshape(-1, lags.shape[-1])
    if (lags != lags[0]).any():
        raise ValueError("result: expected the same lags in the whole batch, but they differ.")
    values = log10(result.log_norms)
    return lags[0], values.reshape(-1, values.shape[-1])
