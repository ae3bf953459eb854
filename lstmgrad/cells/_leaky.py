"""Plain RNNs with a way around: leaky integration and residual steps.

leaky       h' = (1 - α) h + α φ(W x + U h + b)
residual    h' = h + φ(W x + U h + b)
"""

import functools
from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

from lstmgrad._calls import public
from lstmgrad._checks import check_number
from lstmgrad._tag import tag
from lstmgrad._types import StepFn
from lstmgrad.cells._cell import GLOROT, Cell, Initializer
from lstmgrad.cells._rnn import RNNParams, RNNState, rnn


@public
def leaky_rnn(
    input_size: int,
    hidden_size: int,
    *,
    leak: float = 0.1,
    activation: Callable[[Array], Array] = jnp.tanh,
    recurrent_init: Initializer = GLOROT,
    dtype=None,
) -> Cell:
    """Returns a leaky recurrent cell, h' = (1 - α) h + α φ(W x + U h + b).

    Args:
        input_size: d.
        hidden_size: h.
        leak: α, in [0, 1]; 1 is the plain `rnn`. The time constant is -1/ln(1 - α) steps.
        activation: φ, any element-wise function.
        recurrent_init: the initializer of U.
        dtype: the dtype of parameters and state; None is JAX's default float.

    Returns:
        `Cell` with `RNNParams` and `RNNState(h)`, initialized as in `rnn`.

    Raises:
        ValueError: as for `rnn`; the leak is out of range.

    Example:
        Along the route "carry", ds_t/ds_k is (1 - α)^(t-k) times the identity.

        >>> unit = lg.cells.leaky_rnn(2, 3)
        >>> lg.chain(unit.model(unit.init(jax.random.key(0))), inputs).trajectory.states.h.shape[0]
        7

    References:
        Jaeger et al. 2007, Optimization and applications of echo state networks with
        leaky-integrator neurons; Bengio, Boulanger-Lewandowski & Pascanu 2013
        (arXiv:1212.0901), Section 3.2.
    """
    plain = rnn(
        input_size, hidden_size, activation=activation, recurrent_init=recurrent_init, dtype=dtype
    )
    leak = check_number(leak, "leak", 0.0, 1.0)
    return plain._replace(step=around_rnn_step(activation, 1 - leak, leak))


@public
def residual_rnn(
    input_size: int,
    hidden_size: int,
    *,
    activation: Callable[[Array], Array] = jnp.tanh,
    recurrent_init: Initializer = GLOROT,
    dtype=None,
) -> Cell:
    """Returns a residual recurrent cell, h' = h + φ(W x + U h + b).

    Args:
        input_size: d.
        hidden_size: h.
        activation: φ, any element-wise function.
        recurrent_init: the initializer of U.
        dtype: the dtype of parameters and state; None is JAX's default float.

    Returns:
        `Cell` with `RNNParams` and `RNNState(h)`, initialized as in `rnn`.

    Raises:
        ValueError: as for `rnn`.

    Example:
        Along the route "carry", ds_t/ds_k is the identity.

        >>> unit = lg.cells.residual_rnn(2, 3)
        >>> lg.chain(unit.model(unit.init(jax.random.key(0))), inputs).trajectory.states.h.shape[0]
        7

    References:
        He et al. 2016 (arXiv:1603.05027), with layers in place of steps.
    """
    plain = rnn(
        input_size, hidden_size, activation=activation, recurrent_init=recurrent_init, dtype=dtype
    )
    return plain._replace(step=around_rnn_step(activation, 1.0, 1.0))


@functools.cache
def around_rnn_step(activation: Callable[[Array], Array], kept: float, written: float) -> StepFn:
    """The step h' = kept · h + written · φ; the same object for the same arguments.

    Args:
        activation: φ.
        kept: the share of the old state.
        written: the share of the activation.
    """

    def step(params: RNNParams, state: RNNState, x: Float[Array, " d"]) -> RNNState:
        drive = tag(params.weight_ih @ x + params.weight_hh @ state.h + params.bias, "recurrent")
        return RNNState(kept * tag(state.h, "carry") + written * activation(drive))

    return step
