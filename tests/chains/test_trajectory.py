"""The run of a model, against a loop over its step; what states, inputs and steps may be."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from registry import D, H, T, every_cell, every_dtype, problem, slow

import lstmgrad as lg


@every_cell
def test_unroll_is_the_loop(name):
    given = problem(name)
    trajectory = given.run()
    state, step = given.state, jax.jit(given.step)
    for t in range(T + 1):
        for got, want in zip(
            jax.tree.leaves(trajectory.states), jax.tree.leaves(state), strict=True
        ):
            np.testing.assert_allclose(np.asarray(got)[t], want, rtol=0, atol=1e-14)
        if t < T:
            state = step(given.params, state, given.inputs[t])
    np.testing.assert_array_equal(trajectory.inputs, given.inputs)
    assert len(trajectory) == T


@every_cell
@every_dtype
def test_dtypes_stay(name, dtype):
    given = problem(name, dtype)
    for leaf in jax.tree.leaves(eqx.filter_eval_shape(given.run)):
        assert leaf.dtype == dtype


def test_numpy_and_jax_arrays_run_alike():
    given = problem("lstm")
    numpy = jax.tree.map(np.asarray, (given.params, given.state, given.inputs))
    trajectory = lg.unroll(given.step, *numpy)
    np.testing.assert_array_equal(trajectory.states.c, given.run().states.c)
    chain = lg.linearize(given.step, numpy[0], jax.tree.map(np.asarray, trajectory))
    np.testing.assert_array_equal(lg.jacobian(chain), lg.jacobian(given.chain()))


@pytest.mark.parametrize("state", [0.3, np.float64(0.3), np.asarray(0.3), jnp.asarray(0.3)])
def test_a_number_is_a_state(state):
    def step(params, s, x):
        return jnp.sin(s) + x

    trajectory = lg.unroll(step, None, state, jnp.zeros(3))
    assert trajectory.states.shape == (4,)
    assert trajectory.states.dtype == jnp.float64
    s = float(trajectory.states[1])
    np.testing.assert_allclose(s, np.sin(0.3), rtol=1e-15)
    chain = lg.linearize(step, None, trajectory)
    np.testing.assert_allclose(lg.jacobian(chain[:2]), [[np.cos(s) * np.cos(0.3)]], rtol=1e-14)


def test_a_step_may_return_weakly_typed_numbers():
    def step(params, s, x):
        return jnp.where(x > 1, 1.0, 0.5)

    trajectory = lg.unroll(step, None, jnp.asarray(0.0), jnp.arange(3.0))
    np.testing.assert_array_equal(trajectory.states, [0.0, 0.5, 0.5, 1.0])


def test_integers_and_keys_travel_with_the_state():
    def step(params, s, x):
        key, noise = jax.random.split(s["key"])
        h = 0.5 * s["h"] + jax.random.normal(noise, s["h"].shape)
        return {"n": s["n"] + 1, "key": key, "h": h}

    state = {"n": 0, "key": jax.random.key(0), "h": jnp.ones(2)}
    trajectory = lg.unroll(step, None, state, jnp.arange(4))
    np.testing.assert_array_equal(trajectory.states["n"], range(5))
    chain = lg.linearize(step, None, trajectory)
    assert chain.layout.parts == ("h",)
    np.testing.assert_array_equal(lg.jacobian(chain), 0.5**4 * np.eye(2))


def test_inputs_may_be_any_pytree():
    def step(params, s, x):
        return jnp.where(x["keep"], 0.9 * s + x["drive"], s)

    inputs = {"keep": jnp.asarray([True, False, True]), "drive": jnp.ones((3, 2))}
    trajectory = lg.unroll(step, None, jnp.zeros(2), inputs)
    np.testing.assert_allclose(trajectory.states[:, 0], [0, 1, 1, 1.9], rtol=1e-15)
    chain = lg.linearize(step, None, trajectory)
    np.testing.assert_allclose(lg.jacobian(chain), 0.81 * np.eye(2), rtol=1e-15)


def test_parameters_may_hold_what_is_no_array():
    def step(params, s, x):
        drive = params["gain"] * s + x
        return params["phi"](drive) if params["kind"] == "squash" else drive

    params = {"phi": jnp.tanh, "kind": "squash", "gain": 0.5, "unused": None}
    chain = lg.linearize(step, params, lg.unroll(step, params, jnp.ones(2), jnp.zeros(2)))
    one = 0.5 * (1 - np.tanh(0.5) ** 2)
    two = 0.5 * (1 - np.tanh(0.5 * np.tanh(0.5)) ** 2)
    np.testing.assert_allclose(lg.jacobian(chain), one * two * np.eye(2), rtol=1e-14)
    linear = params | {"kind": "linear"}
    chain = lg.linearize(step, linear, lg.unroll(step, linear, jnp.ones(2), jnp.zeros(2)))
    np.testing.assert_allclose(lg.jacobian(chain), 0.25 * np.eye(2), rtol=1e-14)


class Model(eqx.Module):
    """A model of another framework: the arrays are inside the step."""

    cell: eqx.nn.LSTMCell

    def step(self, params, state, x):
        del params
        return self.cell(x, state)


def test_a_bound_module_is_a_step():
    model = Model(eqx.nn.LSTMCell(D, H, key=jax.random.key(0)))
    given = problem("lstm")
    assert model.cell.bias is not None
    params = lg.cells.LSTMParams(model.cell.weight_ih, model.cell.weight_hh, model.cell.bias)
    state = tuple(given.state)
    trajectory = lg.unroll(model.step, None, state, given.inputs)
    chain = lg.linearize(model.step, None, trajectory)
    ours = lg.linearize(given.step, params, lg.unroll(given.step, params, *given[2:]))
    np.testing.assert_allclose(lg.jacobian(chain), lg.jacobian(ours), rtol=0, atol=1e-14)
    np.testing.assert_allclose(
        lg.jacobian(chain[1:4], of=1, wrt=0), lg.jacobian(ours[1:4], of="c", wrt="h"), atol=1e-14
    )

    # Its arrays are traced, not baked in: another model of the same shape gives another answer,
    # and the gradient with respect to the module arrives.
    other = Model(eqx.nn.LSTMCell(D, H, key=jax.random.key(1)))
    others = lg.linearize(other.step, None, lg.unroll(other.step, None, state, given.inputs))
    assert not np.allclose(lg.jacobian(others), lg.jacobian(chain))

    @eqx.filter_jit
    @eqx.filter_grad
    def slope(model):
        chain = lg.linearize(model.step, None, lg.unroll(model.step, None, state, given.inputs))
        return lg.backward_norms(chain).log_norms[-1]

    slopes = np.asarray(slope(model).cell.weight_hh)
    assert np.all(np.isfinite(slopes))
    assert np.any(slopes != 0)


def test_a_partial_is_a_step():
    given = problem("gru")

    def step(scale, params, state, x):
        return jax.tree.map(lambda leaf: scale * leaf, given.step(params, state, x))

    for partial in (functools.partial, jax.tree_util.Partial):
        bound = partial(step, 0.5)
        chain = lg.linearize(bound, given.params, lg.unroll(bound, *given[1:]))
        np.testing.assert_allclose(
            lg.jacobian(chain[:1]), 0.5 * lg.jacobian(given.chain()[:1]), rtol=1e-13
        )


@pytest.mark.parametrize("name", [slow("rnn-relu"), "lstm"])
def test_nan_in_the_inputs_is_nan_from_that_step_on_and_finite_before(name):
    given = problem(name)
    inputs = np.array(given.inputs)
    inputs[3, 0] = np.nan
    trajectory = lg.unroll(given.step, given.params, given.state, jnp.asarray(inputs))
    h = np.asarray(trajectory.states.h)
    assert np.all(np.isfinite(h[:4]))
    assert np.all(np.isnan(h[4:]))
    chain = lg.linearize(given.step, given.params, trajectory)
    log_norms = np.asarray(lg.forward_norms(chain).log_norms)
    assert np.all(np.isfinite(log_norms[:4]))
    assert np.all(np.isnan(log_norms[4:]))
    assert np.isnan(lg.product(chain).to_array()).all()
    assert np.all(np.isfinite(lg.product(chain[:3]).to_array()))
    backward = lg.backward_norms(chain).log_norms
    np.testing.assert_array_equal(np.isnan(backward), [False] + [True] * T)
    factors = np.asarray(lg.DenseChain.of(chain).factors)
    np.testing.assert_array_equal(np.isnan(factors).any(axis=(1, 2)), np.arange(T) >= 3)


def test_masked_out_nan_does_no_harm():
    def step(params, s, x):
        return jnp.where(jnp.isnan(x), s, 0.5 * s + jnp.where(jnp.isnan(x), 0.0, x))

    inputs = jnp.asarray([1.0, jnp.nan, 1.0])
    chain = lg.linearize(step, None, lg.unroll(step, None, jnp.ones(()), inputs))
    np.testing.assert_array_equal(lg.jacobian(chain), [[0.25]])


def test_the_trajectory_may_come_from_elsewhere():
    given = problem("rnn")
    own = lg.Trajectory(given.inputs, given.run().states)
    np.testing.assert_array_equal(
        lg.jacobian(lg.linearize(given.step, given.params, own)), lg.jacobian(given.chain())
    )


def test_batched_and_unbatched_agree():
    given = problem("lstm")
    inputs = np.asarray(given.inputs)
    batch = np.stack([inputs, inputs[::-1]])
    run = lambda inputs: lg.unroll(given.step, given.params, given.state, inputs)  # noqa: E731
    together = jax.vmap(run)(batch)
    for i in range(2):
        np.testing.assert_allclose(together.states.c[i], run(batch[i]).states.c, rtol=0, atol=1e-15)
