"""The minimal gated unit: a GRU with one gate for both jobs.

f = σ(W_f x + U_f h + b_f),    n = tanh(W_n x + U_n (f ⊙ h) + b_n)
h' = (1 - f) ⊙ h + f ⊙ n
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
    Initializer,
    check_sizes,
    init_weights,
    zero_state,
)


class MGUParams(NamedTuple):
    """Stacked along axis 0 in the order f, n (forget gate, candidate).

    Attributes:
        weight_ih: (2h, d).
        weight_hh: (2h, h).
        bias: (2h,).
    """

    weight_ih: Float[Array, "2*h d"]
    weight_hh: Float[Array, "2*h h"]
    bias: Float[Array, " 2*h"]

    forget_gate = ForgetGate(order="fn", replaced="f")


@public
def mgu(
    input_size: int,
    hidden_size: int,
    *,
    recurrent_init: Initializer = GLOROT,
    dtype=None,
) -> Cell:
    """Returns a minimal gated unit.

    Args:
        input_size: d.
        hidden_size: h.
        recurrent_init: the initializer of each gate's recurrent matrix.
        dtype: the dtype of parameters and state; None is JAX's default float.

    Returns:
        `Cell` with `MGUParams` (order f, n) and `HiddenState(h)`. Biases are zero.

    Raises:
        ValueError: a size is not a whole number, 1 or more.

    Notes:
        As in the paper, f is the share that is replaced, so a negative bias remembers (Flax's
        `MGUCell` exchanges f and 1 - f in its last line). The candidate reads f ⊙ h: what comes
        through that h is the route "candidate", what comes through that f is part of "forget".

    Example:
        With all weights zero, f = 1/2 and n = 0, so the step Jacobian is I/2.

        >>> unit = lg.cells.mgu(2, 3)
        >>> lg.chain(unit.model(unit.init(jax.random.key(0))), inputs).trajectory.states.h.shape[0]
        7

    References:
        Zhou et al. 2016 (arXiv:1603.09420).
    """
    d, h = check_sizes(input_size, hidden_size)

    @public
    def init(key: PRNGKeyArray) -> MGUParams:
        kind = resolve_dtype(dtype)
        return MGUParams(
            *init_weights(key, 2, (d, h), recurrent_init, kind), jnp.zeros(2 * h, kind)
        )

    def initial_state() -> HiddenState:
        return zero_state(HiddenState, h, dtype)

    return Cell(init, initial_state, mgu_step)


def mgu_step(params: MGUParams, state: HiddenState, x: Float[Array, " d"]) -> HiddenState:
    """One step of the minimal gated unit.

    Args:
        params: stacked in the order f, n.
        state: h, (h,).
        x: (d,).
    """
    f_x, n_x = jnp.split(params.weight_ih @ x + params.bias, 2)
    f_h, n_h = jnp.split(params.weight_hh, 2)
    f = tag(jax.nn.sigmoid(f_x + f_h @ state.h), "forget")
    n = jnp.tanh(n_x + n_h @ (f * tag(state.h, "candidate")))
    return HiddenState((1 - f) * tag(state.h, "carry") + f * n)
