"""A diagonal state-space model whose time step and input matrix depend on the input (S6, Mamba).

    u = W x + b,    Δ = softplus(W_Δ u + b_Δ),    B = W_B u,    A = -exp(a_log)
    h' = exp(Δ A) ⊙ h + (exp(Δ A) - 1)/A ⊙ (u Bᵀ)

Each of the h channels has N numbers of state: h and A are (h, N), u and Δ are (h,), B is (N,).
Nothing but the first factor meets h, so the step Jacobian is diag exp(Δ A): use
`lg.linearize_diagonal`.
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


class SelectiveSSMParams(NamedTuple):
    """A channel keeps exp(Δ A), where Δ says how much time an input takes.

    Attributes:
        weight_ih: (h, d), the projection of the input.
        bias: (h,).
        weight_delta: (h, h), W_Δ.
        bias_delta: (h,), b_Δ.
        weight_b: (N, h), W_B.
        a_log: (h, N), A = -exp(a_log).
    """

    weight_ih: Float[Array, "h d"]
    bias: Float[Array, " h"]
    weight_delta: Float[Array, "h h"]
    bias_delta: Float[Array, " h"]
    weight_b: Float[Array, "N h"]
    a_log: Float[Array, "h N"]


class SelectiveSSMState(NamedTuple):
    """Attributes: h (h, N), the state of every channel."""

    h: Float[Array, "h N"]


@public
def selective_ssm(input_size: int, hidden_size: int, *, state_size: int = 16, dtype=None) -> Cell:
    """Returns the recurrence of a diagonal selective state-space model.

    Args:
        input_size: d.
        hidden_size: h, the channels.
        state_size: N, the numbers of state per channel.
        dtype: the dtype of parameters and state; None is JAX's default float.

    Returns:
        `Cell` with `SelectiveSSMParams` and `SelectiveSSMState(h)`, whose h is (h, N). In every
        channel A starts as -1, -2, ..., -N; softplus(b_Δ) is log-uniform in [0.001, 0.1].

    Raises:
        ValueError: a size is not a whole number, 1 or more.

    Notes:
        The discretization is the zero-order hold of the paper; its code replaces
        (exp(Δ A) - 1)/A by Δ, which leaves the step Jacobian as it is. W_Δ has full rank. The
        projection of the Mamba block is included; its convolution, its gate and the output
        y = h C + D u are left to the model.

    Example:
        At u = 0, the step Jacobian is exp(-softplus(b_Δ) j) for the j-th number of a channel.

        >>> unit = lg.cells.selective_ssm(2, 3)
        >>> lg.chain(unit.model(unit.init(jax.random.key(0))), inputs).trajectory.states.h.shape[0]
        7

    References:
        Gu & Dao 2023 (arXiv:2312.00752), Eqs. 2a and 4, Algorithm 2.
    """
    d, h = check_sizes(input_size, hidden_size)
    size = check_count(state_size, "state_size")

    @public
    def init(key: PRNGKeyArray) -> SelectiveSSMParams:
        kind = resolve_dtype(dtype)
        key_ih, key_delta, key_b, key_time = jax.random.split(key, 4)
        return SelectiveSSMParams(
            init_stacked(GLOROT, key_ih, 1, (h, d), kind),
            jnp.zeros(h, kind),
            init_stacked(GLOROT, key_delta, 1, (h, h), kind),
            init_time_step(key_time, (h,), kind),
            init_stacked(GLOROT, key_b, 1, (size, h), kind),
            jnp.tile(jnp.log(jnp.arange(1, size + 1, dtype=kind)), (h, 1)),
        )

    def initial_state() -> SelectiveSSMState:
        return zero_state(SelectiveSSMState, (h, size), dtype)

    return Cell(init, initial_state, selective_ssm_step, diagonal=True)


def selective_ssm_step(
    params: SelectiveSSMParams, state: SelectiveSSMState, x: Float[Array, " d"]
) -> SelectiveSSMState:
    """One step of the selective state-space model.

    Args:
        params: the parameters of projection, time step and state-space model.
        state: h, (h, N).
        x: (d,).
    """
    u = params.weight_ih @ x + params.bias
    delta = jax.nn.softplus(params.weight_delta @ u + params.bias_delta)
    a = -jnp.exp(params.a_log)
    exponent = delta[:, None] * a
    written = jnp.expm1(exponent) / a * jnp.outer(u, params.weight_b @ u)
    return SelectiveSSMState(jnp.exp(exponent) * tag(state.h, "carry") + written)
