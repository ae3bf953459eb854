"""Roots of a function from many starts at once, and which of them are one.

By descent on half the square of the gap, and then by the damped steps of Levenberg and Marquardt,
which are Newton's in the end.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from lstmgrad._chains.factors import push_rows
from lstmgrad._numeric import lapack

POLISHES = 40
"""Steps of Levenberg and Marquardt at the end."""

CLOSE = 1e-4
"""The gap from which on their steps are Newton's own."""


def descended(gap: Any, flat: Float[Array, "N n"], steps: int, rate: float) -> Array:
    """The states after some steps of Adam on half the squared gap, each for itself."""
    import optax  # takes a while, and nothing else here needs it

    optimizer = optax.scale_by_adam()
    rates = rate * (1 + np.cos(np.pi * np.arange(steps) / steps)) / 2
    slope = jax.grad(lambda flat: jnp.sum(jax.vmap(gap)(flat) ** 2) / 2)

    def down(carry: tuple[Array, Any], rate: Array) -> tuple[tuple[Array, Any], None]:
        flat, state = carry
        slopes = slope(flat)
        with jax.numpy_dtype_promotion("standard"):  # as Optax is written
            updates, state = optimizer.update(slopes, state, flat)
        return (flat - rate * jnp.asarray(updates, flat.dtype), state), None

    rates = jnp.asarray(rates, flat.dtype)
    return jax.lax.scan(down, (flat, optimizer.init(flat)), rates)[0][0]


def polished(gap: Any, flat: Float[Array, " n"]) -> Float[Array, " n"]:
    """The state after damped steps of Gauss and Newton, as long as they make the gap smaller."""

    def once(carry: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], None]:
        flat, damping = carry
        here, matrix = gap(flat), jacobian(gap, flat)
        slope = jnp.matmul(matrix.T, here, precision="highest")
        square = jnp.matmul(matrix.T, matrix, precision="highest")
        damped = square + damping * jnp.eye(flat.size, dtype=flat.dtype)
        # Undamped once it is all but there: the square has half the digits alone.
        size = jnp.linalg.norm(here)
        move = jnp.where(size <= CLOSE, -lapack.solve(matrix, here), -lapack.solve(damped, slope))
        better = jnp.linalg.norm(gap(flat + move)) < size
        damping = damping * jnp.where(better, 0.2, 5.0)
        return (jnp.where(better, flat + move, flat), damping), None

    start = flat, jnp.full((), 0.01, flat.dtype)
    return jax.lax.scan(once, start, length=POLISHES)[0][0]


def jacobian(function: Any, flat: Float[Array, " n"]) -> Float[Array, "n n"]:
    """The Jacobian as a matrix."""
    return push_rows(function, flat, jnp.eye(flat.size, dtype=flat.dtype)).T


def distinct(flat: Float[Array, "N n"], radius: float) -> Bool[Array, " N"]:
    """Which points have none before them within the radius."""
    sizes = jnp.maximum(jnp.linalg.norm(flat, axis=1), 1.0)

    def among(index: Array) -> Array:
        close = jnp.linalg.norm(flat - flat[index][None], axis=1) <= radius * sizes[index]
        return ~jnp.any(close & (jnp.arange(len(flat)) < index))

    return jax.lax.map(among, jnp.arange(len(flat)))
