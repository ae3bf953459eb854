"""Options of the training: how far back, and where to clip."""

import math
from typing import Any

import numpy as np

from lstmgrad.diagnosis._records import Prediction, Remedy
from lstmgrad.diagnosis._remedies._code import clip_code
from lstmgrad.diagnosis._rules import Case
from lstmgrad.diagnosis._rules._training import batch_norms, length_for, tail_at
from lstmgrad.diagnosis._statistics import mean_with_error


def truncation_remedies(case: Case) -> list[Remedy]:
    """Returns a truncation behind the lag that leaves out no more than a tenth.

    Args:
        case: what was read.
    """
    needed = float(np.max(length_for(case, 0.1)))
    least = case.settings.lag + 1
    steps = case.settings.length if math.isnan(needed) else max(least, math.ceil(needed))
    steps = min(steps, case.settings.length)
    value, _ = mean_with_error(np.exp(tail_at(case, steps)))
    predicted = (
        Prediction("steps", float(steps), steps, steps, "as set"),
        Prediction(
            "bias_sliding",
            value,
            value * (1 - 1e-3) - 1e-6,
            value * (1 + 1e-3) + 1e-6,
            "‖g - g_K‖/‖g‖ at this K, as read",
        ),
    )

    def apply(options: dict[str, Any]) -> dict[str, Any]:
        return {**options, "truncation": steps}

    why = (
        f"Go back {steps} steps. In chunks of K steps with a detached state, a pair {least - 1} "
        f"steps apart lies in one chunk in (K - {least - 1})/K of all places: take chunks of twice "
        "the lag or more, or let every loss go back over its own steps."
    )
    return [Remedy("truncation-length", "training", why, apply, predicted)]


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

    why = f"Clip at {limit:.3g}, which bites on the largest tenth of the batches."
    return [Remedy("clip-largest", "training", why, apply, (predicted,), clip_code(limit))]
