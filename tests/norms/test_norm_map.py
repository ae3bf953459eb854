"""Norms of all pairs of times, against NumPy's SVDs of plain products."""

from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import block_log_norms
from registry import T, chain_of, random_chain, slow

import lstmgrad as lg
from lstmgrad._numeric.tracked import SMALL


def log_norms_of_pairs(factors):
    """At [t, k]; NaN above the diagonal."""
    length = len(factors)
    truth = np.full((length + 1, length + 1), np.nan)
    for k in range(length + 1):
        truth[k:, k] = block_log_norms(factors[k:])
    return truth


@pytest.mark.parametrize("every", [slow(1), slow(2), 3, slow(7), slow(20), 22])
def test_any_spacing_that_divides_the_length_or_not(every):
    chain = random_chain(3, 22)
    result = lg.norm_map(chain, every=every)
    times = np.arange(0, 23, every)
    np.testing.assert_array_equal(result.times, times)
    truth = log_norms_of_pairs(chain.factors)[np.ix_(times, times)]
    np.testing.assert_allclose(result.log_norms, truth, rtol=0, atol=1e-12)
    below = np.tril(np.ones(truth.shape, bool))
    assert result.resolved.all()
    np.testing.assert_array_equal(np.isnan(result.errors), ~below)


def wide_factors():
    return np.random.default_rng(0).normal(size=(6, SMALL + 1, SMALL + 1)) / 6


@pytest.mark.slow
def test_tracked_norms_of_every_pair():
    factors = wide_factors()
    chain, rtol = lg.DenseChain(factors), 1e-5
    result = lg.norm_map(chain)
    truth = log_norms_of_pairs(factors)
    below = np.tril(np.ones(truth.shape, bool))
    got, errors = np.asarray(result.log_norms), np.asarray(result.errors)
    np.testing.assert_array_equal(np.isnan(got), ~below)
    assert result.resolved.all()
    assert np.all((truth - got)[below] <= errors[below] + 1e-13)
    assert np.all((truth - got)[below] >= -1e-13)
    assert np.max(errors[below]) <= rtol
    assert np.max(errors[below]) > 1e-13
    exact = lg.norm_map(chain, rtol=0)
    np.testing.assert_allclose(exact.log_norms, truth, rtol=0, atol=1e-12)
    assert not np.array_equal(exact.log_norms, got, equal_nan=True)


def test_a_search_recovers_after_a_block_of_nan():
    """The map's rows share nothing: one that ends before the NaN is as if there were none."""
    factors = wide_factors()
    broken = factors.copy()
    broken[4] = np.nan
    whole, partial = (lg.norm_map(lg.DenseChain(f)) for f in (factors, broken))
    np.testing.assert_array_equal(partial.log_norms[:5], whole.log_norms[:5])
    assert np.all(np.isnan(partial.log_norms[5:, :5]))
    assert partial.log_norms[6, 5] == whole.log_norms[6, 5]


def test_rows_and_columns_are_the_profiles_of_slices():
    chain = chain_of("lstm", "dense")
    result = lg.norm_map(chain, of="h", wrt="c")
    backward = lg.backward_norms(chain[:4], of="h", wrt="c").log_norms
    np.testing.assert_allclose(result.log_norms[4, :5], backward[::-1], rtol=0, atol=1e-13)
    forward = lg.forward_norms(chain[2:], of="h", wrt="c").log_norms
    np.testing.assert_allclose(result.log_norms[2:, 2], forward, rtol=0, atol=1e-13)


def test_float32_stays_in_range():
    factors = np.broadcast_to(np.float32(1e-30) * np.eye(2, dtype=np.float32), (10, 2, 2))
    result = lg.norm_map(lg.DenseChain(factors), every=5)
    lag = np.asarray([[0, np.nan, np.nan], [5, 0, np.nan], [10, 5, 0]])
    np.testing.assert_allclose(result.log_norms, lag * np.log(1e-30), rtol=1e-6)


def test_nan_reaches_only_the_pairs_that_span_it():
    chain = random_chain(2, T)
    factors = np.array(chain.factors)
    factors[2] = np.nan
    got, want = (
        np.asarray(lg.norm_map(each).log_norms) for each in (lg.DenseChain(factors), chain)
    )
    t, k = np.indices(got.shape)
    spans = (k <= 2) & (t >= 3)
    assert np.all(np.isnan(got[spans]))
    np.testing.assert_array_equal(got[~spans], want[~spans])


@pytest.mark.parametrize("every", [slow(1), 2, slow(T)])
def test_progress_is_told_once_a_row_in_order(every):
    calls = []
    chain = random_chain(2, T)
    rows = T // every + 1

    def progress(done, total):
        calls.append((int(done), int(total)))

    result = lg.norm_map(chain, every=every, progress=progress)
    jax.block_until_ready(result)
    jax.effects_barrier()
    assert calls == [(done, rows) for done in range(1, rows + 1)]
    silent = lg.norm_map(chain, every=every)
    np.testing.assert_array_equal(result.log_norms, silent.log_norms)


def test_options_may_be_numpy_scalars():
    chain = random_chain(3, 22)
    got = lg.norm_map(chain, every=cast(Any, np.int64(7)), rtol=cast(Any, np.float32(0)))
    np.testing.assert_array_equal(got.log_norms, lg.norm_map(chain, every=7, rtol=0).log_norms)


@pytest.mark.slow
def test_the_slope_of_a_pair():
    def log_norm(scale):
        factors = jnp.broadcast_to(scale * jnp.eye(2), (4, 2, 2))
        return lg.norm_map(lg.DenseChain(factors)).log_norms[3, 1]

    np.testing.assert_allclose(jax.jit(jax.grad(log_norm))(1.3), 2 / 1.3, rtol=1e-12)
