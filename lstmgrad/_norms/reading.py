"""Reading the norm of a block on its way through a chain, whichever end it started from.

The rows of the block carry an exponent each, and a probe of what their range loses (`rows`); the
norm of what they hold is tracked from lag to lag (`tracked`).
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from lstmgrad._chains.base import Chain, Copies, check_stored, identity_rows
from lstmgrad._chains.blocks import Block, block_between
from lstmgrad._chains.sweeps import sweep_backward, sweep_forward
from lstmgrad._checks import check_number
from lstmgrad._numeric.rows import Watch, block_of, log_size, start_rows, watch_range
from lstmgrad._numeric.scaled import LOWEST, Scaled, largest, log_of, widen
from lstmgrad._numeric.tracked import NormReading, norm_reader
from lstmgrad._progress import Meter, portions, tell_all
from lstmgrad._types import Fixed


def read_norms(
    block: Block,
    every: int,
    rtol: float | int,
    *,
    fixed: Fixed,
    skip: int | Int[Array, ""] = 0,
    meter: Meter | None = None,
) -> NormReading:
    """The norms of one block of a chain, by lag; the errors are those of the logarithms.

    Args:
        block: of the chain.
        every: the lags to read.
        rtol: the tolerance of a reading.
        fixed: which end stays where it is.
        skip: where it is traced, the first `skip` readings of the sweep are not made, and NaN.
        meter: told on the way; None tells nobody.
    """
    check_number(rtol, "rtol", 0.0)
    gains, copies = block.chain.log_gains(), block.chain.copies()
    if not block.connected:
        later = _nothing(block, every)
        tell_all(meter)
    elif copies is not None:
        meters = portions(meter, *[1] * len(copies))
        return _largest(
            [
                _norms_of_copies(each, every, rtol, fixed, skip, own)
                for each, own in zip(copies, meters, strict=True)
            ]
        )
    elif gains is not None:
        later = diagonal_norms(gains if fixed == "start" else gains[::-1], block, every)
        tell_all(meter)
    else:
        later = _sweep_norms(block, every, rtol, fixed, skip, meter)
    known = (0.0 if block.shared else -jnp.inf, 0.0)  # the identity
    first = NormReading(*(jnp.full(1, value, later.error.dtype) for value in known))
    return jax.tree.map(lambda one, rest: jnp.concatenate([one, rest]), first, later)


def _norms_of_copies(
    copies: Copies,
    every: int,
    rtol: float | int,
    fixed: Fixed,
    skip: int | Int[Array, ""],
    meter: Meter | None,
) -> NormReading:
    """The norms of each of some chains, which are those of all their copies together."""

    def read(chain: Chain) -> NormReading:
        block = block_between(chain, None, None)
        return read_norms(block, every, rtol, fixed=fixed, skip=skip, meter=meter)

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
    meter: Meter | None,
) -> NormReading:
    """The norms at every lag but 0, from a block that moves away from the fixed end."""
    chain, rows, columns = block.chain, block.rows, block.columns
    start, part = (columns, rows) if fixed == "start" else (rows, columns)
    watch, unit = start_rows(identity_rows(chain)[start])
    sizes = start.stop - start.start, part.stop - part.start
    frame, read_norm = norm_reader(*sizes, chain.layout.dtype, rtol, every)
    unread = NormReading(*[jnp.full((), jnp.nan, widen(unit.mantissa).dtype)] * 2)

    def read_part(frame: Any, watch: Watch, rows: Scaled) -> tuple[Any, NormReading]:
        block = block_of(Scaled(rows.mantissa[:-1], rows.exponent[:-1]), part)
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
    options: Any = {"every": every, "renew": renew, "meter": meter}
    if fixed == "start":
        return sweep_forward(chain, unit, read, carry, **options)[1]
    return sweep_backward(check_stored(chain), unit, read, carry, **options)[1]


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
        there = jnp.any(rows.mantissa != 0, axis=1)  # in one pass over the rows
        level = jnp.max(jnp.where(there, rows.exponent, LOWEST)) + int(jnp.finfo(dtype).minexp)
        zero = (log_norm == -jnp.inf) & jnp.any(there[:-1])
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
