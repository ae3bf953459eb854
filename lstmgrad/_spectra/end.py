"""What a sweep of a frame leaves, and the exponents, errors and running estimates that it gives."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from lstmgrad._numeric.frame_errors import Displacement, displacement_errors
from lstmgrad._spectra.records import LyapunovSpectrum, LyapunovState

BLOCKS = 32
"""Blocks of time, at most, whose scatter gives the standard errors."""


class End(NamedTuple):
    """What a sweep leaves.

    Attributes:
        frame: at the end.
        cells: Σ ln |R_ii| over cells of time.
        roundings: the effect of rounding on the sums.
        displaced: see `frame_errors`.
        stray: see `LyapunovState`.
        faded: see `LyapunovState`.
        model_state: at the end, of a stream.
    """

    frame: Float[Array, "n m"]
    cells: Float[Array, "G m"]
    roundings: Float[Array, " m"]
    displaced: Displacement
    stray: Float[Array, " n"] | None
    faded: Bool[Array, " n"]
    model_state: Any


def spectrum_of(
    state: LyapunovState, end: End, counted: Int[Array, ""], cell: int
) -> LyapunovSpectrum:
    """Returns the result of a sweep.

    Args:
        state: that the sweep started from.
        end: what it left.
        counted: how many steps count.
        cell: steps in each of the cells but the last.
    """
    dtype, cells = state.log_sums.dtype, end.cells
    counts = jnp.minimum(cell * jnp.arange(1, len(cells) + 1, dtype=jnp.int32), counted)
    times = state.num_steps + counts
    log_sums = state.log_sums[None] + jnp.cumsum(cells, axis=0)
    running = log_sums / times.astype(dtype)[:, None]
    zero = log_sums[-1] == -jnp.inf
    variances = state.variances + _variance(cells, counted, cell)
    after = LyapunovState(
        frame=end.frame,
        num_steps=times[-1],
        log_sums=log_sums[-1],
        variances=jnp.where(zero, 0.0, variances),
        roundings=state.roundings + end.roundings,
        displaced=end.displaced.inside,
        strayed=end.displaced.outside,
        stray=end.stray,
        faded=end.faded,
        model_state=end.model_state,
    )
    eps = float(jnp.finfo(end.frame.dtype).eps)
    roundings = after.roundings + displacement_errors(end.displaced, end.stray, eps)
    order = jnp.argsort(-running[-1])
    steps = after.num_steps.astype(dtype)
    return LyapunovSpectrum(
        exponents=running[-1][order],
        standard_errors=(jnp.sqrt(after.variances) / steps)[order],
        rounding_errors=jnp.where(zero, 0.0, roundings / steps)[order],
        times=times,
        running_exponents=running[:, order],
        state=after,
    )


def _variance(cells: Float[Array, "G m"], counted: Int[Array, ""], cell: int) -> Float[Array, " m"]:
    """The variance of the sum over all cells, as if the sums over blocks of them were independent.

    Args:
        cells: sums over cells of time.
        counted: steps that count; whole cells alone are taken.
        cell: steps in each of them.
    """
    dtype, whole = cells.dtype, counted // jnp.int32(cell)
    group = jnp.maximum(1, -(-whole // jnp.int32(BLOCKS)))
    blocks = whole // group
    index = jnp.arange(len(cells), dtype=jnp.int32) // group
    there = jnp.arange(BLOCKS, dtype=jnp.int32) < blocks
    # A block of its own for the cells that are left over.
    index = jnp.where(index < blocks, index, BLOCKS)
    sums = jax.ops.segment_sum(cells, index, num_segments=BLOCKS + 1)[:-1]
    count = blocks.astype(dtype)
    mean = jnp.sum(sums, axis=0) / count
    squares = jnp.sum(jnp.where(there[:, None], (sums - mean[None]) ** 2, 0.0), axis=0)
    share = counted.astype(dtype) / (cell * group).astype(dtype)
    return jnp.where(blocks < 2, jnp.inf, squares / (count - 1) * share)
