import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
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
    problem,
    random_chain,
)

import lstmgrad as lg

PAIRS = [(k, t) for t in range(T + 1) for k in range(t + 1)]


@functools.cache
def truth_of(name, dtype="float64"):
    """Float64 derivatives at the given, perhaps rounded, parameters, start and inputs."""
    given = problem(name, dtype)
    double = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), given[1:])
    return pairwise_jacobians(Problem(given.step, *double))


@eqx.filter_jit
def every_block(chain):
    """All blocks of the product at once, one compilation a length."""
    return [lg.jacobian(chain, of=of, wrt=wrt) for of, wrt in part_pairs(chain)]


def part_pairs(chain):
    names = (None, *chain.layout.parts)
    return [(of, wrt) for of in names for wrt in names]


def block(layout, name):
    """The slice of a part, counted by hand: parts of H numbers each, in order."""
    if name is None:
        return slice(None)
    index = layout.parts.index(name)
    return slice(index * H, (index + 1) * H)


@every_cell
@every_representation
def test_jacobian_is_jacrev_of_the_unroll_for_every_pair_of_times_and_parts(name, form):
    truth = truth_of(name)
    chain = chain_of(name, form)
    for k, t in PAIRS:
        for (of, wrt), got in zip(part_pairs(chain), every_block(chain[k:t]), strict=True):
            want = truth[t, block(chain.layout, of), k, block(chain.layout, wrt)]
            assert got.shape == want.shape
            np.testing.assert_allclose(got, want, rtol=0, atol=1e-12, err_msg=f"{of} {wrt} {k}:{t}")


@every_cell
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


@every_cell
@every_representation
def test_push_of_identity_is_pull_of_identity_and_products_compose(name, form):
    truth = truth_of(name)[T, :, 0]
    for product in whole_products(chain_of(name, form)):
        np.testing.assert_allclose(product, truth, rtol=0, atol=1e-12)


def test_a_push_continues_a_push_and_a_pull_a_pull():
    chain = random_chain()
    v, u = jnp.arange(1.0, 5.0), jnp.arange(4.0, 0.0, -1.0)
    whole = lg.push_forward(chain, v).to_array()
    parts = lg.push_forward(chain[2:], lg.push_forward(chain[:2], v)).to_array()
    np.testing.assert_allclose(parts, whole, rtol=1e-13)
    whole = lg.pull_back(chain, u).to_array()
    parts = lg.pull_back(chain[:2], lg.pull_back(chain[2:], u)).to_array()
    np.testing.assert_allclose(parts, whole, rtol=1e-13)


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
    chain, tangents = random_chain(), jax.random.normal(jax.random.key(9), (4, 3))
    block = lg.push_forward(chain, tangents).to_array()
    column = lg.push_forward(chain, tangents[:, 1]).to_array()
    assert column.shape == (4,)
    np.testing.assert_allclose(column, block[:, 1], rtol=1e-13)
    block = lg.pull_back(chain, tangents.T).to_array()
    row = lg.pull_back(chain, tangents[:, 1]).to_array()
    assert row.shape == (4,)
    np.testing.assert_allclose(row, block[1], rtol=1e-13)


def test_push_and_pull_are_adjoint():
    chain = chain_of("lstm")
    v, u = jax.random.normal(jax.random.key(1), (2, 2 * H))
    forward = u @ lg.push_forward(chain, v).to_array()
    backward = lg.pull_back(chain, u).to_array() @ v
    np.testing.assert_allclose(forward, backward, rtol=1e-12)


def test_a_part_is_not_the_whole():
    """`of` and `wrt` are options: each setting must differ from the other."""
    chain = chain_of("lstm")
    blocks = [lg.jacobian(chain, of=of, wrt=wrt) for of in "hc" for wrt in "hc"]
    for i, one in enumerate(blocks):
        for other in blocks[:i]:
            assert not np.allclose(one, other, rtol=1e-3)
    whole = lg.jacobian(chain)
    np.testing.assert_allclose(whole, np.block([blocks[:2], blocks[2:]]), rtol=0, atol=1e-15)


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

    total = jax.jacrev(after)(states.c[k])
    chain = given.chain()[k:]
    o = states.h[k] / jnp.tanh(states.c[k])
    through_h = lg.jacobian(chain, of="c", wrt="h") * (o * (1 - jnp.tanh(states.c[k]) ** 2))[None]
    held = lg.jacobian(chain, of="c", wrt="c")
    np.testing.assert_allclose(held + through_h, total, rtol=0, atol=1e-12)
    assert not np.allclose(held, total, rtol=1e-3)


def test_vanished_and_exploded_products_keep_their_logarithm():
    """0.5 I to the 1000th power in float32, and its inverse."""
    identity = jnp.eye(3, dtype=jnp.float32)
    for factor in (0.5, 2.0):
        chain = lg.DenseChain(jnp.broadcast_to(jnp.float32(factor) * identity, (1000, 3, 3)))
        product = lg.product(chain)
        diagonal = jnp.diagonal(product.log_abs())
        # Exact but for rounding the exponent's logarithm.
        np.testing.assert_allclose(diagonal, 1000 * np.log(factor), rtol=2 * eps(jnp.float32))
        plain = jnp.diagonal(lg.jacobian(chain))
        np.testing.assert_array_equal(plain, 0.0 if factor < 1 else jnp.inf)
        assert not jnp.any(jnp.isnan(lg.jacobian(chain)))


def test_a_nilpotent_product_is_exactly_zero():
    shift = jnp.broadcast_to(jnp.eye(4, k=-1), (6, 4, 4))
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


def test_a_product_is_differentiable_in_the_parameters():
    given = problem("rnn", length=2)
    trajectory = given.run()

    def entries(params):
        chain = lg.linearize(given.step, params, trajectory)
        return lg.product(chain).to_array(), lg.jacobian(chain, of="h", wrt="h")

    check_grads(jax.jit(entries), (given.params,), order=1, modes=["rev"], rtol=1e-5)


def test_nan_in_the_chain_is_nan_in_the_product_only_from_there():
    chain = random_chain()
    broken = lg.DenseChain(chain.factors.at[3].set(jnp.nan))
    assert jnp.all(jnp.isnan(lg.product(broken).to_array()))
    assert jnp.all(jnp.isfinite(lg.product(broken[:3]).to_array()))
    assert jnp.all(jnp.isfinite(lg.product(broken[4:]).to_array()))


def test_infinite_factors_give_no_silent_zero():
    chain = random_chain()
    broken = lg.product(lg.DenseChain(chain.factors.at[3, 0, 0].set(jnp.inf)))
    assert not jnp.any(jnp.isfinite(broken.to_array()).all())
