"""What rounding does to a frame of tangents on its way through a chain, in units of eps.

Two things are watched. What rounding adds to the tangents inside an interval is carried along by
the same factors, as one more tangent, the probe: where they shrink a direction and let it grow
again, the end of the interval looks well conditioned, and the probe does not.

And the frame itself is displaced, Q (1 + L): one interval, J Q = Q' R + δ, makes of it

    L' = R L R⁻¹ + F,        F = Q'ᵀ δ R⁻¹.

L_ji with j > i says how far tangent i is turned toward tangent j, which matters once j has outgrown
i by more than all digits; then nothing is left of what tangent i was. With the tangents in a fixed
order, entries above the diagonal of L never come back. A frame of fewer tangents than dimensions is
displaced out of its span, too: by p wᵀ, where one vector p, the stray, stands for what all of them
have there, goes through the same factors, and stays outside, p' = (1 - Q' Q'ᵀ) J p.

Coordinates that a tangent may have lost below the range count as holding the square root of the
smallest number from then on: the probe and the stray get as much there after every factor.
"""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from lstmgrad._numeric.graded import norms_along, shift_within
from lstmgrad._numeric.gram_schmidt import signs
from lstmgrad._numeric.rows import least_kept
from lstmgrad._numeric.scaled import LOWEST, Scaled, log_of, power_below, widen

FLOOR = 0.1
"""A relative error from which on |R_ii| counts as nothing but rounding; and the part of another
tangent from which on a tangent counts as lost."""

_LEAST_NEW = 0.01
"""The least share of new rounding in the stray."""


class Displacement(NamedTuple):
    """How far rounding has displaced a frame, in units of eps.

    Attributes:
        inside: (m, m), the lower triangle of L.
        outside: (m,), w; None for a frame of the whole space.
    """

    inside: Array
    outside: Array | None


def disturbed(block: Scaled, count: int, faded: Bool[Array, " n"]) -> Scaled:
    """The block with what the last factor's rounding may have added to the probe.

    Args:
        block: rows with an exponent each, as `normalize` leaves it: tangents, the probe, and
            perhaps the stray.
        count: m, of the tangents.
        faded: coordinates in which a tangent may have lost something below the range.
    """
    mantissa = jax.lax.stop_gradient(block.mantissa[: count + 1])
    own = block.exponent[: count + 1]
    exponents = jnp.where(jnp.any(mantissa != 0, axis=1), own, LOWEST)
    top = jnp.max(exponents)
    powers = power_below(exponents - top, mantissa.dtype)
    # In each coordinate as much as the largest tangent has there: groups of units stay apart.
    fresh = jnp.max(jnp.abs(mantissa[:-1]) * powers[:-1, None], axis=0)
    fresh = jnp.maximum(fresh, jnp.where(faded, level_of_faded(mantissa.dtype), 0.0))
    fresh *= jnp.asarray(signs(fresh.shape), fresh.dtype)
    probe = mantissa[-1] * powers[-1] + fresh
    return Scaled(block.mantissa.at[count].set(probe), block.exponent.at[count].set(top))


def near_the_end(mantissa: Float[Array, "m n"]) -> Bool[Array, " n"]:
    """The coordinates that some tangent may lose below the range of its dtype with the next factor.

    Args:
        mantissa: of the tangents.
    """
    sizes = jnp.abs(jax.lax.stop_gradient(mantissa))
    return jnp.any((sizes > 0) & (sizes < _end_of_range(mantissa.dtype)), axis=0)


def level_of_faded(dtype: Any) -> float:
    """What a tangent of size one may have in a coordinate that has faded, in units of eps.

    Args:
        dtype: of the tangents.
    """
    return _end_of_range(dtype) / float(jnp.finfo(dtype).eps)


def _end_of_range(dtype: Any) -> float:
    """An entry above this stays in the range with every factor that is above it, too."""
    return least_kept(dtype) ** 0.5


def noise_sizes(noise: Float[Array, "m n"], tangents: Scaled) -> Float[Array, " m"]:
    """The norm of what may have been added to each tangent's mantissa.

    Args:
        noise: from `noise_of`.
        tangents: (m, n) with an exponent each.
    """
    counts = jnp.sum(tangents.mantissa != 0, axis=1, dtype=noise.dtype)
    squares = jnp.sum(bounded(noise) ** 2, axis=1)
    return jnp.sqrt(jnp.maximum(squares, counts))


def noise_of(tangents: Scaled, probe: Scaled, faded: Bool[Array, " n"]) -> Float[Array, "m n"]:
    """What may have been added to each tangent's mantissa: zero where that is.

    Args:
        tangents: (m, n) with an exponent each.
        probe: (n,).
        faded: coordinates whose zeros may stand for numbers below the range.
    """
    rows, noise = jax.lax.stop_gradient((widen(tangents.mantissa), widen(probe.mantissa)))
    sizes = shift_within(
        jnp.broadcast_to(jnp.abs(noise), rows.shape),
        (probe.exponent - tangents.exponent)[:, None],
    )
    # An orthonormalization spreads one epsilon over all that a tangent has.
    sizes = jnp.maximum(bounded(sizes), jnp.where(rows != 0, 1.0, 0.0))
    sizes = jnp.where((rows == 0) & ~faded[None], 0.0, sizes)
    return sizes * jnp.asarray(signs(sizes.shape), sizes.dtype)


def of_growths(
    tangents: Scaled,
    noise: Float[Array, " m"],
    growths: Float[Array, " m"],
    zero: Bool[Array, " m"],
    lost: Bool[Array, " m"],
    eps: float,
) -> tuple[Float[Array, " m"], Float[Array, " m"], Float[Array, " m"]]:
    """Of each |R_ii|: relative error, ln without zeros made by rounding, ln of its roundings.

    Args:
        tangents: (m, n) with an exponent each.
        noise: see `noise_sizes`.
        growths: ln |R_ii|.
        zero: which tangents are exactly zero.
        lost: which would be, without the coordinates that were lost below the range.
        eps: of the dtype of the tangents.
    """
    # |R_ii| = 0 is exact for a tangent that is zero. One that is not, and has nothing left beside
    # those before it, is lost in rounding, and could be anything up to that of the largest one.
    sizes = jax.vmap(log_of)(jnp.ones_like(growths), tangents.exponent)
    cancelled = (growths == -jnp.inf) & ~zero
    growths = jnp.where(cancelled, sizes + math.log(eps), growths)
    own = jax.lax.stop_gradient(growths) - sizes
    error = eps * noise * jnp.exp(-own)
    amplified = jnp.log(noise / math.sqrt(tangents.mantissa.shape[1])) - own
    # What is mostly rounding could be any smaller number, and zero.
    error = jnp.where(error < FLOOR, error, jnp.inf)
    # Without the coordinates that were lost below the range, nothing would be left of it at all.
    error = jnp.where(lost, jnp.inf, error)
    return jnp.where(zero, 0.0, error), growths, amplified


def displaced(
    before: Displacement,
    tangents: Scaled,
    stray: Scaled | None,
    noise: Float[Array, "m n"],
    frame: Scaled,
    triangle: Float[Array, "m m"],
    inverse: Float[Array, "m m"],
) -> tuple[Displacement, Float[Array, " n"] | None]:
    """The displacement after one interval, and the stray.

    Args:
        before: at its start.
        tangents: J Q, (m, n) with an exponent each.
        stray: J p, (n,); None for a frame of the whole space.
        noise: from `noise_of`.
        frame: Q', as rows.
        triangle: the mantissas of R, whose columns have the exponents of the tangents.
        inverse: of the triangle.
    """
    tangents, stray, rows, triangle, inverse = jax.lax.stop_gradient(
        (tangents, stray, widen(frame.mantissa), triangle, inverse)
    )
    product = functools.partial(jnp.matmul, precision="highest")
    between = bounded(_between(before.inside, tangents.exponent))
    moved = product(triangle, between)
    alive = jnp.any(rows != 0, axis=1)
    outside, row = None, None
    if stray is not None and before.outside is not None:
        start = widen(stray.mantissa)
        shares = shift_within(before.outside, stray.exponent - tangents.exponent)
        shares = jnp.where(alive & (before.outside != 0), bounded(shares), 0.0)
        seen = product(rows, start)
        moved += seen[:, None] * shares[None]
        left = start - product(seen, rows)
        shares = bounded(product(shares, inverse))
        fresh = bounded(product(norms_along(noise, axis=1), jnp.abs(inverse)))
        sizes = bounded(jnp.maximum(fresh, jnp.abs(shares) * _length(left)))
        sizes = jnp.where(alive, sizes, 0.0)
        inverses = jnp.where(sizes > 0, 1 / jnp.where(sizes > 0, sizes, 1.0), 0.0)
        # One vector stands for what all of them have outside: what is left of the old, and a
        # mixture of all that is new, no more of it than suits the tangent that has the most.
        mixed = product(
            product(inverse, inverses * jnp.asarray(signs(sizes.shape), sizes.dtype)), noise
        )
        mixed -= product(product(rows, mixed), rows)
        suits = jnp.maximum(jnp.min(jnp.where(alive, fresh * inverses, 1.0)), _LEAST_NEW)
        row = suits * mixed + left * jnp.max(jnp.abs(shares) * inverses)
        outside = jnp.where(shares < 0, -sizes, sizes)
    added = product(rows, noise.T)
    moved = product(bounded(moved + added), inverse)
    # Signs are drawn, and may happen to cancel: no entry is below what it got in this interval.
    least = bounded(added * jnp.diagonal(inverse)[None])
    moved = jnp.where(jnp.abs(moved) < jnp.abs(least), least, moved)
    moved = jnp.where(alive[:, None] & alive[None], moved, 0.0)
    return Displacement(jnp.tril(bounded(moved)), outside), row


def _between(matrix: Float[Array, "m m"], exponents: Int[Array, " m"]) -> Float[Array, "m m"]:
    """Each entry times 2^(exponent of its row - that of its column), zero where it is zero.

    Args:
        matrix: L.
        exponents: of the columns of R.
    """
    one = jnp.ones((), matrix.dtype)
    # A power for each pair would take longer than a product of matrices does.
    limit = int(jnp.finfo(matrix.dtype).maxexp) - 1
    half = jnp.clip((exponents - jnp.max(exponents)) // 2, -limit, 0)
    rest = jnp.clip(exponents - jnp.max(exponents) - half, -limit, 0)
    for power in (half, rest):
        up, down = jnp.ldexp(one, power), jnp.ldexp(one, -power)
        matrix = jnp.where(matrix == 0, 0.0, matrix * (up[:, None] * down[None]))
    return matrix


def bounded(matrix: Float[Array, "..."]) -> Float[Array, "..."]:
    """The matrix in units of eps with entries of at most 1/eps²: from 1/eps on all is lost.

    Args:
        matrix: NaN counts as the largest.
    """
    most = float(jnp.finfo(matrix.dtype).eps) ** -2
    return jnp.clip(jnp.where(jnp.isnan(matrix), most, matrix), -most, most)


def is_lost(moved: Displacement, stray: Array | None, eps: float) -> Bool[Array, " m"]:
    """Which tangents have been turned into another, or have turned one: what they were is gone.

    L then shrinks again, because it is that of the frame as it is.

    Args:
        moved: in units of eps.
        stray: p.
        eps: of the dtype of the frame.
    """
    far = jnp.abs(jnp.tril(moved.inside, -1)) * eps > FLOOR
    lost = jnp.any(far, axis=0) | jnp.any(far, axis=1)
    return lost | (_outside(moved, stray) * eps > FLOOR)


def displacement_errors(moved: Displacement, stray: Array | None, eps: float) -> Float[Array, " m"]:
    """By how much the displacement of a frame may change the logarithm of each sum.

    Args:
        moved: in units of eps.
        stray: p.
        eps: of the dtype of the frame.
    """
    inside = jnp.abs(moved.inside) * eps
    turned = jnp.tril(inside, -1)
    turned = jnp.linalg.norm(turned, axis=0) + jnp.linalg.norm(turned, axis=1)
    turned += _outside(moved, stray) * eps
    own = jnp.diagonal(inside)
    return jnp.where(own < FLOOR, own, jnp.inf) + jnp.minimum(turned, turned**2)


def _outside(moved: Displacement, stray: Array | None) -> Array:
    """How far each tangent is turned out of the frame, in units of eps.

    Args:
        moved: in units of eps.
        stray: p.
    """
    if moved.outside is None or stray is None:
        return jnp.zeros((), moved.inside.dtype)
    return jnp.abs(moved.outside) * _length(widen(stray))


def _length(vector: Float[Array, " n"]) -> Float[Array, ""]:
    return norms_along(vector[None], axis=1)[0]
