"""Graded matrices: one power of two per row, so that the tail of a product outlives its head.

A product of T step Jacobians has singular values e^(λ₁T) ≥ ... ≥ e^(λₙT), soon further apart than
any float reaches: a single array holds the first of them and rounding errors of its size. But the
product is Q·G with Q orthogonal and

    G = diag(2^exponents) · mantissa,

where the rows of the mantissa are of order one and far from parallel, and the exponents hold the
whole disparity. So G is what is carried, factor by factor: J Q = Q' R, G' = R G. Its singular
values, the small ones too, follow from rotating one pair of rows after the other (one-sided
Jacobi). The angles depend on cosines between rows and on *ratios* of their sizes, so they need no
common scale.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from lstmgrad._numeric import lapack
from lstmgrad._numeric.scaled import exponent_above, log_of, shifted

_SWEEPS = 40

_WIDTH = 16  # of the blocks on the diagonal, in an inverse


class Graded(NamedTuple):
    """The matrix ``mantissa * 2.0**exponents[:, None]``.

    Attributes:
        mantissa: (p, n), the largest absolute entry of each row in [1/2, 1), or the row zero.
        exponents: (p,) int32, one per row.
    """

    mantissa: Float[Array, "p n"]
    exponents: Int[Array, " p"]


def graded(matrix: Float[Array, "p n"], exponent: Int[Array, ""]) -> Graded:
    """Matrix · 2^exponent with one exponent per row; exact."""
    return _normalize_rows(matrix, jnp.full(matrix.shape[0], exponent, jnp.int32))


def multiply(left: Float[Array, "q p"], right: Graded) -> Graded:
    """Left · right, each row accurate relative to the largest term in its own sum."""
    sizes = exponent_above(left)
    # A zero has no size: its terms must not set the exponent of their row.
    counts = (left != 0) & jnp.any(right.mantissa != 0, axis=1)[None]
    exponents = right.exponents[None]
    lowest = jnp.iinfo(jnp.int32).min
    tops = jnp.max(jnp.where(counts, sizes + exponents, lowest), axis=1, keepdims=True)
    tops = jnp.where(tops == lowest, 0, tops)
    weights = jnp.where(counts, shift_within(left, exponents - tops), 0.0)
    return _normalize_rows(jnp.matmul(weights, right.mantissa, precision="highest"), tops[:, 0])


def log_singular_values(
    matrix: Graded, errors: Float[Array, " p"]
) -> tuple[Float[Array, " p"], Float[Array, " p"]]:
    """The logarithms of the singular values in descending order, and their errors.

    Args:
        matrix: p <= n rows.
        errors: the relative error of each row.

    Returns:
        The logarithms, -inf for exact zeros; and the error of each, at least that of the next
        larger value, because values that nearly agree share their errors.
    """
    zero = jnp.all(matrix.mantissa == 0, axis=1)
    order = jnp.argsort(jnp.where(zero, jnp.iinfo(jnp.int32).max, -matrix.exponents))
    exponents = matrix.exponents[order]
    # G = D M, D the powers of two, M = L V with V orthogonal: D L has the same values, ...
    lower = lapack.triangle(matrix.mantissa[order].T).T
    # A zero on the diagonal of a row that is not zero is what rounding left, and no exact zero.
    left = float(jnp.finfo(lower.dtype).eps) * jnp.linalg.norm(lower, axis=1)
    lower = lower + jnp.diag(jnp.where((jnp.diagonal(lower) == 0) & ~zero[order], left, 0.0))
    # ... and its columns D L e_j are nearly orthogonal where their sizes differ, so that few
    # rotations are left to do. They are the rows from here on.
    sizes = exponent_above(lower) + exponents[:, None]
    lowest = jnp.iinfo(jnp.int32).min
    tops = jnp.max(jnp.where(lower != 0, sizes, lowest), axis=0)
    tops = jnp.where(tops == lowest, 0, tops)
    columns = jnp.where(lower != 0, shift_within(lower, exponents[:, None] - tops[None]), 0.0)
    values = _jacobi(columns.T, tops)

    condition = jnp.linalg.norm(lower, axis=1) * row_amplification(lower.T)
    errors = errors[order] * condition
    errors = jax.lax.cummax(jnp.where(jnp.isnan(errors), jnp.inf, errors))
    return values, jnp.where(values == -jnp.inf, 0.0, jnp.where(jnp.isnan(values), values, errors))


def row_amplification(upper: Float[Array, "p n"]) -> Float[Array, " p"]:
    """The norms of the columns of a triangle's inverse: what an error of size one in a row becomes.

    Zero for a row of zeros, which has no error, and inf where there is no inverse.

    Args:
        upper: the triangle.
    """
    return amplification_of(upper, inverse_beside_zeros(upper))


def amplification_of(
    upper: Float[Array, "p n"], inverse: Float[Array, "p p"]
) -> Float[Array, " p"]:
    """As `row_amplification`, where the inverse is known.

    Args:
        upper: the triangle.
        inverse: that of its first columns, whatever the size of each row.
    """
    zero = jnp.all(upper == 0, axis=1)
    norms = norms_along(inverse, axis=0)
    norms = jnp.where(jnp.isnan(norms) | (jnp.diagonal(upper) == 0), jnp.inf, norms)
    return jnp.where(zero, 0.0, norms)


def inverse_beside_zeros(upper: Float[Array, "p n"]) -> Float[Array, "p p"]:
    """The inverse of a triangle's first columns; rows of zeros count as those of the identity.

    Args:
        upper: the triangle.
    """
    zero = jnp.all(upper == 0, axis=1)
    return inverse_of_upper(upper[:, : upper.shape[0]] + jnp.diag(zero.astype(upper.dtype)))


def inverse_of_upper(upper: Float[Array, "p p"]) -> Float[Array, "p p"]:
    """The inverse of an upper triangle; inf and NaN from the first zero on its diagonal on.

    By substitution from the last row up: row by row inside the blocks of the diagonal, all of which
    are one batch, and then block by block in products. Both are short loops, because a triangular
    solve of BLAS starts threads for every matrix, however small, and many of them side by side wait
    for each other.
    """
    size = upper.shape[0]
    width = min(size, _WIDTH)
    count = -(-size // width)
    columns, padding = np.arange(count * width), count * width - size
    padded = jnp.pad(upper, (0, padding)) + jnp.diag((columns >= size).astype(upper.dtype))
    grid = padded.reshape(count, width, count, width)
    corners = grid[np.arange(count), :, np.arange(count)]

    def row_above(step: Array, inverses: Array) -> Array:
        i = width - 1 - step
        row = jax.lax.dynamic_slice_in_dim(corners, i, 1, axis=1)
        pivot = jax.lax.dynamic_slice_in_dim(row, i, 1, axis=2)
        known = jnp.matmul(row, inverses, precision="highest")
        place = np.arange(width) - i
        found = jnp.where(place < 0, 0.0, jnp.where(place == 0, 1.0, -known) / pivot)
        return jax.lax.dynamic_update_slice_in_dim(inverses, found, i, axis=1)

    inverses = jax.lax.fori_loop(0, width, row_above, jnp.zeros_like(corners))
    if count == 1:
        return inverses[0]

    def block_above(step: Array, inverse: Array) -> Array:
        start = (count - 1 - step) * width
        # [A B; 0 C] has the inverse [A⁻¹ X; 0 C⁻¹] with X = -A⁻¹ B C⁻¹.
        rows = jax.lax.dynamic_slice_in_dim(padded, start, width)
        own = jax.lax.dynamic_index_in_dim(inverses, count - 1 - step, keepdims=False)
        beside = jnp.matmul(
            -own, jnp.matmul(rows, inverse, precision="highest"), precision="highest"
        )
        beside = jnp.where(columns >= start + width, beside, 0.0)
        beside = jax.lax.dynamic_update_slice_in_dim(beside, own, start, axis=1)
        return jax.lax.dynamic_update_slice_in_dim(inverse, beside, start, axis=0)

    return jax.lax.fori_loop(0, count, block_above, jnp.zeros_like(padded))[:size, :size]


def norms_along(matrix: Float[Array, "p n"], axis: int) -> Float[Array, " m"]:
    """Euclidean norms along an axis, for entries whose squares may fit no float."""
    tops = jnp.max(jnp.abs(matrix), axis=axis, keepdims=True, initial=0.0)
    scaled = matrix / jnp.where((tops > 0) & jnp.isfinite(tops), tops, 1.0)
    return jnp.squeeze(tops, axis) * jnp.linalg.norm(scaled, axis=axis)


def shift_within(array: Float[Array, "..."], exponents: Int[Array, "..."]) -> Float[Array, "..."]:
    """Array · 2^exponents, where the caller knows that the result is below 2."""
    finfo = jnp.finfo(array.dtype)
    return shifted(array, jnp.clip(exponents, 2 * finfo.minexp, 2 * (finfo.maxexp - 1)))


def _normalize_rows(rows: Float[Array, "p n"], exponents: Int[Array, " p"]) -> Graded:
    tops = jnp.max(jnp.abs(rows), axis=1, initial=0.0)
    sizes = exponent_above(tops)
    return Graded(shifted(rows, -sizes[:, None]), exponents + sizes)


def _jacobi(rows: Float[Array, "p n"], exponents: Int[Array, " p"]) -> Float[Array, " p"]:
    """The logarithms of the singular values: those of the rows' lengths once all are orthogonal.

    A sweep rotates every pair of rows once: p/2 disjoint pairs at a time, as in a tournament.
    """
    count, dtype = rows.shape[0], rows.dtype
    tolerance = rows.shape[1] * float(jnp.finfo(dtype).eps)
    if count % 2:
        rows, exponents = jnp.pad(rows, ((0, 1), (0, 0))), jnp.pad(exponents, (0, 1))
    half = rows.shape[0] // 2
    # As at a round table: row k of the first half meets row k of the second, then the first row
    # stays and all others move on by one place.
    places = np.arange(2 * half)
    ring = np.concatenate([places[1:half], places[: half - 1 : -1]])
    turn = places.copy()
    turn[ring] = np.roll(ring, 1)

    def meet(state, _):
        rows, lengths, exponents = state
        (a, b), (p, q), (i, j) = (
            (array[:half], array[half:]) for array in (rows, lengths, exponents)
        )
        # Let a be the longer of each pair; zero is the shortest, whatever its exponent.
        ahead = (j > i) | ((j == i) & (q > p))
        swap = (q != 0) & ((p == 0) | ahead)
        a, b = _exchange(swap[:, None], a, b)
        (p, q), (i, j) = _exchange(swap, p, q), _exchange(swap, i, j)
        cosine = jnp.sum(a * b, axis=1)
        ratio = jnp.where(q == 0, 0.0, shift_within(q / jnp.where(p == 0, 1.0, p), j - i))
        # tan θ = ratio · tangent makes a + ratio² tangent b and b - tangent a orthogonal.
        gap = (1 - ratio) * (1 + ratio)
        below = gap + jnp.hypot(gap, 2 * ratio * cosine)
        tangent = jnp.where(below == 0, 0.0, 2 * cosine / jnp.where(below == 0, 1.0, below))
        cos = 1 / jnp.sqrt(1 + (ratio * tangent) ** 2)
        a, b = (
            cos[:, None] * (a + (ratio**2 * tangent)[:, None] * b),
            cos[:, None] * (b - tangent[:, None] * a),
        )
        pairs = _exchange(swap[:, None], a, b), _exchange(swap, p, q), _exchange(swap, i, j)
        state = _unit_rows(*(jnp.concatenate(pair)[turn] for pair in pairs))
        return state, jnp.max(jnp.abs(cosine))

    def sweep(loop):
        state, _, sweeps = loop
        state, cosines = jax.lax.scan(meet, state, None, length=2 * half - 1)
        return state, jnp.max(cosines), sweeps + 1

    def unfinished(loop):
        _, largest, sweeps = loop
        return (largest > tolerance) & (sweeps < _SWEEPS)

    start = _unit_rows(rows, jnp.ones(2 * half, dtype), exponents)
    loop = start, jnp.full((), jnp.inf, dtype), 0
    (_, lengths, exponents), _, _ = jax.lax.while_loop(unfinished, sweep, loop)
    return jnp.sort(jax.vmap(log_of)(lengths, exponents))[::-1][:count]


def _exchange(swap, one, other):
    return jnp.where(swap, other, one), jnp.where(swap, one, other)


def _unit_rows(rows, lengths, exponents):
    """Rows of length one, and `lengths` times their lengths before, in unbounded range."""
    norms = jnp.linalg.norm(rows, axis=1)
    unit = rows / jnp.where(norms == 0, 1.0, norms)[:, None]
    lengths = lengths * norms
    sizes = exponent_above(lengths)
    return unit, shifted(lengths, -sizes), exponents + sizes
