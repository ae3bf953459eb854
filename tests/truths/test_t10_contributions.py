"""T10. What each time step adds to the gradient of h_t = w h_{t-1} + x_t.

Source: by hand, step t adds w^(T-t) h_{t-1} to dh_T/dw and w^(T-t) to dh_T/dx_t; the total for
x = 1, w = .9, T = 30 by a sum in extended precision. Tolerance 1e-12 relative in float64.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import lstmgrad as lg

W, T = 0.9, 30
CLOSE: dict[str, Any] = {"rtol": 1e-12, "atol": 0}
BACK = np.arange(T - 1, -1, -1)


def step(w, h, x):
    return w * h + x


def found(inputs):
    chain = lg.chain(lg.Model(step, jnp.asarray(W), jnp.zeros(())), inputs)
    return lg.contributions(chain, lg.loss_cotangents(lambda states: states[-1], chain.trajectory))


def test_an_impulse_is_worth_the_same_to_every_later_step():
    got = found(jnp.zeros(T).at[0].set(1.0))
    # The first step multiplies w with h_0 = 0.
    assert got.log_norms[0] == -np.inf
    np.testing.assert_allclose(got.log_norms[1:], (T - 2) * np.log(W) * np.ones(T - 1), **CLOSE)
    np.testing.assert_allclose(got.shares, np.r_[0, np.full(T - 1, 1 / (T - 1))], rtol=1e-12)
    np.testing.assert_allclose(got.gradient, (T - 1) * W ** (T - 2), **CLOSE)
    np.testing.assert_allclose(got.input_gradients, W**BACK, **CLOSE)
    lags = np.arange(T + 1)
    left = np.maximum(T - 1 - lags, 0) / (T - 1)
    np.testing.assert_allclose(got.residuals, left, rtol=1e-12, atol=1e-15)


def test_a_constant_input(truth):
    got = found(jnp.ones(T))
    before = (1 - W ** np.arange(T)) / (1 - W)
    parts = W**BACK * before
    np.testing.assert_allclose(np.exp(got.log_norms), parts, **CLOSE)
    truth("dh_30/dw of h' = .9 h + 1", 81.63049808073968, got.gradient, rtol=1e-12)
    np.testing.assert_allclose(got.shares, parts / 81.63049808073968, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(np.sum(got.shares), 1, **CLOSE)
    by_hand = jax.grad(lambda w: lg.unroll(step, w, jnp.zeros(()), jnp.ones(T)).states[-1])
    np.testing.assert_allclose(got.gradient, by_hand(jnp.asarray(W)), **CLOSE)


def test_the_length_that_truncation_needs():
    """An impulse spreads the gradient over T - 1 steps: for 10 % bias nine in ten are needed."""
    got = found(jnp.zeros(T).at[0].set(1.0))
    assert lg.truncation_length(got, tolerance=0.1) == np.ceil(0.9 * (T - 1))
    assert lg.truncation_length(got, tolerance=0.5) == np.ceil(0.5 * (T - 1))
