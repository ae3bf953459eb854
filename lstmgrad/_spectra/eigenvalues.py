"""Eigenvalues of the step Jacobians, for the complex plane."""

import jax.numpy as jnp
from jaxtyping import Array, Complex

from lstmgrad._chains.base import Chain, check_chain, identity_rows
from lstmgrad._chains.sweeps import sweep_forward
from lstmgrad._compile import compiled
from lstmgrad._numeric import lapack
from lstmgrad._numeric.scaled import Scaled, scaled, widen


@compiled
def step_eigenvalues(chain: Chain) -> Complex[Array, "T n"]:
    """Returns the eigenvalues of every step Jacobian J_t, the largest in modulus first.

    Eigenvalues say what *repeating* one step would do, singular values what the step does. Those of
    a product are not products of those of its factors: a chain whose steps all have spectral radius
    below 1 may explode.

    Args:
        chain: T factors on a state of flat size n; streams included.

    Returns:
        (T, n), complex, row t-1 those of J_t; NaN where the trajectory was NaN.

    Raises:
        ValueError: not a chain, or a batch of chains.

    Notes:
        An eigenvalue problem of size n per step, O(n³). On a GPU JAX solves it by LAPACK on the
        host or on the device, as its version chooses; on TPUs it cannot. Rounding moves an
        eigenvalue of a non-normal J_t by more than it moves J_t.

    Example:
        For an orthogonal J_t all lie on the unit circle.

        >>> turns = jnp.broadcast_to(jnp.array([[0.0, -1.0], [1.0, 0.0]]), (6, 2, 2))
        >>> bool(jnp.allclose(jnp.abs(lg.step_eigenvalues(lg.DenseChain(turns))), 1.0))
        True
    """
    check_chain(chain)
    identity = scaled(identity_rows(chain))

    def read(carry: None, block: Scaled) -> tuple[None, Scaled, Array]:
        # Pushed unit vectors are the rows of the transpose, which has the same eigenvalues.
        matrix = widen(block.to_array())
        broken = jnp.any(jnp.isnan(matrix))
        values = lapack.eigenvalues(jnp.where(broken, 0.0, matrix))
        values = values[jnp.argsort(-jnp.abs(values))]
        return None, identity, jnp.where(broken, jnp.nan, values)

    return sweep_forward(chain, identity, read, None)[1]
