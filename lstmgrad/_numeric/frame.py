"""A frame of tangents on its way through a chain: when it is made orthonormal, and what that costs.

Between two times at which the frame is made orthonormal its columns turn toward the direction that
grows fastest, and what is left of the others beside it loses digits: |R_ii| carries the rounding of
the largest one, a relative error of eps · R_11 / |R_ii|.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lstmgrad._numeric.scaled import Scaled, log_of, widen

FADING = 0.95
"""From one interval to the next, the share that is kept of the largest spread of growth rates."""

FLOOR = 0.1
"""A relative error of |R_ii| above which it is taken for rounding."""


class Sums(NamedTuple):
    """What the sweep carries.

    Attributes:
        time: t.
        renewed: when the frame was last made orthonormal.
        rate: nats per step by which the growth rates of the frame's directions differ, the largest
            of the recent intervals.
        cells: (G, m), Σ ln |R_ii| over each cell of time.
        roundings: (m,), the effect of rounding on the sums.
    """

    time: Array
    renewed: Array
    rate: Array
    cells: Array
    roundings: Array


def orthonormal(block: Scaled) -> tuple[Scaled, Float[Array, "m m"], Float[Array, " m"]]:
    """An orthonormal frame with the spans of the block's first rows, R, and ln of its diagonal.

    Args:
        block: rows (m, n). R is that of its mantissa, (n, m) = Q R; the logarithms are its own.
    """
    with jax.default_matmul_precision("highest"):
        frame, triangle = jnp.linalg.qr(widen(block.mantissa).T)
    growths = log_of(jnp.abs(jnp.diagonal(triangle)), block.exponent)
    frame = Scaled(frame.T.astype(block.mantissa.dtype), jnp.zeros_like(block.exponent))
    return frame, triangle, growths


def renewal(
    dtype: Any, length: int, burn_in: int, cell: int, interval: int | None
) -> Callable[[Sums, Scaled], tuple[Sums, Scaled]]:
    """What is done to the frame after every factor.

    Args:
        dtype: of the chain.
        length: T.
        burn_in: steps that are not summed.
        cell: steps of one sum, at whose end the frame is renewed in any case.
        interval: steps between renewals; None chooses them.
    """
    eps = float(jnp.finfo(dtype).eps)
    budget = -math.log(eps) / 3

    def renew(sums: Sums, block: Scaled) -> tuple[Sums, Scaled]:
        time = sums.time + 1
        since = (time - sums.renewed).astype(sums.rate.dtype)
        # Aligned to the end of the burn-in; remainders of what is not negative.
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
            spread = jnp.max(growths) - jnp.min(growths)
            rate = jnp.clip(spread / since, FADING * rate, budget)
            done = jnp.zeros((), bool)
            return done, frame.mantissa.reshape(-1), frame.exponent, growths, rounding, rate

        zeros = jnp.zeros_like(sums.roundings)
        # As a vector: what LAPACK wants to lie by columns must not do so in the sweep, too.
        loop = (due, block.mantissa.reshape(-1), block.exponent, zeros, zeros, sums.rate)
        if interval is None:
            # Once or not at all, without a copy of the block; under vmap, where any frame is due.
            loop = jax.lax.while_loop(lambda loop: loop[0], turn, loop)
        else:
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
    """The relative error of each |R_ii|, and their logarithms with false zeros taken out."""
    # A tangent that is zero leaves its place in the frame to any other. But one that is not zero,
    # and has nothing left beyond those before it, is lost in rounding.
    zero = jnp.cumsum(jnp.all(block.mantissa == 0, axis=1)) > 0
    zero, cancelled = ((growths == -jnp.inf) & kind for kind in (zero, ~zero))
    top = jnp.max(growths)
    growths = jnp.where(cancelled, top + math.log(eps), growths)
    error = eps * math.sqrt(block.mantissa.shape[1]) * jnp.exp(top - growths)
    # What is no larger than rounding could be anything below.
    error = jnp.where(error < FLOOR, error, -math.log(eps))
    return jnp.where(zero, 0.0, error), growths
