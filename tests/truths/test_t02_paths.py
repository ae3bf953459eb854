"""T2. The product of LSTM Jacobians by the number of times a path crosses h.

Source: J = A + B with A the pure cell path and B everything through h, derived by hand (truth T1);
h-detach after Arpit et al. 2019 (arXiv:1810.03023); the 1997 cell after Hochreiter & Schmidhuber,
no forget gate, gradient cut at the gates. Tolerance 1e-12 absolute in float64; the 1997 cell is
exact to the last bit.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
from hand import lstm_parts
from oracles import loop_product
from registry import H, T, problem

import lstmgrad as lg


def parts_along(given):
    states = given.run().states
    steps = [
        lstm_parts(given.params, states.h[t], states.c[t], given.inputs[t])
        for t in range(given.inputs.shape[0])
    ]
    return [step[0] for step in steps], [step[1] for step in steps]


def test_paths_by_crossings_sum_to_the_product():
    """S_m(t) = A_t S_m(t-1) + B_t S_{m-1}(t-1), Σ_m S_m = ∏ J; the cc-block of S_0 is diag ∏ f."""
    given = problem("lstm")
    sums = [np.eye(2 * H)] + [np.zeros((2 * H, 2 * H))] * T
    for A, B in zip(*parts_along(given), strict=True):
        sums = [A @ sums[m] + (B @ sums[m - 1] if m else 0) for m in range(T + 1)]
    product = lg.product(given.chain()).to_array()
    np.testing.assert_allclose(product, sum(sums), rtol=0, atol=1e-12)

    W, U, b = given.params
    states = given.run().states
    drives = given.inputs @ W.T + states.h[:-1] @ U.T + b[None]
    forget = jax.nn.sigmoid(drives[:, H : 2 * H])
    np.testing.assert_allclose(sums[0][H:, H:], np.diag(np.prod(forget, axis=0)), rtol=1e-13)


def cut(params, state, inputs):
    """An LSTM that reads p·h + (1-p)·stop_gradient(h)."""
    x, p = inputs
    h = p * state.h + (1 - p) * jax.lax.stop_gradient(state.h)
    return lg.cells.lstm(1, 1).step(params, lg.cells.LSTMState(h, state.c), x)


def product_at(given, shares):
    inputs = given.inputs, shares
    trajectory = lg.unroll(cut, given.params, given.state, inputs)
    return lg.product(lg.linearize(cut, given.params, trajectory)).to_array()


def test_a_share_p_of_the_gradient_through_h_gives_a_plus_p_b():
    given = problem("lstm")
    shares = jnp.linspace(0.1, 0.9, T)
    steps = zip(*parts_along(given), shares, strict=True)
    want = loop_product([A + float(p) * B for A, B, p in steps])
    np.testing.assert_allclose(product_at(given, shares), want, rtol=0, atol=1e-12)


def test_the_mean_over_all_masks_of_h_detach_is_a_plus_p_b():
    """2^8 Bernoulli(p) masks at T = 8, each weighted by its probability."""
    given, p = problem("lstm", length=8), 0.3
    masks = jnp.asarray(list(itertools.product([0.0, 1.0], repeat=8)))
    products = jax.jit(jax.vmap(lambda mask: product_at(given, mask)))(masks)
    kept = masks.sum(axis=1)
    mean = np.tensordot(p**kept * (1 - p) ** (8 - kept), products, 1)
    want = loop_product([A + p * B for A, B in zip(*parts_along(given), strict=True)])
    np.testing.assert_allclose(mean, want, rtol=0, atol=1e-12)


def test_the_constant_error_carousel_of_1997_is_the_identity_bit_for_bit():
    def step(params, state, x):
        W, U = params
        h = jax.lax.stop_gradient(state["h"])
        i, g, o = jnp.split(W @ x + U @ h, 3)
        c = state["c"] + jax.nn.sigmoid(i) * jnp.tanh(g)
        return {"h": jax.nn.sigmoid(o) * jnp.tanh(c), "c": c}

    keys = jax.random.split(jax.random.key(0), 3)
    params = jax.random.normal(keys[0], (3 * H, 2)), jax.random.normal(keys[1], (3 * H, H))
    inputs = jax.random.normal(keys[2], (1000, 2))
    start = {"h": jnp.zeros(H), "c": jnp.zeros(H)}
    chain = lg.linearize(step, params, lg.unroll(step, params, start, inputs))
    np.testing.assert_array_equal(lg.jacobian(chain, of="c", wrt="c"), np.eye(H))
