"""Profiles of norms, against NumPy's SVDs and float64 products; horizons and rates, by hand."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import eps, log_norm, loop_log_norms
from registry import (
    T,
    chain_of,
    every_dtype,
    every_representation,
    plain_and_gated,
    problem,
    random_chain,
    slow,
)

import lstmgrad as lg


@eqx.filter_jit
def readings(chain, of, wrt):
    return (
        lg.backward_norms(chain, of=of, wrt=wrt),
        lg.forward_norms(chain, of=of, wrt=wrt),
        lg.norm_map(chain, of=of, wrt=wrt),
    )


@functools.cache
def log_norms_of_pairs(name, form, of, wrt):
    """At [t, k], by NumPy's SVD of plain products of the factors; NaN above the diagonal."""
    chain = chain_of(name)
    factors = np.asarray(lg.DenseChain.of(chain).factors)
    rows, columns = chain.layout.block(of, "of"), chain.layout.block(wrt, "wrt")
    truth = np.full((T + 1, T + 1), np.nan)
    for k in range(T + 1):
        product = np.eye(chain.layout.size)
        for t in range(k, T + 1):
            truth[t, k] = log_norm(product[rows, columns])
            if t < T:
                product = factors[t] @ product
    return truth


PARTS = [slow("rnn", None, None), slow("gru", "h", "h"), slow("lstm", "c", "c"), ("lstm", "h", "c")]


@every_representation
@pytest.mark.parametrize(("name", "of", "wrt"), PARTS)
def test_profiles_and_map_are_the_norms_of_the_jacobians(name, form, of, wrt):
    truth = log_norms_of_pairs(name, form, of, wrt)
    backward, forward, both = readings(chain_of(name, form), of, wrt)
    np.testing.assert_array_equal(backward.lags, range(T + 1))
    np.testing.assert_array_equal(forward.lags, range(T + 1))
    np.testing.assert_array_equal(both.times, range(T + 1))
    np.testing.assert_allclose(backward.log_norms, truth[T, ::-1], rtol=0, atol=1e-12)
    np.testing.assert_allclose(forward.log_norms, truth[:, 0], rtol=0, atol=1e-12)
    np.testing.assert_allclose(both.log_norms, truth, rtol=0, atol=1e-12)
    assert (backward.fixed, forward.fixed) == ("end", "start")
    assert (backward.of, forward.wrt, both.of, both.wrt) == (of, wrt, of, wrt)


def test_the_ends_differ():
    """The profile from the end and the profile from the start are different curves."""
    backward, forward, _ = readings(chain_of("lstm"), "c", "c")
    assert not np.allclose(backward.log_norms[1:-1], forward.log_norms[1:-1], rtol=1e-3)
    np.testing.assert_allclose(backward.log_norms[-1], forward.log_norms[-1], atol=1e-12)


def test_parts_differ():
    chain = chain_of("lstm", "dense")
    parts = ("c", "c"), ("h", "c"), ("c", "h")
    last = [np.asarray(readings(chain, of, wrt)[0].log_norms)[-1] for of, wrt in parts]
    assert np.min(np.abs(np.subtract.outer(last, last) + np.eye(3))) > 1e-3


@pytest.mark.parametrize("every", [slow(2), T])
def test_a_coarser_grid_is_every_so_many_entries_of_the_finer(every):
    chain = chain_of("rnn", "dense")
    backward, forward, both = readings(chain, None, None)
    coarse = lg.norm_map(chain, every=every)
    np.testing.assert_array_equal(coarse.times, both.times[::every])
    want = both.log_norms[::every, ::every]
    np.testing.assert_allclose(coarse.log_norms, want, rtol=0, atol=1e-12)
    for fine, profile in (
        (backward, lg.backward_norms(chain, every=every)),
        (forward, lg.forward_norms(chain, every=every)),
    ):
        np.testing.assert_array_equal(profile.lags, fine.lags[::every])
        np.testing.assert_allclose(profile.log_norms, fine.log_norms[::every], atol=1e-12)


@pytest.mark.slow
def test_the_map_is_nan_above_the_diagonal_and_nowhere_else():
    both = readings(chain_of("rnn"), None, None)[2]
    above = np.triu(np.ones((T + 1, T + 1), bool), 1)
    np.testing.assert_array_equal(np.isnan(both.log_norms), above)
    np.testing.assert_array_equal(np.diag(both.log_norms), 0.0)


def test_two_parts_begin_at_zero_and_the_empty_chain_has_one_lag():
    chain = chain_of("lstm")[3:3]
    same, other = readings(chain, "c", "c"), readings(chain, "h", "c")
    for result in same:
        np.testing.assert_array_equal(result.log_norms.ravel(), [0.0])
    for result in other:
        np.testing.assert_array_equal(result.log_norms.ravel(), [-np.inf])


@plain_and_gated
@every_dtype
def test_dtypes_stay(name, dtype):
    def results(chain):
        profile = lg.backward_norms(chain)
        rates = lg.horizon(profile), lg.decay_rate(profile)
        return profile, lg.forward_norms(chain), lg.norm_map(chain), rates

    shapes = eqx.filter_eval_shape(results, chain_of(name, dtype=dtype))
    floats = [x for x in jax.tree.leaves(shapes) if jnp.issubdtype(x.dtype, jnp.floating)]
    assert len(floats) >= 5
    assert all(leaf.dtype == dtype for leaf in floats)


def test_vmap_is_the_loop():
    batch = np.random.default_rng(0).normal(size=(3, 4, 3, 3))

    def everything(factors):
        chain = lg.DenseChain(factors)
        profile = lg.backward_norms(chain, every=2)
        readings = lg.horizon(profile, threshold=0.9), lg.decay_rate(profile)
        return profile, lg.forward_norms(chain), lg.norm_map(chain), readings

    together = jax.jit(jax.vmap(everything))(batch)
    compiled = jax.jit(everything)
    for i in range(3):
        one = compiled(batch[i])
        for got, want in zip(jax.tree.leaves(together), jax.tree.leaves(one), strict=True):
            np.testing.assert_allclose(got[i], want, rtol=0, atol=1e-13)


@pytest.mark.slow
def test_jit_is_eager():
    def everything(chain):
        profile = lg.backward_norms(chain)
        readings = lg.horizon(profile, threshold=0.9), lg.decay_rate(profile)
        return profile, lg.forward_norms(chain), lg.norm_map(chain), readings, lg.product(chain)

    chain = random_chain(2, 2)
    with jax.disable_jit():
        eager = everything(chain)
    for got, want in zip(
        jax.tree.leaves(eager), jax.tree.leaves(jax.jit(everything)(chain)), strict=True
    ):
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-13)


@pytest.mark.parametrize("name", ["rnn", slow("lstm")])
def test_slopes_in_the_parameters_are_those_of_finite_differences(name):
    """Through the trajectory and the chain, by the three ways to a log-norm at once."""
    given = problem(name)

    @jax.jit
    @jax.value_and_grad
    def log_norms(params):
        trajectory = lg.unroll(given.step, params, given.state, given.inputs)
        chain = lg.linearize(given.step, params, trajectory)
        product = lg.product(chain).to_array()
        frobenius = 0.5 * jnp.log(jnp.sum(product**2))
        backward = lg.backward_norms(chain, of="h", wrt="h").log_norms[-1]
        return backward - 2.0 * lg.forward_norms(chain).log_norms[3] + 0.5 * frobenius

    params = jax.tree.map(np.asarray, given.params)
    _, slopes = log_norms(params)
    assert all(np.all(np.isfinite(leaf)) for leaf in slopes)
    direction = jax.tree.map(lambda leaf: np.cos(np.arange(leaf.size)).reshape(leaf.shape), params)
    along = sum(np.sum(slope * d) for slope, d in zip(slopes, direction, strict=True))
    step = 1e-5  # the difference errs by step² from the curve and eps/step from rounding
    ahead, behind = (
        log_norms(jax.tree.map(lambda p, d, s=s: p + s * d, params, direction))[0]
        for s in (step, -step)
    )
    np.testing.assert_allclose(along, (ahead - behind) / (2 * step), rtol=1e-6)


@functools.cache
def slopes_in_the_scale(norms):
    """How to differentiate the log-norms of the powers of a scaled matrix in the scale."""

    def log_norms(scale, matrix):
        factors = jnp.broadcast_to(scale * matrix, (5, 4, 4))
        return norms(lg.DenseChain(factors)).log_norms

    return jax.jit(jax.jacrev(log_norms))


@pytest.mark.parametrize("norms", [lg.backward_norms, lg.forward_norms])
def test_slopes_of_a_scaled_identity_are_lag_over_scale(norms):
    """All singular values tie, which must not break the derivative."""
    got = slopes_in_the_scale(norms)(1.3, np.eye(4))
    np.testing.assert_allclose(got, np.arange(6) / 1.3, rtol=1e-12)


@pytest.mark.parametrize("norms", [lg.backward_norms, lg.forward_norms])
def test_a_vanished_norm_does_not_spoil_the_slope_of_another(norms):
    got = slopes_in_the_scale(norms)(1.3, np.eye(4, k=-1))
    np.testing.assert_allclose(got[:4], np.arange(4) / 1.3, rtol=1e-12)


def test_nan_inf_and_zero_factors():
    chain = random_chain(3, T)

    def with_factor(factor):
        factors = np.array(chain.factors)
        factors[2] = factor
        return lg.DenseChain(factors)

    nan = lg.forward_norms(with_factor(jnp.nan)).log_norms
    assert np.all(np.isfinite(nan[:3]))
    assert np.all(np.isnan(nan[3:]))
    zero = lg.forward_norms(with_factor(0.0)).log_norms
    assert np.all(np.isfinite(zero[:3]))
    np.testing.assert_array_equal(zero[3:], -np.inf)
    infinite = lg.forward_norms(with_factor(np.where(np.eye(3) > 0, np.inf, np.nan))).log_norms
    assert np.all(np.isfinite(infinite[:3]))
    assert not np.any(np.isfinite(infinite[3:]))
    assert not np.any(infinite[3:] == -np.inf)
    backward = lg.backward_norms(with_factor(0.0)).log_norms
    assert np.all(np.isfinite(backward[: T - 2]))
    np.testing.assert_array_equal(backward[T - 2 :], -np.inf)


def test_norms_beyond_the_range_of_float32():
    """0.5·I and 2·I to the 1000th power, in float32."""
    for factor in (0.5, 2.0):
        factors = np.broadcast_to(np.asarray(factor * np.eye(4), np.float32), (1000, 4, 4))
        want = np.arange(1001) * np.log(factor)
        for norms in (lg.backward_norms, lg.forward_norms):
            got = norms(lg.DenseChain(factors)).log_norms
            np.testing.assert_allclose(got, want, rtol=4 * eps(np.float32))


GAINS = np.asarray([0.3, 0.7, 1.0, 1.5, 3.0])


@pytest.mark.slow
@pytest.mark.parametrize("norms", [lg.backward_norms, lg.forward_norms])
def test_float32_over_a_hundred_thousand_steps(norms):
    """Against a float64 product, by its own recursion, of the same float32 factors."""
    length, size, stride = 100_000, 8, 1000
    cell = lg.cells.rnn(2, size, dtype=jnp.float32)
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(length, 2)).astype(np.float32)
    weight = (rng.normal(size=(size, size)) / size**0.5).astype(np.float32)
    given = cell.init(jax.random.key(2))

    def run(gain):
        params = given._replace(weight_hh=gain * weight)
        trajectory = lg.unroll(cell.step, params, cell.initial_state(), inputs)
        chain = lg.linearize(cell.step, params, trajectory)
        return lg.DenseChain.of(chain).factors

    def of_matrices(factors):
        return norms(lg.DenseChain(factors), every=stride).log_norms

    factors = jax.jit(jax.vmap(run))(jnp.asarray(GAINS, jnp.float32))
    got = jax.jit(jax.vmap(of_matrices))(factors)
    assert got.dtype == jnp.float32
    assert np.all(np.isfinite(got))
    backward = norms is lg.backward_norms

    def truth(factors):
        """Products rescaled by their Frobenius norm."""

        def step(carry, factor):
            product, log_scale = carry
            wide = factor.astype(jnp.float64)
            product = product @ wide if backward else wide @ product
            norm = jnp.linalg.norm(product)
            return (product / norm, log_scale + jnp.log(norm)), None

        def stretch(carry, block):
            carry, _ = jax.lax.scan(step, carry, block, reverse=backward)
            top = jnp.linalg.svd(carry[0], compute_uv=False)[0]
            return carry, carry[1] + jnp.log(top)

        start = jnp.eye(size), jnp.zeros(())
        blocks = factors.reshape(-1, stride, size, size)
        log_norms = jax.lax.scan(stretch, start, blocks, reverse=backward)[1]
        return log_norms[::-1] if backward else log_norms

    want = np.asarray(jax.jit(jax.vmap(truth))(factors))
    # The rate is not near zero for any of these gains, so that a relative error means something.
    assert np.all(np.abs(want) > 1e-3 * stride)
    np.testing.assert_allclose(got[:, 1:], want, rtol=1e-5)


def profile_of(log_norms, lags=None, dtype="float64", errors=0.0):
    """A profile of given numbers."""
    log_norms = np.asarray(log_norms, dtype)
    template = lg.backward_norms(lg.DenseChain(np.ones((1, 1, 1), dtype)))
    lags = np.arange(log_norms.shape[-1]) if lags is None else np.asarray(lags)
    return eqx.tree_at(
        lambda p: (p.lags, p.log_norms, p.errors),
        template,
        (
            jnp.asarray(np.broadcast_to(lags, log_norms.shape)),
            jnp.asarray(log_norms),
            jnp.asarray(np.broadcast_to(np.asarray(errors, dtype), log_norms.shape)),
        ),
    )


def powers_of(matrix):
    return lg.DenseChain(np.broadcast_to(matrix, (150, 2, 2)))


def test_horizon_of_an_exponential():
    profile = lg.backward_norms(powers_of(0.9 * np.eye(2)))
    assert lg.horizon(profile) == 66
    assert lg.horizon(profile, threshold=0.5) == 7
    assert lg.horizon(profile, threshold=2.0) == 0
    assert lg.horizon(profile, threshold=1e-9) == jnp.inf
    np.testing.assert_allclose(lg.decay_rate(profile), -np.log(0.9), rtol=1e-12)


def test_the_last_crossing_counts():
    """A Jordan block sinks below its start only after it has grown."""
    jordan = np.asarray([[0.9, 1.0], [0.0, 0.9]])
    profile = lg.backward_norms(powers_of(jordan))
    powers = [np.linalg.matrix_power(jordan, k) for k in range(151)]
    norms = np.asarray([np.linalg.norm(p, 2) for p in powers])
    for threshold in (2.0, 1.2, 0.1):
        last = int(np.flatnonzero(norms >= threshold)[-1])
        assert lg.horizon(profile, threshold=threshold) == last + 1
    assert norms[0] < 1.2 < norms[1]
    dip = profile_of(np.log([1.0, 0.1, 0.5, 0.1]))
    assert lg.horizon(dip, threshold=0.3) == 3


def test_a_horizon_on_a_grid_is_a_lag_that_was_read():
    assert lg.horizon(lg.backward_norms(powers_of(0.9 * np.eye(2)), every=10)) == 70


def test_horizon_at_the_edges():
    assert lg.horizon(profile_of([0.0, -jnp.inf, -jnp.inf])) == 1
    assert lg.horizon(profile_of([-jnp.inf, -jnp.inf])) == 0
    assert jnp.isnan(lg.horizon(profile_of([0.0, jnp.nan, -20.0])))
    assert lg.horizon(profile_of([0.0, 5.0, jnp.inf])) == jnp.inf
    # At the threshold is not below it.
    assert lg.horizon(profile_of([0.0, np.log(0.5), -1.0]), threshold=0.5) == 2


def test_decay_rate_is_minus_the_slope():
    rng = np.random.default_rng(0)
    log_norms = -0.3 * np.arange(20) + rng.normal(size=20)
    want = -np.polyfit(np.arange(20), log_norms, 1)[0]
    np.testing.assert_allclose(lg.decay_rate(profile_of(log_norms)), want, rtol=1e-12)
    on_a_grid = profile_of(log_norms, 5 * np.arange(20))
    np.testing.assert_allclose(lg.decay_rate(on_a_grid), want / 5, rtol=1e-12)
    growing = profile_of(0.3 * np.arange(5))
    np.testing.assert_allclose(lg.decay_rate(growing), -0.3, rtol=1e-12)


def test_decay_rate_at_the_edges():
    assert lg.decay_rate(profile_of([0.0, -1.0, -jnp.inf])) == jnp.inf
    assert jnp.isnan(lg.decay_rate(profile_of([0.0, jnp.nan, -2.0])))
    assert jnp.isnan(lg.decay_rate(profile_of([0.0])))
    # Lag 0 of two different parts has no norm and no vote.
    np.testing.assert_allclose(lg.decay_rate(profile_of([-jnp.inf, -1.0, -3.0])), 2.0, rtol=1e-12)


def test_decay_rate_of_a_long_float32_profile():
    log_norms = -0.1 * np.arange(100_001)
    rate = lg.decay_rate(profile_of(log_norms, dtype="float32"))
    np.testing.assert_allclose(rate, 0.1, rtol=1e-5)


def test_a_batch_of_profiles_gives_a_batch():
    rates = np.asarray([0.9, 0.5, 1.1])
    chains = jax.vmap(lg.DenseChain)(np.broadcast_to(rates[:, None, None, None], (3, 80, 1, 1)))
    profiles = jax.vmap(lg.backward_norms)(chains)
    np.testing.assert_array_equal(lg.horizon(profiles), [66, 10, np.inf])
    np.testing.assert_allclose(lg.decay_rate(profiles), -np.log(rates), rtol=1e-12)


def test_loop_oracle_agrees_in_range():
    """The rescaled NumPy loop, which the long tests trust, against plain products."""
    chain = random_chain(3, T)
    got = lg.forward_norms(chain).log_norms
    np.testing.assert_allclose(got, loop_log_norms(chain.factors), rtol=1e-12, atol=1e-13)
