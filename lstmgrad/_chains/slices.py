"""The slice of `chain[k:t]`, whose product is ds_t/ds_k."""

import operator
from typing import Any

from lstmgrad._leaves import shown


def check_slice(key: Any, length: int) -> slice:
    """`chain[k:t]` with 0 <= k <= t <= T; negative bounds count from the end, as in Python."""
    if not isinstance(key, slice):
        raise ValueError(
            f"chain[...]: expected a slice k:t, whose product is ds_t/ds_k, but got {shown(key)}; "
            "the single factor J_t is chain[t - 1 : t]."
        )
    if key.step not in (None, 1):
        raise ValueError(
            f"chain[k:t]: expected every factor from k to t, but got a step of {key.step!r}; "
            "a chain with factors left out is not a chain."
        )
    bounds = []
    for bound, default in ((key.start, 0), (key.stop, length)):
        try:
            number = default if bound is None else operator.index(bound)
        except TypeError:
            raise ValueError(
                f"chain[k:t]: expected whole numbers known at trace time, but got {shown(bound)}."
            ) from None
        number = number + length if number < 0 else number
        if not 0 <= number <= length:
            raise ValueError(
                f"chain[k:t]: expected 0 <= k <= t <= T = {length}, but got "
                f"[{key.start}:{key.stop}]."
            )
        bounds.append(number)
    start, stop = bounds
    if start > stop:
        raise ValueError(
            f"chain[k:t]: expected k <= t, because ds_t/ds_k runs forward in time, but got "
            f"[{key.start}:{key.stop}] of a chain with T = {length}."
        )
    return slice(start, stop)
