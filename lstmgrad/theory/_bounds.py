"""An upper bound on how far a gradient reaches."""

import numpy as np
from jaxtyping import Array, Float, Int

from lstmgrad._calls import public
from lstmgrad._checks import check_positive


@public
def pascanu_log_bound(
    weight: Float[Array | np.ndarray, "h h"],
    lags: Int[Array | np.ndarray, "*L"] | int,
    *,
    slope: float | int = 1.0,
) -> Float[np.ndarray, "*L"]:
    """Returns the logarithm of the bound (γ σ_max(W))^lag on ‖dh_t/dh_k‖₂.

    Args:
        weight: W, the recurrent weights of h' = φ(W h + ...).
        lags: t - k, one or many.
        slope: γ, the largest slope of the activation: 1 for tanh and relu, 1/4 for the logistic
            function.

    Returns:
        lag · ln(γ σ_max(W)), nats, in the shape of the lags.

    Raises:
        ValueError: the weight is not a square matrix, or the slope is not above zero.

    Notes:
        Holds for every trajectory of h' = φ(W h + U x + b), at every lag. If the bound falls,
        gradients vanish; if it grows, that proves nothing. With the spectral *radius* of W in place
        of σ_max it is false: gradients may explode although the radius of W is 0.75.

    Example:
        If φ is the identity and W is orthogonal, the bound is attained: 0 at every lag.

        >>> bool(np.allclose(lg.theory.pascanu_log_bound(np.eye(3), np.arange(5)), 0.0))
        True

    References:
        Pascanu, Mikolov, Bengio 2013 (arXiv:1211.5063), Section 2.1, Eqs. 6-7.
    """
    if np.ndim(weight) != 2 or np.shape(weight)[0] != np.shape(weight)[1]:
        raise ValueError(f"weight: expected a square matrix, but got shape {np.shape(weight)}.")
    largest = np.linalg.norm(np.asarray(weight, np.float64), 2) * check_positive(slope, "slope")
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.asarray(lags) == 0, 0.0, np.asarray(lags) * np.log(largest))
