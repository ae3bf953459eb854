"""The spectral norms ‖A‖₂ = σ_max(A) of a sequence of blocks, each near the one before.

Along a chain the norms of thousands of products are wanted, each one factor away from the last, so
the leading singular vectors of one are nearly those of the next, on the side that does not change.
A reader carries two of them from block to block: the first gives the norm, the second is the
likeliest to take the lead next. From there `krylov.dominant` needs a few products with vectors,
where an SVD takes some n³ operations. Small blocks, and blocks far apart, get an SVD.

The norm is a lower bound of σ_max and comes with an estimate of its relative error. What could
betray the estimate: a part of the matrix that does not interact with the vectors found, and rises
where their Krylov space cannot see it. What is done against that: if the rows that the first vector
does not touch hold more of ‖A‖_F² than σ̂², a larger norm can hide there, and that block gets an
SVD after all.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from lstmgrad._numeric.krylov import STEPS_FROM_RANDOM, dominant, start_frame
from lstmgrad._numeric.scaled import Scaled, log_of, norm_of, normalize, widen

SMALL = 32
"""Up to this many rows or columns an SVD costs no more than tracking."""

FAR_APART = 32
"""Factors from one block to the next at which the vectors of one no longer help with the next."""

SMALL_FAR_APART = 8 * SMALL
"""Up to this many rows or columns an SVD costs no more than a search from such vectors."""

_UNTOUCHED_WEIGHT = 1e-3  # a vector x leaves row i untouched if x_i² is below this, times 1/n
_HIDDEN_SHARE = 0.2  # untouched rows count from this share of ‖A‖_F² on: chance leaves fewer


class NormReading(NamedTuple):
    """One spectral norm and how far it can be trusted.

    Attributes:
        log_norm: ln σ̂.
        error: the estimate of (σ_max - σ̂)/σ̂; rounding alone for an SVD.
    """

    log_norm: Float[Array, ""]
    error: Float[Array, ""]


class _Track(NamedTuple):
    """What a reader carries from one block to the next."""

    frame: Float[Array, "2 n"]  # the leading left singular vectors of the last block
    fresh: Bool[Array, ""]  # whether they are random, because there was no block yet


def norm_reader(
    rows: int, columns: int, dtype, rtol: float | int, every: int
) -> tuple[Any, Callable[[Any, Scaled], tuple[Any, NormReading]]]:
    """How to read the norms of a sequence of (rows, columns) blocks, each near the one before.

    Args:
        rows: the side on which singular vectors stay nearly the same.
        columns: the other side.
        dtype: of the blocks.
        rtol: the relative error of the norm at which to stop; 0 asks for an SVD at any size.
        every: how many factors lie between one block and the next.

    Returns:
        A first carry, and ``read(carry, block: Scaled) -> (carry, NormReading)``.
    """
    size = min(rows, columns)
    if rtol == 0 or size <= SMALL or (every >= FAR_APART and size <= SMALL_FAR_APART):
        return None, lambda carry, block: (None, svd_norm(block))

    def read(track: _Track, block: Scaled) -> tuple[_Track, NormReading]:
        mantissa, exponent = normalize(Scaled(widen(block.mantissa), block.exponent))
        constant = jax.lax.stop_gradient(mantissa)
        frame, error = _leading_vectors(constant, track, rtol)
        top = jnp.max(jnp.abs(constant))
        usable = jnp.isfinite(top) & (top > 0)
        # A zero or broken block has no vectors: the next one starts from those before it.
        frame = jnp.where(usable, frame, track.frame)
        # Outside the search, which has no derivative: dσ = x dA y for singular vectors x, y.
        norm = norm_of(jnp.matmul(frame[0], mantissa, precision="highest"))
        log_norm = log_of(norm, exponent)
        log_norm = jnp.where(usable, log_norm, jnp.where(top == 0, -jnp.inf, top))
        error = jnp.where(usable, error, jnp.where(top == 0, 0.0, jnp.nan))
        return _Track(frame, jnp.zeros_like(track.fresh)), NormReading(log_norm, error)

    frame = start_frame(rows, widen(jnp.zeros((), dtype)).dtype)
    return _Track(frame, jnp.ones((), bool)), read


def svd_norm(block: Scaled) -> NormReading:
    """Ln ‖A‖₂ by an SVD: -inf for exact zero, +inf and NaN for a matrix that holds them.

    Args:
        block: any matrix; half precision is widened to float32, as LAPACK has no SVD for it.
    """
    matrix = widen(block.mantissa)
    finite = jnp.all(jnp.isfinite(matrix))
    # An SVD of a matrix with an inf writes to stderr and gives NaN.
    sigma = jnp.linalg.svd(jnp.where(finite, matrix, 0.0), compute_uv=False)
    log_sigma = log_of(jnp.max(sigma, initial=0.0), block.exponent)
    # Without a slope: that of a maximum divides by the number of entries that equal it, and where
    # the compiler rounds the entries anew, none does.
    broken = jax.lax.stop_gradient(jnp.max(jnp.abs(matrix), initial=0.0))
    log_norm = jnp.where(finite, log_sigma, broken)
    error = jnp.where(finite, jnp.finfo(matrix.dtype).eps, jnp.nan).astype(matrix.dtype)
    return NormReading(log_norm, error)


def _leading_vectors(
    matrix: Float[Array, "n p"], track: _Track, rtol: float | int
) -> tuple[Float[Array, "2 n"], Float[Array, ""]]:
    """The two leading left singular vectors of a normalized matrix, and the error of its norm."""
    diagonal = jnp.sum(matrix * matrix, axis=1)
    min_steps = jnp.where(track.fresh, STEPS_FROM_RANDOM, 0)

    def gram(x: Float[Array, " n"]) -> Float[Array, " n"]:
        # `x @ A` and `A @ x` are fast on every backend; `A.T @ x` is not.
        return matrix @ (x @ matrix)

    with jax.default_matmul_precision("highest"):
        frame, error = dominant(gram, diagonal, track.frame, rtol, min_steps)
        return _svd_if_decoupled(matrix, diagonal, frame, error)


def _svd_if_decoupled(
    matrix: Float[Array, "n p"],
    diagonal: Float[Array, " n"],
    frame: Float[Array, "2 n"],
    error: Float[Array, ""],
) -> tuple[Float[Array, "2 n"], Float[Array, ""]]:
    """The same vectors, or those of an SVD where a larger norm can hide out of their sight.

    Rows that the first vector does not touch do not interact with those that it does, as between
    the heads of a network or in one without recurrent weights. No Krylov space that starts on one
    side sees the other. What the untouched rows hold of ‖A‖_F² bounds the square of their norm.
    """

    def pending(loop: tuple) -> Array:
        frame, _, done = loop
        untouched = frame[0] ** 2 < _UNTOUCHED_WEIGHT / len(diagonal)
        hidden = jnp.sum(jnp.where(untouched, diagonal, 0.0))
        row = frame[0] @ matrix  # of length σ̂
        return ~done & (hidden > row @ row) & (hidden > _HIDDEN_SHARE * jnp.sum(diagonal))

    def decompose(loop: tuple) -> tuple:
        _, error, done = loop
        # This is the matrix, but written so that it depends on the loop: XLA moves what does not
        # change in a loop in front of it, and would decompose the matrix of every lag.
        block = jnp.where(done, 0.0, matrix)
        frame = _left_singular_vectors(block)
        return frame, jnp.full_like(error, jnp.finfo(matrix.dtype).eps), jnp.ones((), bool)

    # A loop of at most one turn and not a condition: under vmap both sides of a condition are
    # computed, but a loop runs only if a member of the batch needs it.
    loop = (frame, error, jnp.zeros((), bool))
    frame, error, _ = jax.lax.while_loop(pending, decompose, loop)
    return frame, error


def _left_singular_vectors(matrix: Float[Array, "n p"]) -> Float[Array, "2 n"]:
    """The two leading ones, exact where no row and no column holds more than one entry."""
    squares = matrix * matrix
    rows, columns = jnp.sum(squares, axis=1), jnp.sum(squares, axis=0)
    # Then, as without recurrent weights, the singular vectors are unit vectors and need no SVD.
    single = jnp.all(rows == jnp.max(squares, axis=1)) & jnp.all(
        columns == jnp.max(squares, axis=0)
    )
    _, best = jax.lax.top_k(rows, 2)
    units = jax.nn.one_hot(best, len(rows), dtype=matrix.dtype)

    def decompose() -> Array:
        # Of the transpose, which LAPACK reads in place: no layout is forced on the matrix.
        return jnp.linalg.svd(matrix.T, full_matrices=False)[2][:2]

    return jax.lax.cond(single, lambda: units, decompose)
