"""The recurrence of Mamba-2 (state-space duality, SSD): one decay for all numbers of a head.

    u = W x + b,    Δ = softplus(W_Δ x + b_Δ),    B = W_B x,    a = exp(-exp(a_log) Δ)
    h' = a h + Δ u Bᵀ

Each of the h channels has N numbers of state, and the channels are in heads, which have one Δ and
one a each: h is (h, N), u (h,), B (N,). Nothing but a meets h, so the step Jacobian is diagonal:
use `lg.linearize_diagonal`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from lstmgrad._calls import public
from lstmgrad._checks import check_count, resolve_dtype
from lstmgrad._tag import tag
from lstmgrad.cells._cell import (
    GLOROT,
    Cell,
    check_sizes,
    init_stacked,
    init_time_step,
    zero_state,
)
from lstmgrad.cells._selective_ssm import SelectiveSSMState


class Mamba2Params(NamedTuple):
    """Of H heads, which share B.

    Attributes:
        weight_ih: (h, d), the projection of the input.
        bias: (h,).
        weight_delta: (H, d), W_Δ.
        bias_delta: (H,), b_Δ.
        weight_b: (N, d), W_B.
        a_log: (H,), the logarithm of the rate of decay.
    """

    weight_ih: Float[Array, "h d"]
    bias: Float[Array, " h"]
    weight_delta: Float[Array, "H d"]
    bias_delta: Float[Array, " H"]
    weight_b: Float[Array, "N d"]
    a_log: Float[Array, " H"]


@public
def mamba_2(
    input_size: int, hidden_size: int, *, state_size: int = 16, num_heads: int = 1, dtype=None
) -> Cell:
    """Returns the recurrence of Mamba-2, a selective state-space model with scalar decays.

    Args:
        input_size: d.
        hidden_size: h, the channels of all heads.
        state_size: N, the numbers of state per channel.
        num_heads: H, which divides h.
        dtype: the dtype of parameters and state; None is JAX's default float.

    Returns:
        `Cell` with `Mamba2Params` and `SelectiveSSMState(h)`, whose h is (h, N), the channels of
        the first head first. exp(a_log) is uniform in [1, 16], softplus(b_Δ) log-uniform in
        [0.001, 0.1].

    Raises:
        ValueError: a size is not a whole number, 1 or more; the heads do not divide the channels.

    Notes:
        The block's convolution in time, its gate and the output y = h C + D u are left to the
        model.

    Example:
        Over T steps the norm of the product is exp(-exp(a_log) Σ Δ), of the slowest head.

        >>> unit = lg.cells.mamba_2(2, 3)
        >>> lg.chain(unit.model(unit.init(jax.random.key(0))), inputs).trajectory.states.h.shape[0]
        7

    References:
        Dao & Gu 2024 (arXiv:2405.21060), Sections 2.4 and 7.
    """
    d, h = check_sizes(input_size, hidden_size)
    size, heads = check_count(state_size, "state_size"), check_count(num_heads, "num_heads")
    if h % heads:
        raise ValueError(
            f"num_heads: expected a divisor of hidden_size = {h}, because all heads have equally "
            f"many channels, but got {heads}."
        )

    @public
    def init(key: PRNGKeyArray) -> Mamba2Params:
        kind = resolve_dtype(dtype)
        key_ih, key_delta, key_b, key_time, key_a = jax.random.split(key, 5)
        return Mamba2Params(
            init_stacked(GLOROT, key_ih, 1, (h, d), kind),
            jnp.zeros(h, kind),
            init_stacked(GLOROT, key_delta, 1, (heads, d), kind),
            init_time_step(key_time, (heads,), kind),
            init_stacked(GLOROT, key_b, 1, (size, d), kind),
            jnp.log(jax.random.uniform(key_a, (heads,), kind, 1.0, 16.0)),
        )

    def initial_state() -> SelectiveSSMState:
        return zero_state(SelectiveSSMState, (h, size), dtype)

    return Cell(init, initial_state, mamba_2_step, diagonal=True)


def mamba_2_step(
    params: Mamba2Params, state: SelectiveSSMState, x: Float[Array, " d"]
) -> SelectiveSSMState:
    """One step of the recurrence of Mamba-2.

    Args:
        params: the parameters of projection, time step and state-space model.
        state: h, (h, N).
        x: (d,).
    """
    u = params.weight_ih @ x + params.bias
    delta = jax.nn.softplus(params.weight_delta @ x + params.bias_delta)
    channels = u.size // delta.size
    kept = jnp.repeat(jnp.exp(-jnp.exp(params.a_log) * delta), channels)
    written = jnp.outer(jnp.repeat(delta, channels) * u, params.weight_b @ x)
    return SelectiveSSMState(kept[:, None] * tag(state.h, "carry") + written)
