"""Tags, routes, shares and budgets of slices, batches, diagonal chains and layers of a stack.

Held against the same reading of the stretch of the trajectory, of one sequence at a time, of the
implicit chain, and of the layer alone.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from registry import D, H, jitter, problem

import lstmgrad as lg

CLOSE: dict[str, Any] = {"rtol": 1e-11, "atol": 1e-13}


@functools.partial(jax.jit, static_argnames=("part", "tag"))
def read(chain, part, tag):
    """Everything that this wing reads off a chain."""
    routes = lg.routes(chain)
    return {
        "values": lg.tagged_values(chain),
        "path": lg.jacobian(routes[tag], of=part, wrt=part),
        "norms": lg.backward_norms(routes[tag], of=part, wrt=part).log_norms,
        "share": lg.route_shares(chain, {tag: routes[tag]}, of=part, wrt=part).shares[tag],
        "budget": lg.gain_budget(chain, of=part, wrt=part, through=[tag]),
    }


def assert_same(got, want, **close):
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(one, other, **(close or CLOSE))


@pytest.mark.slow
def test_a_slice_is_the_stretch_of_the_trajectory():
    given = problem("lstm")
    chain, run = given.chain(), given.run()
    states = jax.tree.map(lambda leaf: leaf[1:5], run.states)
    by_hand = lg.linearize(given.step, given.params, lg.Trajectory(given.inputs[1:4], states))
    got = read(chain[1:4], "c", "cell")
    assert_same(got, read(by_hand, "c", "cell"))
    # And it is what the whole chain says of these steps: the additive path by its gates.
    whole = lg.tagged_values(chain)
    assert_same(got["values"], jax.tree.map(lambda leaf: leaf[1:4], whole))
    path = np.diag(np.prod(np.asarray(whole["forget"])[1:4], axis=0))
    np.testing.assert_allclose(got["path"], path, **CLOSE)
    for name, route in lg.routes(chain).items():
        assert_same(route[1:4], lg.routes(by_hand)[name], rtol=0, atol=0)


@pytest.mark.slow
def test_batches_of_slices_are_the_loop():
    given = problem("lstm")
    inputs = jax.random.normal(jax.random.key(4), (3, *given.inputs.shape))

    def chain_of(inputs):
        return given._replace(inputs=inputs).chain()

    together = jax.jit(jax.vmap(lambda inputs: read(chain_of(inputs)[1:4], "c", "cell")))(inputs)
    for i in range(3):
        one = read(chain_of(inputs[i])[1:4], "c", "cell")
        assert_same(jax.tree.map(lambda leaf, i=i: leaf[i], together), one)
    # A batch that was made before is read inside of a vmap, and refused outside of it.
    chains = jax.vmap(chain_of)(inputs)
    values = jax.vmap(lambda chain: lg.tagged_values(chain[1:4]))(chains)
    assert_same(values, together["values"])
    for function in (lg.routes, lg.tagged_values, lg.gain_budget):
        with pytest.raises(ValueError, match=r"one trajectory, but got a batch of \(3,\)"):
            function(chains)


def test_a_diagonal_chain_is_the_implicit_one():
    cell = lg.cells.min_gru(D, H)
    model = cell.model(jitter(cell.init(jax.random.key(0)), 1))
    inputs = jax.random.normal(jax.random.key(2), (5, D))
    chain = lg.chain(model, inputs, linearize=lg.linearize_diagonal)
    assert isinstance(chain, lg.DiagonalChain)
    got = read(chain[1:4], "h", "carry")
    assert_same(got, read(lg.chain(model, inputs)[1:4], "h", "carry"))
    z = jax.nn.sigmoid((inputs @ model.params.weight_ih.T + model.params.bias[None])[1:4, :H])
    np.testing.assert_allclose(got["path"], np.diag(np.prod(1 - np.asarray(z), axis=0)), **CLOSE)


@pytest.mark.usefixtures("as_installed")
@pytest.mark.parametrize("function", [lg.routes, lg.tagged_values])
def test_chains_without_a_model_are_refused(function):
    given = problem("lstm")
    chain = given.chain()
    others = {
        "DenseChain": lg.DenseChain.of(chain),
        "StreamedChain": lg.stream(*given),
        "RouteChain": lg.routes(chain)["cell"],
        "DiagonalChain": lg.DiagonalChain(factors=[jnp.ones((2, 3))], layout=chain.layout),
    }
    for kind, other in others.items():
        with pytest.raises(ValueError, match=f"^chain: expected one that knows .*got a {kind}"):
            function(other)
    with pytest.raises(ValueError, match=r"^chain: expected an lstmgrad Chain, but got tuple"):
        function((given.step, given.params, given.run()))


LONG = 200
TAGS = ("cell", "forget")


def layers_of(kept: float) -> tuple[lg.Chain, lg.Chain]:
    """An LSTM on a layer that keeps this share of its state; and the LSTM alone, on the same run.

    In float32, with the share as a parameter, so that both shares are one program.
    """
    cell = lg.cells.lstm(H, H, dtype=jnp.float32)
    params = cell.init(jax.random.key(0))
    upper = cell.model(params._replace(bias=params.bias.at[H : 2 * H].set(-1.0)))
    start = lg.cells.RNNState(jnp.zeros(H, jnp.float32))
    lower = lg.Model(keeping, jnp.asarray(kept, jnp.float32), start)
    inputs = jax.random.normal(jax.random.key(2), (LONG, H), jnp.float32)
    chain = lg.chain(lg.interop.stack([lower, upper]), inputs)
    return chain, lg.chain(upper, chain.trajectory.states.h0[1:])


def keeping(kept, state, x):
    return lg.cells.RNNState(kept * lg.tag(state.h, "cell") + (1 - kept) * x)


@pytest.mark.slow
@pytest.mark.parametrize("kept", [0.999, 0.5])
def test_an_upper_layer_reads_as_if_it_were_alone(kept):
    """Law 7: with a slow layer below, whose own norm is e^100 times that of the one above."""
    chain, alone = layers_of(kept)
    got = lg.gain_budget(chain, of="c1", wrt="c1", through=TAGS)
    want = lg.gain_budget(alone, of="c", wrt="c", through=TAGS)
    close: dict[str, Any] = {"rtol": 1e-5, "atol": 1e-4}
    assert_same(got.station_log_gains, want.station_log_gains, **close)
    assert_same((got.log_projection, got.log_norm), (want.log_projection, want.log_norm), **close)
    assert np.all(np.isfinite(got.log_gains))
    some, one = ({name: lg.routes(each)[name] for name in TAGS[:1]} for each in (chain, alone))
    shares = lg.route_shares(chain, some, of="c1", wrt="c1")
    want = lg.route_shares(alone, one, of="c", wrt="c")
    assert_same((shares.shares, shares.log_norm), (want.shares, want.log_norm), **close)
    assert got.log_norm < -100 < np.log(np.finfo(np.float32).tiny)  # and that of the lower: -0.2


def test_a_tag_of_a_layer_that_is_not_on_the_path():
    """Nothing passes it, so all of the gradient bypasses it."""

    def step(params, state, x):
        below, above = state
        return lg.tag(0.5 * below, "below"), lg.tag(0.25 * above, "above") + below + x

    chain = lg.chain(lg.Model(step, None, (jnp.ones(2), jnp.ones(2))), jnp.ones((3, 2)))
    gains = lg.gain_budget(chain, of=1, wrt=1, through=["below", "above"]).station_log_gains
    np.testing.assert_array_equal(gains["below"], np.zeros(3))
    np.testing.assert_array_equal(gains["above"], np.zeros(3))
    np.testing.assert_allclose(gains["state"], np.full(3, np.log(0.25)), rtol=1e-14)
