"""The spectral norms ‖A‖₂ = σ_max(A) of a sequence of blocks, each near the one before.

Along a chain the norms of thousands of products are wanted, each one factor away from the last, so
the leading singular vectors of one are nearly those of the next, on the side that does not change.
A reader carries eight of them from block to block: the first gives the norm, the others are the
likeliest to take the lead next. From there one or two rounds of `subspace.refine` suffice, or where
the spectrum is flat a search by `krylov.dominant`, and an SVD would take some n³ operations. Small
blocks, and blocks far apart, get one.

The norm is a lower bound of σ_max, and its error is proved, in the cheapest way that succeeds:

 1. by what the Ritz vectors do not hold of ‖A‖_F² (`krylov.proved_error`): where a few directions
    dominate, as in products of many factors;
 2. by the same for tr (A Aᵀ)², where more of the spectrum drops out: one product of matrices;
 3. by a Cholesky factorization of σ̂² (1 + 2 rtol) I - A Aᵀ, which exists only if σ_max is at most
    (1 + rtol) σ̂: where many singular values nearly agree, as for orthogonal weights. It takes no
    more than that product, so higher powers would not be cheaper;
 4. where that fails, a larger norm was out of sight of the search, and the block gets an SVD.

All hold up to rounding, for which 2 √n eps is allowed (the √n of errors with random signs: Higham &
Mary 2019, SIAM J. Sci. Comput. 41, A2815).
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lstmgrad._numeric import lapack
from lstmgrad._numeric.definite import is_definite
from lstmgrad._numeric.krylov import Leading, dominant, proved_error, start_frame
from lstmgrad._numeric.scaled import Scaled, largest, log_of, norm_of, widen
from lstmgrad._numeric.subspace import WIDTH, refine

T = TypeVar("T")

SMALL = 32
"""Up to this many rows or columns an SVD costs no more than tracking."""

FAR_APART = 32
"""Factors from one block to the next at which the vectors of one no longer help with the next."""

SMALL_FAR_APART = 8 * SMALL
"""Up to this many rows or columns an SVD costs no more than a search from such vectors."""


SVD_ROUNDING = 50
"""The relative error of a singular value from LAPACK, in epsilons: its iteration stops at up to
100 roundings (TOLMUL in xBDSQR), and does: two values that nearly agree are told as one."""


ROUNDS = 6
"""Rounds of `subspace.refine` that a block gets before `krylov.dominant` takes over."""


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
        A first carry, and ``read(carry, block: Scaled) -> (carry, NormReading)``, for blocks as
        `normalize` leaves them.
    """
    size = min(rows, columns)
    if rtol == 0 or size <= SMALL or (every >= FAR_APART and size <= SMALL_FAR_APART):
        return None, lambda carry, block: (None, svd_norm(block))

    @lapack.in_turn  # of a batch on a CPU, no member waits for the one that takes the most rounds
    def search(matrix: Array, square: Array, frame: Array) -> tuple[Array, Array, Array]:
        return _leading_vector(matrix, square, frame, rtol)

    def read(frame: Array, block: Scaled) -> tuple[Array, NormReading]:
        mantissa = widen(block.mantissa)
        constant = jax.lax.stop_gradient(mantissa)
        square = jnp.sum(constant * constant)
        usable = jnp.isfinite(square) & (square > 0)
        vector, error, vectors = search(constant, square, frame)
        # A zero or broken block has no vectors: the next one starts from those before it.
        frame = jnp.where(usable, vectors, frame)
        # Outside the search, which has no derivative: dσ = x dA y for singular vectors x, y.
        norm = norm_of(jnp.matmul(jnp.where(usable, vector, 0.0), mantissa, precision="highest"))
        log_norm = log_of(norm, block.exponent)
        log_norm = jnp.where(usable, log_norm, jnp.where(square == 0, -jnp.inf, square))
        error = jnp.where(usable, error, jnp.where(square == 0, 0.0, jnp.nan))
        return frame, NormReading(log_norm, error)

    return start_frame(rows, widen(jnp.zeros((), dtype)).dtype, WIDTH), read


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


def _leading_vector(
    matrix: Float[Array, "n p"],
    square: Float[Array, ""],
    frame: Float[Array, "k n"],
    rtol: float | int,
) -> tuple[Float[Array, " n"], Float[Array, ""], Float[Array, "k n"]]:
    """The leading left singular vector, the error of its norm, and the frame for the next block.

    Args:
        matrix: A, normalized. Where it is zero or not finite, nothing is looked for.
        square: ‖A‖_F².
        frame: from the block before.
        rtol: the tolerance.
    """

    def gram(x: Float[Array, " n"]) -> Float[Array, " n"]:
        # `x @ A` and `A @ x` are fast on every backend; `A.T @ x` is not.
        return matrix @ (x @ matrix)

    rounding = 2 * math.sqrt(len(matrix)) * float(jnp.finfo(matrix.dtype).eps)
    margin = max(2 * rtol, 2 * rounding)
    wanted = math.log1p(margin) / 2
    usable = jnp.isfinite(square) & (square > 0)

    def proved(found: Leading) -> Array:
        return proved_error(found, square / _top(found), rounding)

    def unfinished(loop: tuple) -> Array:
        _, found, error, turn = loop
        return usable & ~(error <= wanted) & (found.error > rtol) & (turn < ROUNDS)

    def another(loop: tuple) -> tuple:
        frame, found = refine(matrix, loop[0])
        return frame, found, proved(found), loop[-1] + 1

    def astray(value: tuple) -> Array:
        _, found, error = value
        near = (found.error <= rtol) & (found.values[0] > 0)
        return usable & ~(error <= wanted) & ~near

    def search(value: tuple, _: Array) -> tuple:
        found = dominant(gram, value[1].vectors, rtol, capacity=WIDTH)
        return value[0], found, proved(found)

    with jax.default_matmul_precision("highest"):
        unknown, values = jnp.full_like(square, jnp.inf), jnp.zeros_like(frame[:, 0])
        found = Leading(frame[:2], unknown, values, values)
        start = frame, found, unknown, jnp.zeros((), jnp.int32)
        value = jax.lax.while_loop(unfinished, another, start)[:3]
        return _prove(matrix, _once(astray, search, value), usable, margin, rounding)


def _top(found: Leading) -> Float[Array, ""]:
    return jnp.where(found.values[0] > 0, found.values[0], 1.0)


def _once(pending: Callable[[T], Array], change: Callable[[T, Array], T], value: T) -> T:
    """What a change makes of a value, if it is pending.

    A loop of at most one turn and not a condition: under vmap both sides of a condition are
    computed, but a loop runs only if a member of the batch needs it. What it takes from outside has
    to be masked by the second argument of the change: XLA moves what does not depend on the loop in
    front of it, and would multiply and factorize the matrices of every lag.

    Args:
        pending: whether the value has to be changed.
        change: of the value, and of a flag that is false.
        value: a pytree of arrays.
    """

    def unchanged(loop: tuple[T, Array]) -> Array:
        return ~loop[1] & pending(loop[0])

    def turn(loop: tuple[T, Array]) -> tuple[T, Array]:
        return change(*loop), ~loop[1]

    return jax.lax.while_loop(unchanged, turn, (value, jnp.zeros((), bool)))[0]


def _prove(
    matrix: Float[Array, "n p"],
    value: tuple[Float[Array, "k n"], Leading, Float[Array, ""]],
    usable: Array,
    margin: float,
    rounding: float,
) -> tuple[Float[Array, " n"], Float[Array, ""], Float[Array, "k n"]]:
    """The first vector with an error that is proved, or that of an SVD where a norm is larger.

    Args:
        matrix: A.
        value: the frame, what the search found, and the error that is proved already.
        usable: as for `_leading_vector`.
        margin: by which σ̂² may be below σ_max².
        rounding: of A Aᵀ and its factorization, a part of the margin.
    """
    frame, found, error = value
    wanted, top = math.log1p(margin) / 2, _top(found)

    def unproved(value: tuple) -> Array:
        return usable & ~(value[1] <= wanted)

    def multiply(value: tuple, done: Array) -> tuple:
        block = jnp.where(done, 0.0, matrix)
        gram = block @ block.T / top
        trace = jnp.sum(gram * gram) * (1 + 2 * rounding * jnp.trace(gram))
        return gram, jnp.minimum(value[1], proved_error(found, trace, rounding, 2.0))

    def factorize(value: tuple, done: Array) -> tuple:
        gram, _ = value
        row = found.vectors[0] @ matrix
        bound = (1 + margin - rounding) * (row @ row) / top
        rest = bound * jnp.eye(len(gram), dtype=gram.dtype) - jnp.where(done, 0.0, gram)
        return gram, jnp.where(is_definite(rest), wanted, jnp.inf).astype(error.dtype)

    def decompose(value: tuple, done: Array) -> tuple:
        _, frame, error = value
        vectors = _left_singular_vectors(jnp.where(done, 0.0, matrix), len(frame))
        return vectors[0], vectors, jnp.full_like(error, _svd_error(matrix.dtype))

    nothing = jnp.zeros((len(matrix),) * 2, matrix.dtype)
    _, error = _once(unproved, factorize, _once(unproved, multiply, (nothing, error)))
    vector, frame, error = _once(
        lambda value: usable & (value[2] == jnp.inf), decompose, (found.vectors[0], frame, error)
    )
    return vector, error, frame


def _left_singular_vectors(matrix: Float[Array, "n p"], count: int) -> Float[Array, "count n"]:
    """The leading ones, exact where no row and no column holds more than one entry."""
    squares = matrix * matrix
    rows, columns = jnp.sum(squares, axis=1), jnp.sum(squares, axis=0)
    # Then, as without recurrent weights, the singular vectors are unit vectors and need no SVD.
    single = jnp.all(rows == jnp.max(squares, axis=1)) & jnp.all(
        columns == jnp.max(squares, axis=0)
    )
    _, best = jax.lax.top_k(rows, count)
    units = jax.nn.one_hot(best, len(rows), dtype=matrix.dtype)

    def decompose() -> Array:
        # Of the transpose, which LAPACK reads in place: no layout is forced on the matrix.
        return lapack.svd(matrix.T)[2][:count]

    return jax.lax.cond(single, lambda: units, decompose)
