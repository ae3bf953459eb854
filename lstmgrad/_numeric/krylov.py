"""The dominant eigenvectors of A Aᵀ in a growing Krylov space."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from lstmgrad._numeric.scaled import length

Gram = Callable[[Array], Array]

BLIND = 24
"""Steps of a search that starts from random vectors before its error estimate is believed."""

_SPACE = 8  # vectors kept before a restart
_START = 4  # directions before the first refinement
_NEAR = 0.8  # a row of this share of θ₁ is worth a look
_PROBES = 4  # looks at most
_RANDOM = 0.1  # the share of a random direction in the third start vector


def start_frame(size: int, dtype) -> Float[Array, "2 n"]:
    """Two orthonormal random directions, the same in every call.

    Args:
        size: n.
        dtype: of the vectors.
    """
    return jnp.linalg.qr(_random(size, dtype).T)[0].T


def _random(size: int, dtype) -> Float[Array, "2 n"]:
    # NumPy's generator, at trace time: a constant, and no random bits drawn in the loop.
    vectors = jnp.asarray(np.random.default_rng(0).standard_normal((2, size)), dtype)
    return vectors / jnp.linalg.norm(vectors, axis=1, keepdims=True)


class _Space(NamedTuple):
    basis: Float[Array, "k n"]  # orthonormal rows, unused ones zero
    image: Float[Array, "k n"]  # A Aᵀ of the basis
    filled: Array


class _Ritz(NamedTuple):
    weights: Float[Array, "k k"]  # rows: coordinates of the Ritz vectors, best first
    vectors: Float[Array, "2 n"]
    second: Float[Array, " n"]  # the residual of the second vector
    doubtful: Float[Array, " n"]  # that of the one that limits the error
    error: Float[Array, ""]  # of √θ₁
    row: Array  # the row with the largest share beside the first vector
    missed: Array  # whether it proves that θ₁ is not the largest
    near: Array  # whether it comes close to that and is not in the space


def dominant(
    gram: Gram,
    diagonal: Float[Array, " n"],
    frame: Float[Array, "2 n"],
    rtol: float | int,
    min_steps: int | Int[Array, ""] = 0,
    max_steps: int = 100,
) -> tuple[Float[Array, "2 n"], Float[Array, ""]]:
    """The leading eigenvectors of a positive semidefinite operator and the error of √θ₁.

    Args:
        gram: x ↦ A Aᵀ x, of a size between the square roots of the dtype's range.
        diagonal: (n,), the diagonal of A Aᵀ, or zeros where it is not known.
        frame: (2, n), where to start, orthonormal.
        rtol: the relative error of σ̂ = √θ₁ at which to stop.
        min_steps: calls of `gram` before the error estimate is believed.
        max_steps: calls of `gram` after which to stop all the same.

    Returns:
        The two leading Ritz vectors, and the estimated relative error of σ̂.
    """
    size, dtype = frame.shape[1], frame.dtype
    random = _RANDOM * _random(size, dtype)[0]

    def unfinished(loop):
        _, ritz, step = loop
        more = (ritz.error > rtol) | ritz.missed | (ritz.near & (step < _START + _PROBES))
        least = jnp.minimum(jnp.maximum(_START, min_steps), max_steps)
        return (step < least) | (more & (step < max_steps))

    def start(space: _Space, ritz: _Ritz, step: Array) -> Array:
        """Both tracked vectors, the row they explain least, the residual of the second."""
        explained = jnp.sum(space.basis * space.image, axis=1) @ space.basis**2
        row = _unit_vector(jnp.argmax(diagonal - explained), size, dtype)
        return jnp.stack([frame[0], frame[1], row + random, ritz.second])[step]

    def later(space: _Space, ritz: _Ritz, step: Array) -> Array:
        probe = ritz.missed | (ritz.near & (step < _START + _PROBES))
        # Where the first vector is good already, only the second can still become the first.
        residual = jnp.where(ritz.error > rtol, ritz.doubtful, ritz.second)
        return jnp.where(probe, _unit_vector(ritz.row, size, dtype), residual)

    def refine(loop):
        space, ritz, step = loop
        space = jax.lax.cond(space.filled == _SPACE, _restart, lambda space, _: space, space, ritz)
        direction = jax.lax.cond(step < _START, start, later, space, ritz, step)
        space = _expand(space, direction, gram)
        # Of the first two vectors nothing has to be known.
        ritz = jax.lax.cond(step < 2, lambda: ritz, lambda: _rayleigh_ritz(space, diagonal))
        return space, ritz, step + 1

    empty = jnp.zeros((_SPACE, size), dtype)
    space = _Space(empty, empty, jnp.zeros((), jnp.int32))
    loop = (space, _rayleigh_ritz(space, diagonal), jnp.zeros((), jnp.int32))
    space, ritz, _ = jax.lax.while_loop(unfinished, refine, loop)
    error = jnp.where(ritz.missed, jnp.inf, ritz.error)
    return jax.vmap(_unit)(ritz.vectors)[0], error


def _expand(space: _Space, direction: Array, gram: Gram) -> _Space:
    """Adds one direction, orthonormalized, and its image; zero where the space holds it already."""
    vector, size = _unit(direction)
    for _ in range(2):  # twice is enough (Kahan, Parlett)
        vector, size = _unit(vector - (space.basis @ vector) @ space.basis)
    vector = jnp.where(size > 0.5, vector, 0.0)
    return _Space(
        space.basis.at[space.filled].set(vector),
        space.image.at[space.filled].set(gram(vector)),
        space.filled + 1,
    )


def _rayleigh_ritz(space: _Space, diagonal: Float[Array, " n"]) -> _Ritz:
    """The best vectors of the space, how good they are, and where to look next."""
    unused = jnp.arange(_SPACE, dtype=jnp.int32) >= space.filled
    projected = space.image @ space.basis.T
    projected = (projected + projected.T) / 2 - jnp.diag(unused.astype(projected.dtype))
    values, weights = jnp.linalg.eigh(projected)
    values, weights = values[::-1], weights.T[::-1]
    vectors = weights[:2] @ space.basis
    residuals = weights[:2] @ space.image - values[:2, None] * vectors
    first, second = jnp.linalg.norm(residuals, axis=1)
    gap = values[0] - values[1] - second
    excess = jnp.where(gap > first, first * (first / jnp.where(gap > first, gap, 1.0)), first)
    # The second may be the first in truth, as far as its own residual tells.
    rival = values[1] + second - values[0]
    top = jnp.where(values[0] > 0, values[0], 1.0)
    error = jnp.where(values[0] <= 0, 0.0, jnp.maximum(excess, rival) / (2 * top))  # keeps NaN
    # A diagonal entry of A Aᵀ - θ₁ x₁x₁ᵀ above θ₁ proves an eigenvalue above θ₁.
    beside = diagonal - jnp.maximum(values[0], 0) * vectors[0] ** 2
    row = jnp.argmax(beside)
    missed = beside[row] > values[0] * (1 + 8 * jnp.finfo(values.dtype).eps)
    near = (beside[row] > _NEAR * values[0]) & (jnp.sum(space.basis[:, row] ** 2) < 0.5)
    doubtful = residuals[jnp.where(rival > excess, 1, 0)]
    return _Ritz(weights, vectors, residuals[1], doubtful, error, row, missed, near)


def _restart(space: _Space, ritz: _Ritz) -> _Space:
    """Keeps the three best Ritz vectors; their images follow by linearity."""
    keep = jnp.where(jnp.arange(_SPACE)[:, None] < 3, ritz.weights, 0.0)
    return _Space(keep @ space.basis, keep @ space.image, jnp.full_like(space.filled, 3))


def _unit_vector(index: Array, size: int, dtype) -> Array:
    return jnp.zeros(size, dtype).at[index].set(1)


def _unit(vector: Array) -> tuple[Array, Array]:
    size = length(vector)
    return vector / jnp.where(size > 0, size, 1.0), size
