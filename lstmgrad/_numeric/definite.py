"""Whether a symmetric matrix is positive definite: a Cholesky factorization in panels.

LAPACK's factorization of a large matrix starts threads of its own, which wait for those of XLA, and
that takes longer than the arithmetic: a hundred times as long where other programs use the cores.
So LAPACK gets the blocks of the diagonal alone, too small for threads, and the rest are products.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from lstmgrad._numeric.graded import inverse_of_upper

WIDTH = 64
"""Rows of a panel."""


def is_definite(matrix: Float[Array, "n n"]) -> Bool[Array, ""]:
    """True where a Cholesky factorization exists, up to its rounding; false for NaN.

    About 2 n³ operations, nearly all in products.

    Args:
        matrix: symmetric.

    References:
        Higham 2002, Accuracy and Stability of Numerical Algorithms, Sections 10.1 and 13.3.
    """
    size = len(matrix)
    missing = -size % WIDTH
    columns = jnp.arange(size + missing)
    padded = jnp.pad(matrix, (0, missing)) + jnp.diag((columns >= size).astype(matrix.dtype))

    def eliminate(panel: Array, loop: tuple[Array, Array]) -> tuple[Array, Array]:
        rest, definite = loop
        start = panel * WIDTH
        rows = jax.lax.dynamic_slice_in_dim(rest, start, WIDTH)
        corner = jax.lax.dynamic_slice_in_dim(rows, start, WIDTH, axis=1)
        lower = jax.lax.linalg.cholesky(corner, symmetrize_input=False)
        inverse = inverse_of_upper(lower.T).T
        rows = jnp.where(columns >= start + WIDTH, rows, 0.0)
        solution = inverse @ rows
        # Once more for what is missing: then the error is that of a substitution, although an
        # inverse of a corner that is nearly singular has a larger one.
        solution = solution + inverse @ (rows - lower @ solution)
        return rest - solution.T @ solution, definite & jnp.all(jnp.isfinite(lower))

    with jax.default_matmul_precision("highest"):
        count = len(columns) // WIDTH
        return jax.lax.fori_loop(0, count, eliminate, (padded, jnp.ones((), bool)))[1]
