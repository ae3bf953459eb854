"""Sensitivity to the parameters against `jax.jacrev` of the whole run."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from registry import H, T, chain_of, problem

import lstmgrad as lg

EXACT = 1000
"""More directions than any leaf of the problems has numbers."""


def log_norms(tree):
    """Ln of the Frobenius norm over all leaves, along axis 0."""
    squares = [np.sum(np.abs(leaf) ** 2, axis=tuple(range(1, leaf.ndim))) for leaf in tree]
    with np.errstate(divide="ignore"):
        return np.log(np.sum(squares, axis=0)) / 2


def test_it_is_the_jacobian_of_the_run():
    given = problem("lstm")

    def hidden(params, start):
        return lg.unroll(given.step, params, start, given.inputs).states.h

    by_params, by_start = jax.jit(jax.jacrev(hidden, (0, 1)))(given.params, given.state)
    found = lg.sensitivity(chain_of("lstm"), of="h", num_directions=EXACT)
    leaves = jax.tree.leaves(by_params)
    assert found.log_norms[0] == -np.inf
    np.testing.assert_allclose(found.log_norms[1:], log_norms(leaves)[1:], rtol=1e-12, atol=1e-13)
    for ours, leaf in zip(jax.tree.leaves(found.leaf_log_norms), leaves, strict=True):
        np.testing.assert_allclose(ours[2:], log_norms([leaf])[2:], rtol=1e-12, atol=1e-13)
    state = log_norms(jax.tree.leaves(by_start))
    np.testing.assert_allclose(found.state_log_norms, state, rtol=1e-12, atol=1e-13)
    assert np.all(found.errors == 0)
    np.testing.assert_array_equal(found.times, np.arange(T + 1))


@pytest.mark.slow
def test_random_directions_err_as_they_say():
    """Of fewer directions than numbers; z-scores of all times and several counts."""
    exact = lg.sensitivity(chain_of("lstm"), num_directions=EXACT)
    for count in (8, 20):
        found = lg.sensitivity(chain_of("lstm"), num_directions=count)
        assert np.all(found.errors[1:] > 0)
        assert np.all(found.errors[1:] < 1 / np.sqrt(2 * count))
        off = np.abs(found.log_norms - exact.log_norms)[1:] / found.errors[1:]
        assert np.all(off < 4)
        np.testing.assert_allclose(found.state_log_norms, exact.state_log_norms, rtol=1e-12)


@pytest.mark.slow
def test_a_slice_a_padded_sequence_and_a_batch():
    chain = chain_of("lstm")
    alone = lg.sensitivity(chain[:3])
    broken = problem("lstm").inputs.at[4:].set(jnp.nan)
    padded = lg.sensitivity(lg.chain(problem("lstm").model, broken), length=3)
    np.testing.assert_allclose(padded.log_norms[:4], alone.log_norms, rtol=1e-12)
    assert np.all(np.isnan(padded.log_norms[4:]))
    assert lg.summary(padded) == pytest.approx(lg.summary(alone))
    batch = jax.vmap(lambda n: lg.sensitivity(chain, length=n))(jnp.array([3, T]))
    np.testing.assert_allclose(batch.log_norms[0, :4], alone.log_norms, rtol=1e-12)


@pytest.mark.slow
def test_complex_parameters_count_twice():
    """s' = a s + x with complex a: ds_t/da has the norm of its value, in both directions."""

    def step(a, s, x):
        return a * s + x

    a, xs = jnp.asarray(0.5 + 0.6j), jnp.asarray(np.arange(1.0, 6.0) + 0j)
    found = lg.sensitivity(lg.chain(lg.Model(step, a, jnp.zeros((), xs.dtype)), xs))
    state, slope, truth = 0.0, 0.0, []
    for x in np.asarray(xs):
        state, slope = complex(a) * state + x, complex(a) * slope + state
        truth.append(np.log(np.sqrt(2) * abs(slope)) if slope else -np.inf)
    np.testing.assert_allclose(found.log_norms[1:], truth, rtol=1e-12)


@pytest.mark.slow
def test_far_out_of_range_and_broken():
    """λ = 10 over 400 steps: ds_T/dλ = T λ^(T-1), beyond float32 and float64."""

    def step(rate, s, x):
        return rate * s + x

    start = jnp.ones((), jnp.float32)
    model = lg.Model(step, jnp.asarray(1e2, jnp.float32), start)
    chain = lg.chain(model, jnp.zeros(400, jnp.float32))
    found = lg.sensitivity(chain[:10])
    np.testing.assert_allclose(found.log_norms[10], np.log(10) + 9 * np.log(1e2), rtol=1e-5)
    np.testing.assert_allclose(
        lg.sensitivity(chain).state_log_norms[19], 19 * np.log(1e2), rtol=1e-5
    )
    inputs = problem("lstm").inputs.at[2].set(jnp.nan)
    broken = lg.sensitivity(lg.chain(problem("lstm").model, inputs))
    assert np.all(np.isfinite(broken.log_norms[1:3]))
    assert np.all(np.isnan(broken.log_norms[3:]))


@pytest.mark.usefixtures("as_installed")
def test_bad_input_gets_a_sentence():
    with pytest.raises(ValueError, match="chain: expected one that knows its model and states"):
        lg.sensitivity(chain_of("lstm", "dense"))
    with pytest.raises(ValueError, match=r"of: expected one of the state's parts 'h', 'c'"):
        lg.sensitivity(chain_of("lstm"), of="z")
    with pytest.raises(ValueError, match="num_directions: expected a whole number, 1 or more"):
        lg.sensitivity(chain_of("lstm"), num_directions=0)
    fixed = lg.Model(lambda p, s, x: s * 0.5, None, jnp.ones(H))
    with pytest.raises(ValueError, match="param"):
        lg.sensitivity(lg.chain(fixed, jnp.zeros(4)))
