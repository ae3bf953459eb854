"""Norms from pushes and pulls alone, against NumPy's SVDs of the products."""

import jax
import numpy as np
import pytest
from oracles import block_log_norms, eps
from registry import chain_of, random_chain, slow

import lstmgrad as lg

N, T = 36, 12
LAGS = (0, 1, 12)


def gaussian(seed=0, n=N, length=T):
    return np.random.default_rng(seed).normal(size=(length, n, n)) / np.sqrt(n)


@pytest.mark.parametrize("dtype", ["float32", slow("float64")])
def test_chosen_lags(dtype):
    factors = gaussian().astype(dtype)
    rtol = 1e-8 if dtype == "float64" else 1e-4
    profile = lg.matrix_free_norms(lg.DenseChain(factors), LAGS, rtol=rtol, max_steps=200)
    truth = block_log_norms(factors, fixed="end")[list(LAGS)]
    np.testing.assert_array_equal(profile.lags, LAGS)
    assert profile.log_norms.dtype == dtype
    assert np.all(profile.resolved)
    below = truth - np.asarray(profile.log_norms, np.float64)
    rounding = eps(dtype) * np.sqrt(N) * (np.asarray(LAGS) + 1)
    assert np.all(np.abs(below) <= rtol + rounding)
    assert np.all(below >= -rounding)
    assert (profile.fixed, profile.rtol) == ("end", rtol)


@pytest.mark.slow
def test_parts_are_those_of_backward_norms():
    chain, lags, (of, wrt) = chain_of("lstm"), [4], (None, "h")
    got = lg.matrix_free_norms(chain, lags, of=of, wrt=wrt, rtol=1e-10).log_norms
    want = lg.backward_norms(chain, of=of, wrt=wrt).log_norms[np.asarray(lags)]
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-10)


@pytest.mark.parametrize("power", [30, -30])
def test_far_beyond_the_range(power):
    factors = (10.0**power * gaussian()).astype(np.float32)
    got = lg.matrix_free_norms(lg.DenseChain(factors), LAGS, rtol=1e-4, max_steps=200).log_norms
    truth = block_log_norms(factors, fixed="end")[list(LAGS)]
    np.testing.assert_allclose(got, truth, rtol=4 * eps("float32"), atol=1e-4)


def test_vanished_and_broken_products():
    shift = lg.DenseChain(np.broadcast_to(np.eye(4, k=1), (6, 4, 4)))
    gone = lg.matrix_free_norms(shift, (3, 4, 6))
    np.testing.assert_allclose(gone.log_norms, [0, -np.inf, -np.inf], rtol=0, atol=1e-3)
    assert np.all(gone.resolved)
    broken = np.array(random_chain(4, 6).factors)
    broken[2] = np.nan
    nan = lg.matrix_free_norms(lg.DenseChain(broken), (3, 4, 6))
    np.testing.assert_array_equal(np.isnan(nan.log_norms), [False, True, True])
    np.testing.assert_array_equal(nan.resolved, [True, False, False])


@pytest.mark.slow
def test_too_few_steps_are_admitted():
    chain = lg.DenseChain(gaussian())
    few, many = (lg.matrix_free_norms(chain, LAGS, rtol=1e-8, max_steps=n) for n in (4, 200))
    truth = block_log_norms(gaussian(), fixed="end")[list(LAGS)]
    assert not few.resolved[1]
    assert few.log_norms[1] < truth[1]
    assert few.errors[1] > 1e-8
    assert many.resolved[1]


@pytest.mark.slow
def test_the_slope_of_a_norm():
    factors = gaussian(1, 6, 4)

    @jax.jit
    @jax.value_and_grad
    def log_norm(scale):
        moved = factors * (1 + scale * np.cos(np.arange(36.0)).reshape(6, 6))[None]
        return lg.matrix_free_norms(lg.DenseChain(moved), [3], rtol=1e-12).log_norms[0]

    step = 1e-5
    want = (log_norm(step)[0] - log_norm(-step)[0]) / (2 * step)
    np.testing.assert_allclose(log_norm(0.0)[1], want, rtol=1e-5)


@pytest.mark.usefixtures("as_installed")
def test_lags_may_be_numpy_integers():
    chain = random_chain(4, 6)
    got = lg.matrix_free_norms(chain, list(np.asarray([3, 4, 6])))
    want = lg.matrix_free_norms(chain, (3, 4, 6))
    np.testing.assert_array_equal(got.log_norms, want.log_norms)
