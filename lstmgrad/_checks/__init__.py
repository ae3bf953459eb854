"""One function per rule, one sentence per message: what was expected, what we got, what to do.

Only what is known while tracing is checked here (structure, shape, dtype, range of a static
option). Values are never checked: a vanishing, exploding or NaN result is a result.
"""

from lstmgrad._checks._chains import (
    check_kind,
    check_not_empty,
    check_tags,
)
from lstmgrad._checks._models import (
    check_array,
    check_arrays,
    check_differentiable,
    check_state,
    check_step,
    check_time_axis,
)
from lstmgrad._checks._numbers import (
    check_count,
    check_full_float,
    check_hashable,
    check_number,
    check_positive,
    resolve_dtype,
)
from lstmgrad._packages import require

__all__ = [
    "check_array",
    "check_arrays",
    "check_count",
    "check_differentiable",
    "check_full_float",
    "check_hashable",
    "check_kind",
    "check_not_empty",
    "check_number",
    "check_positive",
    "check_state",
    "check_step",
    "check_tags",
    "check_time_axis",
    "require",
    "resolve_dtype",
]
