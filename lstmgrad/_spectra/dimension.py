"""Two numbers read off Lyapunov exponents: the attractor's dimension and its entropy rate."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lstmgrad._checks import check_array
from lstmgrad._compile import compiled


@compiled
def kaplan_yorke_dimension(exponents: Float[Array, "*batch m"]) -> Float[Array, "*batch"]:
    """Returns the Kaplan-Yorke dimension, at which volumes neither grow nor shrink.

    D = j + (λ_1 + ... + λ_j) / |λ_{j+1}|, with j the largest number whose sum is not negative.

    Args:
        exponents: Lyapunov exponents in any order and unit, all or the first m of them.

    Returns:
        0 where all are negative (a driven network that forgets its start); m where no sum of the
        first ones is negative, which is the dimension n of a full spectrum, and a lower bound where
        exponents are left out. NaN where an exponent is.

    Raises:
        ValueError: the exponents are not a floating-point array with at least one on the last axis.

    Notes:
        The information dimension of the attractor if the Kaplan-Yorke conjecture holds. Driven by
        given inputs, it is that of the set onto which the network's start is forgotten.

    Example:
        For (1, 0, -4) it is 2.25.

        >>> print(lg.kaplan_yorke_dimension(jnp.array([1.0, 0.0, -4.0])))
        2.25

    References:
        Kaplan & Yorke 1979; Frederickson, Kaplan, Yorke & Yorke 1983.
    """
    exponents = _check_exponents(exponents)
    descending = -jnp.sort(-exponents, axis=-1)
    sums = jnp.cumsum(descending, axis=-1)
    # Sums rise to their maximum and fall from there, so those that are not negative come first.
    count = jnp.sum(sums >= 0, axis=-1, keepdims=True)
    padded = jnp.concatenate([jnp.zeros_like(sums[..., :1]), sums], axis=-1)
    below = jnp.concatenate([descending, jnp.full_like(sums[..., :1], -jnp.inf)], axis=-1)
    volume, rate = (jnp.take_along_axis(x, count, axis=-1)[..., 0] for x in (padded, below))
    dimension = count[..., 0].astype(exponents.dtype) - volume / rate
    return jnp.where(jnp.any(jnp.isnan(exponents), axis=-1), jnp.nan, dimension)


@compiled
def entropy_rate(exponents: Float[Array, "*batch m"]) -> Float[Array, "*batch"]:
    """Returns the sum of the positive Lyapunov exponents, in their unit.

    Args:
        exponents: Lyapunov exponents in any order, at least all positive ones: the spectrum is long
            enough where it holds a negative one.

    Returns:
        Nats per step for exponents in nats per step: the rate at which the dynamics turns what is
        not known of its state into what can be seen. NaN where an exponent is.

    Raises:
        ValueError: as `kaplan_yorke_dimension`.

    Notes:
        The Kolmogorov-Sinai entropy where Pesin's identity holds; an upper bound of it in general.

    Example:
        For (1, 0, -4) it is 1.

        >>> print(lg.entropy_rate(jnp.array([1.0, 0.0, -4.0])))
        1.0

    References:
        Pesin 1977; Ruelle 1978 (the bound); Eckmann & Ruelle 1985, Section 4.
    """
    return jnp.sum(jnp.maximum(_check_exponents(exponents), 0.0), axis=-1)


def _check_exponents(exponents: Any) -> jax.Array:
    """At least one floating-point number on the last axis; returns the array."""
    check_array(exponents, "exponents")
    array = jnp.asarray(exponents)
    if not jnp.issubdtype(array.dtype, jnp.floating) or not (array.ndim and array.shape[-1]):
        raise ValueError(
            "exponents: expected floating-point numbers on the last axis, as "
            f"lyapunov_spectrum(...).exponents has them, but got {array.dtype}{list(array.shape)}."
        )
    return array
