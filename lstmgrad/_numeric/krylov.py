"""The leading eigenvectors of A Aᵀ, from a small space that grows until they are good enough.

What is computed: the two leading eigenvectors x of A Aᵀ, which are left singular vectors of A, and
with the larger eigenvalue θ₁ the spectral norm σ̂ = √θ₁ of A.

How: the best vectors in a space are the eigenvectors of A Aᵀ projected onto it (Rayleigh-Ritz).
Their residuals r = A Aᵀ x - θ x point out of the space, toward what it lacks. So the space grows by
one residual after the other, and restarts from its best vectors when it is full. From one vector
and in exact arithmetic this is Golub-Kahan-Lanczos. But residuals are computed from their
definition, as in Davidson's method, and not by a recurrence: rounding cannot accumulate, and any
vector may join the space at any time.

How good: σ̂ is never above σ_max(A), whatever the space. With ρ = ‖r‖ and gap = θ₁ - θ₂ - ρ₂,

    (σ_max - σ̂)/σ̂  <≈  max(min(ρ₁, ρ₁²/gap), θ₂ + ρ₂ - θ₁) / 2θ₁.

The first term is how far θ₁ can be below the eigenvalue near it, the second how far it can be below
the eigenvalue near θ₂. The 2 comes from the square root: dσ/σ = dθ/2θ.

What could betray this: the estimate takes for granted that the two vectors found belong to the two
largest eigenvalues. A third one that rises where the space cannot see it leaves no trace in any
residual. In a network whose units interact in groups only, A Aᵀ is block diagonal, and a space that
starts in one block never leaves it.

What is done against that:
 1. Every search also starts from the row of A that the tracked vectors explain least (the pivot of
    a pivoted Cholesky factorization of A Aᵀ), with a random part.
 2. It does not end while a single row of A proves a larger norm, and it probes rows that come close
    to that. If it runs out of steps all the same, the error is inf.
 3. A search that starts from random vectors takes at least `STEPS_FROM_RANDOM` steps.
What this can still miss is a block that is large without any large row. Only a caller who has the
matrix can tell: see `tracked.py`. And where no row is known, two tracked vectors that are exact
eigenvectors hide all others: their residuals are zero, and the space stops growing.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from lstmgrad._numeric.scaled import norm_of

Gram = Callable[[Float[Array, " n"]], Float[Array, " n"]]
"""x ↦ A Aᵀ x."""

STEPS_FROM_RANDOM = 24
"""Steps of a search from random vectors before its error estimate is believed: an eigenvector that
the space has hardly met leaves no trace in a residual."""

_CAPACITY = 8  # directions in the space when it restarts
_KEPT = 3  # Ritz vectors that survive a restart: the two tracked, and one that may overtake them
_START_STEPS = 4  # directions added before any error estimate is believed
_CLOSE_ROW = 0.8  # a row is probed if it has more than this many θ₁ beside the first vector
_PROBE_STEPS = 4  # steps after the start in which such rows are probed, one per step
_RANDOM_PART = 0.1  # the length of the random part of the third direction, beside a row of 1


class _Space(NamedTuple):
    """The span of orthonormal directions, and what A Aᵀ makes of them."""

    basis: Float[Array, "k n"]  # orthonormal rows; those not in use yet are zero
    image: Float[Array, "k n"]  # A Aᵀ of each
    filled: Int[Array, ""]  # rows in use


class _Rows(NamedTuple):
    """What the rows of A, one by one, say against the first Ritz vector."""

    best: Int[Array, ""]  # the row that has most beside the first vector
    larger: Bool[Array, ""]  # whether it proves an eigenvalue above θ₁
    close: Bool[Array, ""]  # whether it comes close to that, and is not in the space


class _Ritz(NamedTuple):
    """The best vectors of a space, how good they are, and what speaks against them."""

    weights: Float[Array, "k k"]  # rows: the Ritz vectors in coordinates of the basis, best first
    vectors: Float[Array, "2 n"]  # the two leading ones
    second_residual: Float[Array, " n"]
    limiting_residual: Float[Array, " n"]  # of the vector that limits the error
    error: Float[Array, ""]  # the estimate of (σ_max - σ̂)/σ̂
    rows: _Rows


def dominant(
    gram: Gram,
    diagonal: Float[Array, " n"],
    frame: Float[Array, "2 n"],
    rtol: float | int,
    min_steps: int | Int[Array, ""] = 0,
    max_steps: int = 100,
) -> tuple[Float[Array, "2 n"], Float[Array, ""]]:
    """The two leading eigenvectors of A Aᵀ, and the error of √θ₁.

    Args:
        gram: x ↦ A Aᵀ x; its norm lies between the square roots of the ends of the dtype's range.
        diagonal: (n,), the diagonal of A Aᵀ, or zeros where it is not known: then no row can warn.
        frame: (2, n), orthonormal, where to start.
        rtol: the relative error of σ̂ = √θ₁ at which to stop.
        min_steps: calls of `gram` before the error estimate is believed.
        max_steps: calls of `gram` after which to stop in any case.

    Returns:
        The two leading Ritz vectors, and the estimated relative error of σ̂: inf where a row still
        proves a larger norm.
    """
    size, dtype = frame.shape[1], frame.dtype
    random = _RANDOM_PART * _random(size, dtype)[0]

    def unfinished(loop: tuple) -> Array:
        _, ritz, step = loop
        wanted = (ritz.error > rtol) | _must_probe(ritz.rows, step)
        least = jnp.minimum(jnp.maximum(_START_STEPS, min_steps), max_steps)
        return (step < least) | (wanted & (step < max_steps))

    def refine(loop: tuple) -> tuple:
        space, ritz, step = loop
        space = jax.lax.cond(
            space.filled == _CAPACITY, _restart, lambda space, _: space, space, ritz
        )
        direction = jax.lax.cond(
            step < _START_STEPS,
            lambda: _start_direction(space, ritz, step, frame, diagonal, random),
            lambda: _next_direction(ritz, step, rtol),
        )
        space = _expand(space, direction, gram)
        # The first two directions are given, so nothing has to be known before both are there.
        ritz = jax.lax.cond(step < 2, lambda: ritz, lambda: _rayleigh_ritz(space, diagonal))
        return space, ritz, step + 1

    empty = jnp.zeros((_CAPACITY, size), dtype)
    space = _Space(empty, empty, jnp.zeros((), jnp.int32))
    loop = (space, _rayleigh_ritz(space, diagonal), jnp.zeros((), jnp.int32))
    space, ritz, _ = jax.lax.while_loop(unfinished, refine, loop)
    error = jnp.where(ritz.rows.larger, jnp.inf, ritz.error)
    # The basis is orthonormal but for rounding, and so are the vectors.
    return jax.vmap(_unit)(ritz.vectors)[0], error


def start_frame(size: int, dtype) -> Float[Array, "2 n"]:
    """Two orthonormal random directions, the same in every call.

    Args:
        size: n.
        dtype: of the vectors.
    """
    return jnp.linalg.qr(_random(size, dtype).T)[0].T


def _random(size: int, dtype) -> Float[Array, "2 n"]:
    """Two random unit vectors, the same in every call."""
    # By NumPy, while tracing: they are constants, and the loop draws no random bits.
    vectors = jnp.asarray(np.random.default_rng(0).standard_normal((2, size)), dtype)
    return vectors / jnp.linalg.norm(vectors, axis=1, keepdims=True)


def _must_probe(rows: _Rows, step: Array) -> Array:
    """Whether the best row has to join the space before the search may end."""
    return rows.larger | (rows.close & (step < _START_STEPS + _PROBE_STEPS))


def _start_direction(
    space: _Space, ritz: _Ritz, step: Array, frame: Array, diagonal: Array, random: Array
) -> Array:
    """The first four: both tracked vectors, the row they explain least, the second's residual."""
    explained = jnp.sum(space.basis * space.image, axis=1) @ space.basis**2
    row = _unit_vector(jnp.argmax(diagonal - explained), len(diagonal), frame.dtype)
    return jnp.stack([frame[0], frame[1], row + random, ritz.second_residual])[step]


def _next_direction(ritz: _Ritz, step: Array, rtol: float | int) -> Array:
    """A row that has to be probed, else the residual that promises most."""
    # Where the first vector is good already, only the second can still become the first.
    residual = jnp.where(ritz.error > rtol, ritz.limiting_residual, ritz.second_residual)
    row = _unit_vector(ritz.rows.best, len(residual), residual.dtype)
    return jnp.where(_must_probe(ritz.rows, step), row, residual)


def _expand(space: _Space, direction: Array, gram: Gram) -> _Space:
    """The space with one more direction, which is zero if the space holds it already."""
    vector, size = _unit(direction)
    # Where most of the vector cancels, once leaves its rounding. Twice is enough (Kahan, Parlett).
    for _ in range(2):
        vector, size = _unit(vector - (space.basis @ vector) @ space.basis)
    # The second time leaves a length of 1, unless all that the first left was rounding.
    vector = jnp.where(size > 0.5, vector, 0.0)
    return _Space(
        space.basis.at[space.filled].set(vector),
        space.image.at[space.filled].set(gram(vector)),
        space.filled + 1,
    )


def _restart(space: _Space, ritz: _Ritz) -> _Space:
    """The space of the best Ritz vectors alone; their images follow without a call of `gram`."""
    keep = jnp.where(jnp.arange(_CAPACITY)[:, None] < _KEPT, ritz.weights, 0.0)
    return _Space(keep @ space.basis, keep @ space.image, jnp.full_like(space.filled, _KEPT))


def _rayleigh_ritz(space: _Space, diagonal: Float[Array, " n"]) -> _Ritz:
    """The best vectors of the space, how good they are, and where to look next."""
    values, weights = _projected_eigenpairs(space)
    vectors = weights[:2] @ space.basis
    residuals = weights[:2] @ space.image - values[:2, None] * vectors
    error, second_limits = _estimate_error(values, residuals)
    rows = _compare_rows(space, values[0], vectors[0], diagonal)
    limiting_residual = residuals[jnp.where(second_limits, 1, 0)]
    return _Ritz(weights, vectors, residuals[1], limiting_residual, error, rows)


def _projected_eigenpairs(space: _Space) -> tuple[Float[Array, " k"], Float[Array, "k k"]]:
    """θ in descending order, and the Ritz vectors as rows in coordinates of the basis."""
    unused = jnp.arange(_CAPACITY, dtype=jnp.int32) >= space.filled
    projected = space.image @ space.basis.T
    # A row not in use gets the eigenvalue -1, which sorts it behind all others: they are >= 0.
    projected = (projected + projected.T) / 2 - jnp.diag(unused.astype(projected.dtype))
    values, weights = jnp.linalg.eigh(projected)
    return values[::-1], weights.T[::-1]


def _estimate_error(
    values: Float[Array, " k"], residuals: Float[Array, "2 n"]
) -> tuple[Float[Array, ""], Bool[Array, ""]]:
    """The estimate of (σ_max - σ̂)/σ̂, and whether the second vector limits it."""
    first, second = jnp.linalg.norm(residuals, axis=1)
    gap = values[0] - values[1] - second
    # min(ρ₁, ρ₁²/gap); a gap of zero is never divided by.
    excess = jnp.where(gap > first, first * (first / jnp.where(gap > first, gap, 1.0)), first)
    # As far as its own residual tells, the second vector may be the first in truth.
    rival = values[1] + second - values[0]
    top = jnp.where(values[0] > 0, values[0], 1.0)
    # NaN stays NaN: no comparison with it is true.
    error = jnp.where(values[0] <= 0, 0.0, jnp.maximum(excess, rival) / (2 * top))
    return error, rival > excess


def _compare_rows(
    space: _Space, value: Array, vector: Float[Array, " n"], diagonal: Float[Array, " n"]
) -> _Rows:
    """What the diagonal of A Aᵀ says against θ₁ and its vector.

    No diagonal entry of a symmetric matrix is above its largest eigenvalue, so one above θ₁ proves
    that a larger eigenvalue was missed. It still does so after θ₁ x₁x₁ᵀ is subtracted, which raises
    no entry; what is left shows the rows that point elsewhere than the first vector.
    """
    beside = diagonal - jnp.maximum(value, 0) * vector**2
    best = jnp.argmax(beside)
    larger = beside[best] > value * (1 + 8 * jnp.finfo(value.dtype).eps)  # beyond rounding
    outside = jnp.sum(space.basis[:, best] ** 2) < 0.5
    return _Rows(best, larger, (beside[best] > _CLOSE_ROW * value) & outside)


def _unit_vector(index: Array, size: int, dtype) -> Float[Array, " n"]:
    return jnp.zeros(size, dtype).at[index].set(1)


def _unit(vector: Float[Array, " n"]) -> tuple[Float[Array, " n"], Float[Array, ""]]:
    """The vector at length one, and its length; zero stays zero."""
    size = norm_of(vector)
    return vector / jnp.where(size > 0, size, 1.0), size
