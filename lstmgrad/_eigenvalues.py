"""Eigenvalues of the step Jacobians, for the complex plane."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex

from lstmgrad._chain import Chain
from lstmgrad._checks import check_kind
from lstmgrad._compile import compiled
from lstmgrad._scaled import widen


@compiled
def step_eigenvalues(chain: Chain) -> Complex[Array, "T n"]:
    """Returns the eigenvalues of every step Jacobian J_t, the largest in modulus first.

    Eigenvalues say what *repeating* one step would do, singular values what the step does. Those of
    a product are not products of those of its factors: a chain whose steps all have spectral radius
    below 1 may explode.

    Args:
        chain: T factors on a state of flat size n; a stream will do.

    Returns:
        (T, n), complex, row t-1 those of J_t; NaN where the trajectory was NaN.

    Notes:
        An eigenvalue problem of size n a step, O(n³). On a GPU JAX solves it by LAPACK on the host
        or on the device, as its version chooses; on TPUs it cannot. Rounding moves an eigenvalue of
        a non-normal J_t by more than it moves J_t.

    Example:
        For an orthogonal J_t all lie on the unit circle.
    """
    check_kind(chain, Chain, "chain")
    len(chain)
    identity = jnp.eye(chain.layout.size, dtype=chain.layout.dtype)

    def read(memory: Any, entry: Any):
        memory, factor = chain.visit(memory, entry)
        # Pushed unit vectors are the rows of the transpose, which has the same eigenvalues.
        matrix = widen(chain.push(factor, identity))
        broken = jnp.any(jnp.isnan(matrix))
        values = jnp.linalg.eigvals(jnp.where(broken, 0.0, matrix))
        values = values[jnp.argsort(-jnp.abs(values))]
        return memory, jnp.where(broken, jnp.nan, values)

    return jax.lax.scan(read, chain.begin(), chain.factors)[1]
