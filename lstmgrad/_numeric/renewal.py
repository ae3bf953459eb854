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
from jaxtyping import Array, Float, Int

from lstmgrad._numeric import frame_errors
from lstmgrad._numeric.frame import crossing_errors, is_dead, orthonormal, probed
from lstmgrad._numeric.frame_errors import Displacement
from lstmgrad._numeric.graded import inverse_beside_zeros
from lstmgrad._numeric.scaled import Scaled

FADING = 0.95
"""The share of the largest spread of growth rates seen so far that is kept from one interval to the
next: one quiet interval does not make the following one long."""


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


class Turn(NamedTuple):
    """What one renewal takes and leaves; the loop that renews at most once carries it.

    Attributes:
        due: whether the frame is still to be renewed.
        flat: the block as a vector: LAPACK wants it by columns, and the sweep keeps its own layout.
        exponent: of the rows of the block.
        growths: (m,), ln |R_ii| of this renewal.
        roundings: (m,), their errors.
        rate: see `Sums`.
        displaced: see `Sums`.
        faded: see `Sums`.
    """

    due: Array
    flat: Array
    exponent: Array
    growths: Array
    roundings: Array
    rate: Array
    displaced: Displacement
    faded: Array


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

    def renew(sums: Sums, block: Scaled) -> tuple[Sums, Scaled]:
        count, shape = len(sums.roundings), block.mantissa.shape
        faded = sums.faded | frame_errors.near_the_end(block.mantissa[:count])
        block = frame_errors.disturbed(block, count, faded)
        time = sums.time + 1
        since = (time - sums.renewed).astype(sums.rate.dtype)
        # Counted from the end of the burn-in. `rem` has the sign of its dividend: keep that >= 0.
        period = interval or cell
        due = jax.lax.rem(time + (-burn_in) % period, jnp.int32(period)) == 0
        if interval is None:
            due |= (since + 1) * sums.rate > _budget(eps)
        due |= (time == length) | (time == burn_in)

        def turned(turn: Turn) -> Turn:
            return _turned(turn, shape, time - burn_in, since, eps)

        zeros = jnp.zeros_like(sums.roundings)
        carried = sums.rate, sums.displaced, faded
        turn = Turn(due, block.mantissa.reshape(-1), block.exponent, zeros, zeros, *carried)
        if interval is None:
            # A loop of at most one turn. Unlike a condition it copies no block, and under vmap it
            # runs only when some frame of the batch is due, and not at every step.
            turn = jax.lax.while_loop(lambda turn: turn.due, turned, turn)
        else:
            # Due at the same times for a whole batch, so this stays a condition under vmap.
            turn = jax.lax.cond(due, turned, lambda turn: turn, turn)
        block = Scaled(turn.flat.reshape(shape), turn.exponent)
        return _summed(sums, turn, due, burn_in, cell), block

    return renew


def _turned(
    turn: Turn, shape: tuple[int, ...], counted: Int[Array, ""], since: Float[Array, ""], eps: float
) -> Turn:
    """The frame made orthonormal, by how much it had grown, and what rounding left in that.

    Args:
        turn: from before.
        shape: of the block: m tangents, a probe, and a stray unless the frame spans everything.
        counted: steps since the end of the burn-in.
        since: steps since the last renewal.
        eps: of the chain's dtype.
    """
    mantissa, count = turn.flat.reshape(shape), len(turn.growths)
    tangents = Scaled(mantissa[:count], turn.exponent[:count])
    probe, *strays = (Scaled(mantissa[i], turn.exponent[i]) for i in range(count, shape[0]))
    frame, triangle, growths = orthonormal(tangents, turn.faded)
    lost, zero = is_dead(tangents), is_dead(tangents, turn.faded)
    noise = frame_errors.noise_of(tangents, probe, turn.faded)
    sizes = frame_errors.noise_sizes(noise, tangents)
    errors = frame_errors.of_growths(tangents, sizes, growths, zero, lost, eps)
    rounding, growths, amplified = errors
    triangle = jax.lax.stop_gradient(triangle)
    inverse = inverse_beside_zeros(triangle)
    rounding += crossing_errors(tangents, triangle, inverse, eps)
    moved, stray = frame_errors.displaced(
        turn.displaced, tangents, strays[0] if strays else None, noise, frame, triangle, inverse
    )
    grown = jnp.diagonal(moved.inside - turn.displaced.inside)
    roundings = _counted(rounding, grown, moved, stray, counted, eps)
    rate = _rate(turn.rate, growths, amplified, since, eps)
    block = probed(frame, stray)
    return Turn(
        due=jnp.zeros((), bool),
        flat=block.mantissa.reshape(-1),
        exponent=block.exponent,
        growths=growths,
        roundings=roundings,
        rate=rate,
        displaced=moved,
        faded=turn.faded | frame_errors.near_the_end(frame.mantissa),
    )


def _counted(
    rounding: Float[Array, " m"],
    grown: Float[Array, " m"],
    moved: Displacement,
    stray: Array | None,
    counted: Int[Array, ""],
    eps: float,
) -> Float[Array, " m"]:
    """The error that one renewal adds to the sums.

    Args:
        rounding: the relative error of each |R_ii|.
        grown: by how much the renewal has changed the diagonal of the displacement.
        moved: the displacement after it.
        stray: see `frame_errors`.
        counted: steps since the end of the burn-in.
        eps: of the chain's dtype.
    """
    # A tangent of which only rounding is left may take the place of one behind it.
    unknown = jnp.isinf(rounding) | (jnp.abs(grown) * eps > frame_errors.FLOOR)
    gone = frame_errors.is_lost(moved, stray, eps) | (jnp.cumsum(unknown) > 0)
    rounding = jnp.maximum(rounding, jnp.where(gone, -math.log(eps), 0.0))
    # Sums that start after a burn-in owe nothing to errors of before, but to where the frame is by
    # then.
    counts = (counted > 0) | (rounding > frame_errors.FLOOR)
    turned = frame_errors.displacement_errors(moved, stray, eps)
    return jnp.where(counts, rounding, 0.0) + jnp.where(counted == 0, turned, 0.0)


def _rate(
    before: Float[Array, ""],
    growths: Float[Array, " m"],
    amplified: Float[Array, " m"],
    since: Float[Array, ""],
    eps: float,
) -> Float[Array, ""]:
    """Nats per step by which the growth rates differ, with this renewal.

    Args:
        before: see `Sums`.
        growths: ln |R_ii|.
        amplified: ln of the rounding in each.
        since: steps since the last renewal.
        eps: of the chain's dtype.
    """
    alive = growths > -jnp.inf
    spread = jnp.max(growths) - jnp.min(jnp.where(alive, growths, jnp.max(growths)))
    # Far from normal, factors amplify rounding by more than the directions grow apart.
    spread = jnp.maximum(spread, jnp.max(jnp.where(alive, amplified, -jnp.inf)))
    spread = jnp.where(jnp.any(alive), spread, 0.0)
    return jnp.clip(spread / since, FADING * before, _budget(eps))


def _budget(eps: float) -> float:
    """Nats of spread that cost a third of the digits."""
    return -math.log(eps) / 3


def _summed(sums: Sums, turn: Turn, due: Array, burn_in: int, cell: int) -> Sums:
    """The sums one step later.

    Args:
        sums: of before.
        turn: what the step has left: growths of zero where the frame was not renewed.
        due: whether it was.
        burn_in: steps at the start that are not summed.
        cell: steps of one sum.
    """
    time = sums.time + 1
    growths = jnp.where(time > burn_in, turn.growths, 0.0)
    index = jax.lax.div(jnp.maximum(time - burn_in - 1, 0), jnp.int32(cell))
    before = jax.lax.dynamic_index_in_dim(sums.cells, index, keepdims=False)
    return Sums(
        time=time,
        renewed=jnp.where(due, time, sums.renewed),
        rate=turn.rate,
        cells=jax.lax.dynamic_update_index_in_dim(sums.cells, before + growths, index, 0),
        roundings=sums.roundings + turn.roundings,
        displaced=turn.displaced,
        faded=turn.faded,
    )
