"""Pushes, pulls and blocks of a product, against jacrev of the whole unroll."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from oracles import eps, loop_product, pairwise_jacobians
from registry import (
    H,
    Problem,
    T,
    chain_of,
    every_cell,
    every_dtype,
    every_representation,
    plain_and_gated,
    problem,
    random_chain,
    slow,
)

import lstmgrad as lg

PAIRS = [(k, t) for t in range(T + 1) for k in range(t + 1)]


@functools.cache
def truth_of(name, dtype="float64"):
    """Float64 derivatives at the given, perhaps rounded, parameters, start and inputs."""
    given = problem(name, dtype)
    double = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), given[1:])
    return pairwise_jacobians(Problem(given.step, *double))


def every_block(chain):
    """All blocks of the product by their names, in one compilation."""
    names = (None, *chain.layout.parts)
    pairs = tuple((of, wrt) for of in names for wrt in names)
    return dict(zip(pairs, blocks(chain, pairs), strict=True))


@eqx.filter_jit
def blocks(chain, pairs):
    return [lg.jacobian(chain, of=of, wrt=wrt) for of, wrt in pairs]


def block(layout, name):
    """The slice of a part, counted by hand: parts of H numbers each, in order."""
    if name is None:
        return slice(None)
    index = layout.parts.index(name)
    return slice(index * H, (index + 1) * H)


@every_representation
def test_jacobian_is_jacrev_of_the_unroll_for_every_pair_of_times(form):
    # One cell: each length compiles anew, and a slice asks nothing of the cell.
    truth, chain = truth_of("lstm"), chain_of("lstm", form)
    for k, t in PAIRS:
        got = lg.jacobian(chain[k:t])
        np.testing.assert_allclose(got, truth[t, :, k], rtol=0, atol=1e-12, err_msg=f"{k}:{t}")


@plain_and_gated
@every_representation
@pytest.mark.parametrize("bounds", [(2, T), slow((3, 3))])
def test_jacobian_is_jacrev_of_the_unroll_for_every_pair_of_parts(name, form, bounds):
    (k, t), truth, chain = bounds, truth_of(name), chain_of(name, form)
    for (of, wrt), got in every_block(chain[k:t]).items():
        want = truth[t, block(chain.layout, of), k, block(chain.layout, wrt)]
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-12, err_msg=f"{of} {wrt}")


@plain_and_gated
@every_representation
def test_float32_jacobian_is_the_float64_one_to_float32_rounding(name, form):
    truth = truth_of(name, "float32")
    got = lg.jacobian(chain_of(name, form, "float32"))
    assert got.dtype == jnp.float32
    scale = np.abs(truth).max()
    # T steps of about n roundings each.
    atol = 64 * T * eps(jnp.float32) * scale
    np.testing.assert_allclose(got, truth[T, :, 0], rtol=0, atol=atol)


@eqx.filter_jit
def whole_products(chain):
    """The product in every way there is to it."""
    identity = jnp.eye(chain.layout.size)
    return (
        lg.product(chain).to_array(),
        lg.push_forward(chain, identity).to_array(),
        lg.pull_back(chain, identity).to_array(),
        (lg.product(chain[2:]) @ lg.product(chain[:2])).to_array(),
    )


@plain_and_gated
@every_representation
def test_push_of_identity_is_pull_of_identity_and_products_compose(name, form):
    truth = truth_of(name)[T, :, 0]
    for product in whole_products(chain_of(name, form)):
        np.testing.assert_allclose(product, truth, rtol=0, atol=1e-12)


def test_a_push_continues_a_push_and_a_pull_a_pull():
    @jax.jit
    def both_ways(chain, v, u):
        pushed = lg.push_forward(chain[2:], lg.push_forward(chain[:2], v))
        pulled = lg.pull_back(chain[:2], lg.pull_back(chain[2:], u))
        whole = lg.push_forward(chain, v), lg.pull_back(chain, u)
        return [result.to_array() for result in (*whole, pushed, pulled)]

    push, pull, pushed, pulled = both_ways(random_chain(), np.arange(1.0, 5.0), np.arange(4.0))
    np.testing.assert_allclose(pushed, push, rtol=1e-13)
    np.testing.assert_allclose(pulled, pull, rtol=1e-13)


def test_latest_factor_is_on_the_left():
    chain = random_chain()
    got = np.asarray(lg.product(chain).to_array())
    np.testing.assert_allclose(got, loop_product(chain.factors), rtol=1e-12)
    # The two orders seen elsewhere give other matrices, with other norms.
    reversed_order = loop_product(chain.factors[::-1])
    transposed = loop_product(chain.factors.transpose(0, 2, 1))
    for wrong in (reversed_order, transposed):
        assert not np.allclose(got, wrong, rtol=1e-2)
        assert abs(np.linalg.norm(got, 2) / np.linalg.norm(wrong, 2) - 1) > 1e-2


def test_vectors_are_columns_of_blocks():
    @jax.jit
    def pushes_and_pulls(chain, tangents):
        pushes = [lg.push_forward(chain, v) for v in (tangents, tangents[:, 1])]
        pulls = [lg.pull_back(chain, u) for u in (tangents.T, tangents[:, 1])]
        return [result.to_array() for result in (*pushes, *pulls)]

    tangents = np.random.default_rng(9).normal(size=(4, 3))
    pushed, column, pulled, row = pushes_and_pulls(random_chain(), tangents)
    assert column.shape == row.shape == (4,)
    np.testing.assert_allclose(column, pushed[:, 1], rtol=1e-13)
    np.testing.assert_allclose(row, pulled[1], rtol=1e-13)


def test_push_and_pull_are_adjoint():
    chain = chain_of("lstm")
    v, u = np.random.default_rng(1).normal(size=(2, 2 * H))
    forward = u @ np.asarray(lg.push_forward(chain, v).to_array())
    backward = np.asarray(lg.pull_back(chain, u).to_array()) @ v
    np.testing.assert_allclose(forward, backward, rtol=1e-12)


def test_a_part_is_not_the_whole():
    """`of` and `wrt` are options: each setting must differ from the other."""
    found = every_block(chain_of("lstm")[2:])
    parts = [found[of, wrt] for of in "hc" for wrt in "hc"]
    for i, one in enumerate(parts):
        for other in parts[:i]:
            assert not np.allclose(one, other, rtol=1e-3)
    whole = np.block([parts[:2], parts[2:]])
    np.testing.assert_allclose(found[None, None], whole, rtol=0, atol=1e-15)


def test_total_effect_of_the_cell_includes_its_output():
    """The recipe in the docstring of `jacobian`, against c_k perturbed inside the step."""
    given, k = problem("lstm"), 2
    p, states = given.params, given.run().states

    def after(c):
        h_before, c_before = states.h[k - 1], states.c[k - 1]
        drive = p.weight_ih @ given.inputs[k - 1] + p.weight_hh @ h_before + p.bias
        o = jax.nn.sigmoid(drive[3 * H :])
        del c_before
        state = lg.cells.LSTMState(o * jnp.tanh(c), c)
        for x in given.inputs[k:]:
            state = given.step(p, state, x)
        return state.c

    total = jax.jit(jax.jacrev(after))(states.c[k])
    found = every_block(given.chain()[k:])
    h, squashed = np.asarray(states.h[k]), np.tanh(states.c[k])
    held = np.asarray(found["c", "c"])
    through_h = np.asarray(found["c", "h"]) * (h / squashed * (1 - squashed**2))[None]
    np.testing.assert_allclose(held + through_h, total, rtol=0, atol=1e-12)
    assert not np.allclose(held, total, rtol=1e-3)


def test_vanished_and_exploded_products_keep_their_logarithm():
    """0.5 I to the 1000th power in float32, and its inverse."""
    identity = np.eye(3, dtype=np.float32)
    for factor in (0.5, 2.0):
        chain = lg.DenseChain(np.broadcast_to(np.float32(factor) * identity, (1000, 3, 3)))
        diagonal = np.diagonal(lg.product(chain).log_abs())
        # Exact but for rounding the exponent's logarithm.
        np.testing.assert_allclose(diagonal, 1000 * np.log(factor), rtol=2 * eps(jnp.float32))
        plain = np.asarray(lg.jacobian(chain))
        np.testing.assert_array_equal(np.diagonal(plain), 0.0 if factor < 1 else np.inf)
        assert not np.any(np.isnan(plain))


def test_a_nilpotent_product_is_exactly_zero():
    shift = np.broadcast_to(np.eye(4, k=-1), (T, 4, 4))
    product = lg.product(lg.DenseChain(shift))
    np.testing.assert_array_equal(product.to_array(), 0.0)
    np.testing.assert_array_equal(product.log_abs(), -jnp.inf)


@every_cell
@every_representation
@every_dtype
def test_dtypes_stay(name, form, dtype):
    chain = chain_of(name, form, dtype)
    tangents = jnp.ones((chain.layout.size, 2), dtype)

    def results(chain):
        pushed, pulled = lg.push_forward(chain, tangents), lg.pull_back(chain, tangents.T)
        arrays = pushed.to_array(), pulled.log_abs(), lg.jacobian(chain)
        return lg.product(chain), pushed, pulled, arrays

    for leaf in jax.tree.leaves(eqx.filter_eval_shape(results, chain)):
        assert leaf.dtype in (jnp.dtype(dtype), jnp.int32)


@pytest.mark.slow
def test_a_product_is_differentiable_in_the_parameters():
    given = problem("rnn", length=2)
    trajectory = given.run()

    def entries(params):
        chain = lg.linearize(given.step, params, trajectory)
        return lg.product(chain).to_array(), lg.jacobian(chain, of="h", wrt="h")

    check_grads(jax.jit(entries), (given.params,), order=1, modes=["rev"], rtol=1e-5)


def test_nan_in_the_chain_is_nan_in_the_product_only_from_there():
    factors = np.array(random_chain().factors)
    factors[3] = np.nan
    broken = lg.DenseChain(factors)
    assert np.all(np.isnan(lg.product(broken).to_array()))
    assert np.all(np.isfinite(lg.product(broken[:3]).to_array()))
    assert np.all(np.isfinite(lg.product(broken[4:]).to_array()))


def test_infinite_factors_give_no_silent_zero():
    factors = np.array(random_chain().factors)
    factors[3, 0, 0] = np.inf
    broken = lg.product(lg.DenseChain(factors))
    assert not np.isfinite(broken.to_array()).all()
