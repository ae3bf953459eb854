"""Rows that travel through a chain with one exponent each, and a probe of what their range loses.

A row (of a cotangent, or a tangent) keeps its own size however far the other rows are above it. But
its entries share an exponent, and an entry of less than the smallest normal number beside the
largest one becomes zero. That is no loss for this row's norm now. It is one if later factors make
the large entries small, or the lost one large again, as factors do that switch between groups of
units.

So one more row travels along. From the moment at which a row holds an entry so small that a product
with it may fall below the range, the probe gets after every factor a random vector of the size that
may have been lost. It is carried by the same factors, with an exponent of its own, and at every
time its size beside what is read says whether the loss matters: an estimate in the manner of Monte
Carlo arithmetic (Parker 1997), with the probe for the many runs.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from lstmgrad._numeric.scaled import (
    LOWEST,
    Scaled,
    add,
    exponent_above,
    exponent_of,
    log_of,
    norm_of,
    normalize,
    power_below,
    shifted,
    widen,
)


class Watch(NamedTuple):
    """What is carried beside rows on their way.

    Attributes:
        lossy: (m,), whether a row has held an entry that a factor may have lost.
        floor: ln of the largest size of the probe since it holds such entries, too; -inf before.
        exponent: of the largest row that may lose an entry in the next product.
    """

    lossy: Bool[Array, " m"]
    floor: Float[Array, ""]
    exponent: Int[Array, ""]


def start_rows(rows: Float[Array, "m n"]) -> tuple[Watch, Scaled]:
    """Nothing lost yet; and the rows with an exponent each, a probe of zero behind them.

    Args:
        rows: of the identity, or others with entries of moderate size.
    """
    mantissa = jnp.concatenate([rows, jnp.zeros_like(rows[:1])])
    floor = jnp.full((), -jnp.inf, widen(rows).dtype)
    watch = Watch(jnp.zeros(len(rows), bool), floor, jnp.full((), LOWEST, jnp.int32))
    return watch, Scaled(mantissa, jnp.zeros(len(mantissa), jnp.int32))


def watch_range(watch: Watch, rows: Scaled) -> tuple[Watch, Scaled]:
    """The same after one more factor, with what it may have lost added to the probe.

    Args:
        watch: what was lost before.
        rows: (m + 1, n) with an exponent each; the last is the probe.
    """
    mantissa = jax.lax.stop_gradient(rows.mantissa)
    (m, n), least = mantissa.shape, least_kept(mantissa.dtype)
    sizes = jnp.abs(mantissa)
    smallest = jnp.min(jnp.where(sizes > 0, sizes, jnp.inf), axis=1)
    # An entry above the square root stays in the range with every factor above it, too.
    small = smallest < least**0.5
    lossy = watch.lossy | small[:-1]
    exponent = jnp.max(jnp.where(lossy & (smallest[:-1] < jnp.inf), rows.exponent[:-1], LOWEST))
    # The probe may have outgrown the rows, and lose entries beside its own largest one.
    exponent = jnp.maximum(exponent, jnp.where(small[-1], rows.exponent[-1], LOWEST))
    # What a product loses is below the range beside the rows from which it was made, and beside
    # those that it made. Each of n terms in each of m rows may lose less than the smallest number.
    bits = math.ceil(math.log2(n * m) / 2 + math.log2(least))
    signs = np.sign(np.random.default_rng(2).standard_normal(n))
    lost = Scaled(jnp.asarray(signs, mantissa.dtype), jnp.maximum(exponent, watch.exponent) + bits)
    probe = Scaled(mantissa[-1], rows.exponent[-1])
    more = add(probe, lost)
    probe = jax.tree.map(lambda new, old: jnp.where(jnp.any(lossy), new, old), more, probe)
    size = log_size(probe)
    floor = jnp.where(small[-1], jnp.maximum(watch.floor, size), watch.floor)
    rows = Scaled(
        rows.mantissa.at[-1].set(probe.mantissa), rows.exponent.at[-1].set(probe.exponent)
    )
    return Watch(lossy, floor, exponent), rows


def log_size(vector: Scaled) -> Float[Array, ""]:
    """Ln of the Euclidean norm of a vector, without a slope; -inf for zero."""
    mantissa = jax.lax.stop_gradient(widen(vector.mantissa))
    top = jnp.max(jnp.abs(mantissa), initial=0.0)
    return log_of(top * norm_of(mantissa / jnp.where(top > 0, top, 1.0)), vector.exponent)


def least_kept(dtype: Any) -> float:
    """The smallest number that a product keeps; subnormal ones become zero, except in float16.

    Args:
        dtype: of floats.
    """
    finfo = jnp.finfo(dtype)
    return float(finfo.smallest_subnormal if finfo.minexp > -32 else finfo.tiny)


def split(block: Scaled) -> Scaled:
    """The rows of a block with an exponent each.

    Args:
        block: (m, n) with one exponent.
    """
    exponents = jnp.broadcast_to(block.exponent, block.mantissa.shape[:1])
    return normalize(Scaled(block.mantissa, exponents))


def joined(rows: Scaled) -> Scaled:
    """The rows under the exponent of the largest; those below its range become zero.

    Args:
        rows: (m, n) with an exponent each.
    """
    exponents = jax.vmap(exponent_of)(rows)
    exponent = jnp.max(exponents)
    shift = power_below(exponents - exponent, rows.mantissa.dtype)
    return Scaled(rows.mantissa * shift[:, None], exponent)


def block_of(rows: Scaled, part: slice) -> Scaled:
    """Some columns of the rows under one exponent, normalized; what is below its range is zero.

    Args:
        rows: (m, n) with an exponent each.
        part: the columns.
    """
    mantissa = rows.mantissa[:, part]
    tops = jnp.max(jnp.abs(jax.lax.stop_gradient(mantissa)), axis=1, initial=0.0)
    exponents = jnp.where(tops == 0, LOWEST, rows.exponent + exponent_above(tops))
    exponent = jnp.max(exponents, initial=LOWEST)
    finfo = jnp.finfo(mantissa.dtype)
    shift = jnp.clip(rows.exponent - exponent, 2 * finfo.minexp, 2 * (finfo.maxexp - 1))
    return Scaled(shifted(mantissa, shift[:, None]), exponent)
