"""Which step lost the gradient, and to what: gains that add up to ln σ."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import eps, log_norm, loop_product
from registry import H, Problem, T, chain_of, plain_and_gated, problem, random_chain, slow

import lstmgrad as lg

CLOSE: dict[str, Any] = {"rtol": 0, "atol": 1e-10}
LONG = 100


def tags_of(name):
    return {"lstm": ("cell", "forget"), "gru": ("carry",)}.get(name, ("recurrent",))


def dense_of(name: str) -> lg.DenseChain:
    return lg.DenseChain.of(problem(name).chain())


def assert_adds_up(budget, log_sigma):
    total = (
        sum(np.sum(gains) for gains in budget.station_log_gains.values()) + budget.log_projection
    )
    np.testing.assert_allclose(budget.log_norm, log_sigma, **CLOSE)
    np.testing.assert_allclose(total, log_sigma, **CLOSE)


@plain_and_gated
def test_the_gains_add_up_to_the_norm(name):
    chain = chain_of(name)
    budget = lg.gain_budget(chain, through=tags_of(name))
    assert set(budget.station_log_gains) == {*tags_of(name), "state"}
    assert {gains.shape for gains in budget.station_log_gains.values()} == {(T,)}
    assert_adds_up(budget, log_norm(loop_product(dense_of(name).factors)))
    assert budget.log_projection == 0
    total = budget.log_projection + np.sum(budget.log_gains)
    np.testing.assert_allclose(total, budget.log_norm, **CLOSE)


@pytest.mark.parametrize(("of", "wrt"), [("h", "h"), slow("c", "h"), slow("c", "c"), (None, "c")])
def test_the_gains_of_a_block_add_up(of, wrt):
    chain = dense_of("lstm")
    rows, columns = chain.layout.block(of, "of"), chain.layout.block(wrt, "wrt")
    budget = lg.gain_budget(chain, of=of, wrt=wrt)
    assert (budget.of, budget.wrt) == (of, wrt)
    assert_adds_up(budget, log_norm(loop_product(chain.factors)[rows, columns]))
    assert budget.log_projection < 0


def test_the_gains_of_a_loss_by_numpy():
    chain = chain_of("lstm")
    cotangent = jnp.cos(jnp.arange(2.0 * H))
    budget = lg.gain_budget(chain, cotangent, of="c", wrt="h", through=["output"])
    u, lengths = np.where(np.arange(2 * H) < H, 0, cotangent), []
    for factor in np.asarray(dense_of("lstm").factors)[::-1]:
        lengths.append(np.linalg.norm(u @ factor) / np.linalg.norm(u))
        u = u @ factor
    np.testing.assert_allclose(budget.log_gains, np.log(lengths[::-1]), **CLOSE)
    projection = np.log(np.linalg.norm(u[:H]) / np.linalg.norm(u))
    np.testing.assert_allclose(budget.log_projection, projection, **CLOSE)
    assert_adds_up(budget, np.log(lengths).sum() + projection)
    # A loss of another size has the same gains, and parts that are not asked for do not count.
    other = (-7 * cotangent).at[:H].set(100.0)
    again = lg.gain_budget(chain, other, of="c", wrt="h", through=["output"])
    for got, want in zip(jax.tree.leaves(again), jax.tree.leaves(budget), strict=True):
        np.testing.assert_allclose(got, want, **CLOSE)


def test_activation_and_weights_of_a_plain_network():
    """‖φ'(z) ⊙ u‖/‖u‖ and ‖Wᵀδ‖/‖δ‖ from W and φ' by NumPy."""
    given = problem("rnn")
    budget = lg.gain_budget(given.chain(), through="recurrent")
    W, U, b = (np.asarray(leaf) for leaf in given.params)
    states = np.asarray(given.run().states.h)
    u = np.linalg.svd(loop_product(dense_of("rnn").factors))[0][:, 0]
    for t in range(T, 0, -1):
        slope = 1 - np.tanh(W @ given.inputs[t - 1] + U @ states[t - 1] + b) ** 2
        delta = slope * u
        activation = np.log(np.linalg.norm(delta) / np.linalg.norm(u))
        u = delta @ U
        weights = np.log(np.linalg.norm(u) / np.linalg.norm(delta))
        np.testing.assert_allclose(
            budget.station_log_gains["recurrent"][t - 1], activation, **CLOSE
        )
        np.testing.assert_allclose(budget.station_log_gains["state"][t - 1], weights, **CLOSE)
    assert np.all(budget.station_log_gains["recurrent"] < 0)


def test_a_dense_chain_beyond_the_range():
    """Copies of g Q with Q orthogonal gain ln g at every step."""
    rotation, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    for gain, dtype in ((1e-3, "float32"), (1e3, "float64")):
        chain = lg.DenseChain(jnp.asarray(np.tile(gain * rotation, (LONG, 1, 1)), dtype))
        budget = lg.gain_budget(chain)
        rounding = 8 * eps(dtype) * abs(np.log(gain))
        np.testing.assert_allclose(
            budget.log_gains, np.full(LONG, np.log(gain)), rtol=0, atol=rounding
        )
        np.testing.assert_allclose(budget.log_norm, LONG * np.log(gain), rtol=8 * eps(dtype))


def test_a_gradient_that_dies():
    """At the step where it dies -inf, before that (seen from the end) what it was, behind it 0."""
    factors = jax.random.normal(jax.random.key(0), (T, 3, 3)).at[2].set(0.0)
    budget = lg.gain_budget(lg.DenseChain(factors), jnp.ones(3))
    assert budget.log_gains[2] == budget.log_norm == -np.inf
    np.testing.assert_array_equal(budget.log_gains[:2], 0)
    assert np.all(np.isfinite(budget.log_gains[3:]))
    nothing = lg.gain_budget(random_chain(3), jnp.zeros(3))
    assert np.isnan(nothing.log_norm)
    np.testing.assert_array_equal(nothing.log_gains, 0)


@pytest.mark.parametrize("declared", [True, False])
def test_a_projection_onto_nothing(declared):
    """The steps gain what they do, and nothing of it is in the part: known only where declared.

    Of matrices alone nobody can tell a zero from what has left the range of the dtype.
    """
    layout = chain_of("lstm").layout
    dependence = ((True, False), (False, True)) if declared else None
    blocks = np.zeros((4, 2 * H, 2 * H))
    blocks[:, :H, :H] = blocks[:, H:, H:] = 2 * np.eye(H)
    chain = lg.DenseChain(blocks, layout=layout, dependence=dependence)
    budget = lg.gain_budget(chain, of="h", wrt="c")
    want = -np.inf if declared else np.nan
    np.testing.assert_array_equal([budget.log_projection, budget.log_norm], [want, want])
    np.testing.assert_allclose(budget.log_gains, np.full(4, np.log(2)), rtol=1e-14)


def bypassing(params, s, x):
    """A tag that carries nothing where x < 0, and all of it goes round it."""
    return 0.5 * s + lg.tag(jax.nn.relu(x) * jnp.sin(s), "sometimes")


def test_a_tag_that_all_of_the_gradient_bypasses():
    inputs = jnp.asarray([1.0, -1.0, 2.0])
    trajectory = lg.unroll(bypassing, None, jnp.ones(3), inputs)
    chain = lg.linearize(bypassing, None, trajectory)
    budget = lg.gain_budget(chain, through="sometimes")
    assert_adds_up(budget, log_norm(loop_product(lg.DenseChain.of(chain).factors)))
    assert budget.station_log_gains["sometimes"][1] == 0
    np.testing.assert_allclose(budget.station_log_gains["state"][1], np.log(0.5), rtol=1e-14)


@pytest.mark.slow
def test_the_step_where_a_forget_gate_is_closed():
    """A bias of -20 at t = 60 costs the cell route 20 nats there, and only there."""
    free, at = problem("lstm", length=LONG), 60
    shut = jnp.zeros((LONG, 1)).at[at - 1].set(-20.0)

    def step(params, state, x):
        bias = params.bias.at[H : 2 * H].add(x[-1])
        return free.step(params._replace(bias=bias), state, x[:-1])

    given = Problem(step, free.params, free.state, jnp.concatenate([free.inputs, shut], axis=1))
    route = lg.routes(given.chain())["cell"]
    gain = np.asarray(lg.gain_budget(route, of="c", wrt="c").log_gains)
    assert np.argmin(gain) == at - 1
    assert -26 < gain[at - 1] < -16
    assert np.delete(gain, at - 1).min() > -4
    forget = np.diagonal(lg.DenseChain.of(route).factors[:, H:, H:], axis1=1, axis2=2)
    sigma = np.log(forget).sum(axis=0).max()
    np.testing.assert_allclose(lg.gain_budget(route, of="c", wrt="c").log_norm, sigma, **CLOSE)
    # What the loss at T says to the weights stops there as well.
    cotangents = lg.loss_cotangents(lambda states: jnp.sum(states.c[-1]), given.run())
    routed = lg.adjoint(route, cotangents).log_abs()[:, H:]
    lost = np.asarray(routed.max(axis=1))
    assert np.argmax(np.diff(lost)) == at - 1
    assert np.diff(lost)[at - 1] > 16


@pytest.mark.slow
def test_batched_gains():
    given = problem("rnn")
    inputs = jax.random.normal(jax.random.key(3), (3, *given.inputs.shape))

    def read(inputs):
        chain = given._replace(inputs=inputs).chain()
        return lg.gain_budget(chain, through=["recurrent"])

    together = jax.jit(jax.vmap(read))(inputs)
    for i in range(3):
        for got, want in zip(
            jax.tree.leaves(together), jax.tree.leaves(read(inputs[i])), strict=True
        ):
            np.testing.assert_allclose(got[i], want, **CLOSE)
    assert together.log_gains.shape == (3, T)


def test_a_broken_trajectory_reads_as_nan():
    given = problem("rnn-relu")
    given = given._replace(inputs=given.inputs.at[2].set(jnp.nan))
    budget = lg.gain_budget(given.chain(), through="recurrent")
    assert np.isnan(budget.log_norm)


@jax.custom_jvp
def own_rule(s):
    return lg.tag(jnp.sin(s), "ruled")


own_rule.defjvp(lambda primals, tangents: (own_rule(*primals), jnp.cos(primals[0]) * tangents[0]))


def looping(params, s, x):
    looped, _ = jax.lax.scan(lambda c, _: (lg.tag(jnp.sin(c), "looped"), None), s, None, length=2)
    return lg.tag(looped, "open") + lg.tag(own_rule(s), "state")


def test_tags_that_a_step_cannot_be_split_at():
    chain = lg.linearize(looping, None, lg.unroll(looping, None, jnp.ones(2), jnp.ones(3)))
    for name in ("looped", "ruled", "state", "unheard of"):
        with pytest.raises(ValueError, match=rf"through: .* \('open', 'state'\), but got '{name}'"):
            lg.gain_budget(chain, through=["open", name])
    assert set(lg.gain_budget(chain, through=["open"]).station_log_gains) == {"open", "state"}


def test_bad_chains_and_parts():
    given, chain = problem("lstm"), chain_of("lstm")
    with pytest.raises(ValueError, match="chain: expected at least one step, but got T = 0"):
        lg.gain_budget(chain[2:2])
    stream = lg.stream(given.step, given.params, given.state, given.inputs)
    with pytest.raises(ValueError, match="chain: expected one that keeps its states"):
        lg.gain_budget(stream)
    with pytest.raises(ValueError, match=r"through: expected no tags, .* but got 'cell'"):
        lg.gain_budget(chain_of("lstm", "dense"), through="cell")
    with pytest.raises(ValueError, match="of: expected one of the state's parts 'h', 'c' or None"):
        lg.gain_budget(chain, of="z")


@pytest.mark.usefixtures("as_installed")
@pytest.mark.parametrize("cotangent", [jnp.ones(3), jnp.ones((1, 6)), jnp.ones(6, "float32")])
def test_cotangents_that_do_not_fit(cotangent):
    with pytest.raises(ValueError, match=r"cotangent: expected float64\[6\], the flat state"):
        lg.gain_budget(chain_of("lstm"), cotangent)
