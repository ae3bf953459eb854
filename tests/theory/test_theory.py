"""Theory curves, against independent evaluations, published points and small simulations.

Closed forms and their printed figures are truths T4, T8 and T9; here they are held to those, and
the mean-field quantities to Monte Carlo integrals, expansions and finite differences.
"""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, optimize

import lstmgrad as lg

theory = lg.theory


def test_gaussian_products():
    eight = [
        *(-0.06508835, -0.14156886, -0.23175501, -0.34156886),
        *(-0.48175501, -0.67490219, -0.98175501, -1.67490219),
    ]
    got = theory.gaussian_product_exponents(8, 8**-0.5)
    np.testing.assert_allclose(got, eight, rtol=0, atol=5e-9)
    # n = 1: E ln|z| = -(γ + ln 2)/2, and var ln|z| = π²/8.
    got = theory.gaussian_product_exponents(1, 1.0)
    np.testing.assert_allclose(got, [-(np.euler_gamma + np.log(2)) / 2], rtol=1e-14)
    errors = theory.gaussian_product_errors(1, 50)
    np.testing.assert_allclose(errors, [np.sqrt(np.pi**2 / 8 / 50)], rtol=1e-14)


def test_gates():
    bias = jnp.asarray([0.0, 1.0, 3.0, 5.0])
    got = theory.forget_time_constant(bias)
    np.testing.assert_allclose(got[:2], [1.4426950409, 3.1922192845], rtol=5e-11)
    np.testing.assert_allclose(np.exp(-1 / got), 1 / (1 + np.exp(-bias)), rtol=1e-14)
    np.testing.assert_allclose(np.exp(-theory.forget_half_life(1.0) / got[1]), 0.5, rtol=1e-14)
    got = theory.chrono_expectation(jnp.asarray([0, 1, 10, 50, 100]), 100)
    want = [1.0, 0.96008140, 0.73258937, 0.33020394, 0.14964755]
    np.testing.assert_allclose(got, want, rtol=0, atol=5e-9)
    np.testing.assert_array_equal(theory.chrono_expectation(jnp.asarray([0, 3]), 2), [1, 0.125])
    # One step: ∫ u/(1+u) du = (T_max - 2) - ln(T_max/2).
    np.testing.assert_allclose(theory.chrono_expectation(1, 7.0), 1 - np.log(3.5) / 5, rtol=1e-13)


def test_critical_decay():
    start, h, log = 0.01, 0.01, 0.0
    for _ in range(50_000):
        h = np.tanh(h)
        log += np.log1p(-h * h)
    np.testing.assert_allclose(theory.critical_log_decay(50_000, start), log, rtol=1e-3)
    lags = jnp.asarray([100, 1000, 10_000])
    truth = [-6.442761624751021, -9.869869282093763, -13.320581148535346]
    excess = theory.critical_log_decay(lags, 1.0) - truth
    assert np.all((excess > 0.1) & (excess < 0.13))


def test_the_bound_of_one_matrix():
    weight = np.array([[3.0, 0.0], [4.0, 5.0]])
    got = theory.pascanu_log_bound(weight, jnp.arange(3), slope=0.25)
    np.testing.assert_allclose(got, np.arange(3) * np.log(np.sqrt(45.0) / 4), rtol=1e-14)
    np.testing.assert_array_equal(theory.pascanu_log_bound(0 * weight, jnp.arange(2)), [0, -np.inf])


def test_the_edge_of_chaos():
    edge = theory.mean_field(1.0, 0.0)
    assert (edge.variance, edge.chi, edge.correlation_depth) == (0.0, 1.0, np.inf)
    # The critical pair of Pennington, Schoenholz & Ganguli 2017 (arXiv:1711.04735), to its digits.
    pair = theory.mean_field(1.05**0.5, 2.01e-5**0.5)
    assert abs(pair.chi - 1) < 2e-5
    # Below it nothing but the weights counts; above it two inputs part.
    np.testing.assert_allclose(theory.mean_field(0.9, 0.0).chi, 0.81, rtol=1e-14)
    np.testing.assert_allclose(theory.mean_field(0.9, 0.0).log_gain, np.log(0.9), rtol=1e-14)
    assert theory.mean_field(2.5, 0.0).correlation == 0.0
    assert 0 < theory.mean_field(2.5, 0.3).correlation < 1


@pytest.mark.parametrize(("weight_std", "bias_std"), [(1.5, 0.5), (2.5, 0.3)])
def test_mean_field_is_that_of_a_wide_network(weight_std, bias_std):
    """The maps of variance and correlation, iterated by another quadrature from another start."""
    z = (np.arange(4000) + 0.5) / 4000 * 20 - 10
    p = np.exp(-z * z / 2) / np.sum(np.exp(-z * z / 2))

    def variance_map(q):
        return weight_std**2 * p @ np.tanh(np.sqrt(q) * z) ** 2 + bias_std**2

    q = 0.3
    for _ in range(200):
        q = variance_map(q)
    got = theory.mean_field(weight_std, bias_std)
    np.testing.assert_allclose(got.variance, q, rtol=1e-10)
    chi = weight_std**2 * p @ (1 - np.tanh(np.sqrt(q) * z) ** 2) ** 2
    np.testing.assert_allclose(got.chi, chi, rtol=1e-10)
    slope = (variance_map(q * 1.0001) - variance_map(q * 0.9999)) / (q * 0.0002)
    np.testing.assert_allclose(got.variance_depth, -1 / np.log(slope), rtol=1e-6)

    y, w = z[::20], p[::20] / np.sum(p[::20])

    def correlation_map(c):
        inner = np.tanh(np.sqrt(q) * (c * y[:, None] + np.sqrt(1 - c * c) * y[None])) @ w
        return (weight_std**2 * (w * np.tanh(np.sqrt(q) * y)) @ inner + bias_std**2) / q

    c = 0.5
    for _ in range(400 if got.chi < 1 else 60):
        c = correlation_map(c)
    np.testing.assert_allclose(got.correlation, c, atol=1e-5)
    if got.chi > 1:
        slope = (correlation_map(c + 1e-4) - correlation_map(c - 1e-4)) / 2e-4
        np.testing.assert_allclose(got.correlation_depth, -1 / np.log(slope), rtol=1e-4)
    else:
        np.testing.assert_allclose(got.correlation_depth, -1 / np.log(chi), rtol=1e-9)


@pytest.mark.parametrize("bias_std", [1e-3, 0.1, 0.5, 2.0])
def test_the_critical_gain_makes_chi_one(bias_std):
    """χ at the fixed point of the variance map, by iteration and SciPy's adaptive integrals."""
    gain = theory.critical_gain(bias_std)

    def mean(function, q):
        def integrand(z):
            return function(np.sqrt(q) * z) * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)

        return 2 * integrate.quad(integrand, 0, 12, epsabs=1e-14, epsrel=1e-13)[0]

    def misfit(q):
        return gain**2 * mean(lambda a: np.tanh(a) ** 2, q) + bias_std**2 - q

    q = optimize.brentq(misfit, bias_std**2, 1e3, xtol=1e-16)
    chi = gain**2 * mean(lambda a: (1 - np.tanh(a) ** 2) ** 2, q)
    np.testing.assert_allclose(chi, 1, rtol=0, atol=1e-9)


def test_the_critical_gain_as_published():
    """Xiao et al. 2018 (arXiv:1806.05393): σ_w² = 1.05 for σ_b² = 2.01e-5."""
    assert theory.critical_gain() == 1
    np.testing.assert_allclose(theory.critical_gain(np.sqrt(2.01e-5)) ** 2, 1.05, rtol=1e-4)
    gains = [theory.critical_gain(float(s)) for s in (0, 0.01, 0.1, 1, 10)]
    assert gains == sorted(gains)


def test_the_random_tanh_spectrum_in_its_limits():
    # Below the transition the circular law: |z|² of an eigenvalue is uniform on [0, g²].
    shares = (np.arange(1, 11) - 0.5) / 10
    want = np.log(0.5) + 0.5 * np.log(1 - shares)
    np.testing.assert_allclose(theory.random_tanh_exponents(0.5, 10), want, rtol=1e-9)
    # Above it the mean is the mean log |det|, and the top tends to half the log of χ₁.
    got = theory.random_tanh_exponents(3.0, 4000)
    assert np.all(np.diff(got) < 0)
    field = theory.mean_field(3.0, 0.0)
    np.testing.assert_allclose(got[0], field.log_gain, atol=1e-3)
    z = (np.arange(4000) + 0.5) / 4000 * 20 - 10
    p = np.exp(-z * z / 2) / np.sum(np.exp(-z * z / 2))
    det = np.log(3.0) - 0.5 + p @ np.log(1 / np.cosh(np.sqrt(field.variance) * z) ** 2)
    np.testing.assert_allclose(np.mean(got), det, atol=2e-3)


def test_the_random_tanh_spectrum_is_that_of_a_network():
    """N = 150, gain 2.5, by a plain QR loop; finite networks scatter by 1/√N about the limit."""
    size, gain, steps = 150, 2.5, 150
    rng = np.random.default_rng(0)
    weight = gain * rng.normal(size=(size, size)) / np.sqrt(size)
    h, frame, sums = rng.normal(size=size), np.eye(size), np.zeros(size)
    for t in range(steps + 50):
        h = weight @ np.tanh(h)
        if t >= 50:
            factor = weight * (1 - np.tanh(h) ** 2)[None]
            frame, upper = np.linalg.qr(factor @ frame)
            sums += np.log(np.abs(np.diag(upper)))
    measured, curve = sums / steps, theory.random_tanh_exponents(gain, size)
    inner = slice(size // 10, 9 * size // 10)
    assert np.abs(measured - curve)[inner].max() < 2 / np.sqrt(size)
    assert abs(np.mean(measured - curve)) < 1 / np.sqrt(size)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: theory.gaussian_product_exponents(0, 1.0), "size: .* 1 or more, but got 0"),
        (lambda: theory.gaussian_product_exponents(3, 0.0), "std: .* above zero, but got 0.0"),
        (lambda: theory.gaussian_product_errors(3, 0), "steps: .* 1 or more, but got 0"),
        (lambda: theory.random_tanh_exponents(-1.0, 3), "gain: .* above zero, but got -1.0"),
        (lambda: theory.mean_field(0.0, 0.0), "weight_std: .* above zero"),
        (lambda: theory.mean_field(1.0, -0.1), "bias_std: .* 0 or above, but got -0.1"),
        (lambda: theory.chrono_expectation(3, 1.0), "max_lag: .* 2 or above, but got 1.0"),
        (lambda: theory.critical_gain(-0.1), "bias_std: .* from 0 to 10, but got -0.1"),
        (lambda: theory.pascanu_log_bound(np.eye(2), 3, slope=0.0), "slope: .* above zero"),
        (lambda: theory.pascanu_log_bound(np.ones((2, 3)), 3), "weight: .* square .*2, 3"),
    ],
)
@pytest.mark.usefixtures("as_installed")
def test_what_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
