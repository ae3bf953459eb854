"""Options of the training: how far back, and where to clip."""

import math
from typing import Any

import numpy as np

from lstmgrad.diagnosis._records import Prediction, Remedy
from lstmgrad.diagnosis._remedies._code import clip_code
from lstmgrad.diagnosis._rules import Case
from lstmgrad.diagnosis._rules._training import batch_norms, chunk_for, length_for, tail_at
from lstmgrad.diagnosis._statistics import mean_with_error

_OF_ADAM = "Adam divides by the size of gradients, so that a clip changes little with it."


def truncation_remedies(case: Case) -> list[Remedy]:
    """Returns truncations behind the lag that leave out no more than a tenth, in chunks or sliding.

    Args:
        case: what was read.
    """
    needed = float(np.max(length_for(case, 0.1)))
    least = case.settings.lag + 1
    steps = case.settings.length if math.isnan(needed) else max(least, math.ceil(needed))
    steps = min(steps, case.settings.length)
    left_out = np.exp(tail_at(case, steps))
    why = f"Go back {steps} steps from every loss. Chunks with a detached state have to be longer."
    found = _truncation("truncation-length", steps, left_out, "bias_sliding", "at this K", why)
    return [*_chunk_remedies(case), found]


def _chunk_remedies(case: Case) -> list[Remedy]:
    """Chunks behind the lag that leave out no more than a tenth."""
    if case.chunks is None or case.chunked is None:
        return []
    lag, tried = case.settings.lag, case.chunks[1:]
    needed = float(np.max(chunk_for(case, 0.1)))
    least = float(case.settings.length) if math.isnan(needed) else max(lag + 1, needed)
    place = int(np.flatnonzero(tried >= least)[0])
    steps, left_out = int(tried[place]), case.chunked[:, 1 + place]
    why = (
        f"Chunks of {steps} steps with a detached state between them. Of all pairs of steps {lag} "
        f"apart, a share of {max(0.0, 1 - lag / steps):.2g} lies in one chunk."
    )
    return [
        _truncation("chunk-length", steps, left_out, "bias_chunked", "in chunks of this K", why)
    ]


def _truncation(
    name: str, steps: int, left_out: np.ndarray, bias: str, how: str, why: str
) -> Remedy:
    """A truncation, with what it will leave out.

    Args:
        name: of the remedy.
        steps: K.
        left_out: ‖g - g_K‖/‖g‖ of each sequence.
        bias: the reading of it.
        how: K is meant.
        why: it is that long.
    """
    value, _ = mean_with_error(left_out)
    spread = value * 1e-3 + 1e-6
    source = f"‖g - g_K‖/‖g‖ {how}, as read"
    predicted = (
        Prediction("steps", float(steps), steps, steps, "as set"),
        Prediction(bias, value, value - spread, value + spread, source),
    )

    def apply(options: dict[str, Any]) -> dict[str, Any]:
        return {**options, "truncation": steps}

    return Remedy(name, "training", why, apply, predicted)


def growth_remedies(case: Case) -> list[Remedy]:
    """Returns the clip at the size that the gradient would have if it did not grow on its way.

    That is what the last step alone adds, times the number of times at which the loss looks.

    Args:
        case: what was read.
    """
    last = np.asarray(case.readings.contributions.log_norms, np.float64)[:, -1]
    limit = case.looks * float(np.exp(np.median(last)))
    now = case.settings.clip
    if not (0 < limit < math.inf) or (now is not None and now <= limit):
        return []

    def apply(options: dict[str, Any]) -> dict[str, Any]:
        return {**options, "clip": limit}

    why = (
        f"Clip at {limit:.3g}, the size of a gradient that does not grow on its way: what the last "
        "step alone adds, for every loss. It bounds the steps, and leaves the growth as it is. "
        f"{_OF_ADAM}"
    )
    return [Remedy("clip", "training", why, apply, (), clip_code(limit))]


def clip_remedies(case: Case) -> list[Remedy]:
    """Returns the clip that bites on the largest tenth of the batches.

    Args:
        case: what was read.
    """
    sizes = batch_norms(case)
    limit = float(np.quantile(sizes, 0.9))
    if not (0 < limit < math.inf):
        return []
    value = float(sizes.mean()) / limit
    predicted = Prediction(
        "norm_over_clip", value, value * 0.999, value * 1.001, "the mean norm over the new clip"
    )

    def apply(options: dict[str, Any]) -> dict[str, Any]:
        return {**options, "clip": limit}

    why = f"Clip at {limit:.3g}, which bites on the largest tenth of the batches. {_OF_ADAM}"
    return [Remedy("clip-largest", "training", why, apply, (predicted,), clip_code(limit))]
