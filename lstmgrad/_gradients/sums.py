"""Sums over time of what every step adds, and the norm of the sum up to every step.

    G_t = Σ_{s≤t} g_s,      g_s = l_s ⊗ r_s

A stretch of steps at a time. With G before the stretch, and all inner products of what its steps
add, which for outer products are ⟨g_s, g_t⟩ = ⟨l_s, l_t⟩ ⟨r_s, r_t⟩,

    ‖G_t‖² = ‖G_{t-1}‖² + 2 ⟨G, g_t⟩ + 2 Σ_{s<t} ⟨g_s, g_t⟩ + ‖g_t‖²,

and G after the stretch is one more product of matrices. No g_t of a matrix is ever multiplied out.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact, Int

from lstmgrad._chains.scans import told_scan
from lstmgrad._gradients.outer import Outer
from lstmgrad._numeric.scaled import power_below
from lstmgrad._progress import Meter

STRETCH = 64
"""Steps at a time, at most: enough for products of matrices to be fast."""

Step = Callable[[Any], tuple[list[Outer], Any]]
"""``step(entry) -> (parts, beside)``: what one step adds to each leaf, and what else is wanted."""


class Summed(NamedTuple):
    """Sums over all steps; lists have one entry a leaf.

    Attributes:
        totals: G_T, with the exponents `tops`.
        tops: the largest exponent of each leaf.
        parts: (T,), ‖g_t‖², with the exponents of the leaf.
        sums: (T,), ‖G_t‖² over all leaves, with the largest common exponent so far.
        beside: what else each step gives, with T on axis 0.
    """

    totals: list[Inexact[Array, "..."]]
    tops: list[Int[Array, ""]]
    parts: list[Float[Array, " T"]]
    sums: Float[Array, " T"]
    beside: Any


def in_stretches(function: Callable[[Any], Any], entries: Any, meter: Meter | None = None) -> Any:
    """What `jax.vmap` gives, with the memory of a stretch besides the result.

    Args:
        function: of one entry.
        entries: a pytree with T on axis 0.
        meter: told on the way; None tells nobody.
    """
    length, of_all = len(jax.tree.leaves(entries)[0]), jax.vmap(function)
    size = _stretch(length, STRETCH)
    rest = length % size

    def cut(leaf: Array) -> Array:
        return leaf[: length - rest].reshape(-1, size, *leaf.shape[1:])

    def through(_: None, stretch: Any) -> tuple[None, Any]:
        return None, of_all(stretch)

    if meter is not None:
        meter = meter.thinned(length)
    _, found = told_scan(through, None, jax.tree.map(cut, entries), meter)
    found = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), found)
    if not rest:
        return found
    others = of_all(jax.tree.map(lambda leaf: leaf[length - rest :], entries))
    return jax.tree.map(lambda *two: jnp.concatenate(two), found, others)


class _Levels(NamedTuple):
    """Exponents in a stretch of K steps.

    Attributes:
        own: (K,), of what each step adds.
        top: (K,), of the sum up to each step, the largest so far.
        before: (K,), of the sum before each step.
    """

    own: Int[Array, " K"]
    top: Int[Array, " K"]
    before: Int[Array, " K"]

    @staticmethod
    def of(exponents: Int[Array, " T"]) -> "_Levels":
        """Those of all T steps."""
        top = jax.lax.cummax(exponents)
        return _Levels(exponents, top, jnp.concatenate([top[:1], top[:-1]]))


def add_up(
    step: Step,
    entries: Any,
    exponents: list[Int[Array, " T"]],
    common: Int[Array, " T"],
    *,
    meter: Meter | None = None,
) -> Summed:
    """What all steps add to every leaf, and the norms of the sums up to every step.

    Args:
        step: what one step adds.
        entries: what it is given, a pytree with T on axis 0.
        exponents: of what is added to each leaf.
        common: exponents that are at least as large.
        meter: told on the way; None tells nobody.

    Notes:
        Memory of the sums, and of what a stretch of steps adds without being multiplied out. The
        stretch is shorter where that is more than the sums and the entries. A sum that cancels to
        less than ε (Σ ‖g_s‖)², squared, with ε the rounding of the dtype, reads as that.
    """
    length = len(jax.tree.leaves(entries)[0])
    like, _ = jax.eval_shape(step, jax.tree.map(lambda leaf: leaf[0], entries))
    most = _room(like, entries) // max(sum(part.left.size + part.right.size for part in like), 1)
    size = _stretch(length, max(1, min(STRETCH, most)))
    count = -(-length // size)
    padded = count * size > length
    # None where the exponents are the common ones: the same array, not only the same numbers.
    levels = [None if own is common else _Levels.of(own) for own in exponents], _Levels.of(common)

    def take(totals: list[Any], stretch: tuple) -> tuple[list[Array], tuple]:
        entries, (own, common), there = stretch
        parts, beside = jax.vmap(step)(entries)
        if padded:
            parts = [part.each(lambda left: _where(there, left)) for part in parts]
        totals, squares, sums = _grow(totals, parts, own, common)
        return totals, (squares, sums, beside)

    def cut(leaf: Array) -> Array:
        if padded:
            last = jnp.broadcast_to(leaf[-1:], (count * size - length, *leaf.shape[1:]))
            leaf = jnp.concatenate([leaf, last])
        return leaf.reshape(count, size, *leaf.shape[1:])

    there = jnp.arange(count * size).reshape(count, size) < length
    stretches = *jax.tree.map(cut, (entries, levels)), there
    if count == 1:
        # Not a scan over one stretch: XLA would see that the sums before it are zero, and jaxlib
        # 0.10 reads memory that nobody wrote where it fuses a product with constants with a sum.
        totals, found = take([None] * len(like), jax.tree.map(lambda leaf: leaf[0], stretches))
        found = jax.tree.map(lambda leaf: leaf[None], found)
    else:
        if meter is not None:
            meter = meter.thinned(length)
        totals, found = told_scan(take, [_zero(part) for part in like], stretches, meter)
    parts, sums, beside = jax.tree.map(
        lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:length], found
    )
    totals = [part.unflatten(total) for part, total in zip(like, totals, strict=True)]
    return Summed(totals, [jnp.max(own) for own in exponents], parts, sums, beside)


class _Products(NamedTuple):
    """Inner products in a stretch, over all leaves, with the common exponents.

    Attributes:
        each: (K, K), ⟨g_s, g_t⟩.
        total: (K,), ⟨G, g_t⟩ with the sum before the stretch.
        square: ‖G‖².
    """

    each: Float[Array, "K K"]
    total: Float[Array, " K"]
    square: Float[Array, ""]


def _grow(
    totals: list[Any], parts: list[Outer], levels: list[_Levels | None], common: _Levels
) -> tuple[list[Array], list[Array], Array]:
    """The sums with what a stretch adds to them, ‖g_t‖² by leaf, and ‖G_t‖².

    Args:
        totals: the sums before the stretch, by leaf: matrices of left by right, or None.
        parts: what the K steps add, with K on axis 0 of both factors.
        levels: the exponents by leaf; None where they are the common ones.
        common: the common exponents.
    """
    squares, grown = [], []
    size, dtype = len(common.own), _widest([_summed_dtype(part) for part in parts])
    products = _Products(*(jnp.zeros(shape, dtype) for shape in ((size, size), (size,), ())))
    for total, part, level in zip(totals, parts, levels, strict=True):
        kind = _summed_dtype(part)
        left, right = (
            factor.reshape(len(factor), -1).astype(kind) for factor in (part.left, part.right)
        )
        each = (_times(left, left.conj().T) * _times(right, right.conj().T)).real
        squares.append(jnp.diagonal(each))
        own, top, before = level or common
        gains, kept = (
            power_below(exponent - top[-1], each.dtype).astype(kind)
            for exponent in (own, before[0])
        )
        after = _times((left * gains[:, None]).T, right)
        if total is None:
            with_total, square = jnp.zeros(size, each.dtype), jnp.zeros((), each.dtype)
        else:
            with_total = jnp.sum(_times(left, total.conj()) * right, axis=1).real
            square = jnp.vdot(total, total, precision="highest").real
            after += total * kept
        grown.append(after)
        if level is not None:
            gains = power_below(own - common.own, each.dtype)
            kept = power_below(before[0] - common.before[0], each.dtype)
            each, square = each * jnp.outer(gains, gains), square * kept * kept
            with_total = with_total * gains * kept
        more = _Products(each, with_total, square)
        products = jax.tree.map(lambda old, new: old + new.astype(dtype), products, more)
    return grown, squares, _sums(products, common)


def _sums(products: _Products, levels: _Levels) -> Float[Array, " K"]:
    """‖G_t‖² by step of a stretch."""
    (own, top, before), dtype = levels, products.square.dtype
    # From step s, a column, to what there is at step t, a row. Nothing comes from later steps, not
    # even where they are no numbers.
    earlier = jnp.tri(len(own), dtype=bool)
    strictly = jnp.tri(len(own), k=-1, dtype=bool)
    weights = power_below(jnp.where(earlier, own[None] - top[:, None], 0), dtype)
    carried = power_below(jnp.where(earlier, top[None] - top[:, None], 0), dtype)
    kept, gain, parts = (
        power_below(before[0] - top, dtype),
        jnp.diagonal(weights),
        jnp.diagonal(products.each),
    )

    def so_far(terms: Array, where: Array = earlier) -> Array:
        return jnp.sum(jnp.where(where, terms, 0), axis=1)

    crossed = kept * products.total + so_far(weights * products.each, strictly)
    added = gain * (2 * crossed + gain * parts)
    sums = kept * kept * products.square + so_far(carried * carried * added[None])
    size = kept * jnp.sqrt(products.square) + so_far(weights * jnp.sqrt(parts)[None])
    return jnp.maximum(sums, jnp.finfo(dtype).eps * size * size)


def _zero(part: Outer) -> Inexact[Array, "left right"]:
    """The empty sum of such parts."""
    return jnp.zeros((part.left.size, part.right.size), _summed_dtype(part))


def _summed_dtype(part: Outer) -> Any:
    """The precision of sums of such parts: theirs, and float32 at least."""
    return jnp.float32 if jnp.finfo(part.left.dtype).bits < 32 else part.left.dtype


def _widest(dtypes: list[Any]) -> Any:
    """The most precise real dtype, float32 at least."""
    real = [jnp.finfo(dtype).dtype for dtype in dtypes]
    return max(real, key=lambda dtype: jnp.finfo(dtype).bits, default=jnp.float32)


def _room(like: list[Outer], entries: Any) -> int:
    """How many numbers a stretch may take: about as many as there are beside it."""
    sums = sum(math.prod(part.shape) for part in like)
    return max(2**16, 2 * sums, sum(leaf.size for leaf in jax.tree.leaves(entries)))


def _stretch(length: int, most: int) -> int:
    """How many steps to take at a time: such that they divide T, where that is near the most."""
    least = -(-length // most)
    counts = range(least, min(2 * least, length) + 1)
    return -(-length // next((count for count in counts if length % count == 0), least))


def _times(one: Array, other: Array) -> Array:
    return jnp.matmul(one, other, precision="highest")


def _where(there: Array, left: Array) -> Array:
    return jnp.where(there.reshape(-1, *[1] * (left.ndim - 1)), left, 0)
