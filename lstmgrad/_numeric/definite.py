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

    About n³ operations, nearly all in products.

    Args:
        matrix: symmetric.

    References:
        Higham 2002, Accuracy and Stability of Numerical Algorithms, Sections 10.1 and 13.3.
    """
    size = len(matrix)
    missing = -size % WIDTH
    filling = (jnp.arange(size + missing) >= size).astype(matrix.dtype)
    rest, definite = jnp.pad(matrix, (0, missing)) + jnp.diag(filling), jnp.ones((), bool)
    with jax.default_matmul_precision("highest"):
        # A turn of a loop works on all of the rest, what it is done with included, and a turn
        # outside of a loop is compiled on its own: so half of the panels at a time.
        while (panels := len(rest) // WIDTH) > 1:
            count = panels // 2
            rest, definite = jax.lax.fori_loop(0, count, _eliminate, (rest, definite))
            rest = rest[count * WIDTH :, count * WIDTH :]
        lower = jax.lax.linalg.cholesky(rest, symmetrize_input=False)
        return definite & jnp.all(jnp.isfinite(lower))


def _eliminate(panel: Array, loop: tuple[Array, Array]) -> tuple[Array, Array]:
    """The Schur complement of one panel, in place; the rows of the panel mean nothing then."""
    rest, definite = loop
    start, columns = panel * WIDTH, jnp.arange(len(rest))
    rows = jax.lax.dynamic_slice_in_dim(rest, start, WIDTH)
    corner = jax.lax.dynamic_slice_in_dim(rows, start, WIDTH, axis=1)
    rows = jnp.where(columns >= start + WIDTH, rows, 0.0)
    lower = jax.lax.linalg.cholesky(corner, symmetrize_input=False)
    inverse = inverse_of_upper(lower.T).T
    solution = inverse @ rows
    # Once more for what is missing: then the error is that of a substitution, although an
    # inverse of a corner that is nearly singular has a larger one.
    solution = solution + inverse @ (rows - lower @ solution)
    return rest - solution.T @ solution, definite & jnp.all(jnp.isfinite(lower))
