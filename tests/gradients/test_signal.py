"""Signal and noise by lag, against gradients of one sequence and one step at a time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from registry import T, problem

import lstmgrad as lg

N = 5


@pytest.fixture(scope="module")
def given():
    return problem("lstm")


def chains_of(given, batch):
    return jax.vmap(lambda inputs: lg.chain(given.model, inputs))(batch)


def loss_at_end(states):
    return jnp.sum(states.h[-1] ** 2)


def cotangents_of(chains, loss=loss_at_end):
    return jax.vmap(lambda run: lg.loss_cotangents(loss, run))(chains.trajectory)


def batch_of(count=N, seed=5):
    return jax.random.normal(jax.random.key(seed), (count, T, 2))


def parts_by_lag(given, inputs):
    """(T, parameters): the gradient with parameters of their own in every step."""

    def loss(every):
        state = given.state
        for t in range(T):
            state = given.step(jax.tree.map(lambda leaf, t=t: leaf[t], every), state, inputs[t])
        return jnp.sum(state.h**2)

    every = jax.tree.map(lambda leaf: jnp.stack([leaf] * T), given.params)
    found = jax.grad(loss)(every)
    flat = [leaf.reshape(T, -1) for leaf in jax.tree.leaves(found)]
    return jnp.concatenate(flat, axis=1)[::-1]


def ratio_of(vectors):
    """‖μ‖²/tr Σ by the pairs of sequences and NumPy's own covariance."""
    products = vectors @ vectors.T
    signal = products[~np.eye(len(vectors), dtype=bool)].mean()
    return signal / np.trace(np.atleast_2d(np.cov(vectors.T)))


def test_it_is_the_mean_over_pairs_against_the_covariance(given):
    batch = batch_of()
    chains = chains_of(given, batch)
    found = lg.signal_to_noise(chains, cotangents_of(chains))
    parts = np.asarray(jax.jit(jax.vmap(lambda xs: parts_by_lag(given, xs)))(batch))
    for lag in range(T):
        vectors = parts[:, lag]
        np.testing.assert_allclose(found.ratios[lag], ratio_of(vectors), rtol=1e-9)
        left = [ratio_of(np.delete(vectors, i, axis=0)) for i in range(N)]
        error = np.sqrt((N - 1) * np.var(left))
        np.testing.assert_allclose(found.standard_errors[lag], error, rtol=1e-8)
        size = np.log(np.mean(np.sum(vectors**2, axis=1))) / 2
        np.testing.assert_allclose(found.log_norms[lag], size, rtol=1e-10)
    positive = np.asarray(found.ratios) > 0
    needed = np.where(positive, 1 / np.asarray(found.ratios), np.inf)
    np.testing.assert_allclose(found.needed_sequences, needed)
    assert np.all(found.least_sequences <= found.needed_sequences)


@pytest.mark.slow
def test_errors_are_those_of_new_sequences(given):
    """Over 40 batches of 30: the spread of the ratios is that of the errors, within a factor."""
    batches = batch_of(40 * 30, seed=7).reshape(40, 30, T, 2)

    def one(batch):
        chains = chains_of(given, batch)
        return lg.signal_to_noise(chains, cotangents_of(chains))

    found = jax.jit(jax.vmap(one))(batches)
    spread = np.std(found.ratios, axis=0, ddof=1)
    claimed = np.median(found.standard_errors, axis=0)
    assert np.all(spread < 1.6 * claimed)
    assert np.all(spread > claimed / 1.6)


@pytest.mark.slow
def test_equal_sequences_and_no_signal(given):
    same = jnp.stack([batch_of()[0]] * 4)
    chains = chains_of(given, same)
    found = lg.signal_to_noise(chains, cotangents_of(chains))
    assert np.all(np.asarray(found.ratios) > 1e12)
    assert np.all(np.asarray(found.needed_sequences) < 1e-12)
    # Cotangents of either sign, twice each: the mean is zero, and the estimate below it.
    signs = jnp.array([1.0, -1.0, 1.0, -1.0])
    cotangents = jax.tree.map(
        lambda leaf: leaf * signs.reshape(4, *[1] * (leaf.ndim - 1)), cotangents_of(chains)
    )
    found = lg.signal_to_noise(chains, cotangents)
    assert np.all(np.asarray(found.ratios) < 0)
    assert np.all(np.isinf(found.needed_sequences))
    assert not np.any(found.resolved)
    nothing = lg.signal_to_noise(chains, jax.tree.map(jnp.zeros_like, cotangents))
    assert np.all(np.isnan(nothing.ratios))
    assert np.all(nothing.log_norms == -np.inf)


@pytest.mark.slow
def test_padded_sequences_count_from_their_own_ends(given):
    lengths = jnp.array([T, 3, T - 1, 3, 2])
    batch = batch_of()
    batch = jnp.where(jnp.arange(T)[None, :, None] < lengths[:, None, None], batch, jnp.nan)
    chains = chains_of(given, batch)

    def at(run, n):
        return lg.loss_cotangents(lambda states: jnp.sum(states.h[n] ** 2), run)

    cotangents = jax.vmap(at)(chains.trajectory, lengths)
    found = lg.signal_to_noise(chains, cotangents, length=lengths)
    np.testing.assert_array_equal(found.num_sequences, [5, 5, 4, 2, 1])
    assert np.all(np.isnan(found.ratios[3:]))
    parts = []
    for inputs, n in zip(batch, lengths, strict=True):
        chain = lg.chain(given.model, inputs[:n])
        found_one = lg.loss_cotangents(loss_at_end, chain.trajectory)
        parts.append(lg.contributions(chain, found_one).log_norms[::-1])
    for lag in range(T):
        sizes = [np.exp(2 * one[lag]) for one in parts if len(one) > lag]
        np.testing.assert_allclose(found.log_norms[lag], np.log(np.mean(sizes)) / 2, rtol=1e-10)


@pytest.mark.slow
def test_lags_that_float32_cannot_hold():
    """A gradient of 10^-60 at lag 60: ratios of such lags are those of the others."""

    def step(weight, s, x):
        return weight * s + x

    weight, start = jnp.asarray(0.1, jnp.float32), jnp.zeros((), jnp.float32)
    batch = 1 + jax.random.normal(jax.random.key(0), (6, 70), jnp.float32)
    chains = jax.vmap(lambda xs: lg.chain(lg.Model(step, weight, start), xs))(batch)
    cotangents = jnp.zeros((6, 71), jnp.float32).at[:, -1].set(1.0)
    found = lg.signal_to_noise(chains, cotangents)
    states = np.asarray(chains.trajectory.states, np.float64)[:, 59:0:-1]
    mean, variance = states.mean(axis=0), states.var(axis=0, ddof=1)
    ratios = (mean**2 - variance / 6) / variance
    np.testing.assert_allclose(found.ratios[10:69], ratios[:59][-59:], rtol=1e-3)
    assert found.log_norms[60] < -130


@pytest.mark.usefixtures("as_installed")
def test_bad_input_gets_a_sentence(given):
    chains = chains_of(given, batch_of())
    cotangents = cotangents_of(chains)
    one = jax.tree.map(lambda leaf: leaf[0], chains)
    with pytest.raises(ValueError, match=r"chains: expected those of 3 sequences .* one sequence"):
        lg.signal_to_noise(one, cotangents)
    two = jax.tree.map(lambda leaf: leaf[:2], (chains, cotangents))
    with pytest.raises(ValueError, match=r"chains: expected those of 3 .* but got \(2,\)"):
        lg.signal_to_noise(*two)
    with pytest.raises(ValueError, match="length: expected 5 whole numbers, one for each"):
        lg.signal_to_noise(chains, cotangents, length=jnp.array([3, 4]))
    with pytest.raises(ValueError, match="cotangents: expected"):
        lg.signal_to_noise(chains, jnp.ones((N, 3)))
