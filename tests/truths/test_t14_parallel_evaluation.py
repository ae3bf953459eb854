"""T14. Newton's method over all times at once, on driven tanh networks.

Source: Gonzalez et al. 2025 (arXiv:2508.16817): iterations grow like log T where the network
forgets, and are about T where it is chaotic. Networks of N = 32 units, inputs N(0, 1), tolerance
1e-6; ten gains. Tolerance: a factor of two between predicted and measured iterations.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstmgrad as lg

UNITS, TOLERANCE = 32, 1e-6
GAINS = (0.5, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6)


def driven(weight, state, x):
    return jnp.tanh(weight @ state + x)


def network(gain, steps, seed=0, size=1.0):
    keys = jax.random.split(jax.random.key(seed))
    weight = gain * jax.random.normal(keys[0], (UNITS, UNITS)) / np.sqrt(UNITS)
    model = lg.Model(driven, weight, jnp.zeros(UNITS))
    return model, size * jax.random.normal(keys[1], (steps, UNITS))


def held(gain, steps, seed=0):
    """Predicted and measured iterations, once the states are those of the run."""
    model, inputs = network(gain, steps, seed)
    chain = lg.chain(model, inputs)
    predicted = lg.newton_iterations(chain, tolerance=TOLERANCE)
    found = lg.newton_unroll(model, inputs, tolerance=TOLERANCE)
    assert predicted.converges
    assert found.converged
    assert jnp.max(jnp.abs(found.states - chain.trajectory.states)) <= TOLERANCE
    return float(predicted.iterations), int(found.num_iterations)


def within_two(predicted, measured):
    return measured / 2 <= predicted <= 2 * measured


def test_prediction_and_measurement_at_three_gains():
    for gain in (0.5, 1.1, 1.6):
        assert within_two(*held(gain, 100))


@pytest.mark.slow
def test_prediction_and_measurement_over_the_gains(truth):
    measured = []
    for gain in GAINS:
        predicted, count = held(gain, 1000)
        assert within_two(predicted, count)
        measured.append(count)
        truth(f"Newton iterations at gain {gain}, T = 1000", count, predicted, rtol=1.0)
    assert max(measured[:2]) <= 5
    assert np.all(np.diff(measured) >= -1)
    assert measured[-1] >= 3 * measured[0]
    # Ten times as long a run takes a step or two more where it forgets.
    assert held(0.8, 1000)[1] <= held(0.8, 100)[1] + 2


@pytest.mark.slow
def test_chaos_does_not_converge():
    """Weak inputs leave the network chaotic: predicted, and seen, and about T iterations."""
    model, inputs = network(3.0, 250, size=0.1)
    predicted = lg.newton_iterations(lg.chain(model, inputs), tolerance=TOLERANCE)
    assert predicted.exponent > 0
    assert not predicted.converges
    assert predicted.iterations == 250
    found = lg.newton_unroll(model, inputs, tolerance=TOLERANCE, max_iterations=3)
    assert not found.converged
    assert found.rounding > TOLERANCE
