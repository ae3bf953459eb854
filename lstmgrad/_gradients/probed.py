"""The gradient at the inputs, with a probe of what fell below the range on its way."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from lstmgrad._chains.base import StoredChain, check_stored
from lstmgrad._chains.dependence import parts_between
from lstmgrad._chains.inputs import InputMap
from lstmgrad._chains.layout import Layout
from lstmgrad._chains.sweeps import sweep_adjoint
from lstmgrad._gradients.local import with_room
from lstmgrad._numeric.gram_schmidt import signs
from lstmgrad._numeric.rows import least_kept, start_rows, watch_range
from lstmgrad._numeric.scaled import (
    LOWEST,
    Scaled,
    add,
    exponent_of,
    log_of,
    lower,
    normalize,
    scaled,
)
from lstmgrad._types import PartName


class Probed(NamedTuple):
    """Attributes: values, (T, d) with an exponent each; levels, (T, d), ln of what may be lost."""

    values: Scaled
    levels: Float[Array, "T d"]

    def plus(self, other: "Probed") -> "Probed":
        """The sum of what two groups of parts give."""
        values = jax.vmap(jax.vmap(add))(self.values, other.values)
        return Probed(values, jnp.maximum(self.levels, other.levels))


def nothing(length: int, inputs: Layout, dtype: Any) -> Probed:
    """Exact zeros.

    Args:
        length: T.
        inputs: the layout of an input.
        dtype: of the gradient.
    """
    shape = (length, inputs.size)
    zeros = Scaled(jnp.zeros(shape, dtype), jnp.zeros(shape, jnp.int32))
    return Probed(zeros, jnp.full(shape, -jnp.inf, dtype))


def pulled(
    chain: StoredChain, flat: Float[Array, "times n"], parts: tuple[PartName, ...]
) -> Scaled:
    """dL/ds_t at a group of parts and the probe of what was lost there, for t = 1..T.

    Args:
        chain: T factors.
        flat: ∂L/∂s_t as flat vectors.
        parts: that act on one another.

    Returns:
        (T, 2, m) with exponents (T, 2).
    """
    layout = chain.layout
    behind = parts_between(layout, None, parts[0])
    if behind != layout.parts:
        flat = flat[:, layout.coordinates(behind)]
        chain = check_stored(chain.restricted(behind))
    sources = jax.vmap(scaled)(flat)
    lost = jnp.any((flat != 0) & (jnp.abs(sources.mantissa) < least_kept(flat.dtype)), axis=1)

    def inject(block: Scaled, source: tuple[Scaled, Bool[Array, ""]]) -> Scaled:
        arriving, incomplete = source
        row, probe = (jax.tree.map(lambda leaf, i=i: leaf[i], block) for i in (0, 1))
        top = jnp.maximum(exponent_of(row), exponent_of(arriving))
        for value in (row, arriving):
            small = jnp.abs(lower(value, top)) < least_kept(flat.dtype)
            incomplete |= jnp.any((value.mantissa != 0) & small)
        more = add(probe, _noise(flat.shape[1], top, flat.dtype))
        probe = jax.tree.map(lambda new, old: jnp.where(incomplete, new, old), more, probe)
        return jax.tree.map(lambda *two: jnp.stack(two), add(row, arriving), probe)

    watch, start = start_rows(jnp.zeros((1, flat.shape[1]), flat.dtype))
    entries = sources, lost
    earlier, last = (jax.tree.map(lambda leaf, s=s: leaf[s], entries) for s in (slice(-1), -1))
    watch, start = watch_range(watch, inject(start, last))
    _, rows = sweep_adjoint(
        chain,
        start,
        earlier,
        inject,
        lambda factor, block: block,
        renew=watch_range,
        carry=watch,
    )
    if parts != behind:
        rows = rows._replace(mantissa=rows.mantissa[:, :, chain.layout.coordinates(parts)])
    return normalize(rows)


def at_inputs(entering: InputMap, factors: Any, rows: Scaled, fed: np.ndarray) -> Probed:
    """The gradient by feature, and the level below which nothing of it is seen.

    Args:
        entering: the step, seen at a group of parts.
        factors: (s_{t-1}, x_t) with T on axis 0.
        rows: (T, 2, m), the gradient at these parts and the probe.
        fed: by leaf of the input that has a derivative, whether these parts depend on it.
    """
    fed = _of_leaves(fed, entering.inputs)
    size, dtype = rows.mantissa.shape[2], rows.mantissa.dtype
    kinds = [np.zeros((), kind) for kind in entering.inputs.real_dtypes]
    # Zero where B_t is: a product with it is no number that was lost.
    test = jnp.asarray(np.random.default_rng(4).uniform(0.5, 1.0, (1, size)), dtype)

    def at(factor: Any, rows: Scaled) -> tuple[Scaled, Float[Array, " d"]]:
        room = jax.vmap(lambda row: with_room(row, entering.layout, kinds))(rows)
        moved, probe, there = entering.pull(factor, jnp.concatenate([room.mantissa, test]))
        level = log_of(jnp.abs(probe), room.exponent[1])
        least = log_of(jnp.asarray(size * least_kept(dtype), dtype), room.exponent[0])
        unseen = (moved == 0) & (there != 0) & jnp.any(rows.mantissa[0] != 0)
        level = jnp.where(fed, jnp.maximum(level, jnp.where(unseen, least, -jnp.inf)), -jnp.inf)
        return normalize(Scaled(moved, jnp.broadcast_to(room.exponent[0], moved.shape))), level

    return Probed(*jax.vmap(at)(factors, rows))


def _of_leaves(fed: np.ndarray, inputs: Layout) -> np.ndarray:
    """Which features belong to leaves that are fed, (d,).

    Args:
        fed: by leaf of the input that has a derivative.
        inputs: the layout of the input.
    """
    leaves = zip(inputs.shapes, inputs.dtypes, inputs.owners, strict=True)
    sizes = [
        math.prod(shape) * (2 if jnp.issubdtype(dtype, jnp.complexfloating) else 1)
        for shape, dtype, owner in leaves
        if owner is not None
    ]
    return np.repeat(fed, sizes)


def _noise(size: int, exponent: Array, dtype: Any) -> Scaled:
    """A random vector of the size of what numbers with an exponent lose below the range.

    Args:
        size: of the vector.
        exponent: of the largest number.
        dtype: of the numbers.
    """
    below = jnp.maximum(exponent, LOWEST // 2) + int(jnp.finfo(dtype).minexp)
    return normalize(Scaled(jnp.asarray(signs((size,)), dtype), below))
