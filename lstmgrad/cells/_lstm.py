"""The long short-term memory with a forget gate.

    i, f, o = σ(W_· x + U_· h + b_·),   g = tanh(W_g x + U_g h + b_g)
    c' = f ⊙ c + i ⊙ g,                 h' = o ⊙ tanh c'

The path c → c' is additive and scaled by f alone.
"""

from collections.abc import Callable, Sequence
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


class LSTMParams(NamedTuple):
    """Gates are stacked along axis 0 in the order i, f, g, o (input, forget, candidate, output).

    Attributes:
        weight_ih: (4h, d).
        weight_hh: (4h, h).
        bias: (4h,), one per gate; nothing is added to the forget gate's bias at run time.
    """

    weight_ih: Float[Array, "4*h d"]
    weight_hh: Float[Array, "4*h h"]
    bias: Float[Array, " 4*h"]

    forget_gate = ForgetGate(order="ifgo", kept="f", written="i")


class LSTMState(NamedTuple):
    """Attributes: h (h,), the hidden state, which is also the output; c (h,), the cell."""

    h: Float[Array, " h"]
    c: Float[Array, " h"]


@public
def lstm(
    input_size: int,
    hidden_size: int,
    *,
    forget_bias: float = 1.0,
    recurrent_init: Initializer = GLOROT,
    dtype=None,
) -> Cell:
    """Returns a long short-term memory cell with a forget gate.

    Args:
        input_size: d.
        hidden_size: h.
        forget_bias: the initial bias of the forget gate, stored in the parameters. At zero input
            the cell's time constant is 1 / ln(1 + exp(-forget_bias)) steps: 1.4, 3.2 and 20.6 for
            0, 1 and 3.
        recurrent_init: the initializer of each gate's recurrent matrix.
        dtype: the dtype of parameters and state; None is JAX's default float.

    Returns:
        `Cell` with `LSTMParams` (gate order i, f, g, o, as in PyTorch and Equinox) and
        `LSTMState(h, c)`. Input weights are Glorot normal gate by gate, the other biases zero.

    Raises:
        ValueError: a size is not a whole number, 1 or more.

    Example:
        With all weights zero, dc_t/dc_k is σ(forget_bias)^(t-k) times the identity.

        >>> unit = lg.cells.lstm(2, 3)
        >>> lg.chain(unit.model(unit.init(jax.random.key(0))), inputs).trajectory.states.h.shape[0]
        7

    References:
        Hochreiter & Schmidhuber 1997; Gers, Schmidhuber & Cummins 2000 (forget gate);
        Jozefowicz, Zaremba & Sutskever 2015 (forget bias 1).
    """
    d, h = check_sizes(input_size, hidden_size)

    @public
    def init(key: PRNGKeyArray) -> LSTMParams:
        kind = resolve_dtype(dtype)
        bias = jnp.zeros(4 * h, kind).at[h : 2 * h].set(forget_bias)
        return LSTMParams(
            *init_weights(key, 4, (d, h), recurrent_init, kind),
            bias,
        )

    def initial_state() -> LSTMState:
        return zero_state(LSTMState, h, dtype)

    return Cell(init, initial_state, lstm_step)


def lstm_step(params: LSTMParams, state: LSTMState, x: Float[Array, " d"]) -> LSTMState:
    """One step of the LSTM.

    Args:
        params: gates stacked in the order i, f, g, o.
        state: (h, c), each (h,).
        x: (d,).
    """
    return lstm_after(params, state, x, jnp.tanh, jax.nn.sigmoid)


def lstm_after(
    params: LSTMParams,
    state: LSTMState,
    x: Float[Array, " d"],
    activation: Callable[[Array], Array],
    gate: Callable[[Array], Array],
) -> LSTMState:
    """The state after one step, with any functions in place of tanh and σ.

    Args:
        params: gates stacked in the order i, f, g, o.
        state: (h, c), each (h,).
        x: (d,).
        activation: in place of tanh, of the candidate and of the cell.
        gate: in place of σ.
    """
    drive = params.weight_ih @ x + params.weight_hh @ state.h + params.bias
    return lstm_update(jnp.split(drive, 4), state.c, activation, gate)


def lstm_update(
    drives: Sequence[Array],
    c: Array,
    activation: Callable[[Array], Array] = jnp.tanh,
    gate: Callable[[Array], Array] = jax.nn.sigmoid,
) -> LSTMState:
    """The state after one step, from what drives its gates.

    Args:
        drives: of i, f, g, o, before their activations.
        c: the cell before the step.
        activation: in place of tanh.
        gate: in place of σ.
    """
    i, f, g, o = drives
    i, f, g, o = gate(i), gate(f), activation(g), gate(o)
    c = tag(f, "forget") * tag(c, "cell") + tag(i, "input") * tag(g, "candidate")
    return LSTMState(tag(o, "output") * activation(c), c)
