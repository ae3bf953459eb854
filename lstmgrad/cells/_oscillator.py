"""The coupled oscillatory RNN (coRNN): a network of damped, driven oscillators.

    z' = z + Δt (tanh(U h + V z + W x + b) - γ h - ε z)
    h' = h + Δt z'

h is the position of each oscillator (the paper's y), which is also the output; z is its velocity.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from lstmgrad._calls import public
from lstmgrad._checks import check_number, check_positive, resolve_dtype
from lstmgrad._tag import tag
from lstmgrad._types import StepFn
from lstmgrad.cells._cell import (
    GLOROT,
    Cell,
    Initializer,
    check_sizes,
    init_stacked,
    zero_state,
)


class CoRNNParams(NamedTuple):
    """What drives the oscillators.

    Attributes:
        weight_ih: (h, d), W.
        weight_hh: (h, h), U, which acts on the positions.
        weight_zh: (h, h), V, which acts on the velocities.
        bias: (h,).
    """

    weight_ih: Float[Array, "h d"]
    weight_hh: Float[Array, "h h"]
    weight_zh: Float[Array, "h h"]
    bias: Float[Array, " h"]


class CoRNNState(NamedTuple):
    """Attributes: h (h,), the positions, which are the output; z (h,), the velocities."""

    h: Float[Array, " h"]
    z: Float[Array, " h"]


@public
def co_rnn(
    input_size: int,
    hidden_size: int,
    *,
    step_size: float = 0.042,
    frequency: float = 2.7,
    damping: float = 4.7,
    recurrent_init: Initializer = GLOROT,
    dtype=None,
) -> Cell:
    """Returns a coupled oscillatory recurrent cell.

    Args:
        input_size: d.
        hidden_size: h, the number of oscillators.
        step_size: Δt, above 0.
        frequency: γ, the square of the oscillators' own frequency, 0 or above.
        damping: ε, 0 or above.
        recurrent_init: the initializer of U and V.
        dtype: the dtype of parameters and state; None is JAX's default float.

    Returns:
        `Cell` with `CoRNNParams` and `CoRNNState(h, z)`. b is zero.

    Raises:
        ValueError: a size is not a whole number, 1 or more; a constant is out of range.

    Notes:
        The damping acts on the old velocity, one of the paper's two choices and the one of its
        code. "position" and "velocity" are the routes of the bare oscillators, "recurrent" is the
        route of the coupling.

    Example:
        With all weights zero, each oscillator's step Jacobian is
        [[1 - Δt² γ, Δt (1 - Δt ε)], [-Δt γ, 1 - Δt ε]].

        >>> unit = lg.cells.co_rnn(2, 3)
        >>> lg.chain(unit.model(unit.init(jax.random.key(0))), inputs).trajectory.states.h.shape[0]
        7

    References:
        Rusch & Mishra 2021 (arXiv:2010.00951), Eq. 3.
    """
    d, h = check_sizes(input_size, hidden_size)
    constants = (
        check_positive(step_size, "step_size"),
        check_number(frequency, "frequency", 0.0),
        check_number(damping, "damping", 0.0),
    )

    @public
    def init(key: PRNGKeyArray) -> CoRNNParams:
        kind = resolve_dtype(dtype)
        key_ih, key_hh = jax.random.split(key)
        weight_hh, weight_zh = jnp.split(init_stacked(recurrent_init, key_hh, 2, (h, h), kind), 2)
        weight_ih = init_stacked(GLOROT, key_ih, 1, (h, d), kind)
        return CoRNNParams(weight_ih, weight_hh, weight_zh, jnp.zeros(h, kind))

    def initial_state() -> CoRNNState:
        return zero_state(CoRNNState, h, dtype)

    return Cell(init, initial_state, co_rnn_step(*constants))


@functools.cache
def co_rnn_step(step_size: float, frequency: float, damping: float) -> StepFn:
    """The step for one choice of constants; the same object for the same numbers.

    Args:
        step_size: Δt.
        frequency: γ.
        damping: ε.
    """

    def step(params: CoRNNParams, state: CoRNNState, x: Float[Array, " d"]) -> CoRNNState:
        drive = params.weight_hh @ state.h + params.weight_zh @ state.z
        drive = tag(drive + params.weight_ih @ x + params.bias, "recurrent")
        h, z = tag(state.h, "position"), tag(state.z, "velocity")
        z = z + step_size * (jnp.tanh(drive) - frequency * h - damping * z)
        return CoRNNState(h + step_size * z, z)

    return step
