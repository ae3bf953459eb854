"""Where numbers stop, in networks that overflow, slopes that break, and matrices with a NaN."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstmgrad as lg


def grow(params, state, x):
    """Two parts, of which the first overflows and the second follows a step later."""
    return {"a": params * state["a"] + x, "b": 0.5 * state["b"] + state["a"]}


def grown(params, length=60):
    state = {"a": jnp.ones(2, np.float32), "b": jnp.zeros(2, np.float32)}
    model = lg.Model(grow, jnp.asarray(params, np.float32), state)
    return lg.chain(model, jnp.zeros((length, 2), np.float32))


def test_a_state_that_overflows():
    chain = grown(10.0)
    found = lg.first_non_finite(chain)
    # 10^38 is a float32, 10^39 is not.
    assert (int(found.state_time), int(found.factor_time)) == (39, -1)
    assert {name: bool(bad) for name, bad in found.state_parts.items()} == {"a": True, "b": False}
    assert int(found.finite_steps) == 38
    assert np.isfinite(chain.trajectory.states["b"][39]).all()
    assert "not finite: s_39 (a)" in repr(found)
    cut = chain[5:]
    assert int(lg.first_non_finite(cut).state_time) == 34
    norms = lg.backward_norms(chain[: int(found.finite_steps)], of="a", wrt="a")
    np.testing.assert_allclose(norms.log_norms[-1], 38 * np.log(10), rtol=1e-6)


def test_a_slope_that_breaks_while_the_states_are_finite():
    model = lg.Model(lambda p, s, x: jnp.sqrt(jnp.abs(s) * x), None, jnp.ones(3))
    inputs = jnp.ones((8, 3)).at[4, 1].set(0.0)
    found = lg.first_non_finite(lg.chain(model, inputs))
    # s_5 has a zero, where the root of the fifth step has no slope.
    assert (int(found.state_time), int(found.factor_time)) == (-1, 5)
    assert int(found.finite_steps) == 4
    assert [bool(bad) for bad in found.factor_parts.values()] == [True]
    assert "not finite: J_5 (" in repr(found)


def test_matrices_streams_batches_and_nothing():
    factors = jnp.broadcast_to(jnp.eye(2), (6, 2, 2)).at[3, 0, 1].set(jnp.nan)
    found = jax.jit(lg.first_non_finite)(lg.DenseChain(factors))
    assert (int(found.state_time), int(found.factor_time), int(found.finite_steps)) == (-1, 4, 3)
    fine = lg.first_non_finite(lg.DenseChain(factors[:3]))
    assert int(fine.finite_steps) == 3
    assert "all states and step Jacobians are finite" in repr(fine)
    assert int(lg.first_non_finite(lg.DenseChain(factors[:0])).finite_steps) == 0

    batch = jax.vmap(lambda params: lg.first_non_finite(grown(params)))(jnp.asarray([1.0, 10.0]))
    np.testing.assert_array_equal(batch.state_time, [-1, 39])
    np.testing.assert_array_equal(batch.finite_steps, [60, 38])

    chain = grown(10.0)
    streamed = lg.stream(*chain.model, chain.trajectory.inputs)
    assert int(lg.first_non_finite(streamed).state_time) == -1


@pytest.mark.usefixtures("as_installed")
def test_what_is_no_chain():
    with pytest.raises(ValueError, match="chain: expected"):
        lg.first_non_finite(jnp.ones((6, 2, 2)))  # pyright: ignore[reportArgumentType]
