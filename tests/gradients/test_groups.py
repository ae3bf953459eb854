"""Gradients of parts that do not act on one another: none pushes another out of range.

Held against `jax.grad` in float64 with a copy of the parameters for each step, unscaled: e^-709 is
its end, e^-87 that of float32.
"""

import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from registry import D, H, jitter, slow

import lstmgrad as lg

LONG = 150
# The two layers of the case that was wrong, and three of a cell that compiles faster.
LSTM_BIASES = (6.0, -1.0)
LEAKS = (0.7, 0.01, 0.7)
KINDS = {2: (("float32", 1e-5),), 3: (("float64", 1e-12), ("float32", 1e-5))}


def lstm_layers() -> Iterator[lg.Model]:
    for index, bias in enumerate(LSTM_BIASES):
        cell = lg.cells.lstm(H if index else D, H, dtype=jnp.float32)
        params = cell.init(jax.random.key(index))
        yield cell.model(params._replace(bias=params.bias.at[H : 2 * H].set(bias)))


def leaky_layers() -> Iterator[lg.Model]:
    weak = jax.nn.initializers.normal(0.1)
    for index, leak in enumerate(LEAKS):
        size = H if index else D
        cell = lg.cells.leaky_rnn(size, H, leak=leak, recurrent_init=weak, dtype=jnp.float32)
        yield cell.model(cell.init(jax.random.key(index)))


def stack_of(depth: int, dtype: Any) -> tuple[lg.Model, jax.Array]:
    """Layers, slow ones and fast ones, from a start that is not zero."""
    model = lg.interop.stack([*(lstm_layers() if depth == 2 else leaky_layers())])
    model = model._replace(state=jitter(model.state, 7, 0.1))
    inputs = jax.random.normal(jax.random.key(9), (LONG, D), jnp.float32)
    params, state, inputs = jax.tree.map(
        lambda leaf: leaf.astype(dtype), (model.params, model.state, inputs)
    )
    return lg.Model(model.step, params, state), inputs


def by_copies(model: lg.Model, inputs: Any, loss: Any) -> tuple[Any, Any]:
    """What every step adds to the gradient of a loss on the last state, time on axis 0."""
    length = len(inputs)
    copies = jax.tree.map(lambda leaf: jnp.stack([leaf] * length), model.params)

    @jax.jit
    @functools.partial(jax.grad, argnums=(0, 1))
    def gradient(copies, inputs):
        def body(state, own):
            return model.step(own[0], state, own[1]), None

        return loss(jax.lax.scan(body, model.state, (copies, inputs))[0])

    return gradient(copies, inputs)


def log_norms(leaf: Any) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.log(np.linalg.norm(np.asarray(leaf, np.float64).reshape(len(leaf), -1), axis=1))


def contributions_of(model: lg.Model, inputs: Any, loss: Any) -> lg.Contributions:
    chain = lg.chain(model, inputs)

    def last(states):
        return loss(jax.tree.map(lambda leaf: leaf[-1], states))

    return lg.contributions(chain, lg.loss_cotangents(last, chain.trajectory))


def assert_trees_close(got, want, **close):
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(one, other, **close)


@pytest.mark.parametrize("depth", [2, slow(3)])
def test_layers_of_a_stack(depth):
    def loss(state):
        return jnp.sum(jnp.cos(getattr(state, f"h{depth - 1}")))

    double = stack_of(depth, "float64")
    parts, input_parts = by_copies(*double, loss)
    want, want_inputs = jax.tree.map(log_norms, (parts, input_parts))
    # The layers are further apart than the range of float32.
    first = [log_norms(layer.bias)[0] for layer in parts]
    assert max(first) - min(first) > 100 > -np.log(np.finfo("float32").tiny)
    sums = jax.tree.map(lambda leaf: np.asarray(leaf).sum(axis=0), parts)
    rows = np.concatenate([leaf.reshape(LONG, -1) for leaf in jax.tree.leaves(parts)], axis=1)
    whole = rows.sum(axis=0)
    shares = rows @ whole / (whole @ whole)
    for kind, exact in KINDS[depth]:
        got = contributions_of(*stack_of(depth, kind), loss)
        close: dict[str, Any] = {"rtol": exact, "atol": 10 * exact}
        # The run in float32 is another one, and a part that nearly cancels feels it.
        logs: dict[str, Any] = {"rtol": exact, "atol": 1e-10 if kind == "float64" else 1e-3}
        assert_trees_close(got.leaf_log_norms, want, **logs)
        np.testing.assert_allclose(got.input_log_norms, want_inputs, **logs)
        np.testing.assert_allclose(got.log_norms, log_norms(rows), **logs)
        np.testing.assert_allclose(got.shares, shares, **close)
        np.testing.assert_allclose(np.sum(got.shares), 1, rtol=exact)
        size = np.abs(whole).max()
        assert_trees_close(got.gradient, sums, rtol=0, atol=exact * size)
        assert all(leaf.dtype == kind for leaf in jax.tree.leaves(got))


class Two(NamedTuple):
    up: Any
    down: Any


def apart(params, state, x):
    """Two parts that stay at 1, with w = 2 and x = -1, or both 1/2: step t adds w^(T-t)."""
    return Two(*(w * part + y for w, part, y in zip(params, state, x, strict=True)))


@pytest.mark.parametrize("linearize", [lg.linearize, slow(lg.linearize_diagonal)])
def test_an_exploding_part_leaves_the_sum_of_the_other(linearize):
    """In float32 the one gradient is 2^300, beyond the range, and the other is 2."""
    length = 300
    one, two = jnp.ones(1, "float32"), jnp.full(1, 2, "float32")
    model = lg.Model(apart, Two(two, 1 / two), Two(one, one))
    inputs = Two(jnp.full((length, 1), -one), jnp.full((length, 1), one / two))
    chain = lg.chain(model, inputs, linearize=linearize)
    cotangents = lg.loss_cotangents(lambda s: jnp.sum(s.up[-1] + s.down[-1]), chain.trajectory)
    got = lg.contributions(chain, cotangents)
    back = np.arange(length - 1, -1, -1) * np.log(2)
    np.testing.assert_allclose(got.leaf_log_norms.down, -back, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(got.leaf_log_norms.up, back, rtol=1e-5, atol=1e-4)
    assert got.gradient.up == np.inf
    assert got.gradient.down == 2
    np.testing.assert_allclose(np.sum(got.shares), 1, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["slstm", "mlstm"])
def test_cells_of_several_groups(name):
    """Their parts act on one another in one direction, and the stabilizer m on none."""
    cell = lg.cells.registry()[name](D, H)
    model = cell.model(jitter(cell.init(jax.random.key(0)), 1))
    inputs = jax.random.normal(jax.random.key(2), (6, D))

    def loss(state):
        return sum(jnp.sum(jnp.sin(leaf)) for leaf in (state.h, state.c, state.n))

    got = contributions_of(model, inputs, loss)
    parts, input_parts = by_copies(model, inputs, loss)
    assert_trees_close(
        got.gradient, jax.tree.map(lambda leaf: leaf.sum(axis=0), parts), rtol=1e-12, atol=1e-13
    )
    close: dict[str, Any] = {"rtol": 1e-11, "atol": 1e-11}
    assert_trees_close(got.leaf_log_norms, jax.tree.map(log_norms, parts), **close)
    np.testing.assert_allclose(got.input_gradients, input_parts, rtol=1e-12, atol=1e-13)


class Trained(NamedTuple):
    """The upper part is trained, the lower one is not."""

    frozen: Any
    upper: Any


def on_a_frozen_part(upper, state, x):
    frozen = 0.999 * state.frozen + 0.001 * x
    return Trained(frozen, jnp.tanh(upper * state.upper + frozen))


@pytest.mark.slow
def test_a_frozen_part_beside_does_not_count():
    """The part that is read by the loss, too, and remembers, while the trained one forgets."""
    weights = jnp.full(2, 0.1, "float32")
    start = Trained(*jnp.ones((2, 2), "float32"))
    inputs = jax.random.normal(jax.random.key(0), (60, 2), "float32")
    chain = lg.chain(lg.Model(on_a_frozen_part, weights, start), inputs)

    def loss(states):
        return jnp.sum(states.upper[-1]) + jnp.sum(states.frozen[-1])

    cotangents = lg.loss_cotangents(loss, chain.trajectory)
    want = lg.contributions(chain, cotangents)
    assert -np.inf < want.log_norms[0] < np.log(np.finfo("float32").tiny)
    table = lg.contribution_map(chain, cotangents, every=60)
    np.testing.assert_allclose(table.log_norms[0], want.log_norms, rtol=1e-5)
    model, longer = chain_in_float64(chain)
    exact, _ = by_copies(model, longer, lambda state: jnp.sum(state.upper))
    np.testing.assert_allclose(want.log_norms, log_norms(exact), rtol=1e-4)
    np.testing.assert_allclose(np.sum(want.shares), 1, rtol=1e-5)
    bias = lg.truncation_bias(chain, cotangents, max_length=20)
    np.testing.assert_allclose(bias.residuals[:6], want.residuals[:6], rtol=1e-4, atol=1e-6)


def chain_in_float64(chain: lg.Chain) -> Any:
    arguments = chain.model, chain.trajectory.inputs
    return jax.tree.map(lambda leaf: leaf if callable(leaf) else leaf.astype("float64"), arguments)


@pytest.mark.slow
def test_parameters_and_inputs_that_nothing_depends_on():
    chain = lg.chain(lg.Model(lambda params, s, x: 0.5 * s, jnp.ones(2), jnp.ones(3)), jnp.ones(4))
    cotangents = lg.loss_cotangents(lambda states: jnp.sum(states), chain.trajectory)
    got = lg.contributions(chain, cotangents)
    np.testing.assert_array_equal(got.gradient, np.zeros(2))
    np.testing.assert_array_equal(got.input_gradients, np.zeros(4))
    np.testing.assert_array_equal(got.log_norms, np.full(4, -np.inf))
    assert np.all(np.isnan(got.shares))
    table = lg.contribution_map(chain, cotangents).log_norms
    assert np.all(table[np.tril_indices(4)] == -np.inf)
