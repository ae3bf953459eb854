"""How far rounding has displaced a factored product: by a small matrix on its left.

The product that is held is Q G, and the true one is Q (1 + L) G. One more factor, J Q = Q' R + δ,
makes of it

    L' = R L R⁻¹ + Q'ᵀ δ R⁻¹.

An entry on the diagonal is the relative error of a value. One below it says how far the direction
of a large value is mixed into that of a small one: harmless as long as the small one stays small,
because the mixture is of their frames alone; but where it overtakes by R_ii / R_jj, the mixture
grows by as much. Once it is of order one, what the small direction was before is lost, and no
number tells what it is now. So L is carried along, with δ drawn at random in the size of the
rounding, and zero where the factor is.

In G the sizes of rows are far apart, and L_ij multiplies row j where it is added to row i. So what
is held is relative to the larger of both: L_ij where row i is the smaller one, and L_ij |row j| /
|row i| where it is the larger one.
"""

import functools
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from lstmgrad._numeric.frame_errors import bounded
from lstmgrad._numeric.graded import shift_within

_MOST = 60  # powers of two: no entry of a factor between rows is larger, but for rounding


class Split(NamedTuple):
    """One factor J Q = Q' R, as far as a displacement has to know it.

    Attributes:
        order: (m,), in which the columns of J Q were taken, larger ones first.
        before: (m,), the exponents of the rows of G.
        weights: (m,), the exponents of the columns of R in the product, in the old order.
        upper: (k, m), R with columns of size one, in the new order.
        inverse: (k, k), the inverse of its first columns.
        after: (k,), the exponents of the rows of R G.
        live: (m,), which rows of G are not zero, in the old order.
    """

    order: Int[Array, " m"]
    before: Int[Array, " m"]
    weights: Int[Array, " m"]
    upper: Float[Array, "k m"]
    inverse: Float[Array, "k k"]
    after: Int[Array, " k"]
    live: Bool[Array, " m"]


def carried(
    displaced: Float[Array, "m m"], split: Split, fresh: Float[Array, "k k"]
) -> Float[Array, "k k"]:
    """The displacement after one more factor.

    Args:
        displaced: before it.
        split: of the factor.
        fresh: Q'ᵀ δ R⁻¹.
    """
    order, upper, inverse, after = split.order, split.upper, split.inverse, split.after
    kept = upper.shape[0]
    # Relative to the larger row: before, and in the product with R.
    change = _deficit(split.weights) - _deficit(split.before)
    displaced = jnp.where(displaced == 0, 0.0, bounded(shift_within(displaced, change)))
    displaced = jnp.where(split.live[:, None] & split.live[None], displaced, 0.0)[order][:, order]
    weights = split.weights[order]

    def times(*matrices: Array) -> Array:
        product = functools.partial(jnp.matmul, precision="highest")
        return bounded(functools.reduce(product, matrices))

    below = times(upper, jnp.tril(displaced, -1)[:, :kept], inverse) + bounded(fresh)
    scaled = shift_within(upper, jnp.minimum(weights[None] - after[:, None], _MOST))
    back = shift_within(inverse, jnp.minimum(after[None] - weights[:kept, None], _MOST))
    above = times(bounded(scaled), jnp.triu(displaced)[:, :kept], bounded(back))
    deficit = _deficit(after)
    return bounded(shift_within(above, deficit) + shift_within(below, deficit.T))


def _deficit(exponents: Int[Array, " m"]) -> Int[Array, "m m"]:
    """By how many powers of two row i is smaller than row j, or zero: at most 0."""
    return jnp.minimum(0, exponents[:, None] - exponents[None])


def row_errors(displaced: Float[Array, "m m"], rounding: Array) -> Float[Array, " m"]:
    """The relative error of each row.

    Args:
        displaced: in units of the rounding.
        rounding: of one factor.
    """
    displaced = jnp.abs(displaced) * rounding
    mixed = jnp.linalg.norm(displaced, axis=0)
    return jnp.linalg.norm(displaced, axis=1) + jnp.minimum(mixed, mixed**2)
