"""The leading eigenvectors of A Aᵀ by subspace iteration: products of matrices and little else.

Where A is near a matrix that was read before, k rows V that span the leading left singular vectors
of that one nearly span those of A, too. A round multiplies them by A Aᵀ and takes the best vectors
in their span (Rayleigh-Ritz). The next rows are what A Aᵀ made of these, orthonormalized: what lies
outside of the k leading directions shrinks by θ_{k+1}/θ_i, so one or two rounds suffice for a
product of many factors. A flat spectrum needs many; there `krylov.dominant` is faster.

A round takes four products and one decomposition of k x k, so many matrices side by side, as under
`jax.vmap`, take no longer than their arithmetic.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lstmgrad._numeric import lapack
from lstmgrad._numeric.graded import inverse_of_upper
from lstmgrad._numeric.krylov import Leading, estimated_error

WIDTH = 8
"""k: the sum of the θ_i that they hold is also what proves that nothing larger lies outside."""


def refine(
    matrix: Float[Array, "n p"], frame: Float[Array, "k n"]
) -> tuple[Float[Array, "k n"], Leading]:
    """One round: the rows for the next one, and what the span of these holds.

    Args:
        matrix: A, of a size whose fourth power fits the dtype.
        frame: V, orthonormal.
    """
    image = frame @ matrix
    back = image @ matrix.T
    values, weights = lapack.eigh(image @ image.T)
    values, weights = values[::-1], weights.T[::-1]
    vectors, back = weights @ frame, weights @ back
    residuals = jnp.linalg.norm(back - values[:, None] * vectors, axis=1)
    error, _ = estimated_error(values, residuals)
    return _orthonormal(back, vectors), Leading(vectors[:2], error, values, residuals)


def _orthonormal(rows: Float[Array, "k n"], vectors: Float[Array, "k n"]) -> Float[Array, "k n"]:
    """An orthonormal frame of some rows, in their order.

    Args:
        rows: A Aᵀ of the vectors.
        vectors: orthonormal; they take the place of a row that is only rounding, and of all rows
            where these are too near to dependent.
    """
    sizes = jnp.linalg.norm(rows, axis=1, keepdims=True)
    least = len(rows) * float(jnp.finfo(rows.dtype).eps) * jnp.max(sizes)
    large = sizes > least
    rows = jnp.where(large, rows / jnp.where(large, sizes, 1.0), vectors)
    lower = jax.lax.linalg.cholesky(rows @ rows.T, symmetrize_input=False)
    frame = inverse_of_upper(lower.T).T @ rows
    identity = jnp.eye(len(rows), dtype=rows.dtype)
    missing = jnp.max(jnp.abs(frame @ frame.T - identity))
    frame = jnp.where(missing < 0.1, frame, vectors)
    # The first step of Newton's iteration for the nearest orthonormal frame.
    return (1.5 * identity - 0.5 * (frame @ frame.T)) @ frame
