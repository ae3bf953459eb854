"""Recurrences declared diagonal, against the chain of `linearize` and float64 sums of logs."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import eps

import lstmgrad as lg

T = 6
CLOSE = {"rtol": 0, "atol": 1e-12}


class Mixed(NamedTuple):
    """A state with a real part, a complex part and one that has no derivative."""

    slow: jax.Array
    turning: jax.Array
    steps: jax.Array


def real_step(params, s, x):
    """Gates that look at the input alone."""
    gate = jax.nn.sigmoid(params * x)
    return gate * s + (1 - gate) * jnp.tanh(x)


def complex_step(params, s, x):
    return jnp.exp(jax.lax.complex(-jnp.abs(params), x)) * s + jax.lax.complex(x, x)


def mixed_step(params, s, x):
    slow, turning = real_step(params, s.slow, x), complex_step(params, s.turning, x)
    return Mixed(slow, turning, s.steps + 1)


PARAMS = jnp.asarray([0.5, -1.0, 2.0])
START = jnp.ones(3), jnp.asarray([1.0 + 1.0j, 2.0, -0.5j])
MODELS = {
    "real": (real_step, START[0], [None]),
    "complex": (complex_step, START[1], [None, 0]),
    "mixed": (mixed_step, Mixed(*START, jnp.zeros((), int)), [None, "turning"]),
}
every_model = pytest.mark.parametrize("name", MODELS)


def chains_of(name):
    """The declared chain and the general one."""
    step, start, parts = MODELS[name]
    inputs = jax.random.normal(jax.random.key(0), (T, 3))
    trajectory = lg.unroll(step, PARAMS, start, inputs)
    declared = lg.linearize_diagonal(step, PARAMS, trajectory)
    return declared, lg.linearize(step, PARAMS, trajectory), parts


@pytest.mark.slow
@every_model
def test_norms_of_every_pair_of_parts(name):
    declared, general, parts = chains_of(name)
    for of in parts:
        for wrt in parts:
            for norms in (lg.backward_norms, lg.forward_norms):
                got = norms(declared, of=of, wrt=wrt)
                want = norms(general, of=of, wrt=wrt).log_norms
                np.testing.assert_allclose(got.log_norms, want, **CLOSE)
                assert np.all(got.resolved)
    coarse = lg.backward_norms(declared, every=4)
    np.testing.assert_array_equal(coarse.lags, [0, 4])
    want = lg.backward_norms(general, every=4).log_norms
    np.testing.assert_allclose(coarse.log_norms, want, **CLOSE)


def test_different_parts_do_not_meet():
    declared, _, _ = chains_of("mixed")
    for norms in (lg.backward_norms, lg.forward_norms):
        got = norms(declared, of="slow", wrt="turning").log_norms
        np.testing.assert_array_equal(got, np.full(T + 1, -np.inf))


@pytest.mark.slow
def test_it_is_a_chain_like_any_other():
    declared, general, _ = chains_of("mixed")
    n = declared.layout.size
    np.testing.assert_allclose(
        lg.DenseChain.of(declared).factors, lg.DenseChain.of(general).factors, **CLOSE
    )
    block = jnp.cos(jnp.arange(2.0 * n)).reshape(n, 2)
    for chain, twin in ((declared, general), (declared[2:5], general[2:5])):
        assert len(chain) == len(twin)
        np.testing.assert_allclose(lg.jacobian(chain), lg.jacobian(twin), **CLOSE)
    for read in (
        lambda chain: lg.product(chain).to_array(),
        lambda chain: lg.product(chain, method=lg.Method.blocked(4)).to_array(),
        lambda chain: lg.push_forward(chain, block).to_array(),
        lambda chain: lg.pull_back(chain, block.T).to_array(),
        lambda chain: lg.norm_map(chain, every=3).log_norms,
        lambda chain: lg.forward_norms(chain[1:4]).log_norms,
    ):
        np.testing.assert_allclose(read(declared), read(general), **CLOSE)


@pytest.mark.parametrize("norms", [lg.backward_norms, lg.forward_norms])
def test_two_hundred_thousand_steps_in_float32(norms):
    """Against sums of float64 logarithms of the same rounded factors."""
    length = 200_000
    factors = np.random.default_rng(0).uniform(0.2, 1.2, (length, 4)).astype(np.float32)

    def step(params, s, x):
        return x * s

    states = np.zeros((length + 1, 4), np.float32)
    chain = lg.linearize_diagonal(step, None, lg.Trajectory(jnp.asarray(factors), states))
    profile = norms(chain)
    logs = np.log(factors.astype(np.float64))
    sums = np.cumsum(logs if norms is lg.forward_norms else logs[::-1], axis=0)
    assert profile.log_norms.dtype == np.float32
    # Sums of 2^18 terms in pairs round at most 18 times, the logarithm and the print twice more.
    tolerance = 20 * eps("float32")
    np.testing.assert_allclose(profile.log_norms[1:], sums.max(axis=1), rtol=tolerance, atol=1e-5)


def test_a_complex_entry_is_a_rotation_times_its_modulus():
    """The LRU: [[Re λ, -Im λ], [Im λ, Re λ]] by entry, and lag · max ln |λ| whatever the inputs."""
    length, tolerance = 2000, 4 * eps("float32")
    cell = lg.cells.lru(2, 4, dtype=jnp.float32)
    params = cell.init(jax.random.key(0))
    inputs = jax.random.normal(jax.random.key(1), (length, 2), "float32")
    trajectory = lg.unroll(cell.step, params, cell.initial_state(), inputs)
    chain = lg.linearize_diagonal(cell.step, params, trajectory)
    log_modulus = -np.exp(np.asarray(params.nu_log, np.float64))
    phase = np.exp(np.asarray(params.theta_log, np.float64))
    re, im = (np.diag(np.exp(log_modulus) * part(phase)) for part in (np.cos, np.sin))
    # The phase, up to 2π, is rounded before its sine is taken.
    for factor in lg.DenseChain.of(chain[7:9]).factors:
        np.testing.assert_allclose(factor, np.block([[re, -im], [im, re]]), 0, 7 * tolerance)
    lags = np.arange(length + 1)
    want = lags * log_modulus.max()
    # A relative error of the modulus is an absolute one of its logarithm, at every lag.
    error = np.abs(np.asarray(lg.backward_norms(chain).log_norms) - want)
    assert np.all(error <= tolerance * (1 + lags))


def linear(diagonals):
    """The chain of s' = a ⊙ s."""
    states = jnp.ones((len(diagonals) + 1, *diagonals.shape[1:]), diagonals.dtype)
    trajectory = lg.Trajectory(diagonals, states)
    return lg.linearize_diagonal(lambda params, s, x: x * s, None, trajectory)


def test_exact_zeros_and_nan():
    ones = jnp.full((5, 2), 0.5)
    zero = lg.forward_norms(linear(ones.at[2, 0].set(0))).log_norms
    np.testing.assert_allclose(zero, np.arange(6) * np.log(0.5), **CLOSE)
    gone = lg.forward_norms(linear(ones.at[2].set(0))).log_norms
    np.testing.assert_array_equal(gone[3:], -np.inf)
    np.testing.assert_allclose(gone[:3], np.arange(3) * np.log(0.5), **CLOSE)
    nan = lg.forward_norms(linear(ones.at[2, 1].set(jnp.nan))).log_norms
    np.testing.assert_array_equal(np.isnan(nan), np.arange(6) >= 3)


def test_a_batch_is_the_loop():
    batch = jnp.cos(jnp.arange(30.0)).reshape(2, 5, 3)
    chains = jax.vmap(linear)(batch)
    together = jax.vmap(lambda chain: lg.backward_norms(chain).log_norms)(chains)
    for got, one in zip(together, batch, strict=True):
        np.testing.assert_allclose(got, lg.backward_norms(linear(one)).log_norms, **CLOSE)
    with pytest.raises(ValueError, match=r"a batch of \(2,\)"):
        lg.backward_norms(chains)


@pytest.mark.slow
def test_slopes_in_the_parameters():
    def log_norm(params):
        inputs = jnp.cos(jnp.arange(15.0)).reshape(5, 3)
        trajectory = lg.unroll(real_step, params, START[0], inputs)
        return lg.backward_norms(lg.linearize_diagonal(real_step, params, trajectory)).log_norms[-1]

    slope, step = jax.grad(log_norm)(PARAMS), 1e-5
    ahead, behind = (log_norm(PARAMS + s) for s in (step, -step))
    np.testing.assert_allclose(jnp.sum(slope), (ahead - behind) / (2 * step), rtol=1e-7)


WRONG = {
    "mixes entries": (lambda p, s, x: 0.9 * jnp.roll(s, 1), jnp.ones(3)),
    "mixes a little": (lambda p, s, x: s + 1e-3 * jnp.sum(s), jnp.ones(3)),
    "mixes parts": (lambda p, s, x: (s[0] + s[1], s[1]), (jnp.ones(3), jnp.ones(3))),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_declaration_is_found_out(name):
    step, start = WRONG[name]
    trajectory = lg.unroll(step, None, start, jnp.ones(4))
    message = "expected every entry of the new state to depend on the same entry"
    with pytest.raises(RuntimeError, match=message):
        lg.linearize_diagonal(step, None, trajectory)
