"""T15. Fisher memory of linear networks.

Source: Ganguli, Huh & Sompolinsky 2008, PNAS 105, 18970: Σ_k J(k) = 1 for every normal W and unit
v, and at most N for any W; a delay line of N units with gain a has J(k) = a^{2k}(a² - 1)/(a^{2k+2}
- 1), which is 1/(k+1) at a = 1. Tolerance: ten printed digits for the totals, else N·T·eps in
float64, and for normal W what lies beyond T steps, its radius to the power 2T.
"""

import jax.numpy as jnp
import numpy as np
import pytest

import lstmgrad as lg

N, STEPS = 16, 40
EPS = np.finfo(np.float64).eps


def network(weight, state, x):
    return weight @ state + jnp.eye(len(weight))[0] * x


def memory(weight, steps=STEPS):
    model = lg.Model(network, jnp.asarray(weight), jnp.zeros(len(weight)))
    return lg.fisher_memory(lg.chain(model, jnp.zeros(steps)), jnp.asarray(1.0))


@pytest.mark.parametrize(("gain", "total"), [(1.0, 3.3807289932), (1.5, 9.5636614503)])
def test_a_delay_line(gain, total, truth):
    found = memory(gain * np.eye(N, k=-1))
    lags = np.arange(N)
    grown = gain ** (2.0 * lags)
    curve = 1 / (lags + 1) if gain == 1 else grown * (gain**2 - 1) / (grown * gain**2 - 1)
    np.testing.assert_allclose(np.exp(found.log_memories[:N]), curve, rtol=N * STEPS * EPS)
    # Behind its last unit nothing is left, and what rounding leaves there is not taken for memory.
    assert np.all(np.isinf(found.errors[N:]))
    truth(f"Fisher memory of a delay line of gain {gain:g}", total, found.total, atol=1e-10)


def test_normal_networks_have_a_memory_of_one(truth):
    rng = np.random.default_rng(0)
    basis, _ = np.linalg.qr(rng.standard_normal((N, N)))
    rotation = 0.9 * basis
    symmetric = basis @ np.diag(np.linspace(-0.9, 0.9, N)) @ basis.T
    for name, weight in (("scaled orthogonal", rotation), ("symmetric", symmetric)):
        beyond = 0.81**150
        found = memory(weight, 150).total
        truth(f"Fisher memory of a {name} network", 1.0, found, atol=beyond + N * 150 * EPS)


@pytest.mark.slow
def test_no_network_has_more_than_its_size():
    rng = np.random.default_rng(1)
    for gain in (0.5, 1.0, 3.0, 10.0):
        found = memory(gain * rng.standard_normal((N, N)) / np.sqrt(N)).total
        assert 0 < found <= N
