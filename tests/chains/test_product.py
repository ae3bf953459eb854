"""Products and their prefixes, however the factors are grouped, against a NumPy loop."""

import functools
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import block_log_norms, eps, log_norm, loop_product
from registry import chain_of, random_chain, slow

import lstmgrad as lg

METHODS = {
    "sequential": lg.Method.sequential,
    "parallel": lg.Method.parallel,
    "blocks of 1": lg.Method.blocked(1),
    "blocks of 4": lg.Method.blocked(4),
    "blocks of 50": lg.Method.blocked(50),
}
LENGTHS = [0, slow(1), slow(7), 8]  # none, one, a prime, a power of two; 4 divides the last alone

every_method = pytest.mark.parametrize("method", METHODS)
every_kind = pytest.mark.parametrize("method", ["sequential", "parallel", slow("blocks of 4")])


def chain_of_length(length, dtype="float64") -> Any:
    return random_chain(3, max(length, 1), seed=length, dtype=dtype)[:length]


@functools.cache
def prefixes(length):
    """The products of the first 0..T factors, by NumPy."""
    factors = np.asarray(chain_of_length(length).factors)
    return [loop_product(factors[:t]) if t else np.eye(3) for t in range(length + 1)]


def plain(each):
    """The matrices of a sequence of scaled ones, by NumPy."""
    return np.ldexp(each.mantissa, np.asarray(each.exponent)[:, None, None])


@every_method
@pytest.mark.parametrize("length", LENGTHS)
def test_every_method_is_the_loop(method, length):
    chain, truth = chain_of_length(length), prefixes(length)
    scale = max(np.abs(product).max() for product in truth)
    tolerance = {"rtol": 0, "atol": 1e-14 * (length + 1) * scale}
    whole = lg.product(chain, method=METHODS[method])
    np.testing.assert_allclose(whole.to_array(), truth[-1], **tolerance)
    each = lg.prefix_products(chain, method=METHODS[method])
    assert each.mantissa.shape == (length, 3, 3)
    assert each.exponent.shape == (length,)
    want = np.reshape(truth[1:], (length, 3, 3))
    np.testing.assert_allclose(plain(each), want, **tolerance)


@every_kind
def test_sizes_far_beyond_float32(method):
    """10^±500, with mantissas in [1/2, 1) all the way."""
    for power in (30, -30):
        factors = np.asarray(10.0**power * np.asarray(random_chain(3, 17).factors), np.float32)
        chain = lg.DenseChain(factors)
        truth = block_log_norms(factors)
        assert abs(truth[-1]) > 490 * np.log(10)
        each = lg.prefix_products(chain, method=METHODS[method])
        assert each.mantissa.dtype == np.float32
        top = np.max(np.abs(each.mantissa), axis=(1, 2))
        assert np.all((top >= 0.5) & (top < 1))
        logs = [log_norm(m) for m in np.asarray(each.mantissa, np.float64)]
        got = np.asarray(logs) + np.asarray(each.exponent, np.float64) * np.log(2)
        np.testing.assert_allclose(got, truth[1:], rtol=0, atol=17 * 3 * 4 * eps("float32"))
        whole = lg.product(chain, method=METHODS[method])
        assert whole.exponent == each.exponent[-1]


@every_kind
def test_a_prefix_is_the_jacobian_of_a_slice(method):
    chain = chain_of("lstm")
    each = plain(lg.prefix_products(chain, method=METHODS[method]))
    for t in (1, 3, 5):
        np.testing.assert_allclose(each[t - 1], lg.jacobian(chain[:t]), rtol=0, atol=1e-13)


@every_kind
def test_zero_stays_zero_and_nan_stays_nan(method):
    factors = np.array(random_chain(3, 8).factors)
    for value in (0.0, np.nan):
        factors[5] = value
        each = plain(lg.prefix_products(lg.DenseChain(factors), method=METHODS[method]))
        assert np.all(np.isfinite(each[:5]))
        np.testing.assert_array_equal(each[5:], np.full((3, 3, 3), value))


@every_kind
def test_batches_and_slopes(method):
    batch = np.stack([random_chain(3, 5, seed).factors for seed in range(2)])

    def total(factors):
        return lg.product(lg.DenseChain(factors), method=METHODS[method]).to_array()

    def loop(factors):
        return functools.reduce(lambda product, factor: factor @ product, factors)

    np.testing.assert_allclose(jax.vmap(total)(batch)[1], loop(batch[1]), rtol=1e-12)
    slope, want = (
        jax.jit(jax.grad(lambda x, f=f: jnp.sum(f(x) ** 2)))(batch[0]) for f in (total, loop)
    )
    np.testing.assert_allclose(slope, want, rtol=1e-11, atol=1e-11 * np.abs(want).max())


def test_one_block_size_is_one_method():
    """So that a call with a fresh `blocked(3)` finds the program of the last one."""
    assert lg.Method.blocked(3) is lg.Method.blocked(3)
    assert lg.Method.blocked(3) is not lg.Method.blocked(4)
    traces = []

    def step(weight, state, x):
        traces.append(None)
        return weight @ state + x

    state = jnp.ones(2)
    trajectory = lg.unroll(step, jnp.eye(2), state, jnp.ones((7, 2)))
    chain = lg.linearize(step, jnp.eye(2), trajectory)
    lg.product(chain, method=lg.Method.blocked(3))
    before = len(traces)
    lg.product(chain, method=lg.Method.blocked(3))
    assert len(traces) == before
    lg.product(chain, method=lg.Method.blocked(2))
    assert len(traces) > before


@pytest.mark.usefixtures("as_installed")
def test_blocks_may_be_counted_by_numpy():
    chain = chain_of_length(8)
    got = lg.product(chain, method=lg.Method.blocked(cast(Any, np.int64(4))))
    want = lg.product(chain, method=lg.Method.blocked(4))
    np.testing.assert_array_equal(got.mantissa, want.mantissa)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_unit_that_was_below_the_range_of_another_comes_back(dtype):
    """Two groups of units shrink in turn, by more than the range of the dtype each."""
    length = 40
    low = float(jnp.finfo(dtype).tiny) ** (1.5 / length)
    first = np.arange(2 * length) < length
    gains = np.stack([np.where(first, low, 1.0), np.where(first, 1.0, low)], axis=1)
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    factors = np.zeros((2 * length, 3, 3))
    factors[:, :2, :2] = gains[:, :1, None] * turn
    factors[:, 2, 2] = gains[:, 1]
    chain = lg.DenseChain(jnp.asarray(factors, dtype))
    logs = np.cumsum(np.log(np.asarray(factors[:, 2, 2], dtype), dtype=np.float64))
    pairs = np.cumsum(np.log(np.asarray(gains[:, 0], dtype), dtype=np.float64))
    # At the end both groups have shrunk alike; in between one of them is far below the other.
    each = lg.prefix_products(chain)
    exact = {"rtol": 0, "atol": 200 * eps(dtype) * length}
    whole = lg.product(chain)
    for got in (whole, jax.tree.map(lambda leaf: leaf[-1], each)):
        found = np.asarray(got.mantissa, np.float64)
        size = np.log(np.linalg.norm(found[:2, :2], 2)) + int(got.exponent) * np.log(2)
        np.testing.assert_allclose(size, pairs[-1], **exact)
        size = np.log(np.abs(found[2, 2])) + int(got.exponent) * np.log(2)
        np.testing.assert_allclose(size, logs[-1], **exact)
    for moved in (
        lg.push_forward(chain, jnp.eye(3, dtype=dtype)),
        lg.pull_back(chain, jnp.eye(3, dtype=dtype)),
    ):
        np.testing.assert_allclose(moved.mantissa, whole.mantissa, rtol=0, atol=1e3 * eps(dtype))
        assert moved.exponent == whole.exponent
    middle = each.mantissa[length - 1]
    assert (middle[:2, :2] == 0).all()
    assert middle[2, 2] > 0
