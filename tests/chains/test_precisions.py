"""Half precision and mixed precision: Jacobians in float32 at the model's own states."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import eps
from registry import slow

import lstmgrad as lg

GENERATOR = np.random.default_rng(0)
N, T = 6, 150
W = 0.35 * GENERATOR.normal(size=(N, N))
X = 0.3 * GENERATOR.normal(size=(T, N))


def step(W, s, x):
    return jnp.tanh(lg.tag(W @ s, "recurrent") + x)


def half_chain(dtype, step=step):
    weights, inputs = jnp.asarray(W, dtype), jnp.asarray(X, dtype)
    return lg.chain(lg.Model(step, weights, jnp.zeros(N, dtype)), inputs)


def log_product(chain):
    """The whole product in float64, as (a matrix, the logarithm of its size)."""
    states, weights, inputs = (
        np.asarray(a, np.float64)
        for a in (chain.trajectory.states, chain.model.params, chain.trajectory.inputs)
    )
    product, log_size = np.eye(N), 0.0
    for state, x in zip(states[:-1], inputs, strict=True):
        product = (1 - np.tanh(weights @ state + x) ** 2)[:, None] * weights @ product
        size = np.linalg.norm(product)
        product, log_size = product / size, log_size + np.log(size)
    return product, log_size


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_readings_of_a_model_in_half_precision_are_float32(dtype):
    chain = half_chain(dtype)
    assert chain.trajectory.states.dtype == dtype
    product, log_size = log_product(chain)
    norm = log_size + np.log(np.linalg.norm(product, 2))
    close = functools.partial(np.testing.assert_allclose, rtol=0, atol=T * eps("float32"))
    found = lg.backward_norms(chain)
    assert found.log_norms.dtype == jnp.float32
    close(found.log_norms[-1], norm)
    close(lg.backward_norms(lg.routes(chain)["recurrent"]).log_norms[-1], norm)
    streamed = lg.stream(*chain.model, chain.trajectory.inputs)
    close(lg.forward_norms(streamed).log_norms[-1], norm)
    # Vectors may come in the state's own precision.
    ones = jnp.ones(N, dtype)
    pushed = np.exp(np.asarray(lg.push_forward(chain, ones).log_abs()) - log_size)
    close(pushed, np.abs(product.sum(axis=1)))
    row = log_size + np.log(np.linalg.norm(product.sum(axis=0)))
    close(lg.gain_budget(chain, ones).log_norm, row - np.log(N) / 2)
    cotangents = lg.loss_cotangents(lambda states: jnp.sum(states[-1]), chain.trajectory)
    pulled = np.exp(np.asarray(lg.adjoint(chain, cotangents).log_abs()[0]) - log_size)
    close(pulled, np.abs(product.sum(axis=0)))


@pytest.mark.slow
def test_a_step_that_holds_half_precision_itself_is_no_exception():
    held = jnp.asarray(W, jnp.bfloat16)

    def holding(_, s, x):
        return jnp.tanh(held @ s + x)

    found = lg.backward_norms(half_chain("bfloat16", holding)[:20])
    expected = lg.backward_norms(half_chain("bfloat16")[:20])
    assert found.log_norms.dtype == jnp.float32
    np.testing.assert_allclose(found.log_norms, expected.log_norms, rtol=0, atol=1e-5)


def rounded(values):
    return np.asarray(jnp.asarray(values).astype(jnp.bfloat16), np.float64)


def casting(W, s, x):
    """Weights and state in float32, products in half precision, as mixed precision is trained."""
    product = (W.astype(jnp.bfloat16) @ s.astype(jnp.bfloat16)).astype(jnp.float32)
    after = jnp.tanh(product + x)
    narrow, _ = jax.lax.scan(lambda c, _: (c * 1, None), after.astype(jnp.bfloat16), None, 2)
    return jax.lax.cond(x[0] > 9, jnp.sin, lambda c: c, narrow.astype(jnp.float32))


@pytest.mark.slow
def test_a_step_that_casts_to_half_precision_is_differentiated_in_float32():
    """The values that it casts are rounded, and derivatives are not."""
    chain = lg.chain(
        lg.Model(casting, jnp.asarray(W, "float32"), jnp.zeros(N, "float32")),
        jnp.asarray(X, "float32"),
    )
    weights, product, log_size = rounded(chain.model.params), np.eye(N), 0.0
    for state, x in zip(chain.trajectory.states[:-1], X, strict=True):
        slopes = 1 - np.tanh(weights @ rounded(state) + x) ** 2
        product = slopes[:, None] * weights @ product
        size = np.linalg.norm(product)
        product, log_size = product / size, log_size + np.log(size)
    norm = log_size + np.log(np.linalg.norm(product, 2))
    for found in (lg.backward_norms(chain), lg.forward_norms(chain)):
        np.testing.assert_allclose(found.log_norms[-1], norm, rtol=0, atol=2 * T * eps("float32"))


def test_rules_of_their_own_get_the_precision_that_they_are_made_for():
    def step(W, s, x):
        return jax.nn.relu(W @ s.astype(jnp.bfloat16)).astype(jnp.float32) + x

    weights, start = jnp.asarray(W, jnp.bfloat16), jnp.ones(N, jnp.float32)
    chain = lg.chain(lg.Model(step, weights, start), jnp.ones((3, N), jnp.float32))

    def last(s):
        return step(weights, step(weights, step(weights, s, 1.0), 1.0), 1.0)

    found = lg.jacobian(chain)
    assert np.abs(found).max() > 0.01
    np.testing.assert_allclose(found, jax.jacrev(last)(start), rtol=0, atol=4 * eps("bfloat16"))


def diagonal(a, s, x):
    return jax.nn.sigmoid(a + x) * s + x


def test_a_diagonal_in_half_precision():
    a, inputs = jnp.asarray(X[0], jnp.bfloat16), jnp.asarray(X[:20], jnp.bfloat16)
    model = lg.Model(diagonal, a, jnp.ones(N, jnp.bfloat16))
    chain = lg.chain(model, inputs, linearize=lg.linearize_diagonal)
    gates = 1 / (1 + np.exp(-np.asarray(a, np.float64) - np.asarray(inputs, np.float64)))
    expected = np.log(gates).sum(axis=0)
    close = functools.partial(np.testing.assert_allclose, rtol=0, atol=40 * eps("float32"))
    close(np.log(np.diag(lg.jacobian(chain))), expected)
    close(lg.backward_norms(chain).log_norms[-1], expected.max())
    close(np.log(np.diag(lg.jacobian(lg.chain(model, inputs)))), expected)


def mixed(narrow, wide):
    """An LSTM-like step: h in the one precision, c and a clock in the other."""

    def step(params, state, x):
        c = 0.9 * state["c"] + jnp.tanh(params["W"] @ state["h"].astype(wide) + x)
        return {"c": c, "h": jnp.tanh(c).astype(narrow), "time": state["time"] + 0.1}

    params = {"W": jnp.asarray(W, wide)}
    start = {"c": jnp.zeros(N, wide), "h": jnp.zeros(N, narrow), "time": jnp.zeros((), wide)}
    return lg.Model(step, params, start), jnp.asarray(X[:8], wide)


def mixed_product(chain):
    """dc_T/dc_0 of `mixed` in NumPy's float64, at the states that the model visited."""
    states, inputs = chain.trajectory.states, np.asarray(chain.trajectory.inputs, np.float64)
    weights, product = np.asarray(chain.model.params["W"], np.float64), np.eye(2 * N)
    for h, c, x in zip(states["h"][:-1], states["c"][:-1], inputs, strict=True):
        drive = weights @ np.asarray(h, np.float64) + x
        slope = (1 - np.tanh(drive) ** 2)[:, None] * weights
        after = 0.9 * np.asarray(c, np.float64) + np.tanh(drive)
        of_c = np.concatenate([0.9 * np.eye(N), slope], axis=1)
        of_h = (1 - np.tanh(after) ** 2)[:, None] * of_c
        product = np.concatenate([of_c, of_h]) @ product
    return product[:N, :N]


@pytest.mark.parametrize(
    ("narrow", "wide"),
    [("bfloat16", "float32"), slow("float32", "float64"), slow("float16", "float64")],
)
def test_a_state_of_two_precisions(narrow, wide):
    model, inputs = mixed(narrow, wide)
    chain = lg.chain(model, inputs)

    def last(c, params):
        state = model.state | {"c": c}
        for x in inputs:
            state = model.step(params, state, x)
        return state["c"]

    by_state, by_weights = jax.jacrev(last, argnums=(0, 1))(model.state["c"], model.params)
    found = lg.jacobian(chain, of="c", wrt="c")
    assert found.dtype == wide
    rough = {"rtol": 0, "atol": 8 * len(inputs) * eps(narrow)}  # the step itself rounds to it
    np.testing.assert_allclose(found, by_state, **rough)
    profile = lg.backward_norms(chain, of="c", wrt="c")
    np.testing.assert_allclose(profile.log_norms[-1], np.log(np.linalg.norm(by_state, 2)), **rough)
    # What is right to more digits than that: Jacobians in float64 at the model's own states. What
    # the step does in float32 or less is differentiated in float32.
    expected = np.log(np.linalg.norm(mixed_product(chain), 2))
    bound = float(profile.errors[-1]) + len(inputs) * 4 * eps("float32")
    np.testing.assert_allclose(profile.log_norms[-1], expected, rtol=0, atol=bound)
    cotangents = lg.loss_cotangents(lambda states: jnp.sum(states["c"][-1]), chain.trajectory)
    adjoint = lg.adjoint(chain, cotangents).to_array()[0]
    assert adjoint.dtype == wide
    np.testing.assert_allclose(adjoint[:N], np.sum(by_state, axis=0), **rough)
    gradient = lg.contributions(chain, cotangents).gradient["W"]
    scale = np.abs(by_weights["W"]).max()
    np.testing.assert_allclose(gradient / scale, np.sum(by_weights["W"], axis=0) / scale, **rough)


@pytest.mark.slow
def test_complex_and_real_parts_of_two_precisions():
    def step(a, state, x):
        z, r = state
        return (a * z + x, 0.5 * r + x.real.astype(jnp.float32))

    start = (jnp.ones(2, jnp.complex128), jnp.ones(2, jnp.float32))
    inputs = jnp.zeros((4, 2), jnp.complex128)
    chain = lg.chain(lg.Model(step, jnp.asarray(0.5 + 0.5j), start), inputs)
    found = lg.backward_norms(chain, of=0, wrt=0).log_norms
    np.testing.assert_allclose(found, np.arange(5) * np.log(0.5) / 2, rtol=0, atol=1e-14)
    found = lg.backward_norms(chain, of=1, wrt=1).log_norms
    np.testing.assert_allclose(found, np.arange(5) * np.log(0.5), rtol=0, atol=1e-6)
