"""The real-gated linear recurrent unit of Griffin and Hawk.

    u = W x + b,    r, i = σ(W_· u + b_·)
    a = σ(Λ)^(8 r)
    h' = a ⊙ h + √(1 - a²) ⊙ i ⊙ u

The gates do not look at h, so the step Jacobian is diag a: use `lg.linearize_diagonal`.
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
    HiddenState,
    check_sizes,
    init_stacked,
    zero_state,
)

_SHARPNESS = 8.0
"""The paper's constant c, which multiplies the recurrence gate."""


class RGLRUParams(NamedTuple):
    """Gates are stacked along axis 0 in the order r, i (recurrence gate, input gate).

    Attributes:
        weight_ih: (h, d), the projection of the input.
        bias: (h,).
        weight_gates: (2h, h), which act on the projected input.
        bias_gates: (2h,).
        decay: (h,), Λ; σ(Λ)^8 is what an open recurrence gate keeps.
    """

    weight_ih: Float[Array, "h d"]
    bias: Float[Array, " h"]
    weight_gates: Float[Array, "2*h h"]
    bias_gates: Float[Array, " 2*h"]
    decay: Float[Array, " h"]


@public
def rg_lru(input_size: int, hidden_size: int, *, dtype=None) -> Cell:
    """Returns a real-gated linear recurrent unit behind a linear projection of the input.

    Args:
        input_size: d.
        hidden_size: h.
        dtype: the dtype of parameters and state; None is JAX's default float.

    Returns:
        `Cell` with `RGLRUParams` (gate order r, i) and `HiddenState(h)`. Biases are zero, and
        σ(Λ)^8 is uniform in [0.9, 0.999], as in the paper.

    Raises:
        ValueError: a size is not a whole number, 1 or more.

    Notes:
        The projection of Griffin's recurrent block is included, because the unit itself needs
        d = h; its short convolution in time is left out. The matrices of the gates are full.

    Example:
        If u and the biases are zero, r = 1/2 and the step Jacobian is diag σ(Λ)^4.

        >>> unit = lg.cells.rg_lru(2, 3)
        >>> lg.chain(unit.model(unit.init(jax.random.key(0))), inputs).trajectory.states.h.shape[0]
        7

    References:
        De et al. 2024 (arXiv:2402.19427), Section 2.4, Eqs. 1-4.
    """
    d, h = check_sizes(input_size, hidden_size)

    @public
    def init(key: PRNGKeyArray) -> RGLRUParams:
        kind = resolve_dtype(dtype)
        key_ih, key_gates, key_decay = jax.random.split(key, 3)
        left = jax.random.uniform(key_decay, (h,), kind, 0.9, 0.999)
        log_a = jnp.log(left) / _SHARPNESS
        return RGLRUParams(
            init_stacked(GLOROT, key_ih, 1, (h, d), kind),
            jnp.zeros(h, kind),
            init_stacked(GLOROT, key_gates, 2, (h, h), kind),
            jnp.zeros(2 * h, kind),
            log_a - jnp.log(-jnp.expm1(log_a)),
        )

    def initial_state() -> HiddenState:
        return zero_state(HiddenState, h, dtype)

    return Cell(init, initial_state, rg_lru_step, diagonal=True)


def rg_lru_step(params: RGLRUParams, state: HiddenState, x: Float[Array, " d"]) -> HiddenState:
    """One step of the real-gated linear recurrent unit.

    Args:
        params: gates stacked in the order r, i.
        state: h, (h,).
        x: (d,).
    """
    u = params.weight_ih @ x + params.bias
    r, i = jnp.split(jax.nn.sigmoid(params.weight_gates @ u + params.bias_gates), 2)
    log_a = _SHARPNESS * r * jax.nn.log_sigmoid(params.decay)
    written = jnp.sqrt(-jnp.expm1(2 * log_a)) * i * u
    return HiddenState(jnp.exp(log_a) * tag(state.h, "carry") + written)
