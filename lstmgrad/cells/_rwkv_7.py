"""RWKV-7: a matrix memory under a generalized delta rule, with a decay for each of its columns.

    r, k, v = W_· x,   w = exp(-e^(-1/2) σ(W_w x + b_w)),   a = σ(W_a x + b_a)
    κ = k ⊙ ξ divided by its length,                        k̃ = k ⊙ (1 + (a - 1) ⊙ μ)
    S' = S (diag w - κ (a ⊙ κ)ᵀ) + v k̃ᵀ,                    h' = S' r

S keeps each column by the share w, and what it recalls for κ is taken away along a ⊙ κ: the removal
key and the key under which v is written differ, and every channel has its own rate a. The step
Jacobian of S is diag w - κ (a ⊙ κ)ᵀ, which acts on every row of S alike: use
`lg.linearize_one_sided`. Its two terms are the routes "carry" and "erase".
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from lstmgrad._calls import public
from lstmgrad._checks import resolve_dtype
from lstmgrad._tag import tag
from lstmgrad.cells._cell import GLOROT, Cell, check_sizes, init_stacked
from lstmgrad.cells._delta_net import MatrixState, zero_matrix

_FASTEST = math.exp(-0.5)
"""The largest rate of decay: w is at least exp(-0.607) = 0.545."""


class RWKV7Params(NamedTuple):
    """The parameters of one head.

    Attributes:
        weight_ih: (3h, d), stacked in the order r, k, v (receptance, key, value).
        weight_gates: (2h, d), stacked in the order w, a (decay, rate of the removal).
        bias_gates: (2h,).
        removal: (h,), ξ, what makes the removal key out of the key.
        replacement: (h,), μ, how much the rate scales what is written.
    """

    weight_ih: Float[Array, "3*h d"]
    weight_gates: Float[Array, "2*h d"]
    bias_gates: Float[Array, " 2*h"]
    removal: Float[Array, " h"]
    replacement: Float[Array, " h"]


@public
def rwkv_7(input_size: int, hidden_size: int, *, dtype=None) -> Cell:
    """Returns a head of the time mixing of RWKV-7.

    Args:
        input_size: d.
        hidden_size: h, the size of receptances, keys and values; the memory is (h, h).
        dtype: the dtype of parameters and state; None is JAX's default float.

    Returns:
        `Cell` with `RWKV7Params` and `MatrixState(h, s)`, n = h² + h flat coordinates. The biases
        of the decay start between -6 (slow) and -1 (fast) along the channels, ξ at 0.85, μ at 1.

    Raises:
        ValueError: a size is not a whole number, 1 or more.

    Notes:
        The projections of decay and rate have full rank. The shift by one token, the values mixed
        in from the first layer, the bonus of the present token, gate and normalization of the
        output are left to the model.

    Example:
        At zero weights k is 0, and the step Jacobian of S is diag exp(-e^(-1/2)/2).

        >>> unit = lg.cells.rwkv_7(2, 3)
        >>> lg.chain(unit.model(unit.init(jax.random.key(0))), inputs).trajectory.states.h.shape[0]
        7

    References:
        Peng et al. 2025 (arXiv:2503.14456), Section 4.
    """
    d, h = check_sizes(input_size, hidden_size)

    @public
    def init(key: PRNGKeyArray) -> RWKV7Params:
        kind = resolve_dtype(dtype)
        key_ih, key_gates = jax.random.split(key)
        return RWKV7Params(
            init_stacked(GLOROT, key_ih, 3, (h, d), kind),
            init_stacked(GLOROT, key_gates, 2, (h, d), kind),
            jnp.concatenate([jnp.linspace(-6, -1, h, dtype=kind), jnp.zeros(h, kind)]),
            jnp.full(h, 0.85, kind),
            jnp.ones(h, kind),
        )

    return Cell(init, lambda: zero_matrix(h, dtype), rwkv_7_step, one_sided=True)


def rwkv_7_step(params: RWKV7Params, state: MatrixState, x: Float[Array, " d"]) -> MatrixState:
    """One step of the time mixing.

    Args:
        params: stacked in the order r, k, v, and w, a.
        state: (h, s).
        x: (d,).
    """
    r, k, v = jnp.split(params.weight_ih @ x, 3)
    w, a = jnp.split(jax.nn.sigmoid(params.weight_gates @ x + params.bias_gates), 2)
    kappa = _direction(k * params.removal)
    written = k * (1 + (a - 1) * params.replacement)
    recalled = tag(state.s @ kappa, "erase")
    kept = jnp.exp(-_FASTEST * w)[None] * tag(state.s, "carry")
    s = kept - jnp.outer(recalled, a * kappa) + jnp.outer(v, written)
    return MatrixState(s @ r, s)


def _direction(x: Float[Array, " h"]) -> Float[Array, " h"]:
    """The vector divided by its length alone, however short; zero stays zero.

    Unlike `unit_length` it adds nothing to the length, as in the authors' code.
    """
    squared = x @ x
    shortest = jnp.finfo(x.dtype).tiny
    return x * jax.lax.rsqrt(jnp.where(squared > shortest, squared, 1))
