"""Norms of states too wide for any n x n array: singular vectors from pushes and pulls alone.

With U = ds_T/ds_k restricted to the blocks asked for, U Uᵀ x is one pull of the cotangent x through
the chain followed by one push of the result back, so the space of `dominant` needs a few
vectors of size n, whatever the product would take.
"""

import operator
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lstmgrad._chains.base import Chain, check_stored
from lstmgrad._chains.blocks import Block, block_between
from lstmgrad._chains.propagate import pull_back, push_forward
from lstmgrad._checks import check_count, check_positive
from lstmgrad._compile import compiled
from lstmgrad._norms.profiles import diagonal_norms, within_range
from lstmgrad._norms.records import NormProfile
from lstmgrad._numeric.krylov import STEPS_FROM_RANDOM, dominant, start_frame
from lstmgrad._numeric.scaled import Scaled, log_of, norm_of, normalize, widen
from lstmgrad._numeric.tracked import NormReading
from lstmgrad._types import PartName


def matrix_free_norms(
    chain: Chain,
    lags: Sequence[int],
    *,
    of: PartName | None = None,
    wrt: PartName | None = None,
    rtol: float | int = 1e-3,
    min_steps: int = STEPS_FROM_RANDOM,
    max_steps: int = 100,
) -> NormProfile:
    """Returns ‖∂s_T/∂s_{T-lag}‖₂ for chosen lags, without any matrix.

    For states of thousands of units, where even one (n_of, n) block of `backward_norms` is too
    large or too slow. The lags are taken in increasing order, each starting from the left singular
    vectors of the one before.

    Args:
        chain: T factors that can be pushed and pulled (not a stream).
        lags: increasing whole numbers, 0 <= lag <= T.
        of: the part of s_T; None is the whole state.
        wrt: the part of s_{T-lag}; None is the whole state.
        rtol: the relative error of a norm at which its refinement stops, above zero.
        min_steps: refinements of each lag before its error estimate is believed. The search starts
            blind, and a singular vector that it has hardly met yet leaves no trace in a residual.
        max_steps: refinements after which a lag is given up, and reported as not resolved. Each
            costs one pull and one push of one vector over the lag.

    Returns:
        `NormProfile` at the given lags. Without the rows of a matrix to look at, the error estimate
        rests on the Krylov space alone: of two singular values that nearly agree, the search may
        settle on the smaller one, by the small difference between them.

    Raises:
        ValueError: lags not increasing, or outside 0..T; an unknown part; `rtol` not above zero;
            a stream.

    Notes:
        A lag that converges costs `min_steps` pulls and pushes of one vector; O(n) memory beyond
        the chain, whose states take O(T n). Each distinct lag compiles anew.

    Example:
        For small states it agrees with `backward_norms` at the same lags, to `rtol`.

    References:
        Golub & Kahan 1965; Golub & Van Loan, Matrix Computations, Section 10.4.
    """
    lags = _check_lags(lags, len(check_stored(chain)))
    return _norms_at(
        chain, lags, of=of, wrt=wrt, rtol=rtol, min_steps=min_steps, max_steps=max_steps
    )


@compiled
def _norms_at(
    chain: Chain, lags: tuple[int, ...], *, of, wrt, rtol, min_steps, max_steps
) -> NormProfile:
    rtol, min_steps = check_positive(rtol, "rtol"), check_count(min_steps, "min_steps", 0)
    max_steps = check_count(max_steps, "max_steps")
    block = block_between(chain, of, wrt)
    # The dtype of the vectors; the chain may be in half precision.
    dtype = widen(jnp.zeros((), chain.layout.dtype)).dtype
    gains = block.chain.log_gains()
    if not block.connected or gains is not None:
        log_norms = jnp.full(len(chain) + 1, -jnp.inf, dtype)
        log_norms = log_norms.at[0].set(0.0 if block.shared else -jnp.inf)
        if gains is not None and block.connected:
            log_norms = log_norms.at[1:].set(diagonal_norms(gains[::-1], block, 1).log_norm)
        log_norms = log_norms[jnp.asarray(lags)]
        errors = jnp.where(jnp.isnan(log_norms), log_norms, jnp.zeros_like(log_norms))
    else:
        log_norms, errors = _search(block, lags, dtype, rtol, min_steps, max_steps)
    zero = block.is_zero(np.asarray(lags))
    return NormProfile(
        lags=jnp.asarray(lags),
        log_norms=jnp.where(zero, -jnp.inf, log_norms),
        errors=jnp.where(zero, 0.0, errors),
        of=of,
        wrt=wrt,
        fixed="end",
        rtol=rtol,
    )


def _search(
    block: Block, lags: tuple[int, ...], dtype: Any, rtol: float, min_steps: int, max_steps: int
) -> tuple[Float[Array, " L"], Float[Array, " L"]]:
    """The logarithms of the norms at the lags, and their errors."""
    size = block.rows.stop - block.rows.start
    frame = start_frame(size, dtype)
    log_norms, errors = [], []
    for lag in lags:
        tail = block._replace(chain=block.chain[len(block.chain) - lag :])
        constant = tail._replace(chain=jax.lax.stop_gradient(tail.chain))
        # One power of two brings the operator to the size of 1, so that it can be squared.
        scale = 2 * _pull(constant, frame[0]).exponent

        def gram(x: Array, block: Block = constant, scale: Array = scale) -> Array:
            back = _push(block, _pull(block, x))
            return Scaled(back.mantissa[block.rows], back.exponent - scale).to_array()

        nothing_known = jnp.zeros(size, dtype)
        with jax.default_matmul_precision("highest"):
            found, error = dominant(gram, nothing_known, frame, rtol, min_steps, max_steps)
        # Where all that is read is zero there are no vectors. The old ones show whether the whole
        # product is, or whether the block lies below the range beside the rest of it.
        frame = jnp.where(jnp.any(found[0] != 0), found, frame)
        pulled = _pull(tail, frame[0])
        right = normalize(Scaled(pulled.mantissa[block.columns], pulled.exponent))
        reading = NormReading(log_of(norm_of(right.mantissa), right.exponent), error)
        row = Scaled(pulled.mantissa[None], pulled.exponent)
        reading = within_range(reading, row, right)
        log_norms.append(reading.log_norm)
        errors.append(reading.error)
    return jnp.stack(log_norms), jnp.stack(errors)


def _pull(block: Block, x: Float[Array, " n_of"]) -> Scaled:
    """All of xᵀ ds_T/ds_k; the block's columns are what is wanted of it."""
    dtype, size = block.chain.layout.dtype, block.chain.layout.size
    pulled = pull_back(block.chain, jnp.zeros(size, dtype).at[block.rows].set(x.astype(dtype)))
    return Scaled(widen(pulled.mantissa), pulled.exponent)


def _push(block: Block, cotangent: Scaled) -> Scaled:
    """All of ds_T/ds_k y, for the y in the block's columns of a pulled cotangent."""
    dtype, size, columns = block.chain.layout.dtype, block.chain.layout.size, block.columns
    tangent = jnp.zeros(size, dtype).at[columns].set(cotangent.mantissa[columns].astype(dtype))
    pushed = push_forward(block.chain, Scaled(tangent, cotangent.exponent))
    return Scaled(widen(pushed.mantissa), pushed.exponent)


def _check_lags(values: Any, length: int) -> tuple[int, ...]:
    """Increasing lags in 0..T; returns them as Python ints."""
    try:
        lags = tuple(operator.index(value) for value in values)
    except TypeError:
        lags = ()
    if not lags or list(lags) != sorted(set(lags)) or lags[0] < 0 or lags[-1] > length:
        raise ValueError(
            f"lags: expected increasing whole numbers from 0 to T = {length}, but got {values!r}."
        )
    return lags
