"""Slices, batches and representations of a chain, against jacfwd of the step and a NumPy loop."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import loop_product
from registry import T, chain_of, every_representation, plain_and_gated, problem, random_chain, slow

import lstmgrad as lg


@plain_and_gated
def test_materialized_factors_are_the_jacobians_of_the_step(name):
    given, chain = problem(name), chain_of(name)
    states, dense = given.run().states, lg.DenseChain.of(chain)
    assert isinstance(dense, lg.DenseChain)
    assert dense.factors.shape == (T, chain.layout.size, chain.layout.size)
    assert dense.layout == chain.layout
    before = jax.tree.map(lambda leaf: np.asarray(leaf)[:-1], states)
    factors = jax.jit(jax.vmap(jax.jacfwd(given.step, 1), (None, 0, 0)))(
        given.params, before, given.inputs
    )
    rows = [np.concatenate(list(getattr(factors, p)), axis=-1) for p in states._fields]
    np.testing.assert_allclose(dense.factors, np.concatenate(rows, axis=1), rtol=0, atol=1e-14)
    np.testing.assert_array_equal(lg.DenseChain.of(dense).factors, dense.factors)


@every_representation
def test_slices_are_the_slices_of_the_factors(form):
    chain = chain_of("lstm", form)
    factors = lg.DenseChain.of(chain).factors
    assert len(chain) == T
    for key in (slice(None), slice(2, 5), slice(-2, None), slice(None, -3), slice(3, 3)):
        part = chain[key]
        assert type(part) is type(chain)
        assert len(part) == len(range(T)[key])
        np.testing.assert_allclose(lg.DenseChain.of(part).factors, factors[key], rtol=0, atol=1e-15)


@every_representation
def test_a_slice_of_a_slice_is_a_slice(form):
    chain = chain_of("gru", form)
    for got, want in ((chain[1:5][1:3], chain[2:4]), (chain[1:][:-2], chain[1:3])):
        np.testing.assert_allclose(lg.jacobian(got), lg.jacobian(want), rtol=0, atol=1e-15)


@every_representation
def test_the_empty_chain_is_the_identity(form):
    chain = chain_of("lstm", form)
    n = chain.layout.size
    for k in (0, 3, T):
        empty = chain[k:k]
        assert len(empty) == 0
        np.testing.assert_array_equal(lg.jacobian(empty), np.eye(n))
        np.testing.assert_array_equal(lg.jacobian(empty, of="h", wrt="c"), 0.0)
        np.testing.assert_array_equal(lg.product(empty).to_array(), np.eye(n))
        v = np.arange(1.0, n + 1)
        np.testing.assert_array_equal(lg.push_forward(empty, v).to_array(), v)
        np.testing.assert_array_equal(lg.pull_back(empty, v).to_array(), v)


def test_slicing_knows_numpy_integers_and_traces():
    chain = random_chain()
    want = lg.jacobian(chain[1:4])
    np.testing.assert_array_equal(lg.jacobian(chain[np.int64(1) : np.int32(4)]), want)
    inside = jax.jit(lambda chain: lg.jacobian(chain[1:4]))
    np.testing.assert_allclose(inside(chain), want, rtol=1e-14)


def test_a_dense_chain_of_given_matrices():
    factors = np.random.default_rng(0).normal(size=(5, 3, 3))
    for given in (factors, jnp.asarray(factors)):
        chain = lg.DenseChain(given)
        assert chain.layout.parts == (0,)
        np.testing.assert_allclose(lg.jacobian(chain), loop_product(factors), rtol=1e-12)
        np.testing.assert_array_equal(lg.jacobian(chain), lg.jacobian(chain, of=0, wrt=0))


def test_a_dense_chain_may_name_its_blocks():
    layout = chain_of("lstm").layout
    factors = np.random.default_rng(0).normal(size=(4, layout.size, layout.size))
    named = lg.jacobian(lg.DenseChain(factors, layout=layout), of="c", wrt="h")
    h = layout.size // 2
    np.testing.assert_allclose(named, loop_product(factors)[h:, :h], rtol=1e-12)


@every_representation
def test_a_chain_passes_jit_and_vmap_and_tree_map(form):
    chain = chain_of("lstm", form)
    want = lg.jacobian(chain)
    np.testing.assert_allclose(jax.jit(lg.jacobian)(chain), want, rtol=0, atol=1e-15)
    same = jax.tree.map(lambda leaf: leaf, chain)
    np.testing.assert_array_equal(lg.jacobian(same), want)
    back = jax.jit(lambda chain: chain)(chain)
    assert type(back) is type(chain)
    np.testing.assert_array_equal(lg.jacobian(back), want)


def batch_of_chains(form="implicit", size=3):
    given = problem("lstm")
    inputs = np.random.default_rng(5).normal(size=(size, *given.inputs.shape))

    def chain(inputs):
        chain = lg.linearize(
            given.step, given.params, lg.unroll(given.step, given.params, given.state, inputs)
        )
        return chain if form == "implicit" else lg.DenseChain.of(chain)

    return jax.vmap(chain)(inputs), [chain(x) for x in inputs]


@every_representation
def test_a_batch_of_chains_is_the_loop_over_them(form):
    batch, singles = batch_of_chains(form)
    assert batch.batch_shape == (3,)
    assert singles[0].batch_shape == ()
    got = jax.vmap(lambda chain: lg.jacobian(chain[1:4], of="c", wrt="h"))(batch)
    for one, chain in zip(got, singles, strict=True):
        want = lg.jacobian(chain[1:4], of="c", wrt="h")
        np.testing.assert_allclose(one, want, rtol=0, atol=1e-14)


def test_a_batch_of_given_matrices():
    factors = np.random.default_rng(0).normal(size=(3, 5, 2, 2))
    batch = jax.vmap(lg.DenseChain)(factors)
    assert batch.batch_shape == (3,)
    got = jax.vmap(lg.jacobian)(batch)
    want = [loop_product(f) for f in factors]
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-14)


def test_nothing_of_size_n_squared_is_stored():
    chain = chain_of("lstm")
    n = chain.layout.size
    factors = [leaf.size for leaf in jax.tree.leaves(chain.factors)]
    assert sum(factors) < T * n * n


def test_a_second_call_with_the_same_shapes_does_not_trace_again():
    traces = []

    def step(params, state, x):
        traces.append(None)
        return jnp.tanh(params @ state + x)

    def everything(seed):
        rng = np.random.default_rng(seed)
        params = rng.normal(size=(3, 3))
        trajectory = lg.unroll(step, params, np.full(3, float(seed)), rng.normal(size=(T, 3)))
        chain = lg.linearize(step, params, trajectory)
        return (
            lg.jacobian(chain, of=0),
            lg.product(chain[2:]),
            lg.push_forward(chain, params[0]),
            lg.pull_back(chain, params[0]),
            lg.backward_norms(chain),
            lg.forward_norms(chain),
            lg.norm_map(chain, every=2),
            lg.DenseChain.of(chain),
        )

    everything(1)
    first = len(traces)
    everything(2)
    assert first > 0
    assert len(traces) == first


def test_a_second_module_of_the_same_shape_does_not_trace_again():
    traces = []

    class Model(eqx.Module):
        weight: jax.Array

        def __call__(self, params, state, x):
            traces.append(None)
            return jnp.tanh(self.weight @ state + x)

    def everything(weight):
        model = Model(weight)
        chain = lg.linearize(model, None, lg.unroll(model, None, jnp.ones(2), jnp.ones((3, 2))))
        return lg.jacobian(chain)

    one = everything(jnp.eye(2))
    first = len(traces)
    other = everything(2 * jnp.eye(2))
    assert len(traces) == first
    assert not np.allclose(one, other)


@pytest.mark.parametrize("dtype", [slow("float16"), "bfloat16"])
def test_half_precision_chains(dtype):
    def step(params, s, x):
        return jnp.tanh(params * s + x)

    params, state = jnp.asarray(0.5, dtype), jnp.asarray([0.2, -0.6], dtype)
    trajectory = lg.unroll(step, params, state, jnp.zeros((8, 2), dtype))
    chain = lg.linearize(step, params, trajectory)
    got = lg.jacobian(chain)
    assert got.dtype == jnp.float32  # along the model's own states
    s = np.asarray(trajectory.states[:-1], np.float64)
    truth = np.prod(0.5 * (1 - np.tanh(0.5 * s) ** 2), axis=0)
    eps = float(jnp.finfo(jnp.float32).eps)
    np.testing.assert_allclose(np.diag(np.asarray(got, np.float64)), truth, rtol=8 * 4 * eps)
    log_norms = lg.backward_norms(chain).log_norms
    np.testing.assert_allclose(log_norms[-1], np.log(truth.max()), rtol=0, atol=8 * 4 * eps)
