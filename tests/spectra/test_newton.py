"""Evaluation at all times at once, against `unroll`; its prediction against the whole matrix."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from registry import T, chain_of, problem, slow

import lstmgrad as lg

UNITS, STEPS = 8, 64


def driven(weight, state, x):
    return jnp.tanh(weight @ state + x)


def linear(weight, state, x):
    return weight @ state + x


def network(gain, *, step=driven, size=1.0, dtype="float64", steps=STEPS):
    keys = jax.random.split(jax.random.key(0))
    weight = gain / np.sqrt(UNITS) * np.asarray(jax.random.normal(keys[0], (UNITS, UNITS)))
    inputs = size * np.asarray(jax.random.normal(keys[1], (steps, UNITS)))
    model = lg.Model(step, jnp.asarray(weight, dtype), jnp.zeros(UNITS, dtype))
    return model, jnp.asarray(inputs, dtype)


def largest_difference(one, other):
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return max(float(jnp.max(jnp.abs(a - b))) for a, b in pairs)


@pytest.mark.parametrize("name", ["lstm", slow("gru"), slow("rnn-relu")])
def test_it_is_unroll(name):
    given = problem(name)
    found = lg.newton_unroll(given.model, given.inputs)
    assert found.converged
    assert found.num_iterations <= T + 1
    states = given.run().states
    assert jax.tree.structure(found.states) == jax.tree.structure(states)
    assert largest_difference(found.states, states) <= found.tolerance
    again = lg.newton_unroll(
        given.model, given.inputs, guess=jax.tree.map(lambda leaf: leaf[1:], states)
    )
    assert again.num_iterations == 1


@pytest.mark.parametrize("way", [slow(lg.linearize), lg.linearize_diagonal])
def test_diagonal_recurrences_by_their_gains(way):
    """LRU: complex, linear in its state, so that one iteration does and a second one sees it."""
    cell = lg.cells.lru(2, 3, dtype=jnp.float64)
    model = cell.model(cell.init(jax.random.key(1)))
    inputs = jax.random.normal(jax.random.key(2), (12, 2))
    found = lg.newton_unroll(model, inputs, linearize=way)
    assert found.converged
    assert found.num_iterations == 2
    assert largest_difference(found.states, lg.unroll(*model, inputs).states) < 1e-14
    chain = lg.chain(model, inputs, linearize=way)
    assert lg.newton_iterations(chain).iterations == 2


@pytest.mark.slow
def test_a_batch_is_the_loop():
    model, inputs = network(1.0)
    batch = jnp.stack([inputs, 0.1 * inputs])
    both = jax.vmap(lambda xs: lg.newton_unroll(model, xs, tolerance=1e-6))(batch)
    for index in range(2):
        one = lg.newton_unroll(model, batch[index], tolerance=1e-6)
        assert both.num_iterations[index] == one.num_iterations
        np.testing.assert_allclose(both.states[index], one.states, rtol=0, atol=1e-12)


def logistic(_, state, x):
    return 4 * state * (1 - state) + x


def test_it_says_where_it_does_not_converge():
    # Errors double in every step, and one in the last digit of float32 is all there is after 24.
    model = lg.Model(logistic, None, jnp.asarray(0.3, jnp.float32))
    inputs = jnp.zeros(STEPS, jnp.float32)
    found = lg.newton_unroll(model, inputs, tolerance=1e-5)
    predicted = lg.newton_iterations(lg.chain(model, inputs), tolerance=1e-5)
    assert not found.converged
    assert found.rounding > 1e-5
    assert found.num_iterations >= STEPS // 2
    assert "not converged: rounding alone" in repr(found)
    assert not predicted.converges
    assert predicted.iterations == STEPS
    np.testing.assert_allclose(predicted.exponent, np.log(2), rtol=0.15)
    assert "does not converge" in repr(predicted)
    # Too few iterations.
    few = lg.newton_unroll(*network(1.5), max_iterations=2)
    assert not few.converged
    assert few.num_iterations == 2
    assert "not converged within 2 iterations" in repr(few)
    # The first states are right after so many iterations, whatever the others are.
    states = lg.unroll(*network(1.5)[0], network(1.5)[1]).states
    assert largest_difference(few.states[:3], states[:3]) < 1e-15
    # A broken input: states before it are right.
    model, inputs = network(0.5)
    broken = lg.newton_unroll(model, inputs.at[40].set(jnp.nan), max_iterations=10)
    assert not broken.converged


def test_mu_is_that_of_the_whole_matrix():
    model, inputs = network(1.4, steps=12)
    chain = lg.chain(model, inputs)
    factors = np.asarray(lg.DenseChain.of(chain).factors)
    whole = np.eye(12 * UNITS)
    for t in range(1, 12):
        whole[t * UNITS : (t + 1) * UNITS, (t - 1) * UNITS : t * UNITS] = -factors[t]
    truth = 2 * np.log(np.linalg.svd(whole, compute_uv=False)[-1])
    found = lg.newton_iterations(chain)
    np.testing.assert_allclose(found.log_mu, truth, atol=1e-3)
    assert found.log_mu >= truth - 1e-9
    assert found.log_overshoot >= 0


@pytest.mark.slow
def test_far_out_of_range():
    """Products of 10^2400: the prediction is finite, and says that it does not converge."""
    model, inputs = network(1e4, step=linear, steps=600)
    chain = lg.chain(model, 0.0 * inputs)
    found = lg.newton_iterations(chain)
    np.testing.assert_allclose(found.log_mu, -2 * 600 * found.exponent, rtol=0.05)
    assert np.isfinite(found.log_mu)
    assert not found.converges


@pytest.mark.usefixtures("as_installed")
def test_bad_input_gets_a_sentence():
    model, inputs = network(0.5)
    with pytest.raises(ValueError, match="tolerance: expected a number above zero, but got 0"):
        lg.newton_unroll(model, inputs, tolerance=0)
    with pytest.raises(ValueError, match="guess: expected states of T = 64 times"):
        lg.newton_unroll(model, inputs, guess=inputs[1:])
    with pytest.raises(ValueError, match="max_iterations: expected a whole number, 1 or more"):
        lg.newton_unroll(model, inputs, max_iterations=0)
    counting = lg.Model(
        lambda p, s, x: {"h": jnp.tanh(s["h"]), "n": s["n"] + 1},
        None,
        {"h": jnp.zeros(2), "n": jnp.zeros((), jnp.int32)},
    )
    with pytest.raises(ValueError, match="state: expected floating-point or complex leaves alone"):
        lg.newton_unroll(counting, jnp.zeros(4))
    with pytest.raises(ValueError, match="chain: expected one that knows its model"):
        lg.newton_iterations(chain_of("lstm", "dense"))
    with pytest.raises(ValueError, match=r"linearize: expected lg\.linearize"):
        lg.newton_unroll(model, inputs, linearize="diagonal")  # pyright: ignore[reportArgumentType]
