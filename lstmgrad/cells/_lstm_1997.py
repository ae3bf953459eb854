"""The long short-term memory of 1997, without a forget gate.

    i, o = σ(W_· x + U_· h + b_·),    g = tanh(W_g x + U_g h + b_g)
    c' = c + i ⊙ g,                   h' = o ⊙ tanh c'

The path c → c' is the identity, the constant error carousel: nothing vanishes on it, and nothing is
forgotten.
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
    Initializer,
    check_sizes,
    init_weights,
    zero_state,
)
from lstmgrad.cells._lstm import LSTMState


class LSTM1997Params(NamedTuple):
    """Gates are stacked along axis 0 in the order i, g, o (input, candidate, output).

    Attributes:
        weight_ih: (3h, d).
        weight_hh: (3h, h).
        bias: (3h,).
    """

    weight_ih: Float[Array, "3*h d"]
    weight_hh: Float[Array, "3*h h"]
    bias: Float[Array, " 3*h"]


@public
def lstm_1997(
    input_size: int,
    hidden_size: int,
    *,
    recurrent_init: Initializer = GLOROT,
    dtype=None,
) -> Cell:
    """Returns a long short-term memory cell without a forget gate.

    Args:
        input_size: d.
        hidden_size: h.
        recurrent_init: the initializer of each gate's recurrent matrix.
        dtype: the dtype of parameters and state; None is JAX's default float.

    Returns:
        `Cell` with `LSTM1997Params` (gate order i, g, o) and `LSTMState(h, c)`. Biases are zero.

    Raises:
        ValueError: a size is not a whole number, 1 or more.

    Notes:
        The derivative is the full one. The paper cuts it where it reaches the gates and the
        candidate, which leaves the route "cell": ``lg.routes(chain)["cell"]``. The paper squashes
        to [-2, 2] and to [-1, 1]; here both functions are tanh.

    Example:
        Along the route "cell", dc_t/dc_k is the identity, bit for bit, at every lag.

        >>> unit = lg.cells.lstm_1997(2, 3)
        >>> lg.chain(unit.model(unit.init(jax.random.key(0))), inputs).trajectory.states.h.shape[0]
        7

    References:
        Hochreiter & Schmidhuber 1997, Long short-term memory, Section 4.
    """
    d, h = check_sizes(input_size, hidden_size)

    @public
    def init(key: PRNGKeyArray) -> LSTM1997Params:
        kind = resolve_dtype(dtype)
        return LSTM1997Params(
            *init_weights(key, 3, (d, h), recurrent_init, kind), jnp.zeros(3 * h, kind)
        )

    def initial_state() -> LSTMState:
        return zero_state(LSTMState, h, dtype)

    return Cell(init, initial_state, lstm_1997_step)


def lstm_1997_step(params: LSTM1997Params, state: LSTMState, x: Float[Array, " d"]) -> LSTMState:
    """One step of the LSTM of 1997.

    Args:
        params: gates stacked in the order i, g, o.
        state: (h, c), each (h,).
        x: (d,).
    """
    drive = params.weight_ih @ x + params.weight_hh @ state.h + params.bias
    i, g, o = jnp.split(drive, 3)
    i, g = tag(jax.nn.sigmoid(i), "input"), tag(jnp.tanh(g), "candidate")
    c = tag(state.c, "cell") + i * g
    return LSTMState(tag(jax.nn.sigmoid(o), "output") * jnp.tanh(c), c)
