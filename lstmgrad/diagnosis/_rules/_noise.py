"""Signal and noise of the far gradient over the sequences of a batch.

The part g_l(n) of the gradient of sequence n that comes from the lag is μ + noise, with

    ‖μ‖² = mean of ⟨g_l(n), g_l(m)⟩ over n ≠ m,

and a mean over B sequences leaves of the noise along μ the variance Var⟨g, μ/‖μ‖⟩/B. Signal and
noise are alike after B = Var⟨g, μ/‖μ‖⟩ / ‖μ‖² sequences.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from lstmgrad.diagnosis._statistics import student


class Signal(NamedTuple):
    """How much of the far gradient is the same in all sequences.

    Attributes:
        consistency: ‖μ‖²/E‖g_l‖².
        error: half the width of its 95 % interval.
        needed: sequences after which the signal is as large as the noise along it; inf where no
            signal is seen.
        least: the fewest that the interval of the consistency allows.
        most: the largest number that it allows; inf where no signal is seen.
    """

    consistency: float
    error: float
    needed: float
    least: float
    most: float


def signal_of(gradients: Any) -> Signal:
    """Returns the signal of the far gradient; of four sequences or more.

    Args:
        gradients: `Gradients` with NumPy's arrays.
    """
    far, whole = (
        np.asarray(logs, np.float64) for logs in (gradients.far_log_norms, gradients.log_norms)
    )
    top = far.max()
    if not np.isfinite([top, whole.max()]).all():
        return Signal(math.nan, math.inf, math.inf, 0.0, math.inf)
    sizes = np.exp(far - top)
    products = np.asarray(gradients.far_cosines, np.float64) * np.outer(sizes, sizes)
    crossed = np.asarray(gradients.cross_cosines, np.float64) * np.outer(sizes, np.exp(whole - top))
    consistency, error = _consistency(products)
    trace = np.trace(products) / len(products)
    # The projection of g(m) on the mean far gradient of the others.
    projections = (crossed.sum(axis=0) - np.diag(crossed)) / (len(products) - 1)
    noise = float(projections.var(ddof=1))

    def needed(ratio: float) -> float:
        return math.inf if not ratio > 0 else noise / (ratio * trace) ** 2

    low, high = consistency - error, min(consistency + error, 1.0)
    return Signal(consistency, error, needed(consistency), needed(high), needed(low))


def _consistency(products: np.ndarray) -> tuple[float, float]:
    """‖μ‖²/E‖g_l‖² and its error, by leaving out one sequence at a time."""
    count = len(products)

    def ratio(kept: np.ndarray) -> float:
        block = products[np.ix_(kept, kept)]
        trace = np.trace(block)
        return (block.sum() - trace) / (len(kept) - 1) / trace if trace > 0 else math.nan

    every = np.arange(count)
    left = np.array([ratio(np.delete(every, i)) for i in every])
    spread = math.sqrt((count - 1) / count * ((left - left.mean()) ** 2).sum())
    return float(ratio(every)), student(count) * spread
