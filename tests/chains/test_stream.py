"""A stream, against the chain that keeps its states."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from registry import T, problem

import lstmgrad as lg

CLOSE = {"rtol": 0, "atol": 1e-13}


def stream_of(given):
    return lg.stream(given.step, given.params, given.state, given.inputs)


def assert_same(got, want):
    """Two results, leaf by leaf."""
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(one, other, **CLOSE)


@eqx.filter_jit
def readings(chain):
    tangents = np.cos(np.arange(2.0 * chain.layout.size)).reshape(-1, 2)
    return (
        lg.push_forward(chain, tangents).to_array(),
        lg.push_forward(chain, tangents[:, 0]).to_array(),
        lg.product(chain).to_array(),
        lg.jacobian(chain),
        lg.forward_norms(chain),
        lg.forward_norms(chain, every=2),
        lg.prefix_products(chain).mantissa,
    )


def test_every_forward_reading():
    given = problem("lstm")
    assert len(stream_of(given)) == T
    assert_same(readings(stream_of(given)), readings(given.chain()))


@pytest.mark.slow
def test_parts_are_those_of_the_state():
    given = problem("lstm")
    stream, chain = stream_of(given), given.chain()
    got, want = (lg.jacobian(each, of="h", wrt="c") for each in (stream, chain))
    np.testing.assert_allclose(got, want, **CLOSE)
    got, want = (lg.forward_norms(each, of="c", wrt="h", every=3) for each in (stream, chain))
    np.testing.assert_allclose(got.log_norms, want.log_norms, **CLOSE)
    np.testing.assert_array_equal(got.lags, want.lags)


@pytest.mark.parametrize("bounds", [(0, 3), (2, T), (2, 3), (3, 3), (T, T), (-2, None)])
def test_a_slice_runs_the_model_up_to_its_start(bounds):
    given = problem("gru")
    stream, chain = stream_of(given)[slice(*bounds)], given.chain()[slice(*bounds)]
    assert len(stream) == len(chain)
    np.testing.assert_allclose(lg.jacobian(stream), lg.jacobian(chain), **CLOSE)


def test_a_slice_of_a_slice():
    given = problem("gru")
    got, want = (lg.jacobian(each[1:][1:3]) for each in (stream_of(given), given.chain()))
    np.testing.assert_allclose(got, want, **CLOSE)


def test_two_pushes_are_one():
    given = problem("lstm")
    stream = stream_of(given)
    tangent = np.ones(stream.layout.size)
    halves = lg.push_forward(stream[2:], lg.push_forward(stream[:2], tangent))
    whole = lg.push_forward(stream, tangent)
    np.testing.assert_allclose(halves.to_array(), whole.to_array(), **CLOSE)


NEEDS_STATES = {
    "pull_back": lambda chain: lg.pull_back(chain, jnp.ones(chain.layout.size)),
    "backward_norms": lg.backward_norms,
    "norm_map": lg.norm_map,
    "DenseChain.of": lambda chain: lg.DenseChain.of(chain),
    "matrix_free_norms": lambda chain: lg.matrix_free_norms(chain, (1, 2)),
    "parallel": lambda chain: lg.product(chain, method=lg.Method.parallel),
    "blocked": lambda chain: lg.product(chain, method=lg.Method.blocked(2)),
    "parallel prefixes": lambda chain: lg.prefix_products(chain, method=lg.Method.parallel),
    "blocked prefixes": lambda chain: lg.prefix_products(chain, method=lg.Method.blocked(2)),
}


@pytest.mark.parametrize("use", NEEDS_STATES)
def test_what_needs_the_states_says_so(use):
    message = (
        r"chain: expected one that keeps its states, .*keep the states: chain\(model, inputs\)"
    )
    with pytest.raises(ValueError, match=message):
        NEEDS_STATES[use](stream_of(problem("rnn")))


@pytest.mark.slow
def test_a_batch_of_streams_is_the_loop():
    given = problem("gru")
    inputs = np.random.default_rng(9).normal(size=(3, *given.inputs.shape))

    def norms(inputs):
        chain = lg.stream(given.step, given.params, given.state, inputs)
        return lg.forward_norms(chain).log_norms

    streams = jax.vmap(lambda x: lg.stream(given.step, given.params, given.state, x))(inputs)
    together = jax.vmap(lambda chain: lg.forward_norms(chain).log_norms)(streams)
    for got, one in zip(together, inputs, strict=True):
        np.testing.assert_allclose(got, norms(one), **CLOSE)
    with pytest.raises(ValueError, match=r"a batch of \(3,\)"):
        lg.forward_norms(streams)


def test_a_step_may_make_its_input_from_a_counter():
    def drive(t):
        return jnp.sin(0.7 * t.astype(jnp.float64)) * jnp.ones(2)

    given = problem("rnn")

    def step(params, state, t):
        return given.step(params, state, drive(t))

    stream = lg.stream(step, given.params, given.state, jnp.arange(T))
    chain = given._replace(inputs=jax.vmap(drive)(jnp.arange(T))).chain()
    for bounds in (slice(None), slice(2, 4)):
        got, want = lg.jacobian(stream[bounds]), lg.jacobian(chain[bounds])
        np.testing.assert_allclose(got, want, **CLOSE)


@pytest.mark.slow
def test_slopes_in_the_parameters():
    given = problem("rnn")

    def log_norm(params, stored):
        if stored:
            chain = given._replace(params=params).chain()
        else:
            chain = lg.stream(given.step, params, given.state, given.inputs)
        return lg.forward_norms(chain).log_norms[-1]

    slopes = jax.jit(jax.grad(log_norm), static_argnums=1)
    got, want = (slopes(given.params, stored) for stored in (False, True))
    assert any(jnp.any(leaf != 0) for leaf in want)
    assert_same(got, want)
