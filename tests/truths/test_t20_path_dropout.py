"""T20. Path dropout with probability p: the mean product is ∏ (A + (1-p) B).

Source: h-detach, Arpit et al. 2019 (arXiv:1810.03023), with A and B of truth T2, derived by hand.
Tolerance 1e-12 absolute in float64. The mean over draws is taken exactly, over all 2^8 of them.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
from hand import lstm_parts
from oracles import loop_product
from registry import problem

import lstmgrad as lg

LENGTH, RATE = 8, 0.3
GIVEN = problem("lstm", length=LENGTH)
STEP = lg.training.path_dropout(GIVEN.step, keep=("cell",))


def product_at(passed):
    model = lg.Model(STEP, GIVEN.params, GIVEN.state)
    return lg.product(lg.chain(model, (GIVEN.inputs, passed))).to_array()


def by_hand(share):
    states = GIVEN.run().states
    steps = [
        lstm_parts(GIVEN.params, states.h[t], states.c[t], GIVEN.inputs[t]) for t in range(LENGTH)
    ]
    return loop_product([step[0] + share * step[1] for step in steps])


def test_the_mean_over_all_draws_is_a_plus_a_share_of_b(truth):
    masks = jnp.asarray(list(itertools.product([0.0, 1.0], repeat=LENGTH)))
    products = jax.jit(jax.vmap(product_at))(masks)
    passed = masks.sum(axis=1)
    weights = (1 - RATE) ** passed * RATE ** (LENGTH - passed)
    expected = by_hand(1 - RATE)
    off = np.abs(np.tensordot(weights, products, 1) - expected).max()
    truth("mean over all draws of path dropout: largest error", 0, off, atol=1e-12)
    at_once = product_at(jnp.full(LENGTH, 1 - RATE))
    np.testing.assert_allclose(at_once, expected, rtol=0, atol=1e-12)


def test_the_share_of_the_cell_path_rises_by_what_the_formula_says(truth):
    def share(product):
        path = by_hand(0.0)
        return np.linalg.norm(path, 2) / np.linalg.norm(np.asarray(product), 2)

    before, after = (share(product_at(jnp.full(LENGTH, q))) for q in (1.0, 1 - RATE))
    expected = share(by_hand(1 - RATE))
    truth("share of the cell path at a rate of .3", expected, after, atol=1e-12)
    assert after > before
