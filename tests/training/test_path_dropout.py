"""Path dropout: values untouched, and with nothing dropped the gradient, too; refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from registry import problem

import lstmgrad as lg

GIVEN = problem("lstm")
STEP = lg.training.path_dropout(GIVEN.step, keep=("cell",))
T = len(GIVEN.inputs)


def test_states_are_those_of_the_model_whatever_is_dropped():
    draws = lg.training.path_draws(jax.random.key(0), T, rate=0.5)
    assert set(np.asarray(draws)) == {0.0, 1.0}
    got = lg.unroll(STEP, GIVEN.params, GIVEN.state, (GIVEN.inputs, draws)).states
    for one, other in zip(got, GIVEN.run().states, strict=True):
        np.testing.assert_array_equal(one, other)


def test_with_nothing_dropped_the_gradient_is_that_of_the_model():
    def gradient(step, inputs):
        return jax.grad(lambda p: jnp.sum(lg.unroll(step, p, GIVEN.state, inputs).states.h[-1]))(
            GIVEN.params
        )

    whole = gradient(GIVEN.step, GIVEN.inputs)
    open_paths = gradient(STEP, (GIVEN.inputs, jnp.ones(T)))
    for one, other in zip(whole, open_paths, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-15)
    # With all held, what is left of h_t's own use of the weights is still there.
    held = gradient(STEP, (GIVEN.inputs, jnp.zeros(T)))
    assert np.abs(held.weight_hh - whole.weight_hh).max() > 1e-3
    assert np.abs(held.weight_hh).max() > 1e-3


def test_draws_are_independent_and_of_the_rate():
    """The mean of n Bernoulli draws is off by 5 standard errors with a probability of 6e-7."""
    draws = np.asarray(
        lg.training.path_draws(jax.random.key(1), 10_000, rate=0.25, dtype=np.float32)
    )
    assert draws.dtype == np.float32
    assert abs(draws.mean() - 0.75) < 5 * np.sqrt(0.75 * 0.25 / 10_000)
    assert lg.training.path_draws(jax.random.key(1), 9, rate=0).tolist() == [1.0] * 9


def test_the_step_is_the_same_object_each_time():
    assert lg.training.path_dropout(GIVEN.step, keep=["cell"]) is STEP


def test_refusals():
    with pytest.raises(ValueError, match="keep: expected at least one tag"):
        lg.training.path_dropout(GIVEN.step, keep=())
    wrong = lg.training.path_dropout(GIVEN.step, keep=("sell",))
    with pytest.raises(ValueError, match=r"tags of the step, 'forget', 'cell'.*but got 'sell'"):
        lg.unroll(wrong, GIVEN.params, GIVEN.state, (GIVEN.inputs, jnp.ones(T)))
    with pytest.raises(ValueError, match=r"rate: expected a number from 0 to 1, but got 1\.5"):
        lg.training.path_draws(jax.random.key(0), 3, rate=1.5)
