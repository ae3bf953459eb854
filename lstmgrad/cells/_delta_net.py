"""DeltaNet and Gated DeltaNet: a matrix memory that is corrected, and not only added to.

    q, k, v = SiLU(W_· x),   q and k divided by their length
    DeltaNet          β = σ(w_β·x),      S' = S (I - β k kᵀ) + β v kᵀ,      h' = S' q
    Gated DeltaNet    the same with α = exp(-exp(a_log) softplus(w_α·x + b_α)) in front of S:
                                         S' = S α (I - β k kᵀ) + β v kᵀ

What S recalls for k is replaced by v, by the share β. The step Jacobian of S is α (I - β k kᵀ),
which acts on every row of S alike: use `lg.linearize_one_sided`. Two routes make it up: "carry",
α I, which is what the gate says, and "erase", -α β k kᵀ, which is what the keys take away.
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
    check_sizes,
    init_stacked,
    init_time_step,
)

EPSILON = 1e-6
"""What is added to the square of a length before it divides, as in the authors' code."""


class DeltaNetParams(NamedTuple):
    """The parameters of one head.

    Attributes:
        weight_ih: (3h, d), of query, key and value, stacked in the order q, k, v.
        weight_beta: (d,), w_β.
    """

    weight_ih: Float[Array, "3*h d"]
    weight_beta: Float[Array, " d"]


class GatedDeltaNetParams(NamedTuple):
    """The parameters of one head.

    Attributes:
        weight_ih: (3h, d), of query, key and value, stacked in the order q, k, v.
        weight_beta: (d,), w_β.
        weight_alpha: (d,), w_α.
        bias_alpha: (), b_α.
        a_log: (), the logarithm of what multiplies the softplus.
    """

    weight_ih: Float[Array, "3*h d"]
    weight_beta: Float[Array, " d"]
    weight_alpha: Float[Array, " d"]
    bias_alpha: Float[Array, ""]
    a_log: Float[Array, ""]


class MatrixState(NamedTuple):
    """Attributes: h (h,), the output, which no step reads; s (h, h), S, values by keys."""

    h: Float[Array, " h"]
    s: Float[Array, "h h"]


@public
def delta_net(input_size: int, hidden_size: int, *, dtype=None) -> Cell:
    """Returns a head of a DeltaNet: linear attention whose memory follows the delta rule.

    Args:
        input_size: d.
        hidden_size: h, the size of queries, keys and values; the memory is (h, h).
        dtype: the dtype of parameters and state; None is JAX's default float.

    Returns:
        `Cell` with `DeltaNetParams` (order q, k, v) and `MatrixState(h, s)`, n = h² + h flat
        coordinates.

    Raises:
        ValueError: a size is not a whole number, 1 or more.

    Notes:
        The short convolutions in time, the division of queries by √h and the normalization of the
        output, all in the authors' code, are left to the model.

    Example:
        Where β is 1, what is written under a key is read with the same query: h' = v.

        >>> unit = lg.cells.delta_net(2, 3)
        >>> lg.chain(unit.model(unit.init(jax.random.key(0))), inputs).trajectory.states.h.shape[0]
        7

    References:
        Yang et al. 2024 (arXiv:2406.06484), Section 2.2. Schlag, Irie & Schmidhuber 2021
        (arXiv:2102.11174), Section 4.2.
    """
    d, h = check_sizes(input_size, hidden_size)

    @public
    def init(key: PRNGKeyArray) -> DeltaNetParams:
        return DeltaNetParams(*_init_reading(key, d, h, resolve_dtype(dtype)))

    return Cell(init, lambda: zero_matrix(h, dtype), delta_net_step, one_sided=True)


def delta_net_step(
    params: DeltaNetParams, state: MatrixState, x: Float[Array, " d"]
) -> MatrixState:
    """One step of the DeltaNet.

    Args:
        params: stacked in the order q, k, v.
        state: (h, s).
        x: (d,).
    """
    q, k, v = query_key_value(params.weight_ih, x)
    beta = jax.nn.sigmoid(params.weight_beta @ x)
    s = delta_rule(state.s, k, v, beta)
    return MatrixState(s @ q, s)


@public
def gated_delta_net(input_size: int, hidden_size: int, *, dtype=None) -> Cell:
    """Returns a head of a Gated DeltaNet: the delta rule on a memory that also fades.

    Args:
        input_size: d.
        hidden_size: h, the size of queries, keys and values; the memory is (h, h).
        dtype: the dtype of parameters and state; None is JAX's default float.

    Returns:
        `Cell` with `GatedDeltaNetParams` (order q, k, v) and `MatrixState(h, s)`, n = h² + h flat
        coordinates. exp(a_log) is uniform in [1, 16] and softplus(b_α) log-uniform in [0.001, 0.1].

    Raises:
        ValueError: a size is not a whole number, 1 or more.

    Notes:
        α is parametrized as in Mamba-2, as in the authors' code. What `delta_net` leaves to the
        model is left to it here, too.

    Example:
        ``lg.routes(chain)["carry"]`` has the product of the α, what the gate alone would keep.

        >>> unit = lg.cells.gated_delta_net(2, 3)
        >>> lg.chain(unit.model(unit.init(jax.random.key(0))), inputs).trajectory.states.h.shape[0]
        7

    References:
        Yang, Kautz & Hatamizadeh 2025 (arXiv:2412.06464), Section 3.1, Eq. 10.
    """
    d, h = check_sizes(input_size, hidden_size)

    @public
    def init(key: PRNGKeyArray) -> GatedDeltaNetParams:
        kind = resolve_dtype(dtype)
        key_reading, key_alpha, key_time, key_a = jax.random.split(key, 4)
        return GatedDeltaNetParams(
            *_init_reading(key_reading, d, h, kind),
            init_stacked(GLOROT, key_alpha, 1, (1, d), kind)[0],
            init_time_step(key_time, (), kind),
            jnp.log(jax.random.uniform(key_a, (), kind, 1.0, 16.0)),
        )

    return Cell(init, lambda: zero_matrix(h, dtype), gated_delta_net_step, one_sided=True)


def gated_delta_net_step(
    params: GatedDeltaNetParams, state: MatrixState, x: Float[Array, " d"]
) -> MatrixState:
    """One step of the Gated DeltaNet.

    Args:
        params: stacked in the order q, k, v.
        state: (h, s).
        x: (d,).
    """
    q, k, v = query_key_value(params.weight_ih, x)
    beta = jax.nn.sigmoid(params.weight_beta @ x)
    delta = jax.nn.softplus(params.weight_alpha @ x + params.bias_alpha)
    s = delta_rule(state.s, k, v, beta, jnp.exp(-jnp.exp(params.a_log) * delta))
    return MatrixState(s @ q, s)


def delta_rule(
    s: Float[Array, "*heads v k"],
    key: Float[Array, "*heads k"],
    value: Float[Array, "*heads v"],
    beta: Float[Array, "*heads"],
    alpha: Float[Array, "*heads"] | float = 1.0,
) -> Float[Array, "*heads v k"]:
    """S α (I - β k kᵀ) + β v kᵀ, of any number of heads at once.

    Args:
        s: the memory, values by keys.
        key: k, of length 1 where S is to forget no more than it is told.
        value: v.
        beta: the share that is replaced.
        alpha: the share of the memory that is kept besides.
    """
    alpha = jnp.asarray(alpha, s.dtype)[..., None, None]
    recalled = tag(alpha[..., 0] * jnp.einsum("...vk,...k->...v", s, key), "erase")
    written = beta[..., None] * (value - recalled)
    return alpha * tag(s, "carry") + written[..., :, None] * key[..., None, :]


def query_key_value(weight: Float[Array, "rows d"], x: Float[Array, " d"]):
    """SiLU of the projections; query and key of length 1.

    Args:
        weight: stacked in the order q, k, v.
        x: (d,).
    """
    q, k, v = jnp.split(jax.nn.silu(weight @ x), 3)
    return unit_length(q), unit_length(k), v


def unit_length(x: Float[Array, "*heads h"]) -> Float[Array, "*heads h"]:
    """Vectors divided by their length; zero stays zero.

    Args:
        x: the last axis is that of the vectors.
    """
    return x * jax.lax.rsqrt(jnp.sum(x * x, axis=-1, keepdims=True) + EPSILON)


def zero_matrix(h: int, dtype) -> MatrixState:
    """The state at the start.

    Args:
        h: the size of keys and values.
        dtype: of both parts; None is JAX's default float.
    """
    kind = resolve_dtype(dtype)
    return MatrixState(jnp.zeros(h, kind), jnp.zeros((h, h), kind))


def _init_reading(key: PRNGKeyArray, d: int, h: int, kind) -> tuple[Array, Array]:
    """The weights of query, key and value, and those of β."""
    key_ih, key_beta = jax.random.split(key)
    weight = init_stacked(GLOROT, key_ih, 3, (h, d), kind)
    return weight, init_stacked(GLOROT, key_beta, 1, (1, d), kind)[0]
