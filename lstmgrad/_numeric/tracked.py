"""The spectral norms ‖A‖₂ = σ_max(A) of a sequence of blocks, each near the one before.

Along a chain the norms of thousands of products are wanted, each one factor away from the last, so
the leading singular vectors of one are nearly those of the next, on the side that does not change.
A reader carries two of them from block to block: the first gives the norm, the second is the
likeliest to take the lead next. From there `krylov.dominant` needs a few products with vectors,
where an SVD takes some n³ operations. Small blocks, and blocks far apart, get an SVD.

The norm is a lower bound of σ_max, and its error is proved, in the cheapest way that succeeds:

 1. by what the Ritz vectors of the search do not hold of ‖A‖_F² (`krylov.proved_error`): where a
    few directions dominate, as in products of many factors;
 2. by the same for tr (A Aᵀ)^p with p = 2, 4, 8, 16, where more and more of the spectrum drops out:
    a product of matrices for each;
 3. by a Cholesky factorization of σ̂² (1 + 2 rtol) I - A Aᵀ, which exists only if σ_max is at most
    (1 + rtol) σ̂: where many singular values nearly agree, as for orthogonal weights;
 4. where that fails, a larger norm was out of sight of the search, and the block gets an SVD.

All hold up to rounding, for which 2 √n eps is allowed (the √n of errors with random signs: Higham &
Mary 2019, SIAM J. Sci. Comput. 41, A2815).
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lstmgrad._numeric import lapack
from lstmgrad._numeric.definite import is_definite
from lstmgrad._numeric.krylov import Leading, dominant, proved_error, start_frame
from lstmgrad._numeric.scaled import Scaled, largest, log_of, norm_of, normalize, widen

SMALL = 32
"""Up to this many rows or columns an SVD costs no more than tracking."""

FAR_APART = 32
"""Factors from one block to the next at which the vectors of one no longer help with the next."""

SMALL_FAR_APART = 8 * SMALL
"""Up to this many rows or columns an SVD costs no more than a search from such vectors."""


SVD_ROUNDING = 50
"""The relative error of a singular value from LAPACK, in epsilons: its iteration stops at up to
100 roundings (TOLMUL in xBDSQR), and does: two values that nearly agree are told as one."""


HIGHEST_POWER = 16
"""Of A Aᵀ, whose trace is used for a proof: its last product takes (A Aᵀ)^8."""

LAST_TRACE = 3.0
"""The trace of the highest power, in θ₁^p, up to which it may prove something: the two vectors that
were searched for hold up to 2 of it, and the rest has to be below 1."""


class NormReading(NamedTuple):
    """One spectral norm and how far it can be trusted.

    Attributes:
        log_norm: ln σ̂.
        error: a bound of (σ_max - σ̂)/σ̂; rounding alone for an SVD.
    """

    log_norm: Float[Array, ""]
    error: Float[Array, ""]


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

    def read(frame: Array, block: Scaled) -> tuple[Array, NormReading]:
        mantissa, exponent = normalize(Scaled(widen(block.mantissa), block.exponent))
        constant = jax.lax.stop_gradient(mantissa)
        vectors, error = _leading_vectors(constant, frame, rtol)
        top = largest(jnp.abs(constant))
        usable = jnp.isfinite(top) & (top > 0)
        # A zero or broken block has no vectors: the next one starts from those before it.
        frame = jnp.where(usable, vectors, frame)
        # Outside the search, which has no derivative: dσ = x dA y for singular vectors x, y.
        norm = norm_of(jnp.matmul(frame[0], mantissa, precision="highest"))
        log_norm = log_of(norm, exponent)
        log_norm = jnp.where(usable, log_norm, jnp.where(top == 0, -jnp.inf, top))
        error = jnp.where(usable, error, jnp.where(top == 0, 0.0, jnp.nan))
        return frame, NormReading(log_norm, error)

    return start_frame(rows, widen(jnp.zeros((), dtype)).dtype), read


def svd_norm(block: Scaled) -> NormReading:
    """Ln ‖A‖₂ by an SVD: -inf for exact zero, +inf and NaN for a matrix that holds them.

    Args:
        block: any matrix; half precision is widened to float32, as LAPACK has no SVD for it.
    """
    matrix = widen(block.mantissa)
    finite = jnp.all(jnp.isfinite(matrix))
    # An SVD of a matrix with an inf writes to stderr and gives NaN.
    sigma = lapack.singular_values(jnp.where(finite, matrix, 0.0))
    log_sigma = log_of(jnp.max(sigma, initial=0.0), block.exponent)
    # Without a slope: that of a maximum divides by the number of entries that equal it, and where
    # the compiler rounds the entries anew, none does.
    broken = jax.lax.stop_gradient(largest(jnp.abs(matrix), initial=0.0))
    log_norm = jnp.where(finite, log_sigma, broken)
    size = jnp.where(broken > 0, _svd_error(matrix.dtype), 0.0)
    error = jnp.where(finite, size, jnp.nan).astype(matrix.dtype)
    return NormReading(log_norm, error)


def _svd_error(dtype: Any) -> float:
    return SVD_ROUNDING * float(jnp.finfo(dtype).eps)


def _leading_vectors(
    matrix: Float[Array, "n p"], frame: Float[Array, "2 n"], rtol: float | int
) -> tuple[Float[Array, "2 n"], Float[Array, ""]]:
    """The two leading left singular vectors of a normalized matrix, and the error of its norm."""

    def gram(x: Float[Array, " n"]) -> Float[Array, " n"]:
        # `x @ A` and `A @ x` are fast on every backend; `A.T @ x` is not.
        return matrix @ (x @ matrix)

    rounding = 2 * math.sqrt(len(matrix)) * float(jnp.finfo(matrix.dtype).eps)
    with jax.default_matmul_precision("highest"):
        found = dominant(gram, frame, rtol)
        return _prove(matrix, found, max(2 * rtol, 2 * rounding), rounding)


def _prove(
    matrix: Float[Array, "n p"], found: Leading, margin: float, rounding: float
) -> tuple[Float[Array, "2 n"], Float[Array, ""]]:
    """The vectors with an error that is proved, or those of an SVD where a larger norm exists.

    Args:
        matrix: A.
        found: by the search.
        margin: by which σ̂² may be below σ_max².
        rounding: of A Aᵀ and its factorization, a part of the margin.
    """
    wanted = math.log1p(margin) / 2
    top = jnp.where(found.values[0] > 0, found.values[0], 1.0)
    trace = jnp.sum(matrix * matrix) / top
    error = proved_error(found, trace, rounding)

    # Loops of at most one turn and not conditions: under vmap both sides of a condition are
    # computed, but a loop runs only if a member of the batch needs it. What a loop takes is masked
    # by what it changes: XLA moves what does not change in a loop in front of it, and would
    # multiply and factorize the matrices of every lag.
    def multiply(loop: tuple) -> tuple:
        _, done = loop
        block = jnp.where(done, 0.0, matrix)
        return block @ block.T / top, ~done

    def unproved(loop: tuple) -> Array:
        return ~loop[-1] & (error > wanted)

    nothing = jnp.zeros((len(matrix),) * 2, matrix.dtype), jnp.zeros((), bool)
    gram, _ = jax.lax.while_loop(unproved, multiply, nothing)
    error = _prove_by_powers(gram, found, trace, error, wanted, rounding)

    def factorize(loop: tuple) -> tuple:
        _, done = loop
        block = jnp.where(done, 0.0, gram)
        row = found.vectors[0] @ matrix
        bound = (1 + margin - rounding) * (row @ row) / top
        rest = bound * jnp.eye(len(block), dtype=block.dtype) - block
        return jnp.where(is_definite(rest), wanted, jnp.inf).astype(error.dtype), ~done

    def pending(loop: tuple) -> Array:
        error, done = loop
        return ~done & (error > wanted)

    error, _ = jax.lax.while_loop(pending, factorize, (error, nothing[1]))

    def missed(loop: tuple) -> Array:
        return loop[1] == jnp.inf

    def decompose(loop: tuple) -> tuple:
        _, error = loop
        block = jnp.where(error < jnp.inf, 0.0, matrix)
        return _left_singular_vectors(block), jnp.full_like(error, _svd_error(matrix.dtype))

    return jax.lax.while_loop(missed, decompose, (found.vectors, error))


def _prove_by_powers(
    gram: Float[Array, "n n"],
    found: Leading,
    trace: Float[Array, ""],
    error: Float[Array, ""],
    wanted: float,
    rounding: float,
) -> Float[Array, ""]:
    """The error as far as traces of powers prove it; inf where they do not, or have no prospect.

    Args:
        gram: A Aᵀ / θ₁; zero where nothing is left to prove.
        found: by the search.
        trace: tr A Aᵀ / θ₁.
        error: what is proved already.
        wanted: the error at which to stop.
        rounding: of the products.
    """

    def read(matrix: Array, power: Array, before: Array) -> tuple[Array, ...]:
        """From (A Aᵀ)^(p/2): tr (A Aᵀ)^p, the error that it proves, whether more powers may."""
        now = jnp.sum(matrix * matrix)
        bound = now * (1 + power * rounding * trace)
        proved = jnp.where(now > 0, proved_error(found, bound, rounding, power), jnp.inf)
        # The logarithm of the trace is convex in the power: its last slope bounds all later ones.
        slope = 2 * (jnp.log(now) - jnp.log(before))
        last = jnp.log(now) + (HIGHEST_POWER / power - 1) * slope
        return now, proved, last <= math.log(LAST_TRACE)

    def unproved(loop: tuple) -> Array:
        _, power, (_, proved, promising) = loop
        return (error > wanted) & (proved > wanted) & (power < HIGHEST_POWER) & promising

    def square(loop: tuple) -> tuple:
        matrix, power, (before, *_) = loop
        matrix = matrix @ matrix.T
        return matrix, 2 * power, read(matrix, 2 * power, before)

    two = jnp.full_like(trace, 2.0)
    start = gram, two, read(gram, two, trace)
    _, _, (_, proved, _) = jax.lax.while_loop(unproved, square, start)
    return jnp.minimum(error, proved)


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
        return lapack.svd(matrix.T)[2][:2]

    return jax.lax.cond(single, lambda: units, decompose)
