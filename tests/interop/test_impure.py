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
    "layer",
    [nn.Dropout(0.2, deterministic=False), nn.BatchNorm(use_running_average=False)],
    ids=["dropout", "batch norm"],
)
def test_a_linen_module_that_is_not_pure_is_named(layer):
    cell, key = Dropping(layer), jax.random.key(0)
    variables = cell.init({"params": key, "dropout": key}, ZERO, X[0])
    model = lg.interop.from_linen(cell, variables, state=ZERO)
    with pytest.raises(ValueError, match="cell: expected one whose step is a function of its argu"):
        lg.chain(model, X)


def test_the_way_out_that_is_named_for_linen_works():
    cell, key = Dropping(nn.Dropout(0.2, deterministic=False)), jax.random.key(0)
    variables = cell.init({"params": key, "dropout": key}, ZERO, X[0])

    def step(variables, carry, x):
        return cell.apply(variables, carry, x[0], rngs={"dropout": x[1]})[0]

    keys = jax.random.split(key, len(X))
    chain = lg.chain(lg.Model(step, variables, ZERO), (X, keys))
    carry = ZERO
    for x in zip(X, keys, strict=True):
        carry = step(variables, carry, x)
    np.testing.assert_allclose(chain.trajectory.states[-1], carry, rtol=1e-5, atol=1e-6)


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


@pytest.mark.slow
def test_a_haiku_core_that_draws_random_numbers_is_named():
    with jax.numpy_dtype_promotion("standard"):  # Haiku multiplies numbers by booleans
        params = hk.transform(network).init(jax.random.key(0), X)
    with pytest.raises(ValueError, match="core: expected one whose step is a function of its argu"):
        lg.chain(lg.interop.from_haiku(DroppingCore, params), X)
