"""An RNN whose recurrent matrix is orthogonal by construction, with modReLU (scoRNN).

    Q = (I + A)⁻¹ (I - A),  A = (U - Uᵀ)/2
    h' = φ(W x + Q h),      φ(y) = y + b sign y where |y| + b >= 0, and 0 elsewhere

The Cayley transform of a skew-symmetric A is orthogonal up to rounding, whatever U is, so the
gradient is lost only where φ is zero.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from lstmgrad._calls import public
from lstmgrad._checks import check_full_float, resolve_dtype
from lstmgrad._tag import tag
from lstmgrad.cells._cell import (
    GLOROT,
    Cell,
    HiddenState,
    Initializer,
    check_sizes,
    init_weights,
    zero_state,
)


class OrthogonalRNNParams(NamedTuple):
    """Attributes: weight_ih (h, d) is W, weight_hh (h, h) is U, bias (h,) is b of modReLU."""

    weight_ih: Float[Array, "h d"]
    weight_hh: Float[Array, "h h"]
    bias: Float[Array, " h"]


@public
def orthogonal_rnn(
    input_size: int,
    hidden_size: int,
    *,
    recurrent_init: Initializer = GLOROT,
    dtype=None,
) -> Cell:
    """Returns a recurrent cell with an orthogonal recurrent matrix.

    Args:
        input_size: d.
        hidden_size: h.
        recurrent_init: the initializer of U; only the antisymmetric part of U counts.
        dtype: the dtype of parameters and state; None is JAX's default float.

    Returns:
        `Cell` with `OrthogonalRNNParams` and `HiddenState(h)`. b is zero, so φ is the identity.

    Raises:
        ValueError: a size is not a whole number, 1 or more; the dtype is neither float32 nor
            float64.

    Notes:
        Each step solves one linear system of size h. Without the paper's fixed diagonal of signs,
        Q has no eigenvalue -1 (it comes close to one as U grows).

    Example:
        With b = 0 every singular value of every ds_t/ds_k is 1.

        >>> unit = lg.cells.orthogonal_rnn(2, 3)
        >>> lg.chain(unit.model(unit.init(jax.random.key(0))), inputs).trajectory.states.h.shape[0]
        7

    References:
        Helfrich, Willmott & Ye 2018 (arXiv:1707.09520), Section 3; Arjovsky, Shah & Bengio 2016
        (arXiv:1511.06464) for modReLU.
    """
    d, h = check_sizes(input_size, hidden_size)
    check_full_float(dtype, "dtype")

    @public
    def init(key: PRNGKeyArray) -> OrthogonalRNNParams:
        kind = resolve_dtype(dtype)
        return OrthogonalRNNParams(
            *init_weights(key, 1, (d, h), recurrent_init, kind), jnp.zeros(h, kind)
        )

    def initial_state() -> HiddenState:
        return zero_state(HiddenState, h, dtype)

    return Cell(init, initial_state, orthogonal_rnn_step)


def orthogonal_rnn_step(
    params: OrthogonalRNNParams, state: HiddenState, x: Float[Array, " d"]
) -> HiddenState:
    """One step of the orthogonal RNN.

    Args:
        params: W, U and the bias of modReLU.
        state: h, (h,).
        x: (d,).
    """
    skew = (params.weight_hh - params.weight_hh.T) / 2
    eye = jnp.eye(skew.shape[0], dtype=skew.dtype)
    turned = jnp.linalg.solve(eye + skew, state.h - skew @ state.h)
    drive = tag(params.weight_ih @ x + turned, "recurrent")
    # Not sign(y) · relu(|y| + b), which has slope 0 at y = 0 even for b = 0. NaN stays NaN.
    closed = jnp.abs(drive) + params.bias < 0
    return HiddenState(jnp.where(closed, 0, drive + params.bias * jnp.sign(drive)))
