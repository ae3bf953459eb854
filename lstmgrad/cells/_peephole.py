"""The LSTM with peepholes: gates that look at the cell.

    i, f = σ(W_· x + U_· h + p_· ⊙ c + b_·),    g = tanh(W_g x + U_g h + b_g)
    c' = f ⊙ c + i ⊙ g
    o = σ(W_o x + U_o h + p_o ⊙ c' + b_o),      h' = o ⊙ tanh c'

dc'/dc contains the slopes of the gates besides f, and is still diagonal.
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


class PeepholeLSTMParams(NamedTuple):
    """Gates are stacked along axis 0 in the order i, f, g, o, as in `LSTMParams`.

    Attributes:
        weight_ih: (4h, d).
        weight_hh: (4h, h).
        weight_ch: (3, h), the peepholes p_i, p_f and p_o.
        bias: (4h,).
    """

    weight_ih: Float[Array, "4*h d"]
    weight_hh: Float[Array, "4*h h"]
    weight_ch: Float[Array, "3 h"]
    bias: Float[Array, " 4*h"]

    forget_gate = ForgetGate(order="ifgo", kept="f", written="i")


@public
def peephole_lstm(
    input_size: int,
    hidden_size: int,
    *,
    forget_bias: float = 1.0,
    recurrent_init: Initializer = GLOROT,
    dtype=None,
) -> Cell:
    """Returns a long short-term memory cell with peephole connections.

    Args:
        input_size: d.
        hidden_size: h.
        forget_bias: the initial bias of the forget gate.
        recurrent_init: the initializer of each gate's recurrent matrix.
        dtype: the dtype of parameters and state; None is JAX's default float.

    Returns:
        `Cell` with `PeepholeLSTMParams` (gate order i, f, g, o) and `LSTMState(h, c)`. Peepholes
        start at zero, so the cell starts as an `lstm`.

    Raises:
        ValueError: a size is not a whole number, 1 or more.

    Notes:
        The routes are those of the LSTM. The peephole of the output gate looks at c', which lies
        behind the other tags: what it carries counts for them, and "output" is only what comes
        through h.

    Example:
        If all peepholes are zero, a step is that of `lstm`.

        >>> unit = lg.cells.peephole_lstm(2, 3)
        >>> lg.chain(unit.model(unit.init(jax.random.key(0))), inputs).trajectory.states.h.shape[0]
        7

    References:
        Gers & Schmidhuber 2000, Recurrent nets that time and count; Graves 2013
        (arXiv:1308.0850), Eqs. 7-11, for the tanh in front of the output gate.
    """
    d, h = check_sizes(input_size, hidden_size)

    @public
    def init(key: PRNGKeyArray) -> PeepholeLSTMParams:
        kind = resolve_dtype(dtype)
        return PeepholeLSTMParams(
            *init_weights(key, 4, (d, h), recurrent_init, kind),
            jnp.zeros((3, h), kind),
            jnp.zeros(4 * h, kind).at[h : 2 * h].set(forget_bias),
        )

    def initial_state() -> LSTMState:
        return zero_state(LSTMState, h, dtype)

    return Cell(init, initial_state, peephole_lstm_step)


def peephole_lstm_step(
    params: PeepholeLSTMParams, state: LSTMState, x: Float[Array, " d"]
) -> LSTMState:
    """One step of the LSTM with peepholes.

    Args:
        params: gates stacked in the order i, f, g, o.
        state: (h, c), each (h,).
        x: (d,).
    """
    drive = params.weight_ih @ x + params.weight_hh @ state.h + params.bias
    return peeping(params.weight_ch, drive, state.c)


def peeping(
    peepholes: Float[Array, "3 h *space"],
    drive: Float[Array, "4*h *space"],
    c: Float[Array, "h *space"],
) -> LSTMState:
    """The step, once input, hidden state and bias are added up to what drives the gates.

    Args:
        peepholes: p_i, p_f and p_o.
        drive: stacked along axis 0 in the order i, f, g, o.
        c: the cell.
    """
    i, f, g, o = jnp.split(drive, 4)
    p_i, p_f, p_o = peepholes
    i = tag(jax.nn.sigmoid(i + p_i * c), "input")
    f = tag(jax.nn.sigmoid(f + p_f * c), "forget")
    c = f * tag(c, "cell") + i * tag(jnp.tanh(g), "candidate")
    # The tag stands before the peephole: c' has crossed a tag already.
    o = jax.nn.sigmoid(tag(o, "output") + p_o * c)
    return LSTMState(o * jnp.tanh(c), c)
