"""T4. Products of Gaussian matrices: exponents and their standard errors in closed form.

Source: Newman 1986, Commun. Math. Phys. 103, 121. For entries N(0, s²) the increments of the QR
method are independent, so the standard error of T steps is exact, and |z| < 5 leaves nothing to
tune.
"""

import numpy as np
import pytest
from registry import slow
from scipy.special import digamma, polygamma

import lstmgrad as lg

EIGHT = [
    *(-0.06508835, -0.14156886, -0.23175501, -0.34156886),
    *(-0.48175501, -0.67490219, -0.98175501, -1.67490219),
]


def exponents(n, variance):
    ranks = np.arange(n, 0, -1)
    return (np.log(2 * variance) + digamma(ranks / 2)) / 2


def test_closed_form():
    np.testing.assert_allclose(exponents(8, 1 / 8), EIGHT, rtol=0, atol=5e-9)
    np.testing.assert_allclose(exponents(2, 1 / 2), [-0.28860783, -0.98175501], rtol=0, atol=5e-9)


@pytest.mark.parametrize(("n", "steps"), [(2, 5000), (8, 5000), slow(32, 1500)])
def test_z_scores(n, steps, truth):
    factors = np.random.default_rng(n).normal(size=(steps, n, n)) / np.sqrt(n)
    found = lg.lyapunov_spectrum(lg.DenseChain(factors))
    exact = np.sqrt(polygamma(1, np.arange(n, 0, -1) / 2) / steps) / 2
    z = (np.asarray(found.exponents) - exponents(n, 1 / n)) / exact
    assert np.abs(z).max() < 5
    for i in sorted({0, n // 2, n - 1}):
        quantity = f"exponent {i + 1} of {steps} Gaussian {n} × {n} matrices"
        truth(quantity, exponents(n, 1 / n)[i], found.exponents[i], atol=5 * exact[i])
    assert np.asarray(found.resolved).all()
    # The scatter of 32 blocks or fewer tells the standard error to about 1/√62, five times that.
    ratio = np.asarray(found.standard_errors) / exact
    assert np.abs(np.log(ratio)).max() < 5 / np.sqrt(54)


@pytest.mark.slow
def test_the_largest_singular_value_of_a_product_of_large_matrices(truth):
    """(L+1)^(L+1)/L^L for σ² as n → ∞.

    The edge of the spectrum lies below and fluctuates by some n^(-2/3): by 1 to 5 of them in
    products by NumPy at n = 500 and 1000.
    """
    n = 1000
    normal = np.random.default_rng(0).standard_normal((8, n, n), np.float32)
    norms = lg.forward_norms(lg.DenseChain(normal / np.float32(np.sqrt(n)))).log_norms
    for count in (1, 2, 4, 8):
        limit = (count + 1) ** (count + 1) / count**count
        quantity = f"largest σ² of a product of {count} Gaussian {n} × {n} matrices"
        truth(quantity, limit, np.exp(2 * float(norms[count])), rtol=6 * n ** (-2 / 3))
