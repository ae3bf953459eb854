"""Tracked norms, of more than 32 rows and columns, against NumPy's SVDs of float64 products."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hand import lstm_jacobian
from oracles import block_log_norms, eps
from registry import slow

import lstmgrad as lg
from lstmgrad._numeric.tracked import SMALL

N, T = 40, 50
LENGTH = 6  # of short chains, the same for all because each length compiles anew
NORMS = {"end": lg.backward_norms, "start": lg.forward_norms}

both_ends = pytest.mark.parametrize("fixed", NORMS)


def rng(seed=0):
    return np.random.default_rng(seed)


def gaussian(seed=0, n=N, length=T):
    return rng(seed).normal(size=(length, n, n)) / np.sqrt(n)


def diagonals(log_gains):
    return np.exp(log_gains)[:, :, None] * np.eye(N)


def crossing():
    """Rates that rise and fall in turn, so that the lead passes from unit to unit."""
    t, unit = np.arange(T)[:, None], np.arange(N)
    return diagonals(-np.linspace(0.1, 0.2, N) * (1 + 0.9 * np.sin(t / 8 + unit)))


def handover():
    """One unit leads for 20 steps, then another overtakes it from far behind."""
    log_gains = np.full((T, N), np.log(0.5))
    log_gains[:20, 3], log_gains[20:, 7] = np.log(0.9), np.log(0.99)
    log_gains[:20, 7] = np.log(0.6)
    return diagonals(log_gains)


def two_by_two():
    """Units in pairs, each pair alone, non-normal and with its own rate."""
    blocks = np.zeros((N, N))
    for i in range(0, N, 2):
        blocks[i : i + 2, i : i + 2] = [[0.95 - 0.003 * i, 3.0], [0.0, 0.5]]
    return blocks


def orthogonal():
    return np.linalg.qr(rng().normal(size=(N, N)))[0]


def rank_two():
    return rng().normal(size=(T, N, 2)) @ rng(1).normal(size=(T, 2, N)) / N


def constant(matrix):
    return np.broadcast_to(matrix, (T, N, N))


FAMILIES = {
    "gaussian": gaussian,
    "orthogonal": lambda: constant(0.9 * orthogonal()),
    "large": lambda: 1e30 * gaussian(1),
    "tiny": lambda: 1e-30 * gaussian(2),
    "rank two": rank_two,
    "shift": lambda: constant(np.eye(N, k=1)),
    "jordan": lambda: constant(0.9 * np.eye(N) + 0.3 * np.eye(N, k=1)),
    "diagonal, random": lambda: diagonals(np.log(rng().uniform(0.3, 1.0, (T, N)))),
    "diagonal, crossing": crossing,
    "diagonal, handover": handover,
    "two by two": lambda: constant(two_by_two()),
}


def assert_holds(profile, truth, dtype):
    """Within 1e-4 at every lag, within its own errors where it is resolved, and never above."""
    got, lags = np.asarray(profile.log_norms, np.float64), np.asarray(profile.lags)
    errors, resolved = np.asarray(profile.errors), np.asarray(profile.resolved)
    gone = np.isneginf(truth)
    np.testing.assert_array_equal(np.isneginf(got), gone)
    got, truth, lags = got[~gone], truth[~gone], lags[~gone]
    errors, resolved = errors[~gone], resolved[~gone]
    # The rounding of the product, where the errors of all steps add up, and of a large logarithm.
    rounding = eps(dtype) * (np.sqrt(N) * (lags + 1) + 2 * np.abs(truth))
    below = truth - got
    assert np.all(np.abs(below) <= 1e-4 + 2 * eps(dtype) * np.abs(truth))
    assert np.all(below >= -rounding)
    assert np.all((below <= errors + rounding) | ~resolved)
    assert np.all((below <= profile.rtol + rounding) | ~resolved)
    # Otherwise a profile that resolves nothing would pass.
    assert np.mean(resolved) > 0.9


@both_ends
@pytest.mark.parametrize("dtype", ["float32", slow("float64")])
@pytest.mark.parametrize("family", FAMILIES)
def test_products_of_matrices(family, dtype, fixed):
    factors = np.asarray(FAMILIES[family](), dtype)
    profile = NORMS[fixed](lg.DenseChain(factors))
    assert_holds(profile, block_log_norms(factors, fixed=fixed), dtype)


def test_the_shift_is_one_and_then_exactly_zero():
    profile = lg.backward_norms(lg.DenseChain(jnp.asarray(constant(np.eye(N, k=1)))))
    np.testing.assert_array_equal(profile.log_norms[N:], -np.inf)
    np.testing.assert_allclose(profile.log_norms[:N], 0.0, atol=eps("float64") * N)
    assert np.all(profile.resolved)


@functools.cache
def lstm(dtype, forget_bias, gain):
    """The chain of an LSTM on random inputs and its factors by hand, in float64."""
    cell = lg.cells.lstm(4, N, forget_bias=forget_bias, dtype=jnp.dtype(dtype))
    params = cell.init(jax.random.key(0))
    params = params._replace(weight_hh=params.weight_hh * jnp.asarray(gain, dtype))
    inputs = jax.random.normal(jax.random.key(1), (T, 4), dtype)
    chain = lg.chain(cell.model(params), inputs)
    wide, x, (h, c) = jax.tree.map(
        lambda leaf: np.asarray(leaf, np.float64), (params, inputs, chain.trajectory.states)
    )
    factors = [lstm_jacobian(wide, h[t], c[t], x[t]) for t in range(T)]
    return chain, np.stack(factors)


LSTMS = [(1.0, 1.0), (3.0, 1.0), (1.0, 4.0), (5.0, 0.5)]
DECOUPLED = [(1.0, 0.0), (5.0, 0.0)]
PARTS = [
    slow("float64", "c", "c"),
    ("float64", "h", "c"),
    slow("float64", None, None),
    slow("float32", None, None),
]


def check_lstm(forget_bias, gain, dtype, of, wrt, fixed):
    chain, factors = lstm(dtype, forget_bias, gain)
    rows, columns = chain.layout.block(of, "of"), chain.layout.block(wrt, "wrt")
    truth = block_log_norms(factors, rows, columns, fixed=fixed)
    assert_holds(NORMS[fixed](chain, of=of, wrt=wrt), truth, dtype)


@both_ends
@pytest.mark.parametrize(("dtype", "of", "wrt"), PARTS)
def test_lstms_of_every_temper(dtype, of, wrt, fixed):
    for forget_bias, gain in LSTMS:
        check_lstm(forget_bias, gain, dtype, of, wrt, fixed)


@both_ends
@pytest.mark.parametrize(("of", "wrt"), [("c", "c"), ("h", "c")])
def test_units_that_do_not_interact(of, wrt, fixed):
    for forget_bias, gain in DECOUPLED:
        check_lstm(forget_bias, gain, "float64", of, wrt, fixed)


@both_ends
def test_whole_states_of_units_that_do_not_interact(fixed):
    for forget_bias, gain in DECOUPLED:
        check_lstm(forget_bias, gain, "float64", None, None, fixed)


@functools.cache
def heads(size):
    """An LSTM whose units interact within groups only, like the heads of a wider one."""
    cell = lg.cells.lstm(4, 64, dtype=jnp.float32)
    params = cell.init(jax.random.key(0))
    own = np.kron(np.eye(64 // size), np.ones((size, size))) * np.sqrt(64 / size)
    weight = params.weight_hh * jnp.asarray(np.tile(own, (4, 1)), jnp.float32)
    inputs = jax.random.normal(jax.random.key(1), (40, 4), jnp.float32)
    return lg.chain(cell.model(params._replace(weight_hh=weight)), inputs)


@pytest.mark.slow
@both_ends
@pytest.mark.parametrize("size", [4, 8, 16])
def test_heads_that_do_not_interact(size, fixed):
    """A norm that says it is resolved is resolved; and it says so nearly always."""
    chain, norms = heads(size), NORMS[fixed]
    got, truth = (norms(chain, of="c", wrt="c", rtol=rtol) for rtol in (1e-5, 0))
    below = np.asarray(truth.log_norms - got.log_norms)
    resolved = np.asarray(got.resolved)
    assert np.mean(resolved) > 0.9
    rounding = 8 * eps("float32") * np.maximum(1, np.abs(truth.log_norms))
    assert np.all((below <= got.rtol + rounding) | ~resolved)
    assert np.all(below >= -rounding)


@pytest.mark.slow
def test_the_tolerance_is_what_is_paid_for():
    chain = lg.DenseChain(gaussian())
    loose, default, none = (lg.backward_norms(chain, rtol=rtol) for rtol in (1e-2, 1e-5, 0))
    truth = block_log_norms(gaussian(), fixed="end")
    error_of = [np.abs(profile.log_norms - truth).max() for profile in (loose, default, none)]
    assert error_of[0] <= 1e-2
    assert error_of[1] <= 1e-5
    assert error_of[2] <= 1e-12
    assert error_of[0] > 10 * error_of[1] > 100 * error_of[2]
    assert np.max(loose.errors) > 1e-4 > 1e-5 >= np.max(default.errors)
    assert (loose.rtol, default.rtol, none.rtol) == (1e-2, 1e-5, 0)
    assert np.all(loose.resolved & default.resolved & none.resolved)


def test_a_numpy_tolerance_is_the_number_it_holds():
    chain = lg.DenseChain(gaussian())
    want = lg.backward_norms(chain, rtol=1e-2)
    got = lg.backward_norms(chain, rtol=np.float64(1e-2))
    np.testing.assert_array_equal(got.log_norms, want.log_norms)
    assert type(got.rtol) is float


@pytest.mark.parametrize("n", [SMALL, SMALL + 1])
def test_either_side_of_the_smallest_tracked_size(n):
    factors = gaussian(3, n, LENGTH)
    profile = lg.forward_norms(lg.DenseChain(factors))
    np.testing.assert_allclose(profile.log_norms, block_log_norms(factors), rtol=0, atol=1e-5)


@pytest.mark.slow
def test_slopes_are_those_of_finite_differences():
    """At a norm of error ε the singular vectors, and with them the slope, have error √ε."""
    cell, rtol = lg.cells.rnn(2, 33), 1e-13
    params = cell.init(jax.random.key(0))
    inputs = rng(1).normal(size=(4, 2))

    @jax.jit
    @jax.value_and_grad
    def log_norm(params):
        chain = lg.chain(cell.model(params), inputs)
        return lg.backward_norms(chain, rtol=rtol).log_norms @ jnp.arange(5.0)

    params = jax.tree.map(np.asarray, params)
    direction = jax.tree.map(lambda leaf: np.cos(np.arange(leaf.size)).reshape(leaf.shape), params)
    _, slopes = log_norm(params)
    along = sum(np.sum(slope * d) for slope, d in zip(slopes, direction, strict=True))
    step = 1e-5  # the difference errs by step² from the curve and rtol/step from the norms
    ahead, behind = (
        log_norm(jax.tree.map(lambda p, d, s=s: p + s * d, params, direction))[0]
        for s in (step, -step)
    )
    np.testing.assert_allclose(along, (ahead - behind) / (2 * step), rtol=1e-5)


@pytest.mark.slow
def test_the_slope_beside_a_vanished_norm():
    def log_norm_at(scale, lag):
        factors = jnp.broadcast_to(scale * jnp.eye(N, k=-1), (T, N, N))
        return lg.backward_norms(lg.DenseChain(factors)).log_norms[lag]

    slope = jax.jit(jax.grad(log_norm_at))
    np.testing.assert_allclose(slope(1.3, 3), 3 / 1.3, rtol=1e-12)
    assert slope(1.3, N + 1) == 0


@both_ends
def test_nan_inf_and_zero_blocks(fixed):
    factors = gaussian()
    norms, at = NORMS[fixed], 20
    lag = at + 1 if fixed == "start" else T - at  # the first whose product holds the factor
    before = norms(lg.DenseChain(factors)).log_norms[:lag]

    def read(factor):
        broken = factors.copy()
        broken[at] = factor
        profile = norms(lg.DenseChain(broken))
        np.testing.assert_array_equal(profile.log_norms[:lag], before)
        return profile.log_norms[lag:], profile.resolved[lag:]

    nan, trusted = read(jnp.nan)
    assert np.all(np.isnan(nan))
    assert not np.any(trusted)
    zero, trusted = read(0.0)
    np.testing.assert_array_equal(zero, -np.inf)
    assert np.all(trusted)
    infinite, trusted = read(jnp.inf)
    assert not np.any(np.isfinite(infinite) | np.isneginf(infinite))
    assert not np.any(trusted)


@pytest.mark.slow
def test_a_compiled_batch_is_the_loop():
    """Batched or not, the same products, each found to the tolerance."""
    batch = np.stack([gaussian(seed, SMALL + 1, LENGTH) for seed in range(3)])

    rtol = 1e-8

    def norms(factors):
        return lg.backward_norms(lg.DenseChain(factors), rtol=rtol)

    together = jax.jit(jax.vmap(norms))(batch)
    for i in range(3):
        one = norms(batch[i])
        np.testing.assert_allclose(together.log_norms[i], one.log_norms, rtol=0, atol=rtol)
        assert np.all(one.resolved & together.resolved[i])


def test_a_second_call_compiles_nothing():
    traces = []

    def step(weight, state, x):
        traces.append(None)
        return jnp.tanh(weight @ state + x)

    def norms(seed):
        weight = jnp.asarray(gaussian(seed, 33, 1)[0])
        inputs = jnp.asarray(rng(seed).normal(size=(3, 33)))
        chain = lg.chain(lg.Model(step, weight, inputs[0]), inputs)
        return lg.backward_norms(chain, rtol=1e-3 if seed == 2 else 1e-5)

    norms(0)
    first = len(traces)
    norms(1)
    assert len(traces) == first
    eqx.filter_eval_shape(norms, 2)  # another tolerance is another program
    assert len(traces) > first
