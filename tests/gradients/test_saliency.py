"""What inputs mean to a loss, against `jax.grad` through the whole run and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from registry import T, problem, slow

import lstmgrad as lg


def loss_of(states):
    """Of outputs at several steps, the last among them."""
    return jnp.sum(jnp.abs(states.h[-1]) ** 2) + jnp.sum(jnp.sin(states.h[2].real))


def found_and_true(model: lg.Model, inputs, loss, **options):
    chain = lg.chain(model, inputs, **options)
    cotangents = lg.loss_cotangents(loss, chain.trajectory)
    truth = jax.jit(jax.grad(lambda xs: loss(lg.unroll(*model, xs).states)))(inputs)
    return lg.saliency(chain, cotangents), truth, chain, cotangents


def test_it_is_the_gradient_of_the_loss_with_respect_to_the_inputs():
    given = problem("lstm")
    found, truth, *_ = found_and_true(given.model, given.inputs, loss_of)
    np.testing.assert_allclose(found.gradients.to_array(), truth, rtol=0, atol=1e-15)
    np.testing.assert_allclose(np.exp(found.log_abs), np.abs(truth), rtol=1e-12)
    np.testing.assert_allclose(found.log_norms, np.log(np.linalg.norm(truth, axis=1)), rtol=1e-12)
    assert np.all(found.resolved)


@pytest.mark.slow
def test_a_batch_is_the_loop():
    given = problem("lstm")
    found, _, chain, cotangents = found_and_true(given.model, given.inputs, loss_of)
    both = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), cotangents)
    both = jax.vmap(lg.saliency, (None, 0))(chain, both)
    np.testing.assert_allclose(both.log_abs[0], found.log_abs, rtol=1e-12)
    np.testing.assert_allclose(both.log_abs[1], found.log_abs + np.log(2), rtol=1e-12)


@pytest.mark.parametrize("name", [slow("lru"), slow("rg_lru"), slow("selective_ssm")])
def test_diagonal_chains_have_the_gradient_of_all_others(name):
    cell = lg.cells.registry()[name](2, 3, dtype=jnp.float64)
    model = cell.model(cell.init(jax.random.key(0)))
    inputs = jax.random.normal(jax.random.key(1), (T, 2))
    for linearize in (lg.linearize, lg.linearize_diagonal):
        found, truth, *_ = found_and_true(model, inputs, loss_of, linearize=linearize)
        np.testing.assert_allclose(found.gradients.to_array(), truth, rtol=0, atol=1e-14)


def scaling(params, state, x):
    """Two parts that do not act on one another; complex and whole numbers among the inputs."""
    slow = params["slow"] * state["slow"] + x["real"][0]
    fast = params["fast"] * state["fast"] + x["real"][1] + x["complex"].imag
    return {"slow": slow, "fast": fast}


STEPS = 300
RATES = {"slow": jnp.asarray(0.5, jnp.float32), "fast": jnp.asarray(1e-3, jnp.float32)}
SCALING = lg.Model(scaling, RATES, {name: jnp.zeros((), jnp.float32) for name in RATES})
MIXED = {
    "complex": jnp.ones(STEPS, jnp.complex64),
    "id": jnp.arange(STEPS),
    "real": jnp.ones((STEPS, 2), jnp.float32),
}


def test_far_apart_and_far_below_the_range_of_float32():
    """0.5^299 is 10^-90 and 1e-3^299 10^-897; neither takes the other out of range."""
    chain = lg.chain(SCALING, MIXED)
    last = jnp.zeros(STEPS + 1, jnp.float32).at[-1].set(1.0)
    found = lg.saliency(chain, {"slow": last, "fast": last})
    lags = np.arange(STEPS)[::-1]
    fast, slow_ = lags * np.log(np.float32(1e-3)), lags * np.log(0.5)
    want = np.stack([np.full(STEPS, -np.inf), fast, slow_, fast], 1)  # re, im, then the real ones
    np.testing.assert_allclose(found.log_abs, want, rtol=1e-5, atol=1e-4)
    assert np.all(found.resolved)
    np.testing.assert_array_equal(np.sign(found.gradients.mantissa[:, 1:]), 1)
    assert "T = 300, 4 features" in repr(found)
    assert lg.summary(found)["step_of_largest"] == STEPS
    # A loss in the middle: the steps behind it mean nothing to it, exactly.
    middle = jnp.zeros(STEPS + 1, jnp.float32).at[9].set(1.0)
    found = lg.saliency(chain, {"slow": middle, "fast": 0 * middle})
    np.testing.assert_allclose(found.log_abs[:9, 2], np.arange(9)[::-1] * np.log(0.5), rtol=1e-5)
    np.testing.assert_array_equal(found.log_abs[9:], -np.inf)
    assert np.all(found.resolved)


def mixing(params, state, x):
    """The same two rates, in one part whose units act on one another in one direction."""
    return jnp.stack([0.5 * state[0], 1e-3 * state[1] + 1e-30 * state[0]]) + x


def test_what_falls_below_the_range_beside_another_unit_is_not_resolved():
    model = lg.Model(mixing, None, jnp.zeros(2, jnp.float32))
    chain = lg.chain(model, jnp.ones((60, 2), jnp.float32))
    last = jnp.zeros((61, 2), jnp.float32).at[-1].set(1.0)
    found = lg.saliency(chain, last)
    true = np.arange(60)[::-1] * np.log(1e-3)
    resolved = np.asarray(found.resolved)
    assert resolved[:, 0].all()
    assert resolved[-10:, 1].all()
    assert not resolved[:40, 1].any()
    np.testing.assert_allclose(found.log_abs[-10:, 1], true[-10:], atol=1e-4)
    assert np.all(np.asarray(found.log_abs)[:40, 1] > true[:40])
    assert np.isfinite(found.log_abs).all()


def test_a_later_loss_far_above_an_earlier_one_hides_what_it_takes():
    """The sum of cotangents at one time loses entries, too."""
    model = lg.Model(lambda p, s, x: s + x, None, jnp.zeros(2, jnp.float32))
    chain = lg.chain(model, jnp.ones((4, 2), jnp.float32))
    at = jnp.zeros((5, 2), jnp.float32)
    found = lg.saliency(chain, at.at[4, 0].set(1e30).at[2, 1].set(1e-30))
    np.testing.assert_array_equal(found.resolved[:, 0], True)
    np.testing.assert_array_equal(found.resolved[:2, 1], False)
    assert np.all(np.asarray(found.log_abs)[:2, 1] >= np.log(1e-30))


@pytest.mark.usefixtures("as_installed")
def test_what_has_no_derivative_or_no_inputs_is_said():
    step = lambda params, state, token: jnp.tanh(state + params[token])  # noqa: E731
    chain = lg.chain(lg.Model(step, jnp.ones((4, 2)), jnp.zeros(2)), jnp.arange(3))
    with pytest.raises(ValueError, match=r"inputs: expected .*Numbers of tokens have none: look"):
        lg.saliency(chain, jnp.ones((4, 2)))
    chain = problem("rnn").chain()
    for bad, message in (
        (chain[1:1], "chain: expected at least one step, but got T = 0"),
        (lg.DenseChain.of(chain), "chain: expected one that knows its model and inputs"),
    ):
        with pytest.raises(ValueError, match=message):
            lg.saliency(bad, jnp.ones((len(bad) + 1, 3)))
