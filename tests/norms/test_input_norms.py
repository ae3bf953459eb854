"""Norms of ds_T/dx_t, against jacrev of the whole unroll and NumPy's products of the factors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import log_norm
from registry import D, T, problem, slow

import lstmgrad as lg


def whole_unroll(given, of):
    """Ln ‖dof_T/dx_t‖₂ by lag T-t, through one plain scan."""

    def last(inputs):
        body = lambda state, x: (given.step(given.params, state, x), None)  # noqa: E731
        return jax.lax.scan(body, given.state, inputs)[0]

    found = jax.jit(jax.jacrev(last))(given.inputs)
    parts = found._asdict() if of is None else {of: getattr(found, of)}
    matrix = np.concatenate(list(parts.values()))
    return np.array([log_norm(matrix[:, t]) for t in range(T)])[::-1]


@pytest.mark.parametrize(
    ("name", "of"), [("lstm", "h"), slow("lstm", None), slow("lstm", "c"), slow("gru", "h")]
)
def test_every_lag_is_the_norm_of_the_jacobian_of_the_whole_run(name, of):
    given = problem(name)
    found = lg.input_norms(given.chain(), of=of)
    np.testing.assert_array_equal(found.lags, range(T))
    np.testing.assert_allclose(found.log_norms, whole_unroll(given, of), rtol=0, atol=1e-12)
    assert np.all(found.resolved)
    assert (found.of, found.wrt, found.fixed) == (of, "x", "end")
    assert repr(found).startswith(f"NormProfile(d{of or 's'}_T/dx_k, {T} lags")


def test_a_route_and_a_slice_of_it_are_products_of_their_factors():
    """The input enters by every way, and goes on through the cell alone."""
    given = problem("lstm")
    route = lg.routes(given.chain())["cell"]
    entering = jax.jacrev(lambda x: given.step(given.params, given.state, x).c)
    states = given.chain().trajectory.states
    gates = lg.tagged_values(given.chain())["forget"]
    for t in (T, 3):
        want = []
        for k in range(t, 0, -1):
            start = jax.tree.map(lambda leaf, k=k: leaf[k - 1], states)
            entering = jax.jacrev(lambda x, s=start: given.step(given.params, s, x).c)
            path = np.prod(np.asarray(gates)[k:t], axis=0)
            want.append(log_norm(path[:, None] * np.asarray(entering(given.inputs[k - 1]))))
        found = lg.input_norms(route[:t], of="c")
        np.testing.assert_allclose(found.log_norms, want, rtol=0, atol=1e-12)


def test_padded_sequences_and_coarser_lags_are_the_sequences_alone():
    chain = problem("lstm").chain()
    found = jax.vmap(lambda n: lg.input_norms(chain, of="h", length=n))(jnp.array([T, 3]))
    whole, alone = lg.input_norms(chain, of="h"), lg.input_norms(chain[:3], of="h")
    np.testing.assert_allclose(found.log_norms[0], whole.log_norms, rtol=0, atol=1e-13)
    np.testing.assert_allclose(found.log_norms[1, :3], alone.log_norms, rtol=0, atol=1e-13)
    assert np.isnan(found.log_norms[1, 3:]).all()
    np.testing.assert_array_equal(found.length, [T - 1, 2])
    coarse = lg.input_norms(chain, of="h", every=2)
    np.testing.assert_array_equal(coarse.lags, [0, 2, 4])
    np.testing.assert_allclose(coarse.log_norms, whole.log_norms[::2], rtol=0, atol=1e-13)


def pair(params, state, x):
    """Two parts, one behind the other and fed by one feature each, and an unused number."""
    low = params * state["low"] + x["a"]
    return {"low": low, "high": 0.5 * state["high"] + state["low"] + 3.0 * x["b"]}


PAIR = {"low": jnp.ones(2), "high": jnp.zeros(2)}
BOTH = {"a": jnp.ones((6, 2)), "b": jnp.ones((6, 2)), "id": jnp.arange(6)}


def test_inputs_in_parts_and_zeros_that_the_step_proves():
    chain = lg.chain(lg.Model(pair, jnp.asarray(2.0), PAIR), BOTH)
    found = lg.input_norms(chain, of="high", wrt="b")
    np.testing.assert_allclose(found.log_norms, np.log(3.0) + np.arange(6) * np.log(0.5))
    assert found.wrt == "b"
    found = lg.input_norms(chain, of="high", wrt="a")
    want = [sum(0.5 ** (lag - 1 - i) * 2.0**i for i in range(lag)) for lag in range(1, 6)]
    np.testing.assert_array_equal(found.log_norms[0], -np.inf)
    np.testing.assert_allclose(found.log_norms[1:], np.log(want), rtol=1e-12)
    found = lg.input_norms(chain, of="low", wrt="b")  # no way leads there
    np.testing.assert_array_equal(found.log_norms, -np.inf)
    assert np.all(found.resolved)


@pytest.mark.slow
def test_what_breaks_beside_the_way_of_an_input_breaks_nothing():
    def step(params, state, x):
        return {"broken": jnp.nan * state["broken"] + x, "whole": 0.5 * state["whole"] + x}

    start = {"broken": jnp.ones(2), "whole": jnp.ones(2)}
    chain = lg.chain(lg.Model(step, None, start), jnp.ones((6, 2)))
    found = lg.input_norms(chain, of="whole")
    np.testing.assert_allclose(found.log_norms, np.arange(6) * np.log(0.5), atol=1e-12)
    assert np.isnan(lg.input_norms(chain, of="broken").log_norms).all()


def linear(params, state, x):
    return params["J"] @ state + params["B"] @ x


def test_float32_beyond_its_range_against_long_double():
    """0.3^400 is 10^-209."""
    rng, steps = np.random.default_rng(0), 400
    params = {"J": 0.3 * np.linalg.qr(rng.normal(size=(4, 4)))[0], "B": rng.normal(size=(4, 2))}
    params = {name: jnp.asarray(value, jnp.float32) for name, value in params.items()}
    model = lg.Model(linear, params, jnp.zeros(4, jnp.float32))
    found = lg.input_norms(lg.chain(model, jnp.ones((steps, 2), jnp.float32)), every=57)
    wide = {name: np.asarray(value, np.longdouble) for name, value in params.items()}
    block, want = wide["B"], []
    for lag in range(steps):
        if lag % 57 == 0:
            top = np.abs(block).max()
            want.append(np.log(top) + log_norm((block / top).astype(np.float64)))
        block = wide["J"] @ block
    assert found.log_norms.dtype == jnp.float32
    assert np.all(found.resolved)
    np.testing.assert_allclose(found.log_norms, np.asarray(want, float), rtol=1e-6, atol=1e-4)


def meeting(params, state, x):
    """A slow unit, a fast one that the input drives, and one that reads both."""
    inner = jnp.stack([state["inner"][0], 1e-3 * state["inner"][1] + x])
    return {"inner": inner, "out": jnp.sum(state["inner"])}


def test_what_falls_below_the_range_beside_another_unit_is_not_resolved():
    start = {"inner": jnp.ones(2, jnp.float32), "out": jnp.zeros((), jnp.float32)}
    chain = lg.chain(lg.Model(meeting, None, start), jnp.ones(30, jnp.float32))
    found = lg.input_norms(chain, of="out")
    true = (np.arange(30) - 1) * np.log(1e-3)  # from lag 1 on
    seen = np.asarray(found.resolved)
    assert seen[:10].all()
    assert not seen[20:].any()
    np.testing.assert_allclose(found.log_norms[1:10], true[1:10], atol=1e-4)
    assert np.all(np.asarray(found.log_norms)[20:] >= true[20:])
    assert np.isfinite(found.log_norms[1:]).all()


def embed(params, state, token):
    return jnp.tanh(state + params[token])


@pytest.mark.usefixtures("as_installed")
def test_what_has_no_derivative_or_no_inputs_is_said():
    chain = problem("rnn").chain()
    tokens = lg.chain(lg.Model(embed, jnp.ones((4, D)), jnp.zeros(D)), jnp.arange(3))
    message = r"inputs: expected a floating-point .*int64\[3\]. Numbers of tokens .*table\[tokens\]"
    with pytest.raises(ValueError, match=message):
        lg.input_norms(tokens)
    with pytest.raises(ValueError, match=r"chain: .*knows its model and inputs.*a DenseChain"):
        lg.input_norms(lg.DenseChain.of(chain))
    with pytest.raises(ValueError, match="chain: expected at least one step, but got T = 0"):
        lg.input_norms(chain[2:2])
    with pytest.raises(ValueError, match="wrt: expected one of the parts of the inputs, 0, or"):
        lg.input_norms(chain, wrt="price")
    with pytest.raises(ValueError, match="of: expected one of the state's parts 'h' or None"):
        lg.input_norms(chain, of="c")
    with pytest.raises(ValueError, match=r"^length: expected a whole number from 1 to T = 5"):
        lg.input_norms(chain, length=6)
