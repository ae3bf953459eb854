"""Modules that draw random numbers or write into themselves: read as they are, or named."""

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from registry import slow

import lstmgrad as lg

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import haiku as hk
    from flax import linen as nn
    from flax import nnx

X = jax.random.normal(jax.random.key(0), (12, 3), jnp.float32)
ZERO = jnp.zeros(4, jnp.float32)


class Changing(nnx.Module):
    """A GRU behind a layer that changes in every call."""

    def __init__(self, extra):
        rngs = nnx.Rngs(0)
        self.gru, self.extra = nnx.GRUCell(3, 4, rngs=rngs), extra
        if extra == "dropout":
            self.layer = nnx.Dropout(0.2, rngs=rngs)
        elif extra == "batch norm":
            self.layer = nnx.BatchNorm(3, rngs=rngs)
        else:
            self.count = nnx.Variable(jnp.array(0, jnp.int32))

    def __call__(self, carry, x):
        if self.extra == "counter":
            self.count[...] = self.count[...] + 1
        else:
            x = self.layer(x[None])[0]
        return self.gru(carry, x)


@pytest.mark.parametrize("extra", ["dropout", slow("batch norm"), slow("counter")])
def test_what_an_nnx_module_changes_is_forgotten(extra):
    """Against calls of a fresh copy, one after the other."""
    module = Changing(extra)
    graph, weights = nnx.split(Changing(extra))
    chain = lg.chain(lg.interop.from_nnx(module, state=ZERO), X)
    carry = ZERO
    for x in X:
        carry, _ = nnx.merge(graph, weights, copy=True)(carry, x)
    np.testing.assert_allclose(chain.trajectory.states[-1], carry, rtol=1e-5, atol=1e-6)
    assert np.isfinite(np.asarray(lg.backward_norms(chain).log_norms)).all() or extra != "dropout"
    for own, kept in zip(
        jax.tree.leaves(nnx.state(module, nnx.Not(nnx.RngKey))),
        jax.tree.leaves(nnx.state(Changing(extra), nnx.Not(nnx.RngKey))),
        strict=True,
    ):
        np.testing.assert_array_equal(own, kept)  # the module that was handed over is as it was


class Dropping(nn.Module):
    layer: Any

    @nn.compact
    def __call__(self, carry, x):
        return nn.GRUCell(4)(carry, self.layer(x[None])[0])


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (nn.Dropout(0.2, deterministic=False), "cell: expected a cell that draws no random.*keys="),
        (nn.BatchNorm(use_running_average=False), "cell: expected a cell that leaves its variable"),
    ],
    ids=["dropout", "batch norm"],
)
def test_a_linen_module_that_is_not_pure_is_named(layer, message):
    cell, key = Dropping(layer), jax.random.key(0)
    variables = cell.init({"params": key, "dropout": key}, ZERO, X[0])
    model = lg.interop.from_linen(cell, variables, state=ZERO)
    with pytest.raises(ValueError, match=message):
        lg.chain(model, X)


KEYS = jax.random.split(jax.random.key(5), len(X))


def assert_runs_like(model, run):
    """Every state is that of calls with the same keys, and so is ds_T/ds_0."""
    chain = lg.chain(model, (X, KEYS))

    def last(carry):
        for x, key in zip(X, KEYS, strict=True):
            carry = run(carry, x, key)
        return carry

    expected, jacobian = last(model.state), jax.jacrev(last)(model.state)
    np.testing.assert_allclose(chain.trajectory.states[-1], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(lg.jacobian(chain), jacobian, rtol=0, atol=1e-5)
    other = lg.chain(model, (X, KEYS[::-1])).trajectory.states[-1]
    assert np.abs(other - expected).max() > 1e-3  # the masks are those of the keys
    with pytest.raises(ValueError, match="inputs: expected a pair of inputs and random keys"):
        lg.chain(model, X)


def test_keys_of_dropout_in_linen():
    cell, key = Dropping(nn.Dropout(0.2, deterministic=False)), jax.random.key(0)
    variables = cell.init({"params": key, "dropout": key}, ZERO, X[0])
    model = lg.interop.from_linen(cell, variables, state=ZERO, keys="inputs")

    def run(carry, x, key):
        return cell.apply(variables, carry, x, rngs={"dropout": key})[0]

    assert_runs_like(model, run)


def test_keys_of_dropout_in_nnx():
    module = Changing("dropout")
    model = lg.interop.from_nnx(module, state=ZERO, keys="inputs")
    graph, weights = nnx.split(Changing("dropout"))

    def run(carry, x, key):
        fresh = nnx.merge(graph, weights, copy=True)
        nnx.reseed(fresh, default=key)
        return fresh(carry, x)[0]

    assert_runs_like(model, run)
    with pytest.raises(ValueError, match="keys: expected None, because the cell has no random str"):
        lg.interop.from_nnx(Changing("counter"), state=ZERO, keys="inputs")


@pytest.mark.usefixtures("as_installed")
def test_keys_come_with_the_inputs():
    other: Any = "state"
    for call in (
        lambda: lg.interop.from_nnx(Changing("dropout"), state=ZERO, keys=other),
        lambda: lg.interop.from_haiku(DroppingCore, {"lstm": {}}, keys=other),
    ):
        with pytest.raises(ValueError, match="keys: expected 'inputs' or None, but got 'state'"):
            call()


class DroppingCore(hk.RNNCore):
    def __init__(self):
        super().__init__()
        self.lstm = hk.LSTM(4)

    def __call__(self, inputs, prev_state):
        return self.lstm(hk.dropout(hk.next_rng_key(), 0.2, inputs), prev_state)

    def initial_state(self, batch_size) -> Any:
        return self.lstm.initial_state(batch_size)


def network(inputs):
    core = DroppingCore()
    return hk.dynamic_unroll(core, inputs, core.initial_state(None))


def test_keys_of_dropout_in_haiku():
    with jax.numpy_dtype_promotion("standard"):  # Haiku multiplies numbers by booleans
        params = hk.transform(network).init(jax.random.key(0), X)
        model = lg.interop.from_haiku(DroppingCore, params, keys="inputs")
        chain = lg.chain(model, (X, KEYS))
        run = hk.transform(lambda x, state: DroppingCore()(x, state))
        state = hk.LSTMState(ZERO, ZERO)
        for x, key in zip(X, KEYS, strict=True):
            _, state = run.apply(params, key, x, state)
        found = chain.trajectory.states
        np.testing.assert_allclose(found.h[-1], state.hidden, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found.c[-1], state.cell, rtol=1e-5, atol=1e-6)
        with pytest.raises(ValueError, match="core: expected a cell that draws no random numbers"):
            lg.chain(lg.interop.from_haiku(DroppingCore, params), X)
