"""Terms to add to a loss, so that a gradient reaches far: of the exponents, and of single steps.

    flossing            mean_i (λ_i - target)²       over the first Lyapunov exponents
    spectral norm       mean_t (‖J_t‖₂ - target)²
    spectral radius     mean_t (ρ(J_t) - target)²

They are functions of a chain, of any cell, and differentiable with respect to the parameters in it.
`lstmgrad.pascanu_regularizer` is another one: it looks at the steps along the gradient of the loss.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lstmgrad._chains.base import Chain, StoredChain, check_stored, identity_rows
from lstmgrad._checks import check_count, check_not_empty, check_number
from lstmgrad._compile import compiled
from lstmgrad._numeric import lapack
from lstmgrad._numeric.scaled import norm_of, widen
from lstmgrad._spectra.lyapunov import lyapunov_spectrum


@compiled
def flossing_regularizer(
    chain: Chain,
    *,
    num_exponents: int,
    target: float | int = 0.0,
    interval: int = 1,
    burn_in: int = 0,
) -> Float[Array, ""]:
    """Returns the mean square distance of the largest Lyapunov exponents from a target.

    (1/m) Σ_i (λ_i - target)², i = 1..m, with λ_i the mean growth of the i-th direction over the T
    steps of the chain. Descending it draws the exponents to zero, where tangents neither vanish nor
    explode, before a training or now and then during it.

    Args:
        chain: T factors.
        num_exponents: m, from 1 to n: as many directions as shall survive.
        target: the exponent that is wanted, in nats per step.
        interval: steps between two orthonormalizations; where `lyapunov_spectrum` does not resolve
            the exponents with it, take a smaller one.
        burn_in: steps at the start that are not counted, while the frame turns.

    Returns:
        A number, 0 and above, in nats² per step²; inf where a direction vanishes exactly.

    Raises:
        ValueError: as `lyapunov_spectrum`; `target` is not a number.

    Notes:
        T pushes of m tangents and T / `interval` QR decompositions of (n, m), and three times as
        much for the gradient, which stores the frames, O(T n m). Under `jax.vmap` over sequences
        the decompositions run one after the other on a CPU. The frame starts from the same random
        tangents in every call.

    Example:
        ``m = n`` copies of ρ times an orthogonal matrix: (ln ρ - target)².

        >>> turns = lg.DenseChain(jnp.broadcast_to(0.5 * jnp.eye(2), (6, 2, 2)))
        >>> print(f"{lg.training.flossing_regularizer(turns, num_exponents=2):.4f}")  # (ln 2)²
        0.4805

    References:
        Engelken 2023, Gradient flossing (arXiv:2312.17306).
    """
    check_number(target, "target", -math.inf)
    interval = check_count(interval, "interval")
    found = lyapunov_spectrum(
        chain, num_exponents=num_exponents, interval=interval, burn_in=burn_in
    )
    return jnp.mean((found.exponents - target) ** 2)


@compiled
def spectral_norm_regularizer(chain: Chain, *, target: float | int = 1.0) -> Float[Array, ""]:
    """Returns the mean square distance of the norms of the step Jacobians from a target.

    (1/T) Σ_t (‖J_t‖₂ - target)². What a step can do to a gradient at most; no product of T factors
    is larger than that of their norms.

    Args:
        chain: T factors that can be pulled back (not a stream).
        target: the norm that is wanted.

    Returns:
        A number, 0 and above; NaN where the trajectory was NaN.

    Raises:
        ValueError: a stream, a chain of no steps, or `target` is negative.

    Notes:
        An SVD of (n, n) per step, O(T n³), and O(T n²) memory. The slope is exact where the largest
        singular value is a single one; second derivatives leave out how its vectors move.

    Example:
        (ρ - target)² for ρ times orthogonal matrices.

        >>> turns = lg.DenseChain(jnp.broadcast_to(0.5 * jnp.eye(2), (6, 2, 2)))
        >>> print(f"{lg.training.spectral_norm_regularizer(turns):.4f}")
        0.2500

    References:
        Miyato, Kataoka, Koyama & Yoshida 2018 (arXiv:1802.05957), for the slope.
    """
    chain = check_stored(chain)
    check_number(target, "target", 0.0)

    def norm(matrix: Float[Array, "n n"]) -> Float[Array, ""]:
        left, _, right = lapack.svd(jax.lax.stop_gradient(matrix))
        return left[:, 0] @ matrix @ right[0]

    return _mean_square(chain, norm, target)


@compiled
def spectral_radius_regularizer(chain: Chain, *, target: float | int = 1.0) -> Float[Array, ""]:
    """Returns the mean square distance of the spectral radii of the step Jacobians from a target.

    (1/T) Σ_t (ρ(J_t) - target)². The radius says what *repeating* one step would do: products of
    different steps may grow although every radius is below 1, and shrink although it is above.

    Args:
        chain: T factors that can be pulled back (not a stream).
        target: the radius that is wanted.

    Returns:
        A number, 0 and above; NaN where the trajectory was NaN.

    Raises:
        ValueError: a stream, a chain of no steps, or `target` is negative.

    Notes:
        Two eigenvalue problems of size n per step, O(T n³), and O(T n²) memory; not on TPUs. The
        slope is exact where the largest eigenvalue is a single one or one of a complex pair.

    Example:
        (ρ - target)² for ρ times orthogonal matrices.

        >>> turns = lg.DenseChain(jnp.broadcast_to(0.5 * jnp.eye(2), (6, 2, 2)))
        >>> print(f"{lg.training.spectral_radius_regularizer(turns):.4f}")
        0.2500

    References:
        Horn & Johnson, Matrix Analysis, Theorem 6.3.12, for the slope of an eigenvalue.
    """
    chain = check_stored(chain)
    check_number(target, "target", 0.0)

    def radius(matrix: Float[Array, "n n"]) -> Float[Array, ""]:
        constant = jax.lax.stop_gradient(matrix)
        values, right = lapack.eigenvectors(constant)
        same, left = lapack.eigenvectors(constant.T)  # not all devices give both at once
        place = jnp.argmax(jnp.abs(values))
        v, w = right[:, place], left[:, jnp.argmin(jnp.abs(same - values[place]))]
        value = (w @ matrix.astype(v.dtype) @ v) / (w @ v)
        return norm_of(jnp.stack([value.real, value.imag]))

    return _mean_square(chain, radius, target)


def _mean_square(chain: StoredChain, size, target: float | int) -> Float[Array, ""]:
    """The mean square distance of a size of every step Jacobian from the target.

    Args:
        chain: T factors.
        size: ``size(matrix) -> number`` of a finite matrix.
        target: the size that is wanted.
    """
    check_not_empty(len(chain))

    def distance(factor) -> Float[Array, ""]:
        matrix = widen(chain.pull(factor, identity_rows(chain)))
        # LAPACK may not come back from a NaN.
        broken = jnp.any(~jnp.isfinite(matrix))
        found = size(jnp.where(broken, jnp.eye(len(matrix), dtype=matrix.dtype), matrix))
        return jnp.where(broken, jnp.nan, (found - target) ** 2)

    return jnp.mean(jax.vmap(distance)(chain.factors))
