"""Mean field of wide random tanh networks: order, chaos, and how deep a signal gets.

Everything here is a reading of two means at the variance q of the drive: E[tanh²(√q z)], which the
variance follows, and E[tanh'(√q z)²], which a gradient follows.
"""

from typing import NamedTuple

import numpy as np
from scipy.optimize import root_scalar

from lstmgrad._calls import public
from lstmgrad._checks import check_number, check_positive
from lstmgrad.theory._quadrature import gaussian_mean

_NODES = 200


class MeanField(NamedTuple):
    """A wide random tanh network at its fixed point.

    Attributes:
        variance: q*, the variance of the pre-activations.
        chi: χ₁, the factor by which a layer multiplies the mean squared norm of a gradient, and of
            a small difference between two inputs: order below 1, chaos above.
        correlation: c*, the correlation of the pre-activations for two inputs, after many layers:
            1 in order.
        variance_depth: ξ_q, the number of layers over which the variance gets e times closer to q*.
        correlation_depth: ξ_c, the number of layers over which the correlation gets e times closer
            to c*; inf at the edge of chaos.

    Example:
        >>> ordered = lg.theory.mean_field(0.9, 0.1)
        >>> ordered.chi < 1, ordered.log_gain < 0, ordered.correlation
        (True, True, 1.0)
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


@public
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
        ValueError: σ_w is not above zero, or σ_b is below zero.

    Notes:
        Holds as the width → ∞, for layers with weights of their own. In a recurrent network, which
        has the same weights at every step, χ₁ holds without inputs and biases, or with fresh inputs
        whose variance is counted in σ_b². Accurate to about 1e-10; c* and ξ_c in chaos to 1e-6 for
        σ_w <= 4, and less beyond.

    Example:
        ``mean_field(1.0, 0.0).chi`` is 1: the edge of chaos without biases.

        >>> print(f"{lg.theory.mean_field(1.0, 0.0).chi:.3f}")
        1.000

    References:
        Poole, Lahiri, Raghu, Sohl-Dickstein & Ganguli 2016 (arXiv:1606.05340), for q*, c* and χ₁.
        Schoenholz, Gilmer, Ganguli & Sohl-Dickstein 2017 (arXiv:1611.01232), for the
        depth scales.
    """
    weight_std = check_positive(weight_std, "weight_std")
    bias_std = check_number(bias_std, "bias_std", 0.0)
    variance = solve_variance(weight_std, bias_std)
    std, weight = np.sqrt(variance), weight_std**2
    chi = weight * _mean_square_slope(std)
    bend = weight * float(gaussian_mean(lambda u: -2 * np.tanh(u) ** 2 * _slope(u), std))
    correlation, chi_c = 1.0, chi
    if chi > 1:
        correlation = _fixed_correlation(weight, bias_std**2, variance)
        if correlation < 1:
            chi_c = weight * _pair_mean(_slope, std, correlation)
    return MeanField(variance, chi, correlation, _depth(chi + bend), _depth(chi_c))


@public
def critical_gain(bias_std: float | int = 0.0) -> float:
    """Returns the gain of the recurrent weights at which a tanh network is critical.

    A perturbation of h' = tanh(U h + b), where U has entries N(0, σ²/h) or is σ times orthogonal,
    grows in mean square by χ₁ = σ² E[tanh'(√q z)²] per step, with z standard normal and q the
    variance of the drive, q = σ² E[tanh²(√q z)] + bias_std². The critical gain is the σ at which
    χ₁ = 1.

    Args:
        bias_std: the standard deviation of everything that is added to U h: of b, and of W x.

    Returns:
        σ: 1 without a bias and above 1 otherwise, to make up for what saturates tanh.

    Raises:
        ValueError: bias_std is not from 0 to 10.

    Notes:
        Holds as the width → ∞. Use it as ``lg.cells.orthogonal(critical_gain(s))`` or
        ``jax.nn.initializers.variance_scaling(critical_gain(s) ** 2, "fan_in", "normal")``.

    Example:
        ``mean_field(critical_gain(s), s).chi`` is 1; ``critical_gain()`` is 1.

        >>> print(f"{lg.theory.critical_gain():.3f}")
        1.000

    References:
        Poole et al. 2016 (arXiv:1606.05340); Schoenholz et al. 2017
        (arXiv:1611.01232); for recurrent networks Chen, Pennington & Schoenholz 2018
        (arXiv:1806.05394).
    """
    bias = check_number(bias_std, "bias_std", 0.0, 10.0) ** 2
    if bias == 0:
        return 1.0

    def excess(variance: float) -> float:
        """The variance that is the fixed point if χ₁ = 1 there, less what the biases add."""
        std = np.sqrt(variance)
        return variance - _mean_square(std) / _mean_square_slope(std) - bias

    highest = 2 * max(bias, 1.0)
    while excess(highest) < 0:
        highest *= 2
    critical = root_scalar(excess, bracket=(bias, highest), xtol=1e-15, rtol=1e-14).root
    return float(1 / np.sqrt(_mean_square_slope(np.sqrt(critical))))


def solve_variance(weight_std: float, bias_std: float) -> float:
    """q* of a random tanh network; 0 if the network rests at zero.

    Args:
        weight_std: σ_w.
        bias_std: σ_b.
    """
    weight, bias = weight_std**2, bias_std**2
    if bias == 0 and weight <= 1:
        return 0.0

    def excess(variance: float) -> float:
        std = np.sqrt(variance)
        return weight * _mean_square(std) + bias - variance

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


def _mean_square(std: float) -> float:
    """E[tanh²(u)] of a Gaussian u with this deviation."""
    return float(gaussian_mean(lambda u: np.tanh(u) ** 2, std))


def _mean_square_slope(std: float) -> float:
    """E[tanh'(u)²] of a Gaussian u with this deviation."""
    return float(gaussian_mean(lambda u: _slope(u) ** 2, std))


def _slope(u):
    return 1 - np.tanh(u) ** 2


def _depth(chi: float) -> float:
    return float("inf") if chi == 1 else float(-1 / np.log(chi))
