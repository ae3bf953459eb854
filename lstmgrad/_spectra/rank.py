"""What a spectrum says in one number: how many directions survive, and how unlike they fare.

All are functions of the logarithms of singular values, of a product of a million factors as of one
matrix, and of a batch or a whole `SingularSpectrum` at once: the values lie along the last axis.
"""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from lstmgrad._checks import check_array
from lstmgrad._compile import compiled
from lstmgrad._numeric.scaled import largest


@compiled
def effective_rank(log_values: Float[Array, "*batch m"]) -> Float[Array, "*batch"]:
    """Returns the effective rank: the exponential of the entropy of the singular values.

    exp(-Σ p_i ln p_i) with p_i = σ_i / Σσ: from 1, one direction survives, to m, all do and alike.

    Args:
        log_values: ln σ_i along the last axis, e.g. of a `SingularSpectrum`.

    Returns:
        A number a spectrum; 0 for the zero matrix.

    Raises:
        ValueError: not an array of logarithms with one of them or more along its last axis.

    Example:
        m for a multiple of an orthogonal matrix.

        >>> print(f"{lg.effective_rank(jnp.zeros(4)):.1f}")
        4.0

    References:
        Roy & Vetterli 2007, The effective rank, Section 2.
    """
    log_values = _checked(log_values)
    shares = _shares(log_values)
    log_shares = jnp.log(jnp.where(shares > 0, shares, 1.0))
    rank = jnp.exp(-jnp.sum(shares * log_shares, axis=-1))
    return jnp.where(_none_left(log_values), 0.0, rank)


@compiled
def participation_ratio(log_values: Float[Array, "*batch m"]) -> Float[Array, "*batch"]:
    """Returns the participation ratio of the squared singular values, (Σσ²)² / Σσ⁴.

    Args:
        log_values: ln σ_i along the last axis, e.g. of a `SingularSpectrum`.

    Returns:
        Between 1 and m; 0 for the zero matrix. Never above the exponential of the entropy of σ²,
        and less sensitive to the tail than `effective_rank`.

    Raises:
        ValueError: not an array of logarithms with one of them or more along its last axis.

    Example:
        m for a multiple of an orthogonal matrix.

        >>> print(f"{lg.participation_ratio(jnp.zeros(4)):.1f}")
        4.0
    """
    log_values = _checked(log_values)
    ratio = 1 / jnp.sum(_shares(2 * log_values) ** 2, axis=-1)
    return jnp.where(_none_left(log_values), 0.0, ratio)


@compiled
def log_condition(log_values: Float[Array, "*batch m"]) -> Float[Array, "*batch"]:
    """Returns the logarithm of the condition number, ln σ_max - ln σ_min.

    Args:
        log_values: ln σ_i along the last axis, e.g. of a `SingularSpectrum`.

    Returns:
        0 and above; +inf for a singular matrix, zero among them.

    Raises:
        ValueError: not an array of logarithms with one of them or more along its last axis.

    Example:
        0 for a multiple of an orthogonal matrix.

        >>> print(lg.log_condition(jnp.array([1.0, 0.0, -4.0])))
        5.0
    """
    log_values = _checked(log_values)
    least = -largest(-log_values, axis=-1)
    return jnp.where(least == -jnp.inf, jnp.inf, largest(log_values, axis=-1) - least)


@compiled
def isometry_distance(log_values: Float[Array, "*batch m"]) -> Float[Array, "*batch"]:
    """Returns the distance from an isometry, max_i |ln σ_i|.

    The most, in nats, by which the matrix stretches or shrinks any direction: 0 for an isometry
    alone (dynamical isometry: Saxe, McClelland & Ganguli 2014), and the same for the inverse.

    Args:
        log_values: ln σ_i along the last axis, e.g. of a `SingularSpectrum`.

    Returns:
        0 and above; +inf for a singular matrix.

    Raises:
        ValueError: not an array of logarithms with one of them or more along its last axis.

    Example:
        t |ln g| for the t-th power of g times an orthogonal matrix.

        >>> print(f"{lg.isometry_distance(jnp.full(4, 3 * jnp.log(0.5))):.3f}")  # 3 ln 2
        2.079
    """
    return largest(jnp.abs(_checked(log_values)), axis=-1)


def _checked(log_values: Any) -> Array:
    check_array(log_values, "log_values")
    shape = jnp.shape(log_values)
    if not shape or not shape[-1]:
        raise ValueError(
            "log_values: expected the logarithm of one singular value or more along the last axis, "
            f"but got shape {shape}."
        )
    return jnp.asarray(log_values)


def _shares(log_values: Float[Array, "*batch m"]) -> Float[Array, "*batch m"]:
    top = jnp.max(log_values, axis=-1, keepdims=True)
    values = jnp.exp(log_values - jnp.where(top == -jnp.inf, 0.0, top))
    total = jnp.sum(values, axis=-1, keepdims=True)
    return values / jnp.where(total == 0, 1.0, total)


def _none_left(log_values: Float[Array, "*batch m"]) -> Bool[Array, "*batch"]:
    return jnp.all(log_values == -jnp.inf, axis=-1)
