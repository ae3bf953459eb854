"""minGRU and minLSTM: gates that look at the input alone, so the recurrence is linear.

    minGRU     z = σ(W_z x + b_z),        n = W_n x + b_n
               h' = (1 - z) ⊙ h + z ⊙ n
    minLSTM    f, i = σ(W_· x + b_·),     n = W_n x + b_n
               h' = f/(f + i) ⊙ h + i/(f + i) ⊙ n

The step Jacobian is the diagonal of what multiplies h: use `lg.linearize_diagonal`.
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
    HiddenState,
    check_sizes,
    init_stacked,
    zero_state,
)


class MinGRUParams(NamedTuple):
    """Stacked along axis 0 in the order z, n (update gate, candidate).

    Attributes:
        weight_ih: (2h, d).
        bias: (2h,).
    """

    weight_ih: Float[Array, "2*h d"]
    bias: Float[Array, " 2*h"]

    forget_gate = ForgetGate(order="zn", replaced="z")


class MinLSTMParams(NamedTuple):
    """Stacked along axis 0 in the order i, f, n (input gate, forget gate, candidate).

    Attributes:
        weight_ih: (3h, d).
        bias: (3h,).
    """

    weight_ih: Float[Array, "3*h d"]
    bias: Float[Array, " 3*h"]

    # σ(b)/(σ(b) + σ(-b)) = σ(b): only both gates together set what is kept.
    forget_gate = ForgetGate(order="ifn", kept="f", replaced="i")


@public
def min_gru(input_size: int, hidden_size: int, *, dtype=None) -> Cell:
    """Returns a minGRU: a GRU without reset gate whose gate and candidate do not look at h.

    Args:
        input_size: d.
        hidden_size: h.
        dtype: the dtype of parameters and state; None is JAX's default float.

    Returns:
        `Cell` with `MinGRUParams` (order z, n) and `HiddenState(h)`. Biases are zero.

    Raises:
        ValueError: a size is not a whole number, 1 or more.

    Notes:
        As in the paper, z is the share that is replaced, so a negative bias remembers.

    Example:
        With all weights zero, the step Jacobian is I/2.

        >>> unit = lg.cells.min_gru(2, 3)
        >>> lg.chain(unit.model(unit.init(jax.random.key(0))), inputs).trajectory.states.h.shape[0]
        7

    References:
        Feng et al. 2024 (arXiv:2410.01201), Section 3.1.
    """
    d, h = check_sizes(input_size, hidden_size)

    @public
    def init(key: PRNGKeyArray) -> MinGRUParams:
        kind = resolve_dtype(dtype)
        return MinGRUParams(init_stacked(GLOROT, key, 2, (h, d), kind), jnp.zeros(2 * h, kind))

    def initial_state() -> HiddenState:
        return zero_state(HiddenState, h, dtype)

    return Cell(init, initial_state, min_gru_step, diagonal=True)


def min_gru_step(params: MinGRUParams, state: HiddenState, x: Float[Array, " d"]) -> HiddenState:
    """One step of the minGRU.

    Args:
        params: stacked in the order z, n.
        state: h, (h,).
        x: (d,).
    """
    z, n = jnp.split(params.weight_ih @ x + params.bias, 2)
    z = jax.nn.sigmoid(z)
    return HiddenState((1 - z) * tag(state.h, "carry") + z * n)


@public
def min_lstm(input_size: int, hidden_size: int, *, dtype=None) -> Cell:
    """Returns a minLSTM: gates that add up to 1 and do not look at the state, which is h alone.

    Args:
        input_size: d.
        hidden_size: h.
        dtype: the dtype of parameters and state; None is JAX's default float.

    Returns:
        `Cell` with `MinLSTMParams` (order i, f, n) and `HiddenState(h)`. Biases are zero.

    Raises:
        ValueError: a size is not a whole number, 1 or more.

    Notes:
        f/(f + i) is computed as σ(ln f - ln i), which is right even where both gates underflow.

    Example:
        With all weights zero, the step Jacobian is I/2.

        >>> unit = lg.cells.min_lstm(2, 3)
        >>> lg.chain(unit.model(unit.init(jax.random.key(0))), inputs).trajectory.states.h.shape[0]
        7

    References:
        Feng et al. 2024 (arXiv:2410.01201), Section 3.2.
    """
    d, h = check_sizes(input_size, hidden_size)

    @public
    def init(key: PRNGKeyArray) -> MinLSTMParams:
        kind = resolve_dtype(dtype)
        return MinLSTMParams(init_stacked(GLOROT, key, 3, (h, d), kind), jnp.zeros(3 * h, kind))

    def initial_state() -> HiddenState:
        return zero_state(HiddenState, h, dtype)

    return Cell(init, initial_state, min_lstm_step, diagonal=True)


def min_lstm_step(params: MinLSTMParams, state: HiddenState, x: Float[Array, " d"]) -> HiddenState:
    """One step of the minLSTM.

    Args:
        params: stacked in the order i, f, n.
        state: h, (h,).
        x: (d,).
    """
    i, f, n = jnp.split(params.weight_ih @ x + params.bias, 3)
    log_ratio = jax.nn.log_sigmoid(f) - jax.nn.log_sigmoid(i)
    kept, written = jax.nn.sigmoid(log_ratio), jax.nn.sigmoid(-log_ratio)
    return HiddenState(kept * tag(state.h, "carry") + written * n)
