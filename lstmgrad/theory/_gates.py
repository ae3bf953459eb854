"""How long gates and critical neurons remember."""

from typing import Any

import numpy as np
from jaxtyping import Array, Float, Int
from scipy.integrate import quad_vec

from lstmgrad._calls import public
from lstmgrad._checks import check_number
from lstmgrad._leaves import shown


@public
def forget_time_constant(
    bias: Float[Array | np.ndarray, "*any"] | float,
) -> Float[np.ndarray, "*any"]:
    """Returns the time constant of a forget gate that its bias alone sets, 1/ln(1 + e^(-b)).

    Args:
        bias: b, the pre-activation of the gate f = σ(b).

    Returns:
        τ in steps, in the shape of the bias: dc_t/dc_k = σ(b)^(t-k) = exp(-(t-k)/τ).

    Raises:
        ValueError: something else than numbers.

    Notes:
        Exact for an LSTM with all weights zero; a reference for any other.

    Example:
        3.19 for b = 1, 148.9 for b = 5.

        >>> print(lg.theory.forget_time_constant(np.array([1.0, 5.0])).round(2).tolist())
        [3.19, 148.91]

    References:
        Gers, Schmidhuber & Cummins 2000 for the gate; Tallec & Ollivier 2018 (arXiv:1804.11188),
        Section 2, for its time constant.
    """
    return np.asarray(1 / np.logaddexp(0.0, -_numbers(bias, "bias")))


@public
def forget_half_life(bias: Float[Array | np.ndarray, "*any"] | float) -> Float[np.ndarray, "*any"]:
    """Returns the number of steps after which a forget gate has let go of half.

    ln 2 times the time constant.

    Args:
        bias: b, the pre-activation of the gate f = σ(b).

    Returns:
        Steps, in the shape of the bias.

    Raises:
        ValueError: something else than numbers.

    Notes:
        See `forget_time_constant`.

    Example:
        1 for b = 0.

        >>> print(lg.theory.forget_half_life(np.array([0.0, 5.0])).round(1).tolist())
        [1.0, 103.2]
    """
    return np.asarray(np.log(2.0) * forget_time_constant(bias))


@public
def forget_bias(
    half_life: Float[Array | np.ndarray, "*any"] | float | int,
) -> Float[np.ndarray, "*any"]:
    """Returns the bias of a forget gate with a given half-life, -ln(2^(1/l) - 1).

    Args:
        half_life: l, steps, above zero.

    Returns:
        b, in the shape of the half-lives: σ(b)^l = 1/2.

    Raises:
        ValueError: a half-life that is not a number above zero.

    Notes:
        The inverse of `forget_half_life`, exact for zero weights, as `forget_time_constant` is.

    Example:
        0 for a half-life of one step, 2.634 for ten.

        >>> print(lg.theory.forget_bias(np.array([2.0, 10.0])).round(3).tolist())
        [0.881, 2.634]
    """
    steps = _numbers(half_life, "half_life")
    if not (steps > 0).all():
        raise ValueError(f"half_life: expected numbers above zero, but got {shown(half_life)}.")
    return np.asarray(-np.log(np.expm1(np.log(2.0) / steps)))


@public
def chrono_expectation(
    lags: Int[Array | np.ndarray, "*L"] | int, max_lag: float | int
) -> Float[np.ndarray, "*L"]:
    """Returns what forget gates under chrono initialization keep on average, E[f^lag].

    ∫ (u/(1+u))^lag du / (T_max - 2) over 1 <= u <= T_max - 1: with b = ln u, f = σ(b) = u/(1+u).

    Args:
        lags: t - k, one or many.
        max_lag: T_max, the longest dependency that the initialization is made for, 2 or above.

    Returns:
        Numbers between 0 and 1, in the shape of the lags.

    Raises:
        ValueError: T_max is below 2; lags that are no numbers.

    Notes:
        Exact for zero weights, like `forget_time_constant`. The slowest gates dominate the mean, so
        it is not the power of one number.

    Example:
        0.96008 for lag 1 and T_max = 100.

        >>> print(f"{lg.theory.chrono_expectation(1, 100):.5f}")
        0.96008

    References:
        Tallec & Ollivier 2018 (arXiv:1804.11188), Eq. 16.
    """
    max_lag, lags = check_number(max_lag, "max_lag", 2.0), _numbers(lags, "lags")
    if max_lag == 2:
        # The range of u is the single point 1.
        return np.asarray(0.5**lags)
    total, _ = quad_vec(
        lambda u: np.exp(-lags * np.log1p(1 / u)), 1.0, max_lag - 1, epsabs=1e-15, epsrel=1e-12
    )
    return np.asarray(total / (max_lag - 2))


@public
def critical_log_decay(
    lags: Int[Array | np.ndarray, "*L"] | int, start: float | int
) -> Float[np.ndarray, "*L"]:
    """Returns ln |dh_t/dh_0| of the critical neuron h' = tanh(h), -3/2 ln(1 + 2 h_0² t / 3).

    Args:
        lags: t, one or many.
        start: h_0.

    Returns:
        Nats, in the shape of the lags.

    Raises:
        ValueError: something else than numbers.

    Notes:
        This is h' = h - h³/3 in continuous time: exact for small h_0 at fixed t h_0². From any
        other start the decay t^(-3/2) is right but its constant is not: 0.11 nats too high for
        h_0 = 1. At the critical point the exponent is zero, and the gradient vanishes as a power of
        time.

    Example:
        The slope against ln t tends to -3/2.

        >>> early, late = lg.theory.critical_log_decay(np.array([1000, 10_000]), 1.0)
        >>> print(f"{(late - early) / np.log(10):.2f}")
        -1.50

    References:
        Strogatz 2015, Nonlinear Dynamics and Chaos, Section 2.4 and Exercise 2.4.9, for the
        critical slowing down of dh/dt = -h³.
    """
    reached = 2 / 3 * _numbers(start, "start") ** 2 * _numbers(lags, "lags")
    return np.asarray(-1.5 * np.log1p(reached))


def _numbers(value: Any, argument: str) -> np.ndarray:
    """One number or many, in double precision."""
    try:
        found = None if value is None or isinstance(value, str) else np.asarray(value, np.float64)
    except (TypeError, ValueError):
        found = None
    if found is None:
        raise ValueError(f"{argument}: expected numbers, but got {shown(value)}.")
    return found
