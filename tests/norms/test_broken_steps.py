"""NaN in one step of a state that is wide enough for the fast reductions of a CPU, in float32."""

import jax.numpy as jnp
import numpy as np
import pytest

import lstmgrad as lg

T, N, BROKEN = 70, 66, 40


@pytest.mark.parametrize("rtol", [1e-5, 0])
def test_of_dense_factors(rtol):
    factors = np.tile(np.eye(N, dtype=np.float32), (T, 1, 1))
    factors[BROKEN, 3, 5] = np.nan
    chain = lg.DenseChain(jnp.asarray(factors))
    for found, sound in (
        (lg.forward_norms(chain, rtol=rtol), BROKEN + 1),
        (lg.backward_norms(chain, rtol=rtol), T - BROKEN),
    ):
        np.testing.assert_allclose(found.log_norms[:sound], 0, atol=1e-5)
        assert np.all(np.isnan(found.log_norms[sound:]))
        assert not np.any(found.resolved[sound:])


def test_of_a_diagonal_recurrence():
    inputs = jnp.ones((T, N), jnp.float32).at[BROKEN, 5].set(jnp.nan)
    model = lg.Model(lambda a, s, x: a * s * x, jnp.full(N, 0.5), jnp.ones(N, jnp.float32))
    chain = lg.chain(model, inputs, linearize=lg.linearize_diagonal)
    found = lg.forward_norms(chain).log_norms
    np.testing.assert_allclose(found[: BROKEN + 1], np.arange(BROKEN + 1) * np.log(0.5), rtol=1e-5)
    assert np.all(np.isnan(found[BROKEN + 1 :]))
