"""The spectral norm ‖A‖₂ = σ_max(A): an SVD where A is small, else a tracked Krylov space.

Along a chain the norms of thousands of products are wanted, each one factor away from the last, so
the dominant direction of one is nearly that of the next. A reader keeps the two leading singular
vectors on the side that does not change from lag to lag and refines them by Rayleigh-Ritz in a
growing Krylov space of A Aᵀ (Golub-Kahan-Lanczos; the space is expanded by explicit residuals, as
in Davidson's method, and restarted from its best vectors, so that rounding cannot accumulate):

    A Aᵀ x = θ x + r,    σ̂ = √θ <= σ_max,    (σ_max - σ̂)/σ̂ <≈ min(ρ, ρ²/gap) / 2θ,   ρ = ‖r‖

It stops when that estimate meets the tolerance. σ̂ is a lower bound without any condition. The
estimate presumes that the two leading Ritz vectors belong to the two largest singular values. What
could betray it is a third direction that rises where the Krylov space cannot see it, as in a
network whose units do not interact: so every search also starts from the row of A that the tracked
vectors explain least (the pivot of a pivoted Cholesky factorization of A Aᵀ), with a random part,
and does not end while that row alone proves a larger norm. Where the vector found leaves much of
the matrix untouched, an SVD is taken after all.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from lstmgrad._numeric.scaled import Scaled, log_of, normalize, widen

Gram = Callable[[Array], Array]

SMALL = 32
"""Up to this many rows or columns an SVD costs no more than tracking."""

SELDOM = 32
"""Blocks so many factors apart get an SVD up to a larger size, eight times as large."""

BLIND = 24
"""Steps of a search that starts from random vectors before its error estimate is believed."""

_SPACE = 8  # vectors kept before a restart
_START = 4  # directions before the first refinement
_NEAR = 0.8  # a row of this share of θ₁ is worth a look
_PROBES = 4  # looks at most
_APART = 1e-3  # of the mean weight of a row: a row of less carries no part of a vector
_HIDDEN = 0.2  # by chance a few rows carry nothing; this share of ‖A‖_F² is more than that
_RANDOM = 0.1  # the share of a random direction in the third start vector


class NormReading(NamedTuple):
    """One spectral norm and how far it can be trusted.

    Attributes:
        log_norm: ln σ̂.
        error: the estimate of (σ_max - σ̂)/σ̂; rounding alone for an SVD.
    """

    log_norm: Float[Array, ""]
    error: Float[Array, ""]


def norm_reader(rows: int, columns: int, dtype, rtol: float | int, every: int):
    """How to read the norms of a sequence of (rows, columns) blocks, each near the one before.

    Args:
        rows: the side on which singular vectors stay nearly the same.
        columns: the other side.
        dtype: of the blocks.
        rtol: the relative error of the norm to stop at; 0 asks for an SVD at any size.
        every: how many factors lie between one block and the next.

    Returns:
        A first carry, and ``read(carry, block: Scaled) -> (carry, NormReading)``.
    """
    size = min(rows, columns)
    # Far from the last block its singular vectors are no help, and an SVD costs less than the way.
    if rtol == 0 or size <= SMALL or (every >= SELDOM and size <= 8 * SMALL):
        return None, lambda carry, block: (None, svd_norm(block))

    def read(carry: tuple[Array, Array], block: Scaled) -> tuple[tuple[Array, Array], NormReading]:
        frame, fresh = carry
        mantissa, exponent = normalize(Scaled(widen(block.mantissa), block.exponent))
        constant = jax.lax.stop_gradient(mantissa)
        # `x @ A` and `A @ x` are fast on every backend; `A.T @ x` is not.
        diagonal = jnp.sum(constant * constant, axis=1)
        least = jnp.where(fresh, BLIND, 0)
        with jax.default_matmul_precision("highest"):
            found, error = dominant(
                lambda x: constant @ (x @ constant), diagonal, frame, rtol, least
            )
            found, error = _if_decoupled(constant, diagonal, found, error)
        top = jnp.max(jnp.abs(constant))
        usable = jnp.isfinite(top) & (top > 0)
        found = jnp.where(usable, found, frame)
        # Outside the loop, so that it has a derivative: dσ = x dA y for singular vectors x, y.
        log_norm = log_of(length(jnp.matmul(found[0], mantissa, precision="highest")), exponent)
        log_norm = jnp.where(usable, log_norm, jnp.where(top == 0, -jnp.inf, top))
        error = jnp.where(usable, error, jnp.where(top == 0, 0.0, jnp.nan))
        return (found, jnp.zeros_like(fresh)), NormReading(log_norm, error)

    frame = start_frame(rows, widen(jnp.zeros((), dtype)).dtype)
    return (frame, jnp.ones((), bool)), read


def _if_decoupled(
    matrix: Array, diagonal: Array, found: Array, error: Array
) -> tuple[Array, Array]:
    """The leading left singular vectors afresh where much of the matrix is out of their sight.

    Rows that carry no part of the first vector do not interact with those that do, as between the
    heads of a network or in one without recurrent weights, and no Krylov space that starts on one
    side sees the other. What they hold, their share of ‖A‖_F², bounds the norm hidden there.
    """

    def pending(loop):
        found, _, done = loop
        apart = found[0] ** 2 < _APART / len(diagonal)
        hidden = jnp.sum(jnp.where(apart, diagonal, 0.0))
        norm = found[0] @ matrix
        return ~done & (hidden > norm @ norm) & (hidden > _HIDDEN * jnp.sum(diagonal))

    def afresh(loop):
        found, error, done = loop
        # Tied to the loop, or XLA moves what does not change in it in front of it: an SVD a lag.
        block = jnp.where(done, 0.0, matrix)
        squares = block * block
        rows, columns = jnp.sum(squares, axis=1), jnp.sum(squares, axis=0)
        # One entry a row and a column at most: the singular vectors are unit vectors.
        single = jnp.all(rows == jnp.max(squares, axis=1)) & jnp.all(
            columns == jnp.max(squares, axis=0)
        )
        _, best = jax.lax.top_k(rows, 2)

        def decompose() -> Array:
            # Of the transpose, which LAPACK reads in place: no layout is forced on the matrix.
            return jnp.linalg.svd(block.T, full_matrices=False)[2][:2]

        units = jax.nn.one_hot(best, len(rows), dtype=matrix.dtype)
        found = jax.lax.cond(single, lambda: units, decompose)
        return found, jnp.full_like(error, jnp.finfo(matrix.dtype).eps), jnp.ones((), bool)

    # A loop and not a condition, so that a batch pays only if one of its members has to.
    found, error, _ = jax.lax.while_loop(pending, afresh, (found, error, jnp.zeros((), bool)))
    return found, error


def svd_norm(block: Scaled) -> NormReading:
    """Ln ‖A‖₂ by an SVD: -inf for exact zero, +inf and NaN for a matrix that holds them.

    Args:
        block: any matrix; half precision is widened to float32, for which alone an SVD exists.
    """
    matrix = widen(block.mantissa)
    finite = jnp.all(jnp.isfinite(matrix))
    # An SVD of a matrix with an inf writes to stderr and gives NaN.
    sigma = jnp.linalg.svd(jnp.where(finite, matrix, 0.0), compute_uv=False)
    log_sigma = log_of(jnp.max(sigma, initial=0.0), block.exponent)
    # The slope of a maximum divides by the number of entries that equal it: zero of them where the
    # compiler has rounded the entries anew.
    broken = jax.lax.stop_gradient(jnp.max(jnp.abs(matrix), initial=0.0))
    log_norm = jnp.where(finite, log_sigma, broken)
    error = jnp.where(finite, jnp.finfo(matrix.dtype).eps, jnp.nan).astype(matrix.dtype)
    return NormReading(log_norm, error)


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


def length(vector: Float[Array, " n"]) -> Float[Array, ""]:
    """The Euclidean norm, with a slope of zero at zero.

    Args:
        vector: with entries whose squares fit the dtype.
    """
    square = vector @ vector
    return jnp.where(square == 0, 0.0, jnp.sqrt(jnp.where(square == 0, 1.0, square)))


def _unit_vector(index: Array, size: int, dtype) -> Array:
    return jnp.zeros(size, dtype).at[index].set(1)


def _unit(vector: Array) -> tuple[Array, Array]:
    size = length(vector)
    return vector / jnp.where(size > 0, size, 1.0), size
