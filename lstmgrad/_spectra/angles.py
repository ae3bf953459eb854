"""Angles between covariant Lyapunov vectors: how well directions of growth and decay are apart."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from lstmgrad._checks import check_kind
from lstmgrad._compile import compiled
from lstmgrad._spectra.vectors import LyapunovVectors


@compiled
def covariant_angles(vectors: LyapunovVectors) -> Float[Array, "*batch K m m"]:
    """Returns the angles between covariant Lyapunov vectors at every time, in radians.

    θ_ij = arccos |v_i · v_j|, from 0, where two directions have become one, to π/2.

    Args:
        vectors: from `lyapunov_vectors`; a batch gives a batch.

    Returns:
        (K, m, m), symmetric, zero on the diagonal; NaN where a vector is not finite.

    Raises:
        ValueError: not a `LyapunovVectors`.

    Notes:
        Small angles are as good as the dtype: 2 arcsin of half the distance of the vectors. Where
        growing and shrinking directions come close to one another, the dynamics is not hyperbolic,
        and perturbations may grow for a while though every exponent is negative.

    Example:
        For copies of a normal matrix with distinct eigenvalues, all are π/2 but the diagonal.

        >>> matrix = jnp.array([[0.9, 0.3], [0.0, 0.5]])
        >>> copies = lg.DenseChain(jnp.broadcast_to(matrix, (60, 2, 2)))
        >>> angles = lg.covariant_angles(lg.lyapunov_vectors(copies, burn_in=25))
        >>> print(f"{jnp.tan(angles[0, 0, 1]):.3f}")  # between (1, 0) and (-3, 4) / 5
        1.333

    References:
        Ginelli et al. 2007, Phys. Rev. Lett. 99, 130601, on the distribution of such angles.
    """
    check_kind(vectors, LyapunovVectors, "vectors")
    rows = jnp.swapaxes(vectors.vectors, -1, -2)
    one, other = rows[..., :, None, :], rows[..., None, :, :]
    apart, together = (jnp.linalg.norm(x, axis=-1) for x in (one - other, one + other))
    return 2 * jnp.arctan2(jnp.minimum(apart, together), jnp.maximum(apart, together))
