"""Intervals about what was measured on the sequences of a batch."""

import math
from typing import Any

import numpy as np

CONFIDENCE = 0.95


def mean_with_error(values: Any) -> tuple[float, float]:
    """Returns the mean over sequences and half the width of its 95 % interval.

    t_{N-1} · s/√N by Student's distribution; 0 for a single sequence, which says nothing about
    others. Logarithms of zero, -inf in all of them, have a mean of -inf without an error; in some
    of them, the mean of the others is not resolved, and the error is inf.

    Args:
        values: (N,), one number a sequence.
    """
    values = np.asarray(values, np.float64)
    if np.isnan(values).any():
        return math.nan, math.inf
    finite = values[np.isfinite(values)]
    if len(finite) < len(values):
        same = not len(finite) and (values == values[0]).all()
        return (float(values[0]), 0.0) if same else (_mean(finite), math.inf)
    return _mean(values), student(len(values)) * _standard_error(values)


def share_with_error(count: int, trials: int) -> tuple[float, float]:
    """Returns a share and half the width of its 95 % interval, by Wilson's score.

    Args:
        count: how many of the trials.
        trials: independent of one another.
    """
    share, z = count / trials, 1.959963984540054
    middle = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    spread = share * (1 - share) / trials + z**2 / (4 * trials**2)
    half = z * math.sqrt(spread) / (1 + z**2 / trials)
    low, high = middle - half, middle + half
    return share, max(share - low, high - share)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else math.nan


def _standard_error(values: np.ndarray) -> float:
    return float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else 0.0


def student(count: int) -> float:
    """Returns the quantile of Student's distribution for a 95 % interval; 0 for one value.

    Args:
        count: values; one degree of freedom less.
    """
    if count < 2:
        return 0.0
    from scipy.special import stdtrit

    return float(stdtrit(count - 1, (1 + CONFIDENCE) / 2))
