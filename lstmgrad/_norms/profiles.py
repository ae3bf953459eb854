"""How far the gradient reaches: spectral norms of ds_t/ds_k over every lag t-k.

backward_norms  ‖∂s_T/∂s_k‖₂ for k = T, ..., 0   (one end, every start: what training sees)
forward_norms   ‖∂s_t/∂s_0‖₂ for t = 0, ..., T   (one start, every end)

All are natural logarithms, so that 10^-3000 is as printable as 10^-3.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from lstmgrad._chains.base import (
    Chain,
    Copies,
    StoredChain,
    check_chain,
    check_spacing,
    check_stored,
    identity_rows,
)
from lstmgrad._chains.blocks import Block, block_between
from lstmgrad._chains.padded import check_length, ending_last, repeating_last
from lstmgrad._chains.sweeps import sweep_backward, sweep_forward
from lstmgrad._checks import check_number
from lstmgrad._compile import compiled, plain_options
from lstmgrad._norms.records import NormProfile
from lstmgrad._numeric.rows import Watch, joined, log_size, start_rows, watch_range
from lstmgrad._numeric.scaled import Scaled, exponent_of, largest, log_of, widen
from lstmgrad._numeric.tracked import NormReading, norm_reader
from lstmgrad._types import Fixed, PartName


@plain_options
def backward_norms(
    chain: Chain,
    *,
    of: PartName | None = None,
    wrt: PartName | None = None,
    every: int = 1,
    rtol: float | int = 1e-5,
    length: int | Int[Array, ""] | None = None,
) -> NormProfile:
    """Returns ‖∂s_T/∂s_k‖₂ for every k, by lag T-k.

    The rows of the `of` block are pulled back from T, and read at every k:
    U_T = I[of, :], U_{k-1} = U_k J_k, norm_{T-k} = ‖U_k[:, wrt]‖₂.

    Args:
        chain: T factors that can be pulled back (not a stream).
        of: the part of s_T; None is the whole state.
        wrt: the part of s_k; None is the whole state. Other parts of s_k are held (see `jacobian`).
        every: read the norm at lags 0, every, 2·every, ... <= T only.
        rtol: the relative error of a norm at which its refinement stops. A block of at most 32
            rows or columns gets an SVD, as does one of at most 256 where `every` is 32 or more, and
            every block for rtol = 0.
        length: steps of the sequence, where its inputs are padded behind it to T: lags count from
            its own end, and those longer than it hold nothing (NaN). It may be traced, so a batch
            of unequal sequences is one compiled program.

    Returns:
        `NormProfile`, lag 0 first, with a proved bound of each norm's error: by traces of powers, a
        Cholesky factorization or an SVD, whichever is the cheapest that succeeds.

    Raises:
        ValueError: an unknown part (the known ones are listed), `every` below 1 or above T, a
            negative `rtol`, a stream, a `length` that is not a whole number from 1 to T.

    Notes:
        T pulls of n_of rows, and a few matrix-vector products per lag; O(n_of n) memory beyond the
        chain; `every` copies the trajectory unless it divides T. Float32 suffices for any T,
        far in saturation, too, as long as it holds the factors.

        Differentiable once with respect to the parameters inside the chain. The slope of a norm
        that was not taken by SVD is good to about √(rtol · σ₁ / (σ₁ - σ₂)), and second derivatives
        leave out how the singular vectors move: use rtol = 0 for both. Reverse-mode
        differentiation stores every block, O(T n_of n).

        Only the parts on a path from `wrt` to `of` are carried; no part beside them matters. Every
        row of the block has its own exponent, and what one row loses below the range of its dtype
        (entries 2^126 times below its largest, float32) is followed by a probe: where that may be
        as large as the norm, the norm is not resolved.

    Example:
        For `DenseChain` of T copies of g·Q with Q orthogonal, ``log_norms[j] = j ln g``.

        >>> rotations = lg.DenseChain(jnp.broadcast_to(0.9 * jnp.eye(2)[::-1], (6, 2, 2)))
        >>> norms = lg.backward_norms(rotations).log_norms
        >>> bool(jnp.allclose(norms, jnp.arange(7) * jnp.log(0.9), atol=1e-5))
        True

    References:
        Pascanu, Mikolov, Bengio 2013 (arXiv:1211.5063), Section 2.1. Golub & Kahan 1965.
    """
    if length is not None:
        length = check_length(length, check_stored(chain))
    return _backward_norms(chain, length, of=of, wrt=wrt, every=every, rtol=rtol)


@compiled
def _backward_norms(
    chain: Chain, length: Any, *, of: Any, wrt: Any, every: Any, rtol: Any
) -> NormProfile:
    stored = check_stored(chain)
    every = check_spacing(every, stored)
    block = block_between(ending_last(stored, length), of, wrt)
    readings = read_norms(block, every, rtol, fixed="end")
    return _profile(readings, block, every, of, wrt, "end", rtol, length)


@plain_options
def forward_norms(
    chain: Chain,
    *,
    of: PartName | None = None,
    wrt: PartName | None = None,
    every: int = 1,
    rtol: float | int = 1e-5,
    length: int | Int[Array, ""] | None = None,
) -> NormProfile:
    """Returns ‖∂s_t/∂s_0‖₂ for every t, by lag t.

    Tangents along the `wrt` block are pushed forward from 0, and read at every t:
    V_0 = I[:, wrt], V_t = J_t V_{t-1}, norm_t = ‖V_t[of, :]‖₂.

    Args:
        chain: T factors; streams included.
        of: the part of s_t; None is the whole state.
        wrt: the part of s_0; None is the whole state. Other parts of s_0 are held (see `jacobian`).
        every: read the norm at lags 0, every, 2·every, ... <= T only.
        rtol: the relative error of a norm at which its refinement stops. A block of at most 32
            rows or columns gets an SVD, as does one of at most 256 where `every` is 32 or more, and
            every block for rtol = 0.
        length: steps of the sequence, where its inputs are padded behind it to T, as for
            `backward_norms`.

    Returns:
        `NormProfile`, lag 0 first, with a proved bound of each norm's error: by traces of powers, a
        Cholesky factorization or an SVD, whichever is the cheapest that succeeds.

    Raises:
        ValueError: an unknown part (the known ones are listed), `every` below 1 or above T, a
            negative `rtol`, a `length` that is not a whole number from 1 to T.

    Notes:
        T pushes of n_wrt tangents, and a few matrix-vector products per lag; O(n n_wrt) memory
        beyond the chain. Differentiable, as `backward_norms`.

    Example:
        The last entry is that of `backward_norms`: both are ‖∂s_T/∂s_0‖₂.

        >>> forward, backward = lg.forward_norms(chain), lg.backward_norms(chain)
        >>> bool(jnp.allclose(forward.log_norms[-1], backward.log_norms[-1], atol=1e-4))
        True
    """
    if length is not None:
        check_chain(chain)
        length = check_length(length, chain)
    return _forward_norms(chain, length, of=of, wrt=wrt, every=every, rtol=rtol)


@compiled
def _forward_norms(
    chain: Chain, length: Any, *, of: Any, wrt: Any, every: Any, rtol: Any
) -> NormProfile:
    check_chain(chain)
    every = check_spacing(every, chain)
    if isinstance(chain, StoredChain):
        chain = repeating_last(chain, length)
    block = block_between(chain, of, wrt)
    readings = read_norms(block, every, rtol, fixed="start")
    return _profile(readings, block, every, of, wrt, "start", rtol, length)


def _profile(
    readings: NormReading,
    block: Block,
    every: int,
    of: Any,
    wrt: Any,
    fixed: Fixed,
    rtol: float | int,
    length: Any,
) -> NormProfile:
    lags = np.arange(readings.log_norm.shape[0]) * every
    zero = block.is_zero(lags)
    found = (
        jnp.where(zero, -jnp.inf, readings.log_norm),
        jnp.where(zero, 0.0, readings.error),
    )
    if length is not None:
        found = (jnp.where(jnp.asarray(lags, length.dtype) <= length, x, jnp.nan) for x in found)
    log_norms, errors = found
    return NormProfile(
        lags=jnp.asarray(lags),
        log_norms=log_norms,
        errors=errors,
        of=of,
        wrt=wrt,
        fixed=fixed,
        rtol=rtol,
        length=length,
    )


def read_norms(
    block: Block,
    every: int,
    rtol: float | int,
    *,
    fixed: Fixed,
    skip: int | Int[Array, ""] = 0,
) -> NormReading:
    """The norms of one block of a chain, by lag; the errors are those of the logarithms.

    Args:
        block: of the chain.
        every: the lags to read.
        rtol: the tolerance of a reading.
        fixed: which end stays where it is.
        skip: where it is traced, the first `skip` readings of the sweep are not made, and NaN.
    """
    check_number(rtol, "rtol", 0.0)
    gains, copies = block.chain.log_gains(), block.chain.copies()
    if not block.connected:
        later = _nothing(block, every)
    elif copies is not None:
        return _largest([_norms_of_copies(each, every, rtol, fixed, skip) for each in copies])
    elif gains is not None:
        later = diagonal_norms(gains if fixed == "start" else gains[::-1], block, every)
    else:
        later = _sweep_norms(block, every, rtol, fixed, skip)
    known = (0.0 if block.shared else -jnp.inf, 0.0)  # the identity
    first = NormReading(*(jnp.full(1, value, later.error.dtype) for value in known))
    return jax.tree.map(lambda one, rest: jnp.concatenate([one, rest]), first, later)


def _norms_of_copies(
    copies: Copies, every: int, rtol: float | int, fixed: Fixed, skip: int | Int[Array, ""]
) -> NormReading:
    """The norms of each of some chains, which are those of all their copies together."""

    def read(chain: Chain) -> NormReading:
        return read_norms(block_between(chain, None, None), every, rtol, fixed=fixed, skip=skip)

    return jax.vmap(read)(copies.chains)


def _largest(readings: list[NormReading]) -> NormReading:
    """The norms of block-diagonal products: the largest of those of the blocks."""
    log_norms, errors = (jnp.concatenate(values) for values in zip(*readings, strict=True))
    top = largest(log_norms, axis=0)
    error = jnp.take_along_axis(errors, jnp.argmax(log_norms, axis=0)[None], axis=0)[0]
    # One that is smaller may be larger within its error; one out of sight is at most its level.
    reach = jnp.max(jnp.where(jnp.isinf(errors), log_norms, log_norms + errors), axis=0)
    beyond = jnp.where(jnp.isfinite(top), reach - top, 0.0)
    return NormReading(top, jnp.maximum(error, beyond))


def _sweep_norms(
    block: Block,
    every: int,
    rtol: float | int,
    fixed: Fixed,
    skip: int | Int[Array, ""],
) -> NormReading:
    """The norms at every lag but 0, from a block that moves away from the fixed end."""
    chain, rows, columns = block.chain, block.rows, block.columns
    start, part = (columns, rows) if fixed == "start" else (rows, columns)
    watch, unit = start_rows(identity_rows(chain)[start])
    sizes = start.stop - start.start, part.stop - part.start
    frame, read_norm = norm_reader(*sizes, chain.layout.dtype, rtol, every)
    unread = NormReading(*[jnp.full((), jnp.nan, widen(unit.mantissa).dtype)] * 2)

    def read_part(frame: Any, watch: Watch, rows: Scaled) -> tuple[Any, NormReading]:
        block = joined(Scaled(rows.mantissa[:-1, part], rows.exponent[:-1]))
        frame, reading = read_norm(frame, block)
        return frame, within_range(reading, watch, rows, part)

    def read(carry: tuple, rows: Scaled) -> tuple[tuple, Scaled, NormReading]:
        count, frame, watch = carry
        if isinstance(skip, int):
            frame, reading = read_part(frame, watch, rows)
        else:
            frame, reading = jax.lax.cond(
                count >= skip, lambda: read_part(frame, watch, rows), lambda: (frame, unread)
            )
        return (count + 1, frame, watch), rows, reading

    def renew(carry: tuple, rows: Scaled) -> tuple[tuple, Scaled]:
        *rest, watch = carry
        watch, rows = watch_range(watch, rows)
        return (*rest, watch), rows

    carry = jnp.zeros_like(skip), frame, watch
    if fixed == "start":
        return sweep_forward(chain, unit, read, carry, every=every, renew=renew)[1]
    return sweep_backward(check_stored(chain), unit, read, carry, every=every, renew=renew)[1]


def within_range(reading: NormReading, watch: Watch, rows: Scaled, part: slice) -> NormReading:
    """The error of the logarithm, with what the rows may have lost below their dtype's range.

    Args:
        reading: of the part, with the relative error of the norm.
        watch: what was lost on the way.
        rows: (m + 1, n) that went through the chain, the last of them the probe.
        part: the columns that are read.
    """
    log_norm, error = reading.log_norm, jnp.log1p(reading.error)
    loss = log_size(Scaled(rows.mantissa[-1, part], rows.exponent[-1]))
    n, dtype = rows.mantissa.shape[1], rows.mantissa.dtype
    if part.stop - part.start < n:
        # Factors may take a part out of the range in one step, which leaves no small entry: a zero
        # beside other parts is not trusted.
        level = jnp.max(jax.vmap(exponent_of)(rows)) + int(jnp.finfo(dtype).minexp)
        zero = (log_norm == -jnp.inf) & jnp.any(rows.mantissa[:-1] != 0)
        loss = jnp.where(zero, jnp.maximum(loss, log_of(jnp.asarray(n, loss.dtype), level)), loss)
    share = jnp.exp(loss - jax.lax.stop_gradient(jnp.where(loss == -jnp.inf, 0.0, log_norm)))
    hidden = share > 1  # of a norm of zero, too
    # Below the rounding of the product itself, which is not counted either, it is no news.
    share = jnp.where(share > n * float(jnp.finfo(dtype).eps), jnp.log1p(share), 0.0)
    error = jnp.where(hidden, jnp.inf, jnp.maximum(error, share))
    level = jnp.maximum(jnp.maximum(loss, watch.floor), log_norm)
    return NormReading(jnp.where(hidden, level, log_norm), error)


def diagonal_norms(gains: Float[Array, "T n"], block: Block, every: int) -> NormReading:
    """The norms of diagonal products at every lag but 0, from the logarithms of their factors.

    Args:
        gains: in order of lag.
        block: rows and columns that are the same.
        every: the lags to read.
    """
    sums = jnp.cumsum(gains[:, block.rows], axis=0)[every - 1 :: every]
    log_norms = largest(sums, axis=1)
    return NormReading(
        log_norms, jnp.where(jnp.isnan(log_norms), log_norms, jnp.zeros_like(log_norms))
    )


def _nothing(block: Block, every: int) -> NormReading:
    """Exact zeros at every lag but 0."""
    count = len(block.chain) // every
    dtype = widen(jnp.zeros((), block.chain.layout.dtype)).dtype
    return NormReading(jnp.full(count, -jnp.inf, dtype), jnp.zeros(count, dtype))
