"""The leading eigenvectors of A Aᵀ, from a small space that grows until they are good enough.

What is computed: the two leading eigenvectors x of A Aᵀ, which are left singular vectors of A, and
with the larger eigenvalue θ₁ the spectral norm σ̂ = √θ₁ of A.

How: the best vectors in a space are the eigenvectors of A Aᵀ projected onto it (Rayleigh-Ritz).
Their residuals r = A Aᵀ x - θ x point out of the space, toward what it lacks. So the space grows by
one residual after the other, and restarts from its best vectors when it is full. From one vector
and in exact arithmetic this is Golub-Kahan-Lanczos. But residuals are computed from their
definition, as in Davidson's method, and not by a recurrence: rounding cannot accumulate, and any
vector may join the space at any time. A residual of zero says that the space is closed, not that
nothing lies outside it: then a random direction takes its place.

How good: σ̂ is never above σ_max(A), whatever the space. With ρ = ‖r‖ and gap = θ₁ - θ₂ - ρ₂,

    (σ_max - σ̂)/σ̂  <≈  max(min(ρ₁, ρ₁²/gap), θ₂ + ρ₂ - θ₁) / 2θ₁.

The first term is how far θ₁ can be below the eigenvalue near it, the second how far it can be below
the eigenvalue near θ₂. The 2 comes from the square root: dσ/σ = dθ/2θ. It is an *estimate*: it
takes for granted that the two vectors found belong to the two largest eigenvalues. A third one
that rises where the space cannot see it leaves no trace in any residual.

What is proved: for the first j Ritz vectors, with E the residuals of all of them but the first and
c the larger eigenvalue of [[θ₂, ‖E‖], [‖E‖, R]],

    σ_max² <= θ₁ + ρ₁²/(θ₁ - c)    where c < θ₁ and R^p = tr (A Aᵀ)^p - Σ_{i<=j} θ_i^p,

since A Aᵀ is a block matrix over the first vector, the other j - 1 and all outside them, whose
norms are at most θ₁, θ₂, R and, beside the diagonal, ρ₁, ‖E‖: the blocks beside the diagonal only
add to a trace of powers (tr f(M) is at least that of M's diagonal blocks for convex f). Any j may
be taken, and the best is. Only a caller who knows a trace can ask for it; see `tracked.py`.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from lstmgrad._numeric import lapack
from lstmgrad._numeric.scaled import norm_of

Gram = Callable[[Float[Array, " n"]], Float[Array, " n"]]
"""x ↦ A Aᵀ x."""

CAPACITY = 8
"""Directions in the space when it restarts, unless another number is given."""

_KEPT = 3  # Ritz vectors that survive a restart: the two tracked, and one that may overtake them
_START_STEPS = 3  # directions added before any error estimate is believed
_RANDOM = 4  # random directions, taken in turn


class Leading(NamedTuple):
    """What a search has found.

    Attributes:
        vectors: the two leading Ritz vectors, orthonormal.
        error: the estimate of (σ_max - σ̂)/σ̂.
        values: θ_i of all Ritz vectors, the largest first; 0 behind them.
        residuals: ρ_i.
    """

    vectors: Float[Array, "2 n"]
    error: Float[Array, ""]
    values: Float[Array, " k"]
    residuals: Float[Array, " k"]


class _Space(NamedTuple):
    """The span of orthonormal directions, and what A Aᵀ makes of them."""

    basis: Float[Array, "k n"]  # orthonormal rows; those not in use yet are zero
    image: Float[Array, "k n"]  # A Aᵀ of each
    filled: Int[Array, ""]  # rows in use


class _Ritz(NamedTuple):
    """The Ritz vectors of a space, best first, how good they are, and where to look next."""

    weights: Float[Array, "k k"]  # rows: the vectors in coordinates of the basis
    limiting_residual: Float[Array, " n"]  # of the vector that limits the error
    found: Leading


def dominant(
    gram: Gram,
    frame: Float[Array, "2 n"],
    rtol: float | int,
    *,
    min_steps: int = 0,
    max_steps: int = 100,
    capacity: int = CAPACITY,
) -> Leading:
    """The two leading eigenvectors of A Aᵀ, and the error of √θ₁.

    Args:
        gram: x ↦ A Aᵀ x; its norm lies between the square roots of the ends of the dtype's range.
        frame: (2, n), orthonormal, where to start; a random direction joins them.
        rtol: the relative error of σ̂ = √θ₁ at which to stop.
        min_steps: calls of `gram` before the error estimate is believed. Up to these the space
            grows as a Krylov space of the random direction does, by the image of what came last.
        max_steps: calls of `gram` after which to stop in any case.
        capacity: directions in the space when it restarts, more than 3.
    """
    size, dtype = frame.shape[1], frame.dtype
    random = _random(_RANDOM, size, dtype)
    starts = jnp.concatenate([frame, random[:1]])
    least = min(max(_START_STEPS, min_steps), max_steps)

    def unfinished(loop: tuple) -> Array:
        _, ritz, step = loop
        return (step < least) | ((ritz.found.error > rtol) & (step < max_steps))

    def refine(loop: tuple) -> tuple:
        space, ritz, step = loop
        space = jax.lax.cond(
            space.filled == capacity, _restart, lambda space, _: space, space, ritz
        )
        last = space.image[jnp.maximum(space.filled, 1) - 1]
        follow = jnp.where(step < min_steps, last, ritz.limiting_residual)
        direction = jnp.where(
            step < _START_STEPS, starts[jnp.minimum(step, _START_STEPS - 1)], follow
        )
        space = _expand(space, direction, random[step % _RANDOM], gram)
        # The first directions are given, so nothing has to be known before all are there.
        given = step < min(_START_STEPS, least) - 1
        ritz = jax.lax.cond(given, lambda: ritz, lambda: _rayleigh_ritz(space))
        return space, ritz, step + 1

    empty = jnp.zeros((capacity, size), dtype)
    space = _Space(empty, empty, jnp.zeros((), jnp.int32))
    loop = (space, _rayleigh_ritz(space), jnp.zeros((), jnp.int32))
    _, ritz, _ = jax.lax.while_loop(unfinished, refine, loop)
    # The basis is orthonormal but for rounding, and so are the vectors.
    return ritz.found._replace(vectors=jax.vmap(_unit)(ritz.found.vectors)[0])


def proved_error(
    found: Leading, trace: Float[Array, ""], rounding: float, power: float | Float[Array, ""] = 1.0
) -> Float[Array, ""]:
    """A proved bound of (σ_max - σ̂)/σ̂; inf where the Ritz vectors hold too little of the trace.

    Args:
        found: by `dominant`.
        trace: tr (A Aᵀ)^p / θ₁^p, a bound of it; ‖A‖_F² / θ₁ for p = 1.
        rounding: the relative rounding of the θ_i, and of the sum of a trace.
        power: p.
    """
    values, residuals = found.values / found.values[0], found.residuals / found.values[0]
    held = jnp.cumsum(jnp.maximum(values, 0.0) ** power)
    outside = (jnp.maximum(trace - held, 0.0) + power * rounding * trace) ** (1 / power)
    # Without the first vector there is no θ₂, and E is empty.
    second = jnp.full_like(values, values[1]).at[0].set(0.0)
    squares = jnp.cumsum(residuals.at[0].set(0.0) ** 2)
    c = (second + outside) / 2 + jnp.sqrt((second - outside) ** 2 / 4 + squares)
    gap = 1 - jnp.min(c)
    excess = residuals[0] ** 2 / jnp.where(gap > 0, gap, 1.0) + rounding
    return jnp.where(gap > 0, jnp.log1p(excess) / 2, jnp.inf)


def start_frame(size: int, dtype, count: int = 2) -> Float[Array, "count n"]:
    """Orthonormal random directions, the same in every call; those beyond n are zero.

    Args:
        size: n.
        dtype: of the vectors.
        count: how many.
    """
    frame = np.linalg.qr(np.random.default_rng(1).standard_normal((size, count)))[0].T
    return jnp.zeros((count, size), dtype).at[: len(frame)].set(jnp.asarray(frame, dtype))


def _random(count: int, size: int, dtype) -> Float[Array, "count n"]:
    """Random unit vectors, the same in every call."""
    # By NumPy, while tracing: they are constants, and the loop draws no random bits.
    vectors = np.random.default_rng(0).standard_normal((count, size))
    return jnp.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype)


def _expand(
    space: _Space, direction: Float[Array, " n"], random: Float[Array, " n"], gram: Gram
) -> _Space:
    """The space with one more direction: a random one if it holds the given one already.

    It gains nothing where it is the whole space.
    """
    vector = _outside(space, direction)
    vector = jnp.where(jnp.any(vector != 0), vector, _outside(space, random))
    return _Space(
        space.basis.at[space.filled].set(vector),
        space.image.at[space.filled].set(gram(vector)),
        space.filled + 1,
    )


def _outside(space: _Space, direction: Float[Array, " n"]) -> Float[Array, " n"]:
    """The unit vector of what the space does not hold of a direction; zero if it holds all."""
    vector, size = _unit(direction)
    # Where most of the vector cancels, once leaves its rounding. Twice is enough (Kahan, Parlett).
    for _ in range(2):
        vector, size = _unit(vector - (space.basis @ vector) @ space.basis)
    # The second time leaves a length of 1, unless all that the first left was rounding.
    return jnp.where(size > 0.5, vector, 0.0)


def _restart(space: _Space, ritz: _Ritz) -> _Space:
    """The space of the best Ritz vectors alone; their images follow without a call of `gram`."""
    keep = jnp.where(np.arange(len(space.basis))[:, None] < _KEPT, ritz.weights, 0.0)
    return _Space(keep @ space.basis, keep @ space.image, jnp.full_like(space.filled, _KEPT))


def _rayleigh_ritz(space: _Space) -> _Ritz:
    """The best vectors of the space, how good they are, and where to look next."""
    values, weights = _projected_eigenpairs(space)
    used = jnp.arange(len(values), dtype=jnp.int32) < space.filled
    values, weights = jnp.where(used, values, 0.0), jnp.where(used[:, None], weights, 0.0)
    vectors = weights @ space.basis
    residuals = weights @ space.image - values[:, None] * vectors
    sizes = jnp.linalg.norm(residuals, axis=1)
    error, second_limits = estimated_error(values, sizes)
    found = Leading(
        vectors=vectors[:2],
        error=error,
        values=values,
        residuals=sizes,
    )
    return _Ritz(weights, residuals[jnp.where(second_limits, 1, 0)], found)


def _projected_eigenpairs(space: _Space) -> tuple[Float[Array, " k"], Float[Array, "k k"]]:
    """θ in descending order, and the Ritz vectors as rows in coordinates of the basis."""
    unused = jnp.arange(len(space.basis), dtype=jnp.int32) >= space.filled
    projected = space.image @ space.basis.T
    # A row not in use gets the eigenvalue -1, which sorts it behind all others: they are >= 0.
    projected = (projected + projected.T) / 2 - jnp.diag(unused.astype(projected.dtype))
    values, weights = lapack.eigh(projected)
    return values[::-1], weights.T[::-1]


def estimated_error(
    values: Float[Array, " k"], residuals: Float[Array, " k"]
) -> tuple[Float[Array, ""], Bool[Array, ""]]:
    """The estimate of (σ_max - σ̂)/σ̂, and whether the second vector limits it.

    Args:
        values: θ_i, the largest first.
        residuals: ρ_i.
    """
    first, second = residuals[0], residuals[1]
    gap = values[0] - values[1] - second
    # min(ρ₁, ρ₁²/gap); a gap of zero is never divided by.
    excess = jnp.where(gap > first, first * (first / jnp.where(gap > first, gap, 1.0)), first)
    # As far as its own residual tells, the second vector may be the first in truth.
    rival = values[1] + second - values[0]
    top = jnp.where(values[0] > 0, values[0], 1.0)
    # NaN stays NaN: no comparison with it is true.
    error = jnp.where(values[0] <= 0, 0.0, jnp.maximum(excess, rival) / (2 * top))
    return error, rival > excess


def _unit(vector: Float[Array, " n"]) -> tuple[Float[Array, " n"], Float[Array, ""]]:
    """The vector at length one, and its length; zero stays zero."""
    size = norm_of(vector)
    return vector / jnp.where(size > 0, size, 1.0), size
