"""A product of factors as an orthonormal frame and a graded triangle, one factor after the other.

A frame of orthonormal vectors goes through the chain, and what each factor does to it is split into
a new frame and a triangle, J_t Q = Q' R; the triangles multiply up in a `Graded` matrix, whose
singular values are those of the product:

    ds_t/ds_0 = J_t ··· J_1 = Q_t (R_t ··· R_1).

Before each split the columns are ordered by the size that they have in the product. A row that is
exactly zero stays so, a saturated unit's small row keeps its own relative precision, and groups of
units that do not interact never meet (`gram_schmidt`).
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from lstmgrad._numeric.graded import (
    Graded,
    amplification_of,
    graded,
    inverse_beside_zeros,
    multiply,
    norms_along,
    shift_within,
)
from lstmgrad._numeric.gram_schmidt import orthonormalize, signs
from lstmgrad._numeric.scaled import Scaled, exponent_above, log_of, normalize, shifted
from lstmgrad._spectra.displaced import Split, carried


class FactoredProduct(NamedTuple):
    """The factors so far: frame · graded.

    Attributes:
        frame: (m, n), orthonormal rows: the columns of Q_t.
        graded: R_t ··· R_1.
        losses: (m,), Σ over the factors of the condition of each row of R.
        displaced: (m, m), see `displaced`, in units of the rounding.
    """

    frame: Float[Array, "m n"]
    graded: Graded
    losses: Float[Array, " m"]
    displaced: Float[Array, "m m"]


def whole_product(frame: Float[Array, "m n"]) -> FactoredProduct:
    """The product of no factors.

    Args:
        frame: orthonormal rows.
    """
    size, dtype = len(frame), frame.dtype
    rows = graded(jnp.eye(size, dtype=dtype), jnp.zeros((), jnp.int32))
    return FactoredProduct(frame, rows, jnp.zeros(size, dtype), jnp.zeros((size, size), dtype))


def apply(
    factor: Scaled, product: FactoredProduct, finfo: Any, *, select: bool = False
) -> FactoredProduct:
    """One factor more, given as factor · frame, (n, m).

    Rounding has moved row k of the factor by an epsilon of its norm, and so R by Qᵀ δ: row i of
    the product, to first order, by Σ_k |Q_ki| ‖row k‖ times the norm of column i of R⁻¹.

    Args:
        factor: times the frame.
        product: the factors so far.
        finfo: of the dtype in which the factor met the frame.
        select: whether the factor only takes some of the coordinates.
    """
    matrix = jnp.where(jnp.any(jnp.isnan(factor.mantissa)), jnp.nan, factor.mantissa)
    block, exponent = normalize(Scaled(matrix, factor.exponent))
    (rows, exponents), losses = product.graded, product.losses
    gone = jnp.all(rows == 0, axis=1)
    tops = jnp.max(jnp.abs(block), axis=0)
    sizes = exponent_above(tops)
    heights = shifted(tops, -sizes)

    # What the range of the dtype may have cost each column, and which of them nothing is left of.
    least = block.shape[0] * float(finfo.tiny)
    lossy = _lossy(product.frame, float(finfo.tiny)) & ~gone
    hidden = (heights == 0) & lossy & (not select)
    floor = shift_within(jnp.asarray(least / float(finfo.eps), block.dtype), -exponent)
    sizes_of_rows = norms_along(block, axis=1)
    sizes_of_rows += jnp.where(jnp.any(lossy) | select, floor, 0.0)

    # Columns of size one, the largest in the product first.
    sizes = jnp.where(hidden, math.ceil(math.log2(least)) - exponent, sizes)
    some = jnp.asarray(signs(block.shape), block.dtype)
    block = jnp.where(hidden[None], some, shifted(block, -sizes[None]))
    # What meets a row of zeros counts for nothing, and must not pass for a near dependence.
    dead = ((heights == 0) & ~hidden) | gone
    block = jnp.where(dead[None], 0.0, block)
    weights = sizes + exponents
    order = jnp.lexsort((-heights, -weights, dead))
    block, sizes, rows, exponents = block[:, order], sizes[order], rows[order], exponents[order]
    rank = jnp.minimum(jnp.sum(~dead), jnp.sum(jnp.any(block != 0, axis=1)))

    top = jnp.max(sizes_of_rows)
    rounding = float(finfo.eps) * sizes_of_rows / jnp.where(top > 0, top, 1.0)
    frame, upper = orthonormalize(block, rank, some * rounding[:, None])
    kept = min(block.shape)
    frame, upper = frame[:, :kept], upper[:kept]
    total = multiply(upper, Graded(rows, exponents + sizes))

    inverse = inverse_beside_zeros(upper)
    back = jnp.where(inverse == 0, 0.0, shifted(inverse, -sizes[:kept, None]))
    moved = norms_along(frame * sizes_of_rows[:, None], axis=0)
    losses = losses[order][:kept] + moved * amplification_of(upper, back)
    noise = jnp.where(block != 0, some * sizes_of_rows[:, None], 0.0)[:, :kept]
    noise = jnp.matmul(frame.T, noise, precision="highest")
    noise = jnp.matmul(noise, back, precision="highest")
    split = Split(order, product.graded.exponents, weights, upper, inverse, total.exponents, ~dead)
    displaced = carried(product.displaced, split, noise)
    total = Graded(total.mantissa, total.exponents + exponent)
    return FactoredProduct(frame.T, total, losses, displaced)


def _lossy(frame: Float[Array, "m n"], tiny: float) -> Bool[Array, " m"]:
    """Which rows hold an entry so small that a product with it may fall below the range.

    An entry above the square root of the least number stays in it with every factor above that.
    """
    small = (frame != 0) & (jnp.abs(frame) < tiny**0.5)
    return jnp.any(small, axis=1)


def level_of_hidden(product: FactoredProduct, part: slice, finfo: Any) -> Float[Array, ""]:
    """Ln of what the directions that leave no trace in the part may have there; -inf without any.

    Args:
        product: the factors so far.
        part: of the flat state.
        finfo: of the dtype of the frame.
    """
    (rows, exponents), frame = product.graded, product.frame
    traceless = jnp.all(frame[:, part] == 0, axis=1) & jnp.any(frame != 0, axis=1)
    heights = jnp.where(traceless, norms_along(rows, axis=1), 0.0)
    lost = math.log(frame.shape[1] * float(finfo.tiny))  # of a frame
    return jnp.max(jax.vmap(log_of)(heights, exponents)) + lost
