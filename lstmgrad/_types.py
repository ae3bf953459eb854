"""The legend: what the letters in shapes mean, and the types that every room uses.

===  =============================================================================
T    time steps; states are counted 0..T, step Jacobians ``J_t`` sit at index t-1
n    size of the state as one flat real vector (an LSTM of h units has n = 2h)
m    tangents, cotangents or exponents carried together
h    hidden units
d    input features
===  =============================================================================

Time is always the first axis; a batch is a ``jax.vmap`` around the call.
"""

from collections.abc import Callable
from typing import Any, Literal

Params = Any
"""A pytree of parameters, whatever the step expects."""

State = Any
"""A pytree of arrays; what the step returns looks exactly like what it was given."""

Inputs = Any
"""A pytree of arrays that share their first axis, time."""

StepFn = Callable[[Params, State, Inputs], State]
"""``step(params, state, x) -> state``, pure, without a batch axis."""

PartName = str | int
"""How a block of the state is called: a field name, a dict key or a position."""

Fixed = Literal["start", "end"]
"""The end of a product that stays where it is while the lag grows: k = 0, or t = T."""
