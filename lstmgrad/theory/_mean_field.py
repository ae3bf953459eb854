"""Mean field of wide random tanh networks: order, chaos, and how deep a signal gets."""

from typing import NamedTuple

import numpy as np
from scipy.optimize import root_scalar

from lstmgrad._checks import check_not_negative, check_positive
from lstmgrad.theory._quadrature import gaussian_mean

_NODES = 200


class MeanField(NamedTuple):
    """A wide random tanh network at its fixed point.

    Attributes:
        variance: q*, of the pre-activations.
        chi: χ₁, by which a layer multiplies the mean squared norm of a gradient, and of a small
            difference between two inputs: order below 1, chaos above.
        correlation: c*, of the pre-activations for two inputs, after many layers: 1 in order.
        variance_depth: ξ_q, the layers over which the variance comes e times closer to q*.
        correlation_depth: ξ_c, the layers over which the correlation comes e times closer to c*;
            inf at the edge of chaos.
    """

    variance: float
    chi: float
    correlation: float
    variance_depth: float
    correlation_depth: float

    @property
    def log_gain(self) -> float:
        """½ ln χ₁, nats per layer: the slope of the logarithm of a gradient's norm."""
        return 0.5 * float(np.log(self.chi))


def mean_field(weight_std: float | int, bias_std: float | int) -> MeanField:
    """Returns the mean-field quantities of a wide random tanh network.

    q* = σ_w² E[tanh²(√q* z)] + σ_b²,    χ₁ = σ_w² E[tanh'(√q* z)²],
    ξ_c = -1/ln χ₁ in order, and -1/ln(σ_w² E[tanh'(u) tanh'(v)]) at correlation c* in chaos,
    ξ_q = -1/ln(χ₁ + σ_w² E[tanh''(√q* z) tanh(√q* z)]).

    Args:
        weight_std: σ_w; weights are independent N(0, σ_w²/width).
        bias_std: σ_b; biases are independent N(0, σ_b²).

    Returns:
        `MeanField`. Gradients grow or shrink as χ₁^(layers/2).

    Raises:
        ValueError: σ_w is not above zero, σ_b is below zero.

    Notes:
        Holds as the width → ∞, for layers with weights of their own; for a recurrent network, which
        has the same at every step, χ₁ holds without inputs and biases or with fresh inputs, whose
        variance then belongs to σ_b². Good to about 1e-10; c* and ξ_c in chaos to 1e-6 for
        σ_w <= 4, and less beyond.

    Example:
        ``mean_field(1.0, 0.0).chi`` is 1: the edge of chaos without biases.

    References:
        Poole, Lahiri, Raghu, Sohl-Dickstein & Ganguli 2016 (arXiv:1606.05340), for q*, c* and χ₁.
        Schoenholz, Gilmer, Ganguli & Sohl-Dickstein 2017 (arXiv:1611.01232), for the
        depth scales.
    """
    weight_std = check_positive(weight_std, "weight_std")
    bias_std = check_not_negative(bias_std, "bias_std")
    variance = fixed_point_variance(weight_std, bias_std)
    std, weight = np.sqrt(variance), weight_std**2
    chi = weight * float(gaussian_mean(lambda u: _slope(u) ** 2, std))
    bend = weight * float(gaussian_mean(lambda u: -2 * np.tanh(u) ** 2 * _slope(u), std))
    correlation, chi_c = 1.0, chi
    if chi > 1:
        correlation = _fixed_correlation(weight, bias_std**2, variance)
        if correlation < 1:
            chi_c = weight * _pair_mean(_slope, std, correlation)
    return MeanField(variance, chi, correlation, _depth(chi + bend), _depth(chi_c))


def fixed_point_variance(weight_std: float, bias_std: float) -> float:
    """q* of a random tanh network; 0 where the network rests at zero.

    Args:
        weight_std: σ_w.
        bias_std: σ_b.
    """
    weight, bias = weight_std**2, bias_std**2
    if bias == 0 and weight <= 1:
        return 0.0

    def excess(variance: float) -> float:
        std = np.sqrt(variance)
        return weight * float(gaussian_mean(lambda u: np.tanh(u) ** 2, std)) + bias - variance

    # tanh² u >= u² - 2u⁴/3 puts the root above the zero of the expansion.
    lowest = 0.0 if bias > 0 else 0.999 * (1 - 1 / weight) / 2
    bracket = (lowest, weight + bias)
    return float(root_scalar(excess, bracket=bracket, xtol=1e-15, rtol=1e-14).root)


def _fixed_correlation(weight: float, bias: float, variance: float) -> float:
    std = np.sqrt(variance)

    def excess(c: float) -> float:
        return (weight * _pair_mean(np.tanh, std, c) + bias) / variance - c

    if bias == 0:
        return 0.0
    nearly = 1 - 1e-6
    if excess(nearly) >= 0:
        return 1.0
    return float(root_scalar(excess, bracket=(0.0, nearly)).root)


def _pair_mean(function, std: float, correlation: float) -> float:
    """E[function(u) function(v)] of Gaussian u and v with this deviation and correlation."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES)
    weights = weights / np.sqrt(2 * np.pi)
    rest = np.sqrt(1 - correlation**2)
    inner = function(std * (correlation * nodes[:, None] + rest * nodes[None, :])) @ weights
    return float(weights @ (function(std * nodes) * inner))


def _slope(u):
    return 1 - np.tanh(u) ** 2


def _depth(chi: float) -> float:
    return float("inf") if chi == 1 else float(-1 / np.log(chi))
