"""Contributions, maps and truncation of slices, batches and diagonal chains.

Held against the same reading of the stretch of the trajectory, `jax.grad` of the run along it, one
sequence at a time, and the implicit chain.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from registry import D, H, T, jitter, problem

import lstmgrad as lg

CLOSE: dict[str, Any] = {"rtol": 1e-11, "atol": 1e-13}
FUNCTIONS = (lg.contributions, lg.contribution_map, lg.truncation_bias)


@jax.jit
def read(chain, cotangents):
    """Everything that this wing reads off a chain."""
    return lg.adjoint(chain, cotangents), *(function(chain, cotangents) for function in FUNCTIONS)


def loss(states):
    return jnp.sum(jnp.sin(states.h) ** 2) + jnp.sum(states.h[-1] * jnp.arange(1.0, H + 1))


def stretch_of(tree, k, t):
    return jax.tree.map(lambda leaf: leaf[k:t], tree)


def assert_same(got, want, **close):
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(one, other, **(close or CLOSE))


@pytest.mark.slow
def test_a_slice_is_the_stretch_of_the_trajectory():
    given = problem("rnn")
    run = given.run()
    stretch = lg.Trajectory(given.inputs[1:4], stretch_of(run.states, 1, 5))
    chain = given.chain()[1:4]
    assert_same(chain.trajectory, stretch)
    cotangents = lg.loss_cotangents(loss, chain.trajectory)
    got = read(chain, cotangents)
    assert_same(got, read(lg.linearize(given.step, given.params, stretch), cotangents))

    @jax.jit
    @jax.grad
    def whole(params):
        start = jax.tree.map(lambda leaf: leaf[0], stretch.states)
        return loss(lg.unroll(given.step, params, start, stretch.inputs).states)

    assert_same(got[1].gradient, whole(given.params))
    np.testing.assert_allclose(np.sum(got[1].shares), 1, rtol=1e-12)
    assert got[2].log_norms.shape == (3, 3)
    assert got[3].residuals[-1] < 1e-14
    # The model of a slice starts where the slice does.
    assert_same(lg.chain(chain.model, stretch.inputs).trajectory, stretch)


@pytest.mark.slow
def test_batches_of_slices_are_the_loop():
    given = problem("rnn")
    inputs = jax.random.normal(jax.random.key(4), (3, T, D))

    def chain_of(inputs):
        return given._replace(inputs=inputs).chain()[1:4]

    def of_one(inputs):
        chain = chain_of(inputs)
        return read(chain, lg.loss_cotangents(loss, chain.trajectory))

    together = jax.jit(jax.vmap(of_one))(inputs)
    for i in range(3):
        assert_same(jax.tree.map(lambda leaf, i=i: leaf[i], together), of_one(inputs[i]))
    chains = jax.vmap(chain_of)(inputs)
    cotangents = jax.tree.map(jnp.ones_like, chains.trajectory.states)
    assert cotangents.h.shape == (3, 4, H)
    for function in FUNCTIONS:
        with pytest.raises(ValueError, match=r"one trajectory, but got a batch of \(3,\)"):
            function(chains, cotangents)


def test_a_diagonal_chain():
    """Of a loss on the last state, so that all four say the same of each step."""
    cell = lg.cells.min_gru(D, H)
    model = cell.model(jitter(cell.init(jax.random.key(0)), 1))
    inputs = jax.random.normal(jax.random.key(2), (5, D))
    chain = lg.chain(model, inputs, linearize=lg.linearize_diagonal)[1:4]
    assert isinstance(chain, lg.DiagonalChain)

    def last(states):
        return jnp.sum(jnp.sin(states.h[-1]))

    @jax.jit
    @jax.grad
    def whole(params, start):
        return last(lg.unroll(model.step, params, start, inputs[1:4]).states)

    adjoint, found, table, bias = read(chain, lg.loss_cotangents(last, chain.trajectory))
    assert_same(found.gradient, whole(model.params, chain.model.state))
    np.testing.assert_allclose(table.log_norms[-1], found.log_norms, **CLOSE)
    np.testing.assert_allclose(bias.residuals, found.residuals, **CLOSE)
    z = jax.nn.sigmoid((inputs @ model.params.weight_ih.T + model.params.bias[None])[1:4, :H])
    back = np.cumprod(np.asarray(1 - z)[::-1], axis=0)[::-1] * np.cos(chain.trajectory.states.h[-1])
    np.testing.assert_allclose(adjoint.to_array()[:-1], back, **CLOSE)


@pytest.mark.usefixtures("as_installed")
@pytest.mark.parametrize("function", FUNCTIONS)
def test_chains_without_a_model_are_refused(function):
    given = problem("lstm")
    chain = given.chain()
    cotangents = jax.tree.map(jnp.ones_like, given.run().states)
    others = {
        "knows .*got a DenseChain": lg.DenseChain.of(chain),
        "keeps its states, .*got a StreamedChain": lg.stream(*given),
        "knows .*got a RouteChain": lg.routes(chain)["cell"],
        "knows .*got a DiagonalChain": lg.DiagonalChain(
            factors=[jnp.ones((2, 3))], layout=chain.layout
        ),
    }
    for message, other in others.items():
        with pytest.raises(ValueError, match=f"^chain: expected one that {message}"):
            function(other, cotangents)
    with pytest.raises(ValueError, match=r"^chain: expected an lstmgrad Chain, but got Traject"):
        function(given.run(), cotangents)
