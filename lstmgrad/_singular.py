"""The spectral norm of a block, ‖A‖₂ = σ_max(A), in the log domain."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from lstmgrad._scaled import Scaled, add_log


def log_spectral_norm(block: Scaled) -> Float[Array, ""]:
    """Ln ‖A‖₂ of a scaled matrix: -inf for exact zero, +inf and NaN for a matrix that holds them.

    Half precision is widened to float32, for which alone an SVD exists.
    """
    matrix = block.mantissa
    if jnp.finfo(matrix.dtype).bits < 32:
        matrix = matrix.astype(jnp.float32)
    finite = jnp.all(jnp.isfinite(matrix))
    # An SVD of a matrix with an inf writes to stderr and gives NaN.
    sigma = jnp.linalg.svd(jnp.where(finite, matrix, 0.0), compute_uv=False)
    log_sigma = add_log(jnp.log(jnp.max(sigma, initial=0.0)), block.exponent)
    return jnp.where(finite, log_sigma, jnp.max(jnp.abs(matrix), initial=0.0))
