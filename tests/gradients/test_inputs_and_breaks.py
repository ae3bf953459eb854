"""Integer inputs, empty stretches and broken parts in gradients, against `jax.grad`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstmgrad as lg

T, N = 5, 2


def embed(params, state, token):
    """A plain network that reads token ids."""
    return jnp.tanh(params["W"] @ state + params["E"][token])


def two(params, state, x):
    """Two parts that do not act on one another."""
    return {name: jnp.tanh(params[name] @ state[name] + x) for name in "ab"}


def test_token_ids_are_inputs_without_a_gradient():
    keys = jax.random.split(jax.random.key(0), 2)
    params = {"W": jax.random.normal(keys[0], (N, N)), "E": jax.random.normal(keys[1], (4, N))}
    tokens, start = jnp.asarray([1, 2, 3, 0, 2]), jnp.zeros(N)
    chain = lg.chain(lg.Model(embed, params, start), tokens)

    def loss(states):
        return jnp.sum(states[-1] ** 2)

    found = lg.contributions(chain, lg.loss_cotangents(loss, chain.trajectory))
    want = jax.grad(lambda p: loss(lg.unroll(embed, p, start, tokens).states))(params)
    for name in params:
        np.testing.assert_allclose(found.gradient[name], want[name], rtol=1e-12)
    np.testing.assert_allclose(np.sum(found.shares), 1.0, rtol=1e-12)
    assert found.input_gradients is None
    assert found.input_log_norms is None


@pytest.mark.slow
def test_a_broken_part_beside_the_loss_breaks_nothing():
    params = {"a": jax.random.normal(jax.random.key(0), (N, N)), "b": jnp.full((N, N), jnp.nan)}
    start = {name: jnp.full(N, 0.1) for name in "ab"}
    inputs = jax.random.normal(jax.random.key(1), (T, N))
    chain = lg.chain(lg.Model(two, params, start), inputs)
    cotangents = lg.loss_cotangents(lambda states: jnp.sum(states["a"][-1]), chain.trajectory)
    found = lg.contributions(chain, cotangents)
    want = jax.grad(
        lambda a: jnp.sum(lg.unroll(two, params | {"a": a}, start, inputs).states["a"][-1])
    )(params["a"])
    np.testing.assert_allclose(found.gradient["a"], want, rtol=1e-12)
    assert np.isfinite(found.leaf_log_norms["a"]).all()
    assert np.isnan(found.gradient["b"]).all()


@pytest.mark.parametrize("name", ["contributions", "contribution_map", "truncation_bias"])
def test_a_stretch_without_a_step(name):
    params = jax.random.normal(jax.random.key(0), (N, N))
    model = lg.Model(lambda p, s, x: jnp.tanh(p @ s + x), params, jnp.zeros(N))
    empty = lg.chain(model, jnp.ones((T, N)))[3:3]
    with pytest.raises(ValueError, match="chain: expected at least one step, but got T = 0"):
        getattr(lg, name)(empty, empty.trajectory.states)
