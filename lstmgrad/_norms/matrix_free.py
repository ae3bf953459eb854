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

from lstmgrad._calls import public
from lstmgrad._chains.base import Chain, check_stored
from lstmgrad._chains.blocks import Block, block_between
from lstmgrad._chains.sweeps import Renew, read_nothing, sweep_backward, sweep_forward
from lstmgrad._checks import check_count, check_positive
from lstmgrad._compile import compiled
from lstmgrad._leaves import shown
from lstmgrad._norms.reading import diagonal_norms, read_norms, within_range
from lstmgrad._norms.records import NormProfile
from lstmgrad._numeric.krylov import CAPACITY, dominant, start_frame
from lstmgrad._numeric.rows import Watch, log_size, start_rows, watch_range
from lstmgrad._numeric.scaled import Scaled, exponent_of, log_of, norm_of, normalize, widen
from lstmgrad._numeric.tracked import NormReading
from lstmgrad._types import PartName

STEPS_FROM_RANDOM = 24
"""Refinements of a lag before its error estimate is believed: a singular vector that the search has
hardly met leaves no trace in a residual."""


@public
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
        `NormProfile` at the given lags. Without the rows of a matrix to look at, its errors are
        estimates, from the residuals in the Krylov space of a random direction (`certified` is
        False), unless `of` has at most `min_steps` coordinates. After k steps in n dimensions the
        norm is below 1 - ε of the true one with a probability of at most
        1.65 √n exp(-√(2ε) (2k - 1)): for the 21 steps that the default leaves to the random
        direction and n = 1000, below 0.9 with 1e-6, below 0.99 with 0.2.

    Raises:
        ValueError: lags not increasing, or outside 0..T; an unknown part; `rtol` not above zero;
            a stream.

    Notes:
        A lag that converges costs `min_steps` pulls and pushes of one vector; O(n) memory beyond
        the chain, whose states take O(T n). Each distinct lag compiles anew.

    Example:
        For small states it agrees with `backward_norms` at the same lags, to `rtol`.

        >>> chosen = lg.matrix_free_norms(chain, [2, 6])
        >>> exact = lg.backward_norms(chain).log_norms[chosen.lags]
        >>> bool(jnp.allclose(chosen.log_norms, exact, atol=1e-3))
        True

    References:
        Golub & Kahan 1965; Golub & Van Loan, Matrix Computations, Section 10.4. Kuczyński &
        Woźniakowski 1992 (SIAM J. Matrix Anal. Appl. 13, 1094), Theorem 4.1.
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
    gains, copies = block.chain.log_gains(), block.chain.copies()
    known = not block.connected or gains is not None or copies is not None
    if copies is not None and block.connected:
        # So few coordinates that all of them are carried.
        tail = block._replace(chain=block.chain[len(chain) - lags[-1] :])
        reading = read_norms(tail, 1, rtol, fixed="end")
        log_norms, errors = (values[jnp.asarray(lags)] for values in reading)
    elif known:
        log_norms = jnp.full(len(chain) + 1, -jnp.inf, dtype)
        log_norms = log_norms.at[0].set(0.0 if block.shared else -jnp.inf)
        if gains is not None and block.connected:
            log_norms = log_norms.at[1:].set(diagonal_norms(gains[::-1], block, 1).log_norm)
        log_norms = log_norms[jnp.asarray(lags)]
        errors = jnp.where(jnp.isnan(log_norms), log_norms, jnp.zeros_like(log_norms))
    else:
        log_norms, errors = _search(block, lags, dtype, rtol, min_steps, max_steps)
    # Known without a search: the identity, and zeros before any path arrives.
    zero, first = block.is_zero(np.asarray(lags)), np.equal(lags, 0)
    log_norms = jnp.where(first, 0.0, log_norms)
    return NormProfile(
        lags=jnp.asarray(lags),
        log_norms=jnp.where(zero, -jnp.inf, log_norms),
        errors=jnp.where(zero | first, 0.0, errors),
        of=of,
        wrt=wrt,
        fixed="end",
        rtol=rtol,
        # A space of as many directions as there are rows leaves nothing out.
        certified=known or block.rows.stop - block.rows.start <= min(min_steps, max_steps),
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
        # One power of two brings the operator to the size of 1, so that it can be squared. The old
        # vectors may miss all that is left of it, a random one does not.
        starts = jnp.concatenate([frame, start_frame(size, dtype)])
        pulled = _pull(constant, starts)[1]
        seen = normalize(Scaled(pulled.mantissa[:, block.columns], pulled.exponent))
        scale = 2 * jnp.max(jax.vmap(exponent_of)(seen))

        def gram(x: Array, block: Block = constant, scale: Array = scale) -> Array:
            _, back = _push(block, _pull(block, x[None])[1])
            return Scaled(back.mantissa[0, block.rows], back.exponent[0] - scale).to_array()

        with jax.default_matmul_precision("highest"):
            leading = dominant(
                gram,
                frame,
                rtol,
                min_steps=min_steps,
                max_steps=max_steps,
                capacity=max(CAPACITY, min(min_steps, size) + 1),
            )
        # Where all that is read is zero there are no vectors. The old ones show whether the whole
        # product is, or whether the block lies below the range beside the rest of it.
        found = leading.vectors
        # A part of the product that the first look did not see may leave the range in the search.
        broken = ~jnp.all(jnp.isfinite(found)) & jnp.all(jnp.isfinite(seen.mantissa))
        frame = jnp.where(jnp.any(found[0] != 0) & ~broken, found, frame)
        last = jnp.concatenate([frame[:1], starts[-1:]])
        watch, rows = _pull(tail, last, watch_range)
        right = normalize(Scaled(rows.mantissa[0, block.columns], rows.exponent[0]))
        reading = NormReading(log_of(norm_of(right.mantissa), right.exponent), leading.error)
        reading = within_range(reading, watch, rows, block.columns)
        # What the search saw is also what came back: neither way may have lost what matters.
        _, back = _push(constant, jax.lax.stop_gradient(rows), watch_range)
        loss = log_size(Scaled(back.mantissa[-1, block.rows], back.exponent[-1]))
        share = jnp.exp(loss - 2 * jax.lax.stop_gradient(reading.log_norm))
        error = jnp.where(broken | (share > rtol), jnp.inf, reading.error)
        log_norms.append(reading.log_norm)
        errors.append(error)
    return jnp.stack(log_norms), jnp.stack(errors)


def _pull(
    block: Block, x: Float[Array, "m n_of"], renew: Renew | None = None
) -> tuple[Watch, Scaled]:
    """All of x ds_T/ds_k, row by row and a probe behind them; the block's columns are wanted."""
    layout = block.chain.layout
    rows = jnp.zeros((len(x), layout.size), layout.dtype).at[:, block.rows]
    watch, start = start_rows(rows.set(x.astype(layout.dtype)))
    chain = check_stored(block.chain)
    ((_, moved), watch), _ = sweep_backward(chain, start, read_nothing, watch, renew=renew)
    return watch, Scaled(widen(moved.mantissa), moved.exponent)


def _push(block: Block, cotangents: Scaled, renew: Renew | None = None) -> tuple[Watch, Scaled]:
    """All of ds_T/ds_k y and a probe, for the y in the block's columns of what was pulled."""
    layout, columns = block.chain.layout, block.columns
    mantissa = cotangents.mantissa.astype(layout.dtype)
    watch, _ = start_rows(mantissa[:-1])
    start = Scaled(
        jnp.zeros_like(mantissa).at[:, columns].set(mantissa[:, columns]), cotangents.exponent
    )
    ((_, moved), watch), _ = sweep_forward(
        block.chain, normalize(start), read_nothing, watch, renew=renew
    )
    return watch, Scaled(widen(moved.mantissa), moved.exponent)


def _check_lags(values: Any, length: int) -> tuple[int, ...]:
    """Increasing lags in 0..T; returns them as Python ints."""
    try:
        lags = tuple(operator.index(value) for value in values)
    except TypeError:
        lags = ()
    if not lags or list(lags) != sorted(set(lags)) or lags[0] < 0 or lags[-1] > length:
        raise ValueError(
            f"lags: expected increasing whole numbers from 0 to T = {length}, but got "
            f"{shown(values)}."
        )
    return lags
