"""Depth as time: stacks of layers, and the factors that the gradient's norm has through them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import log_norm

import lstmgrad as lg

CLOSE: dict[str, Any] = {"rtol": 0, "atol": 1e-12}
WIDTHS = (3, 5, 2, 4)


def draw(widths, scale=1.0, seed=0):
    rng = np.random.default_rng(seed)
    pairs = list(zip(widths[1:], widths[:-1], strict=True))
    weights = [scale * rng.normal(size=pair) / np.sqrt(pair[1]) for pair in pairs]
    return weights, [rng.normal(size=rows) for rows, _ in pairs], rng.normal(size=widths[0])


def chain_of(step, weights, biases, x):
    layers = lg.cells.stack_layers(weights, biases)
    return lg.chain(lg.Model(step, None, lg.cells.layer_input(x, layers)), layers)


def composed(weights, biases, activation, x, *, residual=False):
    """The plain Python composition of layers of their own widths."""
    for weight, bias in zip(weights, biases, strict=True):
        x = activation(weight @ x + bias) + (x if residual else 0)
    return x


def test_layers_of_unequal_widths():
    activation = jax.nn.sigmoid
    weights, biases, x = draw(WIDTHS)
    chain = chain_of(lg.cells.plain_layer(activation), weights, biases, x)
    got = np.asarray(lg.jacobian(chain))
    assert got.shape == (5, 5)
    want = jax.jacrev(lambda x: composed(weights, biases, activation, x))(x)
    np.testing.assert_allclose(got[:4, :3], want, **CLOSE)
    assert np.count_nonzero(got) == 12
    h_1 = lg.jacobian(chain[1:])[:4, :5]
    first = composed(weights[:1], biases[:1], activation, x)
    want = jax.jacrev(lambda x: composed(weights[1:], biases[1:], activation, x))(first)
    np.testing.assert_allclose(h_1, want, **CLOSE)


def test_the_norm_at_every_layer_and_the_gradient_of_the_weights():
    """Depth is time: norms by lag, and the weights' gradients as those of inputs."""
    weights, biases, x = draw(WIDTHS)
    chain = chain_of(lg.cells.plain_layer(jnp.tanh), weights, biases, x)
    profile = lg.backward_norms(chain)
    for lag in range(1, 4):
        first = composed(weights[: 3 - lag], biases[: 3 - lag], jnp.tanh, x)
        rest = weights[3 - lag :], biases[3 - lag :]
        want = jax.jacrev(lambda x, rest=rest: composed(rest[0], rest[1], jnp.tanh, x))(first)
        np.testing.assert_allclose(profile.log_norms[lag], log_norm(want), **CLOSE)
    target = jnp.arange(4.0)
    cotangents = lg.loss_cotangents(
        lambda states: jnp.sum((states.h[-1, :4] - target) ** 2), chain.trajectory
    )
    got = lg.contributions(chain, cotangents)

    def loss(weights, biases):
        return jnp.sum((composed(weights, biases, jnp.tanh, x) - target) ** 2)

    by_weights, by_biases = jax.grad(loss, argnums=(0, 1))(weights, biases)
    for layer, (weight, bias) in enumerate(zip(by_weights, by_biases, strict=True)):
        rows, columns = weight.shape
        mine = got.input_gradients.weight[layer]
        np.testing.assert_allclose(mine[:rows, :columns], weight, **CLOSE)
        np.testing.assert_allclose(got.input_gradients.bias[layer, :rows], bias, **CLOSE)
        size = np.log(np.linalg.norm(mine))
        np.testing.assert_allclose(got.input_log_norms.weight[layer], size, **CLOSE)
    assert np.all(got.log_norms == -np.inf)


def test_residual_layers():
    weights, biases, x = draw((4,) * 6)
    chain = chain_of(lg.cells.residual_layer(jnp.tanh), weights, biases, x)
    want = jax.jacrev(lambda x: composed(weights, biases, jnp.tanh, x, residual=True))(x)
    np.testing.assert_allclose(lg.jacobian(chain), want, **CLOSE)
    routes = lg.routes(chain)
    assert list(routes) == ["skip", "branch", "untagged", "crossed"]
    np.testing.assert_array_equal(lg.jacobian(routes["skip"]), np.eye(4))
    assert np.all(lg.jacobian(routes["untagged"]) == 0)
    assert np.all(np.abs(lg.jacobian(routes["crossed"])) < 1e-15)


@pytest.mark.parametrize("depth", [1, 10])
def test_three_factors_a_layer(depth):
    """Three for one layer, thirty for ten: by NumPy, and multiplied back."""
    weights, biases, x = draw((3,) * (depth + 1), seed=depth)
    chain = chain_of(lg.cells.plain_layer(jnp.tanh), weights, biases, x)
    factors = lg.layer_factors(chain)
    numbers = factors.log_slopes, factors.log_weights, factors.log_alignments
    assert sum(len(kind) for kind in numbers) == 3 * depth
    jacobian = jax.jacrev(lambda x: composed(weights, biases, jnp.tanh, x))(x)
    np.testing.assert_allclose(factors.log_norm, log_norm(jacobian), **CLOSE)
    np.testing.assert_allclose(sum(np.sum(kind) for kind in numbers), log_norm(jacobian), **CLOSE)
    outputs = [x]
    for weight, bias in zip(weights, biases, strict=True):
        outputs.append(np.tanh(weight @ outputs[-1] + bias))
    u = np.linalg.svd(jacobian)[0][:, 0]
    for layer in range(depth, 0, -1):
        weight, norm = weights[layer - 1], np.linalg.norm(weights[layer - 1], 2)
        delta = (1 - outputs[layer] ** 2) * u
        slope, before = np.linalg.norm(delta) / np.linalg.norm(u), delta @ weight
        alignment = np.linalg.norm(before) / np.linalg.norm(delta) / norm
        for kind, want in zip(numbers, (slope, norm, alignment), strict=True):
            np.testing.assert_allclose(kind[layer - 1], np.log(want), **CLOSE)
        u = before
    assert np.all(factors.log_slopes <= 0)
    assert np.all(factors.log_alignments <= 1e-15)


@pytest.mark.slow
def test_ten_sigmoid_layers_fall_by_the_bound():
    """‖dh_L/dh_{L-l}‖ <= (σ_max/4)^l, and the residual stack of the same weights does not fall."""
    weights, _, x = draw((8,) * 11, scale=0.7)
    biases = [np.zeros(8)] * 10
    sigma = max(np.linalg.norm(weight, 2) for weight in weights)
    assert sigma < 4
    chain = chain_of(lg.cells.plain_layer(jax.nn.sigmoid), weights, biases, x)
    norms = np.asarray(lg.backward_norms(chain).log_norms)
    bound = np.arange(11) * np.log(sigma / 4)
    assert np.all(norms <= bound + 1e-12)
    assert norms[-1] < -10
    factors = lg.layer_factors(chain)
    assert np.all(factors.log_slopes <= np.log(0.25))
    np.testing.assert_allclose(factors.log_norm, norms[-1], **CLOSE)
    skipped = chain_of(lg.cells.residual_layer(jax.nn.sigmoid), weights, biases, x)
    assert lg.backward_norms(skipped).log_norms[-1] > 0


def test_factors_of_a_loss_and_of_dead_layers():
    weights, x = [np.abs(weight) for weight in draw((3,) * 5)[0]], np.ones(3)
    step = lg.cells.plain_layer(jax.nn.relu)
    cotangent = jnp.asarray([1.0, -2.0, 0.5])
    alive = [np.full(3, 9.0)] * 4
    factors = lg.layer_factors(chain_of(step, weights, alive, x), cotangent)
    back = cotangent @ weights[3] @ weights[2] @ weights[1] @ weights[0]
    want = np.log(np.linalg.norm(back) / np.linalg.norm(cotangent))
    np.testing.assert_allclose(factors.log_norm, want, **CLOSE)
    np.testing.assert_allclose(factors.log_slopes, np.zeros(4), **CLOSE)
    dead = [*alive[:2], np.full(3, -99.0), alive[3]]
    factors = lg.layer_factors(chain_of(step, weights, dead, x), cotangent)
    assert factors.log_slopes[2] == factors.log_norm == -np.inf
    np.testing.assert_array_equal(factors.log_alignments[:3], 0)
    assert factors.log_alignments[3] < 0
    cut = [*weights[:1], np.zeros((3, 3)), *weights[2:]]
    factors = lg.layer_factors(chain_of(step, cut, alive, x), cotangent)
    assert factors.log_weights[1] == factors.log_norm == -np.inf
    np.testing.assert_array_equal(factors.log_alignments[:2], 0)


@pytest.mark.usefixtures("as_installed")
def test_the_same_activation_is_the_same_step():
    assert lg.cells.plain_layer(jnp.tanh) is lg.cells.plain_layer(jnp.tanh)
    assert lg.cells.residual_layer(jnp.tanh) is lg.cells.residual_layer(jnp.tanh)
    assert lg.cells.plain_layer(jnp.tanh) is not lg.cells.residual_layer(jnp.tanh)
    for make in (lg.cells.plain_layer, lg.cells.residual_layer):
        with pytest.raises(ValueError, match="activation: expected a function, but"):
            make(3)  # pyright: ignore[reportArgumentType]


def test_what_is_no_stack_of_plain_layers():
    weights, biases, x = draw((3,) * 3)
    residual = chain_of(lg.cells.residual_layer(jnp.tanh), weights, biases, x)
    for chain in (residual, lg.DenseChain.of(residual)):
        with pytest.raises(ValueError, match="chain: expected that of a stack of plain layers"):
            lg.layer_factors(chain)


@pytest.mark.usefixtures("as_installed")
@pytest.mark.parametrize(
    ("weights", "biases", "message"),
    [
        ([], None, "weights: expected at least one layer"),
        ([np.eye(3), np.eye(2)], None, "float64 matrix of 3 columns in layer 2"),
        ([np.ones(3)], None, "float64 matrix in layer 1, .* but got float64.3."),
        ([np.eye(3, dtype=int)], None, "a floating-point matrix in layer 1"),
        ([np.eye(3), np.eye(3, dtype="float32")], None, "float64 matrix of 3 columns in layer 2"),
        ([np.eye(3)], [np.ones(2)], "biases: expected float64.3. in layer 1"),
        ([np.eye(3)], [np.ones(3, "float32")], "biases: expected float64.3. in layer 1"),
        ([np.eye(3)], [], "biases: expected one for each of the 1 layers, but got 0"),
    ],
)
def test_layers_that_do_not_fit(weights, biases, message):
    with pytest.raises(ValueError, match=message):
        lg.cells.stack_layers(weights, biases)


@pytest.mark.usefixtures("as_installed")
@pytest.mark.parametrize("x", [np.ones(4), np.ones((3, 3)), np.ones(3, "float32")])
def test_inputs_that_do_not_fit(x):
    layers = lg.cells.stack_layers([np.eye(3)])
    with pytest.raises(ValueError, match=r"x: expected a vector float64\[n\] with n <= 3"):
        lg.cells.layer_input(x, layers)
