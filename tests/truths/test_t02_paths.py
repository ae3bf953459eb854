"""T2. The product of LSTM Jacobians by the number of times a path crosses h.

Source: J = A + B with A the pure cell path and B everything through h, derived by hand (truth T1);
h-detach after Arpit et al. 2019 (arXiv:1810.03023); the 1997 cell after Hochreiter & Schmidhuber,
no forget gate, gradient cut at the gates. Tolerance 1e-12 absolute in float64; the 1997 cell is
exact to the last bit; the table of ratios is a mean over five seeds, and holds to what such means
scatter.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
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


def test_paths_by_crossings_sum_to_the_product(truth):
    """S_m(t) = A_t S_m(t-1) + B_t S_{m-1}(t-1), Σ_m S_m = ∏ J; the cc-block of S_0 is diag ∏ f."""
    given = problem("lstm")
    sums = [np.eye(2 * H)] + [np.zeros((2 * H, 2 * H))] * T
    for A, B in zip(*parts_along(given), strict=True):
        sums = [A @ sums[m] + (B @ sums[m - 1] if m else 0) for m in range(T + 1)]
    product = lg.product(given.chain()).to_array()
    off = np.abs(product - sum(sums)).max()
    truth("paths of an LSTM by crossings of h, summed: largest error", 0, off, atol=1e-12)

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


def test_the_cell_of_1997_keeps_the_gradient_bit_for_bit(truth):
    """Cut at the gates, what is left of its gradient is the route through the cell."""
    cell = lg.cells.lstm_1997(2, H)
    params = cell.init(jax.random.key(0))
    inputs = jax.random.normal(jax.random.key(1), (1000, 2))
    route = lg.routes(lg.chain(cell.model(params), inputs))["cell"]
    off = np.abs(lg.jacobian(route, of="c", wrt="c") - np.eye(H)).max()
    truth("dc_1000/dc_0 of the cell of 1997, less the identity", 0, off)
    np.testing.assert_array_equal(lg.forward_norms(route, of="c", wrt="c").log_norms, 0)


SCALES = (0.25, 0.5, 1.0, 2.0, 6.0)
RATIOS = (0.69, 0.25, 0.027, 4e-4, 2.5e-10)
UNITS, SIZE, STEPS, SEEDS = 64, 4, 50, 10


def log_ratio(scale, seed):
    """Ln of ‖cell path‖/‖rest‖ of dc_T/dc_0 at recurrent weights N(0, s²/n)."""
    cell, keys = lg.cells.lstm(SIZE, UNITS), jax.random.split(jax.random.key(seed), 3)
    params = cell.init(keys[0])._replace(
        weight_ih=jax.random.normal(keys[0], (4 * UNITS, SIZE)),
        weight_hh=scale / np.sqrt(UNITS) * jax.random.normal(keys[1], (4 * UNITS, UNITS)),
    )
    inputs = jax.random.normal(keys[2], (STEPS, SIZE))
    chain = lg.chain(cell.model(params), inputs)
    chains = lg.routes(chain)["cell"], chain
    path, whole = (lg.jacobian(chain, of="c", wrt="c") for chain in chains)
    return jnp.log(jnp.linalg.norm(path, 2) / jnp.linalg.norm(whole - path, 2))


@pytest.mark.slow
def test_the_rest_drowns_the_cell_path_as_the_weights_grow():
    """The observation of h-detach: n = 64, T = 50, forget bias 1, inputs N(0, 1).

    The table, of five seeds, does not say what the input weights are: 4 inputs and N(0, 1) fit it.
    From seed to seed the ratio varies by a factor of e^0.8 at small weights and e^3.3 at the
    largest, so the figures are held against our mean logarithm with the standard error of both.
    """
    read = jax.jit(jax.vmap(jax.vmap(log_ratio, (None, 0)), (0, None)))
    logs = np.asarray(read(jnp.asarray(SCALES), jnp.arange(SEEDS)))
    assert np.all(np.diff(logs, axis=0) < 0)
    scatter = logs.std(axis=1, ddof=1) * np.sqrt(1 / 5 + 1 / SEEDS)
    assert np.all(np.abs(np.log(RATIOS) - logs.mean(axis=1)) < 3 * scatter)
