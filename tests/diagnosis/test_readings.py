"""The numbers that rules read, against gradients of the whole unroll taken by JAX alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import lstmgrad as lg
from lstmgrad._gradients.adjoint import pull_cotangents
from lstmgrad._numeric.scaled import Scaled
from lstmgrad.diagnosis import _gradients, _readings
from lstmgrad.diagnosis._chunks import chunk_bias

N, T, H, D, LAG = 3, 8, 3, 2, 5


@pytest.fixture(scope="module")
def problem():
    """An LSTM on three sequences: chains, parameters and inputs."""
    cell = lg.cells.lstm(D, H, dtype=jnp.float64)
    params = cell.init(jax.random.key(0))
    inputs = 2 * jax.random.normal(jax.random.key(1), (N, T, D))
    model = cell.model(params)
    return model, inputs, jax.vmap(lambda one: lg.chain(model, one))(inputs)


def hidden(model, params, inputs, detached=()):
    """h_1, ..., h_T by a plain loop; no gradient passes the states of the times given."""
    state, found = model.state, []
    for time, x in enumerate(inputs):
        if time in detached:
            state = jax.lax.stop_gradient(state)
        state = model.step(params, state, x)
        found.append(state.h)
    return jnp.stack(found)


def loss_of(outputs):
    weights = jnp.arange(1, H + 1, dtype=jnp.float64)
    return jnp.sum(jnp.sin(outputs @ weights))


def gradients(model, inputs, detached=(), last=True):
    def loss(params, one):
        outputs = hidden(model, params, one, detached)
        return loss_of(outputs[-1:] if last else outputs)

    @jax.jit
    def flat(params, one):
        return ravel_pytree(jax.grad(loss)(params, one))[0]

    return np.stack([flat(model.params, one) for one in inputs])


def cotangents_of(chains, last=True):
    def of(chain):
        def loss(states):
            return loss_of(states.h[-1:] if last else states.h[1:])

        return lg.loss_cotangents(loss, chain.trajectory)

    return _readings.flat_of(jax.vmap(of)(chains), chains.layout, T)


@pytest.fixture(scope="module")
def readings(problem):
    _, _, chains = problem
    flat = cotangents_of(chains)
    assert _readings.loss_is_last(flat)
    return jax.device_get(_readings.read(chains, flat, lag=LAG, last_only=True))


def test_the_far_gradient_is_what_a_detached_state_takes_away(problem, readings):
    model, inputs, _ = problem
    whole = gradients(model, inputs)
    far = whole - gradients(model, inputs, detached=(T - LAG,))
    found = readings.gradients
    sizes = [np.linalg.norm(part, axis=1) for part in (whole, far)]
    np.testing.assert_allclose(found.log_norms, np.log(sizes[0]), atol=1e-10)
    np.testing.assert_allclose(found.far_log_norms, np.log(sizes[1]), atol=1e-10)
    units = [part / size[:, None] for part, size in zip((whole, far), sizes, strict=True)]
    np.testing.assert_allclose(found.cosines, units[0] @ units[0].T, atol=1e-10)
    np.testing.assert_allclose(found.far_cosines, units[1] @ units[1].T, atol=1e-10)
    np.testing.assert_allclose(found.cross_cosines, units[1] @ units[0].T, atol=1e-10)
    np.testing.assert_allclose(readings.tails[:, LAG], np.log(sizes[1] / sizes[0]), atol=1e-10)


def test_the_path_is_the_product_of_the_forget_gates_and_the_slope_that_of_tanh(problem, readings):
    _, _, chains = problem
    forget = readings.values["forget"]
    products = np.log(forget[:, ::-1]).cumsum(axis=1).max(axis=2)
    np.testing.assert_allclose(readings.path.log_norms[:, 1:], products, atol=1e-10)
    cell = np.asarray(chains.trajectory.states.c)[:, -1]
    asked = np.asarray(cotangents_of(chains))[:, -1, :H] ** 2
    slopes = (asked * (1 - np.tanh(cell) ** 2)).sum(axis=1) / asked.sum(axis=1)
    np.testing.assert_allclose(readings.slopes, slopes, rtol=1e-12)


def test_singular_values_are_those_of_the_jacobian(problem, readings):
    _, _, chains = problem
    for index in range(N):
        chain = jax.tree.map(lambda leaf, i=index: leaf[i], chains)
        block = lg.jacobian(chain[T - LAG :], of="h")
        values = np.linalg.svd(np.asarray(block), compute_uv=False)
        np.testing.assert_allclose(readings.spectrum[index], values / values[0], atol=1e-12)


@pytest.mark.parametrize("stride", [pytest.param(1, marks=pytest.mark.slow), 5])
def test_tails_of_a_loss_at_every_step_are_those_of_truncation(problem, stride):
    model, inputs, chains = problem
    chain = jax.tree.map(lambda leaf: leaf[0], chains)
    flat = cotangents_of(chains, last=False)[0]
    assert not _readings.loss_is_last(flat[None])

    @jax.jit
    def tails(chain, flat):
        rows = pull_cotangents(chain, flat)
        rows = Scaled(rows.mantissa[1:], rows.exponent[1:])
        logs, both = _gradients.tails_of(chain, rows, LAG, stride)
        return logs, both.log_abs()

    logs, both = tails(chain, flat)
    expected = lg.truncation_bias(chain, flat).residuals
    np.testing.assert_allclose(np.exp(logs), expected[::stride], atol=1e-10)
    whole = gradients(model, inputs[:1], last=False)[0]
    np.testing.assert_allclose(np.exp(both[0]), np.abs(whole), atol=1e-10)


def test_chunks_are_those_of_a_loop_with_detached_states(problem):
    model, inputs, chains = problem
    flat = cotangents_of(chains, last=False)
    found = chunk_bias(chains, flat, jnp.asarray([1, 3, 8]))
    whole = gradients(model, inputs, last=False)
    for place, length in enumerate((1, 3)):
        cut = gradients(model, inputs, tuple(range(0, T, length)), last=False)
        bias = np.linalg.norm(whole - cut, axis=1) / np.linalg.norm(whole, axis=1)
        np.testing.assert_allclose(found[:, place], bias, atol=1e-10)
    np.testing.assert_allclose(found[:, 2], 0, atol=1e-12)


def test_the_gain_of_a_step_is_its_frobenius_norm():
    cell = lg.cells.rnn(D, H, dtype=jnp.float64)
    chain = lg.chain(cell.model(cell.init(jax.random.key(2))), jnp.ones((T, D)))
    found = jax.jit(_readings._step_gains)(chain)
    assert found is not None
    dense = np.asarray(lg.DenseChain.of(chain).factors)
    np.testing.assert_allclose(found, np.log((dense**2).sum(axis=(1, 2)) / H), atol=1e-12)


@pytest.mark.parametrize(
    ("lag", "length", "stride"), [(200, 201, 2), (7, 64, 1), (60, 640, 10), (3, 2000, 3)]
)
def test_a_stride_divides_the_lag(lag, length, stride):
    assert _gradients.stride_of(lag, length) == stride
