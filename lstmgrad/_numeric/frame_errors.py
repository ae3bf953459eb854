"""What rounding does to a frame of tangents on its way through a chain, in units of eps.

Two things are watched. What rounding adds to the tangents inside an interval is carried along by
the same factors, as one more tangent, the probe: where they shrink a direction and let it grow
again, the end of the interval looks well conditioned, and the probe does not.

And the frame itself is displaced, Q (1 + L): one interval, J Q = Q' R + δ, makes of it

    L' = R L R⁻¹ + F,        F = Q'ᵀ δ R⁻¹.

L_ji with j > i says how far tangent i is turned toward tangent j, which matters once j has outgrown
i by more than all digits; then nothing is left of what tangent i was. With the tangents in a fixed
order, entries above the diagonal of L never come back.
"""

import functools
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from lstmgrad._numeric.graded import inverse_beside_zeros, shift_within
from lstmgrad._numeric.gram_schmidt import signs
from lstmgrad._numeric.scaled import LOWEST, Scaled, log_of, power_below, widen

FLOOR = 0.1
"""A relative error from which on |R_ii| counts as nothing but rounding; and the part of another
tangent from which on a tangent counts as lost."""


def disturbed(block: Scaled) -> Scaled:
    """The block with what the last factor's rounding may have added to the probe.

    Args:
        block: (m + 1, n) with an exponent each, the probe last, as `normalize` leaves it.
    """
    mantissa = jax.lax.stop_gradient(block.mantissa)
    exponents = jnp.where(jnp.any(mantissa != 0, axis=1), block.exponent, LOWEST)
    top = jnp.max(exponents)
    powers = power_below(exponents - top, mantissa.dtype)
    # In each coordinate as much as the largest tangent has there: groups of units stay apart.
    fresh = jnp.max(jnp.abs(mantissa[:-1]) * powers[:-1, None], axis=0)
    fresh *= jnp.asarray(signs(fresh.shape), fresh.dtype)
    probe = mantissa[-1] * powers[-1] + fresh
    return Scaled(block.mantissa.at[-1].set(probe), block.exponent.at[-1].set(top))


def noise_sizes(block: Scaled) -> Float[Array, " m"]:
    """The norm of what may have been added to each tangent's mantissa.

    Args:
        block: (m + 1, n) with an exponent each, the probe last.
    """
    rows = jax.lax.stop_gradient(widen(block.mantissa))
    there = rows[:-1] != 0
    squares = jnp.sum(jnp.where(there, rows[-1] ** 2, 0.0), axis=1)
    counts = jnp.sum(there, axis=1, dtype=rows.dtype)  # an orthonormalization spreads one each
    power = shift_within(jnp.ones((), rows.dtype), block.exponent[-1] - block.exponent[:-1])
    carried = jnp.where(squares == 0, 0.0, bounded(jnp.sqrt(squares) * power))
    return jnp.sqrt(carried**2 + counts)


def _noise(block: Scaled) -> Float[Array, "m n"]:
    """What may have been added to each tangent's mantissa: zero where that is.

    Args:
        block: (m + 1, n) with an exponent each, the probe last.
    """
    rows = widen(block.mantissa)
    sizes = shift_within(
        jnp.broadcast_to(jnp.abs(rows[-1]), rows[:-1].shape),
        (block.exponent[-1] - block.exponent[:-1])[:, None],
    )
    sizes = jnp.maximum(bounded(sizes), 1.0)
    return jnp.where(rows[:-1] == 0, 0.0, sizes * jnp.asarray(signs(sizes.shape), sizes.dtype))


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
    # What is mostly rounding could be any smaller number: its logarithm is off by all the digits.
    error = jnp.where(error < FLOOR, error, -math.log(eps))
    # Without the coordinates that were lost below the range, nothing would be left of it at all.
    error = jnp.where(lost, jnp.inf, error)
    return jnp.where(zero, 0.0, error), growths, amplified


def displaced(
    before: Float[Array, "m m"], block: Scaled, frame: Scaled, triangle: Float[Array, "m m"]
) -> Float[Array, "m m"]:
    """The lower triangle of L after one interval.

    Args:
        before: L.
        block: (m + 1, n), the tangents J Q and the probe.
        frame: Q', as rows.
        triangle: the mantissas of R, whose columns have the exponents of the block.
    """
    block, rows, triangle = jax.lax.stop_gradient((block, widen(frame.mantissa), triangle))
    inverse = inverse_beside_zeros(triangle)
    product = functools.partial(jnp.matmul, precision="highest")
    between = bounded(_between(before, block.exponent[:-1]))
    moved = product(triangle, between) + product(rows, _noise(block).T)
    alive = jnp.any(rows != 0, axis=1)
    moved = jnp.where(alive[:, None] & alive[None], product(bounded(moved), inverse), 0.0)
    return jnp.tril(bounded(moved))


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


def is_lost(displaced: Float[Array, "m m"], eps: float) -> Bool[Array, " m"]:
    """Which tangents have been turned into another, or have turned one: what they were is gone.

    L then shrinks again, because it is that of the frame as it is.

    Args:
        displaced: L in units of eps.
        eps: of the dtype of the frame.
    """
    far = jnp.abs(jnp.tril(displaced, -1)) * eps > FLOOR
    return jnp.any(far, axis=0) | jnp.any(far, axis=1)


def displacement_errors(displaced: Float[Array, "m m"], eps: float) -> Float[Array, " m"]:
    """By how much the displacement of a frame may change the logarithm of each sum.

    Args:
        displaced: L in units of eps.
        eps: of the dtype of the frame.
    """
    displaced = jnp.abs(displaced) * eps
    turned = jnp.tril(displaced, -1)
    turned = jnp.linalg.norm(turned, axis=0) + jnp.linalg.norm(turned, axis=1)
    return jnp.diagonal(displaced) + jnp.minimum(turned, turned**2)
