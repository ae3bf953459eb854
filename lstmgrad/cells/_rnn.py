"""The plain (Elman) recurrent network: h' = φ(W x + U h + b)."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from lstmgrad._calls import public
from lstmgrad._checks import check_hashable, resolve_dtype
from lstmgrad._tag import tag
from lstmgrad._types import StepFn
from lstmgrad.cells._cell import (
    GLOROT,
    Cell,
    Initializer,
    check_sizes,
    init_weights,
    zero_state,
)


class RNNParams(NamedTuple):
    """Attributes: weight_ih (h, d) is W, weight_hh (h, h) is U, bias (h,) is b."""

    weight_ih: Float[Array, "h d"]
    weight_hh: Float[Array, "h h"]
    bias: Float[Array, " h"]


class RNNState(NamedTuple):
    """Attributes: h (h,), the hidden state, which is also the output."""

    h: Float[Array, " h"]


@public
def rnn(
    input_size: int,
    hidden_size: int,
    *,
    activation: Callable[[Array], Array] = jnp.tanh,
    recurrent_init: Initializer = GLOROT,
    dtype=None,
) -> Cell:
    """Returns a plain recurrent cell, h' = φ(W x + U h + b).

    Args:
        input_size: d.
        hidden_size: h.
        activation: φ, any element-wise function, e.g. `jnp.tanh` or `jax.nn.relu`.
        recurrent_init: the initializer of U, e.g. `jax.nn.initializers.orthogonal()` or
            `lg.cells.identity()`. The default is Glorot's, whose spectral radius is about 1.
        dtype: the dtype of parameters and state; None is JAX's default float.

    Returns:
        `Cell` with `RNNParams` and `RNNState(h)`. W is Glorot normal, b zero.

    Raises:
        ValueError: a size is not a whole number, 1 or more; the activation cannot be hashed, so it
            cannot be a key of the compilation cache.

    Example:
        With φ the identity, the step Jacobian is U.

        >>> unit = lg.cells.rnn(2, 3)
        >>> lg.chain(unit.model(unit.init(jax.random.key(0))), inputs).trajectory.states.h.shape[0]
        7

    References:
        Elman 1990, Finding structure in time; Glorot & Bengio 2010.
    """
    d, h = check_sizes(input_size, hidden_size)

    @public
    def init(key: PRNGKeyArray) -> RNNParams:
        kind = resolve_dtype(dtype)
        return RNNParams(
            *init_weights(key, 1, (d, h), recurrent_init, kind),
            jnp.zeros(h, kind),
        )

    def initial_state() -> RNNState:
        return zero_state(RNNState, h, dtype)

    check_hashable(activation, "activation")
    return Cell(init, initial_state, rnn_step(activation))


@functools.cache
def rnn_step(activation: Callable[[Array], Array]) -> StepFn:
    """The step for one activation; the same object for the same activation.

    Args:
        activation: φ.
    """

    def step(params: RNNParams, state: RNNState, x: Float[Array, " d"]) -> RNNState:
        drive = params.weight_ih @ x + params.weight_hh @ state.h + params.bias
        return RNNState(activation(tag(drive, "recurrent")))

    return step
