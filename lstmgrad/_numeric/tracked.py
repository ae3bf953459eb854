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

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lstmgrad._numeric.krylov import BLIND, dominant, start_frame
from lstmgrad._numeric.scaled import Scaled, length, log_of, normalize, widen

SMALL = 32
"""Up to this many rows or columns an SVD costs no more than tracking."""

SELDOM = 32
"""Blocks so many factors apart get an SVD up to a larger size, eight times as large."""

_APART = 1e-3  # of the mean weight of a row: a row of less carries no part of a vector
_HIDDEN = 0.2  # by chance a few rows carry nothing; this share of ‖A‖_F² is more than that


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
