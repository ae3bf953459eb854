"""T16. The curse of memory.

Source: Zucchet & Orvieto 2024 (arXiv:2405.21064): for h' = λ h + x and white unit inputs E h² =
1/(1 - λ²) and E (dh/dλ)² = (1 + λ²)/(1 - λ²)³. Both are linear in the inputs, so the mean over
white inputs is the sum over unit impulses, without any sampling. Tolerance: what lies beyond T
steps, T² λ^{2T} of the sum, and T·eps.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstmgrad as lg

EPS = np.finfo(np.float64).eps


def leaky(rate, state, x):
    return rate * state + x


@pytest.mark.parametrize(("rate", "steps"), [(0.5, 100), (0.9, 300)])
def test_the_sensitivity_grows_with_the_cube_of_the_memory(rate, steps, truth):
    model = lg.Model(leaky, jnp.asarray(rate), jnp.zeros(()))

    def impulse(inputs):
        chain = lg.chain(model, inputs)
        return lg.sensitivity(chain).log_norms[-1], chain.trajectory.states[-1]

    logs, states = jax.jit(jax.vmap(impulse))(jnp.eye(steps))
    beyond = steps**2 * rate ** (2 * steps) + steps * EPS
    want = (1 + rate**2) / (1 - rate**2) ** 3
    truth(f"E (dh/dλ)² at λ = {rate}", want, jnp.sum(jnp.exp(2 * logs)), rtol=10 * beyond)
    truth(f"E h² at λ = {rate}", 1 / (1 - rate**2), jnp.sum(states**2), rtol=10 * beyond)
    # Nothing explodes: dh_t/dh_0 = λ^t.
    found = lg.sensitivity(lg.chain(model, jnp.ones(50)))
    np.testing.assert_allclose(found.state_log_norms, np.arange(51) * np.log(rate), rtol=1e-12)
    assert np.all(found.log_norms[2:] > found.state_log_norms[2:])
