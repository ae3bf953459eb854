"""A frame of tangents on its way through a chain: when it is made orthonormal, and what that costs.

While the frame travels, all its tangents turn toward the direction that grows fastest, and what
sets them apart loses digits. When the frame is made orthonormal, (its tangents as columns) = Q R,
every |R_ii| carries the rounding of the largest: a relative error of eps · R_11 / |R_ii|. Doing it
rarely costs digits, and doing it often costs time. Unless the caller fixes the interval, it is done
when the growth rates seen so far say that with one more step a third of the digits would be gone.

Two more things are watched, in units of eps. What rounding adds to the tangents inside an interval
is carried along by the same factors, as one more tangent, the probe: where they shrink a direction
and let it grow again, the end of the interval looks well conditioned, and the probe does not. And
the frame itself is displaced, Q (1 + L): one interval makes of it

    L' = R L R⁻¹ + Q'ᵀ δ R⁻¹.

L_ji with j > i says how far tangent i is turned toward tangent j, which matters once j has outgrown
i by more than all digits; then nothing is left of what tangent i was. With the tangents in a fixed
order, entries above the diagonal of L never come back.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from lstmgrad._numeric import lapack
from lstmgrad._numeric.graded import inverse_beside_zeros, shift_within
from lstmgrad._numeric.gram_schmidt import signs
from lstmgrad._numeric.rows import least_kept
from lstmgrad._numeric.scaled import Scaled, add, exponent_of, log_of, power_below, widen

FADING = 0.95
"""The share of the largest spread of growth rates seen so far that is kept from one interval to the
next: one quiet interval does not make the following one long."""

FLOOR = 0.1
"""A relative error from which on |R_ii| counts as nothing but rounding."""


class Sums(NamedTuple):
    """What the sweep carries beside the frame.

    Attributes:
        time: t.
        renewed: the time at which the frame was last made orthonormal.
        rate: nats per step by which the growth rates of the frame's directions differ, the largest
            in recent intervals.
        cells: (G, m), Σ ln |R_ii| over each cell of time.
        roundings: (m,), the error that rounding leaves in the sums over all cells.
        displaced: (m, m), the lower triangle of L in units of eps.
        faded: (n,), coordinates that came near the end of the range since then.
    """

    time: Array
    renewed: Array
    rate: Array
    cells: Array
    roundings: Array
    displaced: Array
    faded: Array


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
    dead = _dead(block, faded)
    # Q fills the place of a zero with any direction, so zeros go behind all others, and come back.
    order = jnp.argsort(dead, stable=True)
    back = jnp.argsort(order)
    # A reflection leaves an epsilon of a column in its first coordinate: the larger ones go first.
    sizes = jax.lax.stop_gradient(jnp.max(jnp.abs(rows), axis=0))
    places = jnp.argsort(-sizes, stable=True)
    frame, triangle = lapack.qr(rows[order][:, places].T)
    frame = frame.T[back][:, jnp.argsort(places)]
    frame, triangle = jnp.where(dead[:, None], 0.0, frame), triangle[back][:, back]
    exponents = jnp.broadcast_to(block.exponent, dead.shape)
    growths = jax.vmap(log_of)(jnp.abs(jnp.diagonal(triangle)), exponents)
    growths = jnp.where(dead, -jnp.inf, growths)
    frame = Scaled(frame.astype(block.mantissa.dtype), jnp.zeros((), jnp.int32))
    return frame, triangle, growths


def _dead(block: Scaled, faded: Array | None = None) -> Bool[Array, " m"]:
    """Which tangents are exactly zero, or have no dimension left beside those before them."""
    zero = jnp.all(block.mantissa == 0, axis=1)
    there = jnp.any(block.mantissa != 0, axis=0)
    there = there if faded is None else there | faded
    return zero | (jnp.cumsum(~zero) > jnp.sum(there))


def probed(block: Scaled) -> Scaled:
    """The tangents with an exponent each, and a probe of zero behind them.

    Args:
        block: tangents (m, n).
    """
    mantissa = jnp.pad(block.mantissa, ((0, 1), (0, 0)))
    return Scaled(mantissa, jnp.broadcast_to(block.exponent, mantissa.shape[:1]))


def renewal(
    dtype: Any, length: int | Int[Array, ""], burn_in: int, cell: int, interval: int | None
) -> Callable[[Sums, Scaled], tuple[Sums, Scaled]]:
    """What is done to the frame after every factor: nothing, or it is made orthonormal and summed.

    Args:
        dtype: of the chain.
        length: T, which may be traced.
        burn_in: steps at the start that are not summed.
        cell: steps of one sum, at whose end the frame is renewed in any case.
        interval: steps between renewals; None chooses them.
    """
    eps = float(jnp.finfo(dtype).eps)
    budget = -math.log(eps) / 3  # nats of spread: a third of the digits

    def renew(sums: Sums, block: Scaled) -> tuple[Sums, Scaled]:
        block, faded = _disturbed(block), sums.faded
        if interval is not None:  # one that is chosen ends before the range does
            faded |= _near_the_end(block.mantissa[:-1])
        time = sums.time + 1
        since = (time - sums.renewed).astype(sums.rate.dtype)
        # Counted from the end of the burn-in. `rem` has the sign of its dividend: keep that >= 0.
        period = interval or cell
        due = jax.lax.rem(time + (-burn_in) % period, jnp.int32(period)) == 0
        if interval is None:
            due |= (since + 1) * sums.rate > budget
        due |= (time == length) | (time == burn_in)

        shape = block.mantissa.shape

        def turn(loop: tuple) -> tuple:
            _, flat, exponent, _, _, rate, displaced = loop
            mantissa = flat.reshape(shape)
            tangents = Scaled(mantissa[:-1], exponent[:-1])
            noise = _noise(Scaled(mantissa, exponent))
            frame, triangle, growths = orthonormal(tangents, faded)
            rounding, growths, amplified = _rounding(tangents, noise, growths, eps, faded)
            displaced = _displaced(displaced, tangents.exponent, frame, triangle, noise)
            alive = growths > -jnp.inf
            spread = jnp.max(growths) - jnp.min(jnp.where(alive, growths, jnp.max(growths)))
            # Far from normal, factors amplify rounding by more than the directions grow apart.
            spread = jnp.maximum(spread, jnp.max(jnp.where(alive, amplified, -jnp.inf)))
            spread = jnp.where(jnp.any(alive), spread, 0.0)
            rate = jnp.clip(spread / since, FADING * rate, budget)
            done, block = jnp.zeros((), bool), probed(frame)
            flat = block.mantissa.reshape(-1)
            return done, flat, block.exponent, growths, rounding, rate, displaced

        zeros = jnp.zeros_like(sums.roundings)
        # As a vector: LAPACK wants the block by columns, but the sweep should keep its own layout.
        flat = block.mantissa.reshape(-1)
        loop = (due, flat, block.exponent, zeros, zeros, sums.rate, sums.displaced)
        if interval is None:
            # A loop of at most one turn. Unlike a condition it copies no block, and under vmap it
            # runs only when some frame of the batch is due, and not at every step.
            loop = jax.lax.while_loop(lambda loop: loop[0], turn, loop)
        else:
            # Due at the same times for a whole batch, so this stays a condition under vmap.
            loop = jax.lax.cond(due, turn, lambda loop: loop, loop)
        _, flat, exponent, growths, roundings, rate, displaced = loop
        block = Scaled(flat.reshape(shape), exponent)
        counts = time > burn_in
        growths, roundings = (jnp.where(counts, x, 0.0) for x in (growths, roundings))
        index = jax.lax.div(jnp.maximum(time - burn_in - 1, 0), jnp.int32(cell))
        before = jax.lax.dynamic_index_in_dim(sums.cells, index, keepdims=False)
        cells = jax.lax.dynamic_update_index_in_dim(sums.cells, before + growths, index, 0)
        renewed, faded = jnp.where(due, time, sums.renewed), faded & ~due
        roundings = sums.roundings + roundings
        return Sums(time, renewed, rate, cells, roundings, displaced, faded), block

    return renew


def _near_the_end(mantissa: Float[Array, "m n"]) -> Bool[Array, " n"]:
    """The coordinates that some tangent is about to lose below the range of its dtype."""
    sizes = jnp.abs(jax.lax.stop_gradient(mantissa))
    return jnp.any((sizes > 0) & (sizes < least_kept(mantissa.dtype) ** 0.5), axis=0)


def _disturbed(block: Scaled) -> Scaled:
    """The block with what the last factor's rounding may have added to the probe, in units of eps.

    Args:
        block: (m + 1, n) with an exponent each, the probe last.
    """
    mantissa = jax.lax.stop_gradient(block.mantissa)
    tangents = Scaled(mantissa[:-1], block.exponent[:-1])
    # In each coordinate as much as the largest tangent has there: groups of units stay apart.
    top = jnp.max(jax.vmap(exponent_of)(tangents))
    powers = power_below(jnp.minimum(tangents.exponent - top, 0), mantissa.dtype)
    sizes = jnp.max(jnp.abs(tangents.mantissa) * powers[:, None], axis=0)
    fresh = sizes * jnp.asarray(signs(sizes.shape), sizes.dtype)
    probe = add(Scaled(mantissa[-1], block.exponent[-1]), Scaled(fresh, top))
    return Scaled(
        block.mantissa.at[-1].set(probe.mantissa), block.exponent.at[-1].set(probe.exponent)
    )


def _noise(block: Scaled) -> Float[Array, "m n"]:
    """What may have been added to each tangent's mantissa, in units of eps: zero where that is.

    Args:
        block: (m + 1, n) with an exponent each, the probe last.
    """
    rows = jax.lax.stop_gradient(widen(block.mantissa))
    sizes = shift_within(
        jnp.broadcast_to(jnp.abs(rows[-1]), rows[:-1].shape),
        (block.exponent[-1] - block.exponent[:-1])[:, None],
    )
    sizes = jnp.maximum(_bounded(sizes), 1.0)  # an orthonormalization spreads as much
    return jnp.where(rows[:-1] == 0, 0.0, sizes * jnp.asarray(signs(sizes.shape), sizes.dtype))


def _rounding(
    tangents: Scaled, noise: Array, growths: Array, eps: float, faded: Array
) -> tuple[Array, Array, Array]:
    """Of each |R_ii|: relative error, ln without zeros made by rounding, ln of its roundings."""
    # |R_ii| = 0 is exact for a tangent that is zero. One that is not, and has nothing left beside
    # those before it, is lost in rounding, and could be anything up to that of the largest one.
    zero = _dead(tangents, faded)
    sizes = jax.vmap(log_of)(jnp.ones_like(growths), tangents.exponent)
    cancelled = (growths == -jnp.inf) & ~zero
    growths = jnp.where(cancelled, sizes + math.log(eps), growths)
    own = jax.lax.stop_gradient(growths) - sizes
    noise = jnp.linalg.norm(noise, axis=1)
    error = eps * noise * jnp.exp(-own)
    amplified = jnp.log(noise / math.sqrt(tangents.mantissa.shape[1])) - own
    # What is mostly rounding could be any smaller number: its logarithm is off by all the digits.
    error = jnp.where(error < FLOOR, error, -math.log(eps))
    # Without the coordinates that were lost below the range, nothing would be left of it at all.
    error = jnp.where(_dead(tangents), jnp.inf, error)
    return jnp.where(zero, 0.0, error), growths, amplified


def _displaced(
    before: Float[Array, "m m"],
    exponents: Int[Array, " m"],
    frame: Scaled,
    triangle: Float[Array, "m m"],
    noise: Float[Array, "m n"],
) -> Float[Array, "m m"]:
    """L after one interval, see above.

    Args:
        before: L.
        exponents: of the columns of R.
        frame: Q'.
        triangle: the mantissas of R.
        noise: δ, as rows.
    """
    rows, triangle = jax.lax.stop_gradient((widen(frame.mantissa), triangle))
    inverse = inverse_beside_zeros(triangle)
    product = functools.partial(jnp.matmul, precision="highest")
    between = jnp.where(
        before == 0, 0.0, shift_within(before, exponents[:, None] - exponents[None])
    )
    moved = product(triangle, _bounded(between)) + product(rows, noise.T)
    alive = jnp.any(rows != 0, axis=1)
    moved = jnp.where(alive[:, None] & alive[None], product(_bounded(moved), inverse), 0.0)
    return jnp.tril(_bounded(moved))


def _bounded(matrix: Float[Array, "p q"]) -> Float[Array, "p q"]:
    """Entries from 1/eps on mean that all is lost, however much larger they are."""
    most = float(jnp.finfo(matrix.dtype).eps) ** -2
    return jnp.clip(jnp.where(jnp.isnan(matrix), most, matrix), -most, most)


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
