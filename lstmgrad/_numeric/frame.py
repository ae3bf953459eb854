"""A frame of tangents on its way through a chain: when it is made orthonormal, and what that costs.

While the frame travels, all its tangents turn toward the direction that grows fastest, and what
sets them apart loses digits. When the frame is made orthonormal, (its tangents as columns) = Q R,
every |R_ii| carries the rounding of the largest: a relative error of eps · R_11 / |R_ii|. Doing it
rarely costs digits, and doing it often costs time. Unless the caller fixes the interval, it is done
when the growth rates seen so far say that with one more step a third of the digits would be gone.

What rounding does meanwhile is watched by `frame_errors`.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from lstmgrad._numeric import frame_errors, lapack
from lstmgrad._numeric.frame_errors import Displacement
from lstmgrad._numeric.scaled import Scaled, log_of, widen

FADING = 0.95
"""The share of the largest spread of growth rates seen so far that is kept from one interval to the
next: one quiet interval does not make the following one long."""

UNEVEN = 2.0**-10
"""The least coordinate of a frame, as a share of the largest, down to which their order is as it
comes."""


class Sums(NamedTuple):
    """What the sweep carries beside the frame.

    Attributes:
        time: t.
        renewed: the time at which the frame was last made orthonormal.
        rate: nats per step by which the growth rates of the frame's directions differ, the largest
            in recent intervals.
        cells: (G, m), Σ ln |R_ii| over each cell of time.
        roundings: (m,), the error that rounding leaves in the sums over all cells.
        displaced: see `frame_errors`.
        faded: (n,), coordinates that came near the end of the range, and may have lost something.
    """

    time: Array
    renewed: Array
    rate: Array
    cells: Array
    roundings: Array
    displaced: Displacement
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
        count = len(sums.roundings)
        faded = sums.faded | frame_errors.near_the_end(block.mantissa[:count])
        block = frame_errors.disturbed(block, count, faded)
        time = sums.time + 1
        since = (time - sums.renewed).astype(sums.rate.dtype)
        # Counted from the end of the burn-in. `rem` has the sign of its dividend: keep that >= 0.
        period = interval or cell
        due = jax.lax.rem(time + (-burn_in) % period, jnp.int32(period)) == 0
        if interval is None:
            due |= (since + 1) * sums.rate > budget
        due |= (time == length) | (time == burn_in)

        shape = block.mantissa.shape

        def turn(loop: Any) -> tuple:
            _, flat, exponent, _, _, rate, before, faded = loop
            mantissa = flat.reshape(shape)
            tangents = Scaled(mantissa[:count], exponent[:count])
            probe, *strays = (Scaled(mantissa[i], exponent[i]) for i in range(count, shape[0]))
            frame, triangle, growths = orthonormal(tangents, faded)
            lost, zero = is_dead(tangents), is_dead(tangents, faded)
            noise = frame_errors.noise_of(tangents, probe, faded)
            sizes = frame_errors.noise_sizes(noise, tangents)
            errors = frame_errors.of_growths(tangents, sizes, growths, zero, lost, eps)
            rounding, growths, amplified = errors
            moved, stray = frame_errors.displaced(
                before, tangents, strays[0] if strays else None, noise, frame, triangle
            )
            # A tangent of which only rounding is left may take the place of one behind it.
            grown = jnp.diagonal(moved.inside - before.inside)
            unknown = jnp.isinf(rounding) | (jnp.abs(grown) * eps > frame_errors.FLOOR)
            gone = frame_errors.is_lost(moved, stray, eps) | (jnp.cumsum(unknown) > 0)
            rounding = jnp.maximum(rounding, jnp.where(gone, -math.log(eps), 0.0))
            # Sums that start after a burn-in owe nothing to errors of before, but to where the
            # frame is by then.
            counts = (time > burn_in) | (rounding > frame_errors.FLOOR)
            turned = frame_errors.displacement_errors(moved, stray, eps)
            rounding = jnp.where(counts, rounding, 0.0) + jnp.where(time == burn_in, turned, 0.0)
            alive = growths > -jnp.inf
            spread = jnp.max(growths) - jnp.min(jnp.where(alive, growths, jnp.max(growths)))
            # Far from normal, factors amplify rounding by more than the directions grow apart.
            spread = jnp.maximum(spread, jnp.max(jnp.where(alive, amplified, -jnp.inf)))
            spread = jnp.where(jnp.any(alive), spread, 0.0)
            rate = jnp.clip(spread / since, FADING * rate, budget)
            faded |= frame_errors.near_the_end(frame.mantissa)
            done, block = jnp.zeros((), bool), probed(frame, stray)
            flat = block.mantissa.reshape(-1)
            return done, flat, block.exponent, growths, rounding, rate, moved, faded

        zeros = jnp.zeros_like(sums.roundings)
        # As a vector: LAPACK wants the block by columns, but the sweep should keep its own layout.
        flat = block.mantissa.reshape(-1)
        carried = sums.rate, sums.displaced, faded
        loop: Any = (due, flat, block.exponent, zeros, zeros, *carried)
        if interval is None:
            # A loop of at most one turn. Unlike a condition it copies no block, and under vmap it
            # runs only when some frame of the batch is due, and not at every step.
            loop = jax.lax.while_loop(lambda loop: loop[0], turn, loop)
        else:
            # Due at the same times for a whole batch, so this stays a condition under vmap.
            loop = jax.lax.cond(due, turn, lambda loop: loop, loop)
        _, flat, exponent, growths, roundings, *carried = loop
        block = Scaled(flat.reshape(shape), exponent)
        growths = jnp.where(time > burn_in, growths, 0.0)
        index = jax.lax.div(jnp.maximum(time - burn_in - 1, 0), jnp.int32(cell))
        before = jax.lax.dynamic_index_in_dim(sums.cells, index, keepdims=False)
        cells = jax.lax.dynamic_update_index_in_dim(sums.cells, before + growths, index, 0)
        renewed = jnp.where(due, time, sums.renewed)
        rate, displaced, faded = carried
        roundings = sums.roundings + roundings
        return Sums(time, renewed, rate, cells, roundings, displaced, faded), block

    return renew
