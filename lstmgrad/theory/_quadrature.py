"""Means over a Gaussian variable."""

import itertools
from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from scipy.integrate import quad_vec

_FAR = 12.0  # standard deviations; beyond lies less than 1e-32


def gaussian_mean(function: Callable[[float], Float[np.ndarray, "*any"]], std: float):
    """Returns E[function(std · z)] for standard Gaussian z and an even function of one number.

    Args:
        function: even, and varying over distances of order one; it may return an array.
        std: the standard deviation.
    """

    def integrand(z: float):
        return np.asarray(function(std * z)) * np.exp(-0.5 * z * z)

    if std == 0:
        return np.asarray(function(0.0))
    # Two pieces, because a narrow feature at zero must not be stepped over.
    near = min(_FAR, 20.0 / std)
    edges = [0.0, near, _FAR] if near < _FAR else [0.0, _FAR]
    pieces = [
        quad_vec(integrand, a, b, epsabs=1e-16, epsrel=1e-12, norm="max")[0]
        for a, b in itertools.pairwise(edges)
    ]
    return np.sqrt(2 / np.pi) * sum(pieces)
