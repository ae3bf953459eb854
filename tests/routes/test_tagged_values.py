"""The values at the tags, against the gates computed by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from registry import T, problem

import lstmgrad as lg


def logistic(z):
    return 1 / (1 + np.exp(-z))


def test_the_gates_of_an_lstm_by_hand():
    given = problem("lstm")
    values = lg.tagged_values(given.chain())
    before = jax.tree.map(lambda leaf: np.asarray(leaf[:-1]), given.run().states)
    drive = (
        given.inputs @ given.params.weight_ih.T
        + before.h @ given.params.weight_hh.T
        + np.asarray(given.params.bias)[None]
    )
    i, f, g, o = np.split(np.asarray(drive), 4, axis=1)
    expected = {
        "forget": logistic(f),
        "cell": before.c,
        "input": logistic(i),
        "candidate": np.tanh(g),
        "output": logistic(o),
    }
    assert values.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(values[name], value, rtol=1e-14, atol=1e-14)


def marked(params, s, x):
    """One name twice, a complex value, a compiled helper, a loop, a branch and a scalar."""
    twice = lg.tag(s, "twice") + lg.tag(x * jnp.ones(3), "twice")
    spiral = jax.jit(lambda s: lg.tag(jax.lax.complex(s, 2 * s), "spiral"))(s)
    looped = jax.lax.fori_loop(0, 2, lambda _, s: lg.tag(s, "looped"), s)
    chosen = jax.lax.cond(x > 0, lambda s: lg.tag(s, "chosen"), lambda s: s, s)
    return 0.1 * (twice + spiral.imag + looped + chosen) * lg.tag(x, "scalar")


def test_a_users_own_step():
    chain = lg.chain(lg.Model(marked, None, jnp.arange(3.0)), jnp.linspace(0.5, 1.5, T))
    values, trajectory = lg.tagged_values(chain), chain.trajectory
    assert set(values) == {"twice", "spiral", "scalar"}  # neither of the loop nor of the branch
    s, x = np.asarray(trajectory.states[:-1]), np.asarray(trajectory.inputs)
    np.testing.assert_array_equal(values["twice"], np.hstack([s, np.tile(x[:, None], 3)]))
    np.testing.assert_array_equal(values["spiral"], np.hstack([s, 2 * s]))
    np.testing.assert_array_equal(values["scalar"], x[:, None])


def test_a_step_without_tags_is_refused():
    def step(params, s, x):
        return s + x

    with pytest.raises(ValueError, match=r"expected values marked with lstmgrad\.tag"):
        lg.tagged_values(lg.chain(lg.Model(step, None, jnp.ones(2)), jnp.ones(T)))
