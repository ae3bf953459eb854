"""A frame of tangents on its way through a chain: when it is made orthonormal, and what that costs.

While the frame travels, all its tangents turn toward the direction that grows fastest, and what
sets them apart loses digits. When the frame is made orthonormal, (its tangents as columns) = Q R,
every |R_ii| carries the rounding of the largest: a relative error of eps · R_11 / |R_ii|. Doing it
rarely costs digits, and doing it often costs time. Unless the caller fixes the interval, it is done
when the growth rates seen so far say that with one more step a third of the digits would be gone.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from lstmgrad._numeric import lapack
from lstmgrad._numeric.scaled import Scaled, log_of, widen

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
    """

    time: Array
    renewed: Array
    rate: Array
    cells: Array
    roundings: Array


def orthonormal(block: Scaled) -> tuple[Scaled, Float[Array, "m m"], Float[Array, " m"]]:
    """An orthonormal frame with the spans of the block's first rows, R, and ln of its diagonal.

    A tangent that is exactly zero stays so, in its place: it spans nothing, takes no direction from
    those behind it, and ln R_ii is -inf.

    Args:
        block: rows (m, n). R is that of the mantissa, (n, m) = Q R; the logarithms are those of the
            whole block, its exponent included.
    """
    rows = widen(block.mantissa)
    dead = _dead(block)
    # Q fills the place of a zero with any direction, so zeros go behind all others, and come back.
    order = jnp.argsort(dead, stable=True)
    back = jnp.argsort(order)
    frame, triangle = lapack.qr(rows[order].T)
    frame, triangle = jnp.where(dead[:, None], 0.0, frame.T[back]), triangle[back][:, back]
    growths = log_of(jnp.abs(jnp.diagonal(triangle)), block.exponent)
    growths = jnp.where(dead, -jnp.inf, growths)
    frame = Scaled(frame.astype(block.mantissa.dtype), jnp.zeros_like(block.exponent))
    return frame, triangle, growths


def _dead(block: Scaled) -> Bool[Array, " m"]:
    """Which tangents are exactly zero."""
    return jnp.all(block.mantissa == 0, axis=1)


def renewal(
    dtype: Any, length: int, burn_in: int, cell: int, interval: int | None
) -> Callable[[Sums, Scaled], tuple[Sums, Scaled]]:
    """What is done to the frame after every factor: nothing, or it is made orthonormal and summed.

    Args:
        dtype: of the chain.
        length: T.
        burn_in: steps at the start that are not summed.
        cell: steps of one sum, at whose end the frame is renewed in any case.
        interval: steps between renewals; None chooses them.
    """
    eps = float(jnp.finfo(dtype).eps)
    budget = -math.log(eps) / 3  # nats of spread: a third of the digits

    def renew(sums: Sums, block: Scaled) -> tuple[Sums, Scaled]:
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
            _, flat, exponent, _, _, rate = loop
            block = Scaled(flat.reshape(shape), exponent)
            frame, _, growths = orthonormal(block)
            rounding, growths = _rounding(block, growths, eps)
            alive = growths > -jnp.inf
            spread = jnp.max(growths) - jnp.min(jnp.where(alive, growths, jnp.max(growths)))
            spread = jnp.where(jnp.any(alive), spread, 0.0)
            rate = jnp.clip(spread / since, FADING * rate, budget)
            done = jnp.zeros((), bool)
            return done, frame.mantissa.reshape(-1), frame.exponent, growths, rounding, rate

        zeros = jnp.zeros_like(sums.roundings)
        # As a vector: LAPACK wants the block by columns, but the sweep should keep its own layout.
        loop = (due, block.mantissa.reshape(-1), block.exponent, zeros, zeros, sums.rate)
        if interval is None:
            # A loop of at most one turn. Unlike a condition it copies no block, and under vmap it
            # runs only when some frame of the batch is due, and not at every step.
            loop = jax.lax.while_loop(lambda loop: loop[0], turn, loop)
        else:
            # Due at the same times for a whole batch, so this stays a condition under vmap.
            loop = jax.lax.cond(due, turn, lambda loop: loop, loop)
        _, flat, exponent, growths, roundings, rate = loop
        block = Scaled(flat.reshape(shape), exponent)
        counts = time > burn_in
        growths, roundings = (jnp.where(counts, x, 0.0) for x in (growths, roundings))
        index = jax.lax.div(jnp.maximum(time - burn_in - 1, 0), jnp.int32(cell))
        before = jax.lax.dynamic_index_in_dim(sums.cells, index, keepdims=False)
        cells = jax.lax.dynamic_update_index_in_dim(sums.cells, before + growths, index, 0)
        renewed = jnp.where(due, time, sums.renewed)
        return Sums(time, renewed, rate, cells, sums.roundings + roundings), block

    return renew


def _rounding(block: Scaled, growths: Array, eps: float) -> tuple[Array, Array]:
    """The relative error of each |R_ii|, and their logarithms without zeros made by rounding."""
    # |R_ii| = 0 is exact for a tangent that is zero. One that is not, and has nothing left beside
    # those before it, is lost in rounding, and could be anything up to that of the largest one.
    zero = _dead(block)
    cancelled = (growths == -jnp.inf) & ~zero
    top = jnp.max(growths)
    growths = jnp.where(cancelled, top + math.log(eps), growths)
    error = eps * math.sqrt(block.mantissa.shape[1]) * jnp.exp(top - growths)
    # What is mostly rounding could be any smaller number: its logarithm is off by all the digits.
    error = jnp.where(error < FLOOR, error, -math.log(eps))
    return jnp.where(zero, 0.0, error), growths
