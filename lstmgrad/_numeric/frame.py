"""Frames of tangents: made orthonormal, with zeros that stay exact, and as they travel.

When it is done, and what is summed meanwhile, is in `renewal`.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from lstmgrad._numeric import lapack
from lstmgrad._numeric.frame_errors import bounded
from lstmgrad._numeric.graded import norms_along
from lstmgrad._numeric.scaled import Scaled, log_of, widen

UNEVEN = 2.0**-10
"""The least coordinate of a frame, as a share of the largest, down to which their order is as it
comes."""


def orthonormal(
    block: Scaled, faded: Bool[Array, " n"] | None = None
) -> tuple[Scaled, Float[Array, "m m"], Float[Array, " m"]]:
    """An orthonormal frame with the spans of the block's first rows, R, and ln of its diagonal.

    A tangent that is exactly zero stays so, in its place: it spans nothing, takes no direction from
    those behind it, and ln R_ii is -inf. So are the last of more tangents than there are
    coordinates in which any of them is not zero.

    Args:
        block: rows (m, n), with one exponent or one each. R is that of the mantissa, (n, m) = Q R;
            the logarithms are those of the whole block, its exponents included.
        faded: coordinates whose zeros may stand for numbers below the range.
    """
    rows = widen(block.mantissa)
    dead = is_dead(block, faded)
    sizes = jax.lax.stop_gradient(jnp.max(jnp.abs(rows), axis=0))
    zeros = block.mantissa == 0
    zeros = zeros if faded is None else zeros & ~faded[None]
    sorts = (jnp.min(sizes) < UNEVEN * jnp.max(sizes)) | jnp.any(zeros)

    def orders() -> tuple[Array, Array]:
        # Q fills the place of a zero with any direction, so zeros go behind all others. And a
        # reflection leaves an epsilon of a column in its first coordinate: larger ones go first.
        return jnp.argsort(dead, stable=True), jnp.argsort(-sizes, stable=True)

    order, places = jax.lax.cond(
        sorts, orders, lambda: (jnp.arange(len(dead)), jnp.arange(len(sizes)))
    )
    rows = jax.lax.cond(sorts, lambda: rows[order][:, places], lambda: rows)
    columns, triangle = lapack.qr(rows.T)

    def back() -> tuple[Array, Array]:
        own = jnp.argsort(order)
        there = columns.T[own][:, jnp.argsort(places)]
        # What neither a tangent nor those before it have, a reflection has put there; and all of
        # it, where nothing but rounding is left.
        apart = jnp.cumsum(~zeros, axis=0) == 0
        kept = jnp.where(apart, 0.0, there)
        kept = jnp.where(jnp.any(kept != 0, axis=1, keepdims=True), kept, there)
        return jnp.where(dead[:, None], 0.0, kept), triangle[own][:, own]

    found, triangle = jax.lax.cond(sorts, back, lambda: (columns.T, triangle))
    exponents = jnp.broadcast_to(block.exponent, dead.shape)
    growths = jax.vmap(log_of)(jnp.abs(jnp.diagonal(triangle)), exponents)
    growths = jnp.where(dead, -jnp.inf, growths)
    frame = Scaled(found.astype(block.mantissa.dtype), jnp.zeros((), jnp.int32))
    return frame, triangle, growths


def crossing_errors(
    tangents: Scaled, triangle: Float[Array, "m m"], inverse: Float[Array, "m m"], eps: float
) -> Float[Array, " m"]:
    """What reflections put where tangents are exactly zero, as an error of each ln |R_ii|.

    `orthonormal` clears the frame of it, but not R: with an epsilon of tangent k
    anywhere, entry j of the diagonal moves by ‖R e_k‖ (R⁻¹)_kj, and by the square of how far each
    tangent before j was turned out of its own coordinates.

    Args:
        tangents: (m, n) with an exponent each.
        triangle: the mantissas of R, whose columns have the exponents of the tangents.
        inverse: of the triangle.
        eps: of the dtype of the tangents.
    """

    def crossed() -> Float[Array, " m"]:
        turned = bounded(norms_along(triangle, axis=0)[:, None] * jnp.abs(inverse))
        first = norms_along(jnp.triu(turned, 1), axis=0) * eps
        squares = (norms_along(turned, axis=0) * eps) ** 2
        return first + jnp.cumsum(squares) - squares

    some = jnp.any(tangents.mantissa == 0)
    return jax.lax.cond(some, crossed, lambda: jnp.zeros_like(triangle[0]))


def is_dead(block: Scaled, faded: Array | None = None) -> Bool[Array, " m"]:
    """Which tangents are exactly zero, or have no dimension left beside those before them.

    Args:
        block: rows (m, n).
        faded: coordinates whose zeros may stand for numbers below the range.
    """
    zero = jnp.all(block.mantissa == 0, axis=1)
    there = jnp.any(block.mantissa != 0, axis=0)
    there = there if faded is None else there | faded
    return zero | (jnp.cumsum(~zero) > jnp.sum(there))


def probed(tangents: Scaled, stray: Float[Array, " n"] | None) -> Scaled:
    """The tangents with an exponent each, a probe of zero behind them, and the stray.

    Args:
        tangents: (m, n), with one exponent.
        stray: see `frame_errors`; None for a frame of the whole space.
    """
    rows = tangents.mantissa
    mantissa = jnp.concatenate([rows, jnp.zeros_like(rows[:1])])
    if stray is not None:
        mantissa = jnp.concatenate([mantissa, stray.astype(rows.dtype)[None]])
    return Scaled(mantissa, jnp.broadcast_to(tangents.exponent, mantissa.shape[:1]))
