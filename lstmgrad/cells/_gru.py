"""The gated recurrent unit in its reset-after form.

r, z = σ(W_· x + b_· + U_· h),   n = tanh(W_n x + b_n' + r ⊙ (U_n h + b_n))
h' = n + z ⊙ (h - n) = (1 - z) ⊙ n + z ⊙ h
"""

from collections.abc import Callable
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


class GRUParams(NamedTuple):
    """Gates are stacked along axis 0 in the order r, z, n (reset, update, candidate).

    Attributes:
        weight_ih: (3h, d).
        weight_hh: (3h, h).
        bias: (3h,), outside the reset gate's product.
        bias_n: (h,), the candidate's second bias, inside r ⊙ (U_n h + b_n).
    """

    weight_ih: Float[Array, "3*h d"]
    weight_hh: Float[Array, "3*h h"]
    bias: Float[Array, " 3*h"]
    bias_n: Float[Array, " h"]

    forget_gate = ForgetGate(order="rzn", kept="z")


class GRUState(NamedTuple):
    """Attributes: h (h,), the hidden state, which is also the output."""

    h: Float[Array, " h"]


@public
def gru(
    input_size: int,
    hidden_size: int,
    *,
    recurrent_init: Initializer = GLOROT,
    dtype=None,
) -> Cell:
    """Returns a gated recurrent unit, reset-after form (as in PyTorch, Equinox and cuDNN).

    Args:
        input_size: d.
        hidden_size: h.
        recurrent_init: the initializer of each gate's recurrent matrix.
        dtype: the dtype of parameters and state; None is JAX's default float.

    Returns:
        `Cell` with `GRUParams` (gate order r, z, n) and `GRUState(h)`. Input weights are Glorot
        normal gate by gate, biases zero.

    Raises:
        ValueError: a size is not a whole number, 1 or more.

    Example:
        With all weights zero, z = 1/2 and n = 0, so the step Jacobian is I/2.

        >>> unit = lg.cells.gru(2, 3)
        >>> lg.chain(unit.model(unit.init(jax.random.key(0))), inputs).trajectory.states.h.shape[0]
        7

    References:
        Cho et al. 2014 (arXiv:1406.1078), whose z is 1 - z here; Keras and cuDNN for reset-after.
    """
    d, h = check_sizes(input_size, hidden_size)

    @public
    def init(key: PRNGKeyArray) -> GRUParams:
        kind = resolve_dtype(dtype)
        return GRUParams(
            *init_weights(key, 3, (d, h), recurrent_init, kind),
            jnp.zeros(3 * h, kind),
            jnp.zeros(h, kind),
        )

    def initial_state() -> GRUState:
        return zero_state(GRUState, h, dtype)

    return Cell(init, initial_state, gru_step)


def gru_step(params: GRUParams, state: GRUState, x: Float[Array, " d"]) -> GRUState:
    """One step of the GRU.

    Args:
        params: gates stacked in the order r, z, n.
        state: h, (h,).
        x: (d,).
    """
    return gru_after(params, state, x, jnp.tanh, jax.nn.sigmoid)


def gru_after(
    params: GRUParams,
    state: GRUState,
    x: Float[Array, " d"],
    activation: Callable[[Array], Array],
    gate: Callable[[Array], Array],
) -> GRUState:
    """The state after one step, with any functions in place of tanh and σ.

    Args:
        params: gates stacked in the order r, z, n.
        state: h, (h,).
        x: (d,).
        activation: in place of tanh.
        gate: in place of σ.
    """
    r_x, z_x, n_x = jnp.split(params.weight_ih @ x + params.bias, 3)
    r_h, z_h, n_h = jnp.split(params.weight_hh @ state.h, 3)
    r, z = gate(r_x + r_h), gate(z_x + z_h)
    n = activation(n_x + r * (n_h + params.bias_n))
    return GRUState(gru_update(n, z, state.h))


def gru_update(n: Array, z: Array, h: Array) -> Array:
    """The hidden state after one step, (1 - z) ⊙ n + z ⊙ h.

    Args:
        n: the candidate.
        z: the update gate, the share of h that is kept.
        h: before the step.
    """
    n, z, h = tag(n, "candidate"), tag(z, "update"), tag(h, "carry")
    return n + z * (h - n)
