"""Numbers read off a norm profile: how far the gradient reaches, and how fast it decays."""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float

from lstmgrad._calls import public
from lstmgrad._checks import check_kind, check_positive
from lstmgrad._compile import compiled
from lstmgrad._norms.records import THRESHOLD, NormProfile, decay_rate_of, horizon_of


@public
def horizon(profile: NormProfile, *, threshold: float = THRESHOLD) -> Float[Array, "*batch"]:
    """Returns the horizon of the gradient: the first lag from which its norm stays small.

    min { L : ‖∂s_t/∂s_k‖₂ < threshold for every lag t-k >= L }, over the lags of the profile. The
    *last* crossing counts, because a non-normal product may sink, grow and sink again.

    Args:
        profile: from `backward_norms` or `forward_norms`; a batch of profiles gives a batch.
        threshold: the norm below which a gradient counts as lost, above zero.

    Returns:
        Steps, as a float: +inf if the norm at the longest lag still reaches the threshold (the
        horizon lies beyond the profile), NaN if the profile holds a NaN, or a norm that is not
        resolved where it decides: the level below which nothing was seen reaches the threshold.

    Raises:
        ValueError: the threshold is not a number above zero.

    Notes:
        It says from how far back a state can be *learned*, not what the network remembers.

    Example:
        For norms 0.9^lag and threshold 1e-3 the horizon is 66, as 0.9^65 > 1e-3 > 0.9^66.

        >>> quarters = lg.DenseChain(jnp.broadcast_to(0.25 * jnp.eye(2), (6, 2, 2)))
        >>> print(f"{lg.horizon(lg.backward_norms(quarters)):.0f}")
        5
    """
    check_kind(profile, NormProfile, "profile")
    return _horizon(profile, math.log(check_positive(threshold, "threshold")))


@compiled
def _horizon(profile: NormProfile, limit: float) -> Float[Array, "*batch"]:
    return horizon_of(profile.lags, profile.log_norms, profile.errors, limit, jnp, profile.length)


@compiled
def decay_rate(profile: NormProfile) -> Float[Array, "*batch"]:
    """Returns the rate at which the norm decays, in nats per step; negative where it grows.

    Minus the slope of the least-squares line through (lag, ln norm), over all lags at which the
    norm is seen: neither exactly zero nor below the range of the arithmetic.

    Args:
        profile: from `backward_norms` or `forward_norms`; a batch of profiles gives a batch.

    Returns:
        Nats per step: exp(-rate) is the factor by which an average step scales the gradient, and
        1/rate its time constant in steps. +inf if the norm at the longest lag is exactly zero, as
        it is across a reset of the state (the rate between resets is that of ``chain[k:t]``), NaN
        if the profile holds a NaN or fewer than two lags with a norm that is seen.

    Raises:
        ValueError: not a `NormProfile`.

    Example:
        For norms 0.9^lag the rate is -ln 0.9 = 0.105.

        >>> halves = lg.DenseChain(jnp.broadcast_to(0.9 * jnp.eye(2), (6, 2, 2)))
        >>> print(f"{lg.decay_rate(lg.backward_norms(halves)):.3f}")
        0.105
    """
    check_kind(profile, NormProfile, "profile")
    return decay_rate_of(profile.lags, profile.log_norms, profile.errors, jnp, profile.length)


@compiled
def half_life(profile: NormProfile) -> Float[Array, "*batch"]:
    """Returns the number of steps in which the norm halves, ln 2 over its decay rate.

    Args:
        profile: a batch of profiles gives a batch, such as the time scales of all units of a layer
            from `unit_norms`.

    Returns:
        Steps; inf where the norm does not decay, 0 where the rate is +inf, and NaN where it is NaN.

    Raises:
        ValueError: not a `NormProfile`.

    Example:
        For norms 0.5^lag it is 1.

        >>> halves = lg.DenseChain(jnp.broadcast_to(0.5 * jnp.eye(2), (6, 2, 2)))
        >>> print(f"{lg.half_life(lg.backward_norms(halves)):.2f}")
        1.00
    """
    check_kind(profile, NormProfile, "profile")
    rate = decay_rate_of(profile.lags, profile.log_norms, profile.errors, jnp, profile.length)
    decays = rate > 0
    steps = jnp.where(decays, math.log(2.0) / jnp.where(decays, rate, 1.0), jnp.inf)
    return jnp.where(jnp.isnan(rate), jnp.nan, steps)
