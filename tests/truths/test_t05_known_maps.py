"""T5. Autonomous maps and flows with known exponents, run as streams.

Sources: logistic and cat map in closed form; Hénon and Lorenz from Sprott, Chaos and Time-Series
Analysis, 2003. Tolerances as published or as the closed form allows; lengths as short as these
tolerances allow. The logistic map's ln|f'| differs from ln 2 by a difference of successive values
of one function of the state, so that its mean is off by a number of order 1/T only.
"""

import jax
import jax.numpy as jnp
import numpy as np

import lstmgrad as lg


def exponents(step, state, length, burn_in=100, params=None):
    chain = lg.stream(step, params, state, jnp.arange(length + burn_in))
    return lg.lyapunov_spectrum(chain, burn_in=burn_in)


def logistic(params, x, _):
    return 4 * x * (1 - x)


def test_logistic(truth):
    found = exponents(logistic, jnp.asarray([0.3]), 10**5)
    truth("exponent of the logistic map, r = 4", np.log(2), found.exponents[0], atol=1e-4)


def cat(params, s, _):
    return jnp.stack([2 * s[0] + s[1], s[0] + s[1]]) % 1


def test_cat(truth):
    found = exponents(cat, jnp.asarray([0.1, 0.2]), 2000)
    golden = 0.9624236501
    for name, sign in (("first", 1), ("second", -1)):
        ours = found.exponents[0 if sign > 0 else 1]
        truth(f"{name} exponent of the cat map", sign * golden, ours, atol=1e-6)
    np.testing.assert_allclose(found.running_exponents[:, 0], golden, rtol=0, atol=1e-6)


def henon(params, s, _):
    return jnp.stack([1 - 1.4 * s[0] ** 2 + s[1], 0.3 * s[0]])


def test_henon(truth):
    found = exponents(henon, jnp.asarray([0.1, 0.1]), 10**5)
    published = np.array([0.419217, -1.623190])
    for i, name in enumerate(("first", "second")):
        truth(f"{name} exponent of the Hénon map", published[i], found.exponents[i], atol=4e-3)
    total = jnp.sum(found.exponents)
    truth("sum of the exponents of the Hénon map", -1.2039728043, total, atol=1e-9)
    dimension = lg.kaplan_yorke_dimension(found.exponents)
    truth("Kaplan-Yorke dimension of the Hénon map", 1.258267, dimension, atol=4e-3)
    np.testing.assert_allclose(lg.entropy_rate(found.exponents), found.exponents[0], rtol=1e-15)
    # The published value lies within what the scatter says.
    assert np.all(np.abs(found.exponents - published) < 5 * found.standard_errors)


DT = 0.01


def lorenz(params, s, _):
    def rate(s):
        x, y, z = s
        return jnp.stack([10 * (y - x), x * (28 - z) - y, x * y - 8 * z / 3])

    k1 = rate(s)
    k2 = rate(s + DT / 2 * k1)
    k3 = rate(s + DT / 2 * k2)
    k4 = rate(s + DT * k3)
    return s + DT / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


def test_lorenz(truth):
    found = exponents(lorenz, jnp.ones(3), 10**5, burn_in=1000)
    first, second, third = found.exponents / DT
    truth("first exponent of Lorenz 1963, per time unit", 0.90563, first, atol=0.03)
    truth("second exponent of Lorenz 1963", 0.0, second, atol=0.005)
    truth("third exponent of Lorenz 1963", -14.57219, third, atol=0.03)
    total = first + second + third
    truth("sum of the exponents of Lorenz 1963", -41 / 3, total, atol=2e-4)


def linear(W, s, _):
    return W @ s


def test_fixed_matrix_however_far_from_normal():
    values = np.array([1.05, -0.9, 0.7, 0.3, -0.05])
    basis = np.eye(5) + 20 * np.triu(np.ones((5, 5)), 1)
    W = jnp.asarray(basis @ np.diag(values) @ np.linalg.inv(basis))
    assert np.linalg.norm(W @ W.T - W.T @ W, 2) > 1e3
    found = exponents(linear, jnp.zeros(5), 20_000, burn_in=500, params=W)
    np.testing.assert_allclose(found.exponents, np.log(np.abs(values)), rtol=0, atol=1e-5)
    assert np.asarray(found.resolved).all()
    # In one step it stretches by far more than its largest eigenvalue.
    top = jax.numpy.linalg.norm(W, 2)
    assert np.log(top) > 2 + found.exponents[0]
