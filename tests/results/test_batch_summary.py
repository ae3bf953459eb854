"""Batches as medians and bands, held against NumPy's order statistics and against every member."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstmgrad as lg
from lstmgrad._quantiles import quantiles

LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)


def profiles(log_norms: Any, *, hidden: Any = False, length: Any = None) -> lg.NormProfile:
    """Norms of a batch, (B, L), some of which are only bounds."""
    values = jnp.asarray(log_norms, jnp.float64)
    return lg.NormProfile(
        lags=jnp.broadcast_to(jnp.arange(values.shape[-1]), values.shape),
        log_norms=values,
        errors=jnp.broadcast_to(jnp.where(jnp.asarray(hidden), jnp.inf, 0.0), values.shape),
        of="h",
        wrt="h",
        fixed="end",
        rtol=1e-5,
        length=None if length is None else jnp.asarray(length),
    )


@pytest.mark.parametrize("size", [1, 4, 10, 15])
def test_quantiles_are_order_statistics(size):
    values = np.random.default_rng(size).normal(size=(size, 3))
    values[0, 0] = -np.inf
    found, known = quantiles(values, values, LEVELS)
    expected = np.quantile(values, LEVELS, axis=0, method="inverted_cdf")
    np.testing.assert_array_equal(found, expected)
    assert known.all()


def test_a_quantile_is_known_where_it_is_the_same_wherever_the_bounds_lie():
    rng = np.random.default_rng(0)
    highs = rng.normal(size=(9, 200))
    lows = np.where(rng.random((9, 200)) < 0.2, -np.inf, highs)
    found, known = quantiles(lows, highs, LEVELS)
    drawn = []
    for _ in range(200):
        members = np.where(np.isinf(lows), highs - rng.exponential(5, highs.shape), highs)
        drawn.append(np.quantile(members, LEVELS, axis=0, method="inverted_cdf"))
    drawn = np.array(drawn)
    assert (drawn[:, known] == found[known]).all()
    assert (drawn != drawn[0]).any(axis=0)[~known].mean() > 0.9
    assert (drawn <= found + 1e-12).all()
    assert 0.2 < known.mean() < 1


def test_one_member_that_vanishes_grows_or_breaks_moves_no_median():
    good = np.linspace(-1.0, -2.0, 7)[:, None] * np.arange(4.0)
    wrong = np.stack([np.full(4, x) for x in (-np.inf, np.inf, np.nan)])
    found = lg.batch_summary(profiles(np.concatenate([good, wrong])))
    assert np.all(found.resolved)
    np.testing.assert_array_equal(found.medians, good[3])
    np.testing.assert_array_equal(np.asarray(found.values)[[0, -1], 3], (-np.inf, np.inf))
    np.testing.assert_array_equal(found.num_members, 10)
    np.testing.assert_array_equal(found.num_resolved, 9)


def test_unresolved_members_are_bounds():
    norms = -np.arange(1.0, 6.0)[:, None] * np.arange(3.0)
    hidden = np.zeros((5, 3), bool)
    hidden[0, 2] = True  # the largest one: it may lie below all others
    found = lg.batch_summary(profiles(norms, hidden=hidden))
    assert np.all(found.resolved[:, :2])
    assert not found.resolved[2, 2]
    np.testing.assert_array_equal(found.values[:, 2], [-10, -8, -6, -4, -2])
    np.testing.assert_array_equal(found.num_resolved, [5, 5, 4])
    assert "<= -6" in str(found)


def test_padded_members_count_up_to_their_ends():
    norms = -np.arange(1.0, 4.0)[:, None] * np.arange(9.0)
    length = np.array([8, 2, 5])
    norms = np.where(np.arange(9) <= length[:, None], norms, np.nan)
    found = lg.batch_summary(profiles(norms, length=length))
    np.testing.assert_array_equal(found.num_members, [3, 3, 3, 2, 2, 2, 1, 1, 1])
    np.testing.assert_array_equal(found.medians[6:], norms[0, 6:])
    np.testing.assert_allclose(found.numbers["decay_rate"][2], 2.0)
    # exp(-lag) falls below 1e-3 at 7, exp(-3 lag) at 3; the second one ended above it, at 2.
    np.testing.assert_array_equal(found.numbers["horizon"], [3, 3, 7, np.nan, np.nan])
    np.testing.assert_array_equal(found.numbers_resolved["horizon"], [False] * 5)
    assert found.num_known["horizon"] == 2
    assert np.isnan(lg.summary(found)["median_horizon"])


def test_numbers_are_those_of_every_member():
    norms = -np.random.default_rng(0).uniform(0.5, 2, (6, 1)) * np.arange(30.0)
    batch = profiles(norms)
    found = lg.batch_summary(batch)
    rates = np.sort([lg.decay_rate(jax.tree.map(lambda x, i=i: x[i], batch)) for i in range(6)])
    np.testing.assert_allclose(found.numbers["decay_rate"], rates[[0, 1, 2, 4, 5]])
    assert lg.summary(found)["median_decay_rate"] == found.numbers["decay_rate"][2]


def test_it_prints_saves_and_takes_two_axes(tmp_path):
    norms = -np.random.default_rng(0).uniform(0.5, 2, (2, 3, 1)) * np.arange(30.0)
    found = lg.batch_summary(profiles(norms))
    text = str(found)
    assert text.startswith("BatchSummary(6 x NormProfile, dh_T/dh_k, 30 lags, median horizon ")
    assert "log_norms, lag 29" in text
    assert "6 of 6" in text
    lg.save(tmp_path / "batch.npz", found)
    again = lg.load(tmp_path / "batch.npz")
    assert str(again) == text
    jax.tree.map(np.testing.assert_array_equal, again, found)


@pytest.mark.usefixtures("as_installed")
def test_what_is_no_batch_is_refused():
    one = profiles(np.zeros(3))
    with pytest.raises(ValueError, match=r"^result: expected a batch, with axes of members"):
        lg.batch_summary(one)
    with pytest.raises(ValueError, match=r"^result: expected a batch of what an analysis returns"):
        lg.batch_summary([one])  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="traced or empty"):
        jax.jit(lambda x: lg.batch_summary(profiles(x)).values)(jnp.zeros((2, 3)))
    uneven = profiles(np.zeros((2, 3)))
    uneven = lg.NormProfile(**{**vars(uneven), "lags": jnp.array([[0, 1, 2], [0, 2, 4]])})
    with pytest.raises(ValueError, match="the same lags or times in the whole batch"):
        lg.batch_summary(uneven)
    with pytest.raises(ValueError, match="batch_summary"):
        lg.summary(profiles(np.zeros((2, 3))))
