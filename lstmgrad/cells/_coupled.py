"""The LSTM with coupled gates: what is forgotten is what is written.

    f, o = σ(W_· x + U_· h + b_·),    g = tanh(W_g x + U_g h + b_g)
    c' = f ⊙ c + (1 - f) ⊙ g,         h' = o ⊙ tanh c'

The cell is a running average of its candidates, and never leaves [-1, 1].
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from lstmgrad._calls import public
from lstmgrad._checks import resolve_dtype
from lstmgrad._tag import tag
from lstmgrad.cells._cell import (
    GLOROT,
    Cell,
    ForgetGate,
    Initializer,
    check_sizes,
    init_weights,
    zero_state,
)
from lstmgrad.cells._lstm import LSTMState


class CoupledLSTMParams(NamedTuple):
    """Gates are stacked along axis 0 in the order f, g, o (forget, candidate, output).

    Attributes:
        weight_ih: (3h, d).
        weight_hh: (3h, h).
        bias: (3h,).
    """

    weight_ih: Float[Array, "3*h d"]
    weight_hh: Float[Array, "3*h h"]
    bias: Float[Array, " 3*h"]

    forget_gate = ForgetGate(order="fgo", kept="f")


@public
def coupled_lstm(
    input_size: int,
    hidden_size: int,
    *,
    forget_bias: float = 1.0,
    recurrent_init: Initializer = GLOROT,
    dtype=None,
) -> Cell:
    """Returns a long short-term memory cell with coupled input and forget gates (CIFG).

    Args:
        input_size: d.
        hidden_size: h.
        forget_bias: the initial bias of the forget gate.
        recurrent_init: the initializer of each gate's recurrent matrix.
        dtype: the dtype of parameters and state; None is JAX's default float.

    Returns:
        `Cell` with `CoupledLSTMParams` (gate order f, g, o) and `LSTMState(h, c)`.

    Raises:
        ValueError: a size is not a whole number, 1 or more.

    Notes:
        The paper computes i and sets f = 1 - i: the weights of f here are the negative of its
        weights of i. Its peepholes are left out.

    Example:
        With all weights zero, dc_t/dc_k is σ(forget_bias)^(t-k) times the identity.

        >>> unit = lg.cells.coupled_lstm(2, 3)
        >>> lg.chain(unit.model(unit.init(jax.random.key(0))), inputs).trajectory.states.h.shape[0]
        7

    References:
        Greff et al. 2017 (arXiv:1503.04069), the variant "CIFG".
    """
    d, h = check_sizes(input_size, hidden_size)

    @public
    def init(key: PRNGKeyArray) -> CoupledLSTMParams:
        kind = resolve_dtype(dtype)
        return CoupledLSTMParams(
            *init_weights(key, 3, (d, h), recurrent_init, kind),
            jnp.zeros(3 * h, kind).at[:h].set(forget_bias),
        )

    def initial_state() -> LSTMState:
        return zero_state(LSTMState, h, dtype)

    return Cell(init, initial_state, coupled_lstm_step)


def coupled_lstm_step(
    params: CoupledLSTMParams, state: LSTMState, x: Float[Array, " d"]
) -> LSTMState:
    """One step of the LSTM with coupled gates.

    Args:
        params: gates stacked in the order f, g, o.
        state: (h, c), each (h,).
        x: (d,).
    """
    drive = params.weight_ih @ x + params.weight_hh @ state.h + params.bias
    f, g, o = jnp.split(drive, 3)
    f, g = tag(jax.nn.sigmoid(f), "forget"), tag(jnp.tanh(g), "candidate")
    c = f * tag(state.c, "cell") + (1 - f) * g
    return LSTMState(tag(jax.nn.sigmoid(o), "output") * jnp.tanh(c), c)
