"""Whole spectra of exponents of random matrices and random networks."""

import numpy as np
from jaxtyping import Float
from scipy.optimize.elementwise import find_root
from scipy.special import digamma, expit, logit, polygamma

from lstmgrad._calls import public
from lstmgrad._checks import check_count, check_positive
from lstmgrad.theory._mean_field import solve_variance
from lstmgrad.theory._quadrature import gaussian_mean


@public
def gaussian_product_exponents(size: int, std: float | int) -> Float[np.ndarray, " n"]:
    """Returns the Lyapunov exponents of products of independent Gaussian matrices.

    λ_i = ½ [ln(2 s²) + ψ((n - i + 1)/2)], i = 1..n, with ψ the digamma function.

    Args:
        size: n.
        std: s, the standard deviation of the real entries, N(0, s²).

    Returns:
        (n,), nats per step, descending.

    Raises:
        ValueError: the size is not 1 or more, or the deviation is not above zero.

    Notes:
        Exact at every n, in the limit of many factors; see `gaussian_product_errors` for finitely
        many. These are the exponents of a linear network with fresh Gaussian weights at every step;
        if the weights stay the same, the exponents are ln |eigenvalues| instead.

    Example:
        (-0.2886, -0.9818) for n = 2, s² = 1/2.

        >>> print(lg.theory.gaussian_product_exponents(2, 0.5**0.5).round(4).tolist())
        [-0.2886, -0.9818]

    References:
        Newman 1986, Commun. Math. Phys. 103, 121.
    """
    half = _halves(size)
    return 0.5 * (np.log(2 * check_positive(std, "std") ** 2) + digamma(half))


@public
def gaussian_product_errors(size: int, steps: int) -> Float[np.ndarray, " n"]:
    """Returns the exact standard errors of the exponents of Gaussian products over T factors.

    ½ √(ψ₁((n - i + 1)/2) / T), with ψ₁ the trigamma function: the logarithms of the diagonal of R
    are independent from factor to factor, and each is half the logarithm of a χ² variable.

    Args:
        size: n.
        steps: T, the number of factors.

    Returns:
        (n,), nats per step.

    Raises:
        ValueError: the size or the number of steps is not 1 or more.

    Notes:
        Exact at every n and T, if the exponents are measured by QR with a frame that is
        orthonormalized after every factor.

    Example:
        With four times the steps they are half as large.

        >>> few = lg.theory.gaussian_product_errors(2, 100)
        >>> many = lg.theory.gaussian_product_errors(2, 400)
        >>> bool(np.allclose(few, 2 * many))
        True

    References:
        Newman 1986, Commun. Math. Phys. 103, 121.
    """
    return 0.5 * np.sqrt(polygamma(1, _halves(size)) / check_count(steps, "steps"))


@public
def random_tanh_exponents(gain: float | int, size: int) -> Float[np.ndarray, " n"]:
    """Returns the Lyapunov spectrum of the random network x' = J tanh(x); nothing is fitted.

    λ(t) = ½ ln(g² t / s),    s from E[s x / (1 + s x)] = t,    x = tanh'(√q z)²,
    q = g² E[tanh²(√q z)],    t = (i - ½)/N, i = 1..N,

    with z standard Gaussian.

    Args:
        gain: g; the entries of J are independent with mean 0 and variance g²/N.
        size: N.

    Returns:
        (N,), nats per step, descending.

    Raises:
        ValueError: the gain is not above zero, or the size is not 1 or more.

    Notes:
        Holds as N → ∞: the step Jacobians J diag(tanh') act as free random operators. Chaotic for
        g > 1. For g <= 1 the network rests at zero, q = 0, and λ(t) = ln g + ½ ln(1 - t) is the
        circular law. Measured spectra of N = 100 scatter about it by several hundredths, most at
        both ends.

    Example:
        The mean of the spectrum tends to ln g - ½ + E[ln tanh'(√q z)], the mean log |det|.

        >>> lg.theory.random_tanh_exponents(2.0, 8).shape
        (8,)

    References:
        Kargin 2008, J. Funct. Anal. 255, and Tucci 2010, Indiana Univ. Math. J. 59, for exponents
        of products of free operators. Sompolinsky, Crisanti & Sommers 1988, Phys. Rev. Lett. 61,
        259, for the mean field of such networks.
    """
    gain, size = check_positive(gain, "gain"), check_count(size, "size")
    std = np.sqrt(solve_variance(gain, 0.0))
    shares = (np.arange(1, size + 1) - 0.5) / size

    def log_slope_squared(u: float) -> float:
        return 4 * (np.log(2.0) - np.logaddexp(u, -u))

    def excess(log_s: np.ndarray, share: np.ndarray) -> np.ndarray:
        return gaussian_mean(lambda u: expit(log_s + log_slope_squared(u)), std) - share

    lowest = logit(shares)
    highest = lowest - log_slope_squared(12 * std) + 1
    found = find_root(excess, (lowest - 1e-6, highest), args=(shares,))
    return np.log(gain) + 0.5 * (np.log(shares) - found.x)


def _halves(size: int) -> Float[np.ndarray, " n"]:
    return np.arange(check_count(size, "size"), 0, -1) / 2
