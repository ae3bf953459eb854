"""Readings of a part beside slow, exploding and broken ones, against float64 NumPy products.

A part's reading depends on no part beside it; and what lies below the dtype's range beside another
part *on* its path is marked, never taken for zero.
"""

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hand import lstm_jacobian
from oracles import block_log_norms, eps, log_norm
from registry import slow

import lstmgrad as lg

# -- a slow layer below --------------------------------------------------------------------------

SIZE, LENGTH, EVERY = 6, 600, 100
CLOSE: Any = {"rtol": 1e-5, "atol": 200 * eps("float32")}


@functools.cache
def stacked():
    """The chain of a two-layer LSTM in float32 whose lower layer hardly forgets."""
    rng = np.random.default_rng(0)
    bound = 1 / np.sqrt(SIZE)
    params = []
    for d in (3, SIZE):
        shapes = (4 * SIZE, d), (4 * SIZE, SIZE), (4 * SIZE,)
        params.append([rng.uniform(-bound, bound, shape).astype(np.float32) for shape in shapes])
    params[0][2][SIZE : 2 * SIZE] = 4.0
    params = [lg.cells.LSTMParams(*map(jnp.asarray, leaves)) for leaves in params]
    cells = [lg.cells.lstm(d, SIZE, dtype=jnp.float32) for d in (3, SIZE)]
    model = lg.interop.stack([c.model(p) for c, p in zip(cells, params, strict=True)])
    inputs = (0.3 * rng.standard_normal((LENGTH, 3))).astype(np.float32)
    return lg.chain(model, inputs), params, inputs


@functools.cache
def upper_jacobians():
    """Of the upper layer alone, run in NumPy and float64 on the outputs of the lower one."""
    _, params, xs = stacked()
    factors = []
    for leaves in params:
        layer: Any = lg.cells.LSTMParams(*(jnp.asarray(leaf, float) for leaf in leaves))
        layer = jax.tree.map(np.asarray, layer)
        h, c, outputs, factors = np.zeros(SIZE), np.zeros(SIZE), [], []
        for x in xs:
            factors.append(lstm_jacobian(layer, h, c, x))
            pre = layer.weight_ih @ x + layer.weight_hh @ h + layer.bias
            i, f, o = (1 / (1 + np.exp(-pre.reshape(4, SIZE)[k])) for k in (0, 1, 3))
            c = f * c + i * np.tanh(pre.reshape(4, SIZE)[2])
            h = o * np.tanh(c)
            outputs.append(h)
        xs = outputs
    return np.asarray(factors)


CC = slice(SIZE, 2 * SIZE)


@functools.cache
def truth(fixed):
    return block_log_norms(upper_jacobians(), CC, CC, fixed=fixed)


def test_the_case_is_one_that_needs_it():
    """Carried along, the lower layer pushes the upper one out of float32."""
    chain, _, _ = stacked()
    slow = lg.backward_norms(chain, of="c0", wrt="c0", every=LENGTH).log_norms[-1]
    assert float(slow) - truth("end")[-1] > 2 * np.log(2.0**126)


@pytest.mark.parametrize("norms", [slow(lg.backward_norms), lg.forward_norms])
def test_a_profile_beside_a_slow_layer(norms):
    chain, _, _ = stacked()
    profile = norms(chain, of="c1", wrt="c1")
    want = truth(profile.fixed)
    np.testing.assert_allclose(profile.log_norms, want, **CLOSE)
    assert profile.resolved.all()
    rate = -np.polyfit(np.arange(LENGTH + 1), want, 1)[0]
    np.testing.assert_allclose(float(lg.decay_rate(profile)), rate, rtol=1e-5)
    last = np.flatnonzero(want >= np.log(1e-100))[-1]
    assert float(lg.horizon(profile, threshold=1e-100)) == last + 1


@pytest.mark.slow
def test_a_map_and_chosen_lags_beside_a_slow_layer():
    chain, _, _ = stacked()
    found = lg.norm_map(chain, of="c1", wrt="c1", every=EVERY)
    np.testing.assert_allclose(found.log_norms[-1, ::-1], truth("end")[::EVERY], **CLOSE)
    np.testing.assert_allclose(found.log_norms[:, 0], truth("start")[::EVERY], **CLOSE)
    assert found.resolved.all()
    free = lg.matrix_free_norms(chain, (200, 600), of="c1", wrt="c1", rtol=1e-6)
    np.testing.assert_allclose(free.log_norms, truth("end")[[200, 600]], **CLOSE)
    assert free.resolved.all()


@pytest.mark.parametrize(
    "reader", [lg.forward_singular_spectrum, slow(lg.backward_singular_spectrum)]
)
def test_singular_values_beside_a_slow_layer(reader):
    chain, _, _ = stacked()
    found = reader(chain, of="c1", wrt="c1", every=EVERY)
    np.testing.assert_allclose(found.log_values[:, 0], truth(found.fixed)[::EVERY], **CLOSE)
    assert found.resolved[:, 0].all()


def test_blocks_beside_a_slow_layer():
    chain, _, _ = stacked()
    factors = upper_jacobians()[-30:]
    product = functools.reduce(lambda product, factor: factor @ product, factors)
    tail = chain[-30:]
    for of, rows in (("h1", slice(0, SIZE)), ("c1", CC)):
        want = product[rows, CC]
        got = lg.jacobian(tail, of=of, wrt="c1")
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4 * np.abs(want).max())


def test_parts_without_a_path_are_exactly_zero_at_every_lag_but_none():
    chain, _, _ = stacked()
    zero = np.full(LENGTH // EVERY + 1, -np.inf)
    profiles = [
        norms(chain, of="c0", wrt="h1", every=EVERY)
        for norms in (lg.backward_norms, lg.forward_norms)
    ]
    profiles.append(lg.matrix_free_norms(chain, (0, 100, 600), of="c0", wrt="h1"))
    for profile in profiles:
        np.testing.assert_array_equal(profile.log_norms, zero[: len(profile.lags)])
        np.testing.assert_array_equal(profile.errors, 0.0)
        assert profile.resolved.all()
        assert lg.decay_rate(profile) == jnp.inf
        assert lg.horizon(profile) == 0
    found = lg.norm_map(chain, of="c0", wrt="h1", every=300)
    np.testing.assert_array_equal(found.log_norms[np.tril_indices(3)], -np.inf)
    assert found.resolved.all()
    for reader in (lg.forward_singular_spectrum, lg.backward_singular_spectrum):
        spectrum = reader(chain, of="c0", wrt="h1", every=300)
        np.testing.assert_array_equal(spectrum.log_values, np.full((3, SIZE), -np.inf))
        assert spectrum.resolved.all()
    np.testing.assert_array_equal(lg.jacobian(chain, of="c0", wrt="h1"), np.zeros((SIZE, SIZE)))


def test_a_whole_row_of_parts_has_zeros_where_there_is_no_path():
    """`of` or `wrt` the whole state: only some of its parts are on a path, the rest is zero."""
    tail = stacked()[0][-3:]
    whole = np.asarray(lg.product(tail).to_array())
    upper, lower = (tail.layout.block(part, "part") for part in ("h1", "c0"))
    np.testing.assert_array_equal(np.any(whole[:, upper], axis=1), np.arange(4 * SIZE) >= 2 * SIZE)
    got = lg.jacobian(tail, wrt="h1")
    np.testing.assert_allclose(got, whole[:, upper], rtol=1e-5, atol=1e-7)
    got = lg.jacobian(tail, of="c0")
    np.testing.assert_allclose(got, whole[lower], rtol=1e-5, atol=1e-7)
    got = lg.forward_norms(tail, wrt="h1").log_norms[-1]
    np.testing.assert_allclose(got, log_norm(whole[:, upper]), rtol=1e-5)


# -- an exploding or broken part beside ----------------------------------------------------------


def beside_step(params, s, x):
    """Two layers: "a" is read by "b", and "wild" reads both and is read by none."""
    a = 0.5 * s["a"]
    return {"a": a, "b": 0.25 * s["b"] + a, "wild": params * s["wild"] + s["b"] + a}


@pytest.mark.slow
@pytest.mark.parametrize("wild", [1e10, jnp.nan])
def test_what_explodes_or_breaks_beside_changes_nothing(wild):
    state = {
        "a": jnp.ones(2, "float32"),
        "b": jnp.ones(2, "float32"),
        "wild": jnp.ones(2, "float32"),
    }
    chain = lg.chain(lg.Model(beside_step, jnp.float32(wild), state), jnp.arange(40))
    lags = np.arange(41)
    for norms, part, gain in ((lg.backward_norms, "b", 0.25), (lg.forward_norms, "a", 0.5)):
        profile = norms(chain, of=part, wrt=part)
        np.testing.assert_allclose(profile.log_norms, lags * np.log(gain), rtol=1e-6)
        assert profile.resolved.all()
    found = lg.norm_map(chain, of="b", wrt="b", every=20).log_norms
    np.testing.assert_allclose(found[-1, ::-1], lags[::20] * np.log(0.25), rtol=1e-6)
    free = lg.matrix_free_norms(chain, (40,), of="b", wrt="b").log_norms
    np.testing.assert_allclose(free, [40 * np.log(0.25)], rtol=1e-6)
    np.testing.assert_array_equal(lg.jacobian(chain, of="a", wrt="a"), 0.5**40 * np.eye(2))
    # By itself it is what it is.
    own = lg.backward_norms(chain, of="wild", wrt="wild", every=40).log_norms[-1]
    np.testing.assert_allclose(own, 40 * np.log(wild), rtol=1e-6)


# -- below the range of a part on the path -------------------------------------------------------

STEPS, SEEN = 30, 12


def coupled_step(params, s, x):
    """A slow and a fast part that may act on each other: x says how much."""
    up, down = x
    return {"slow": s["slow"] + up * s["fast"], "fast": params * s["fast"] + down * s["slow"]}


@eqx.filter_jit
def coupled(x, gain):
    state = {"slow": jnp.ones(2, "float32"), "fast": jnp.ones(2, "float32")}
    inputs = jnp.broadcast_to(x, (STEPS, 2))
    return lg.chain(lg.Model(coupled_step, gain, state), inputs)


def hiding(fixed, gain=1e-3):
    """Fast by fast is gain^lag, and slow beside it is 1: the other way acts on nothing."""
    x = jnp.asarray([0.0, 1.0] if fixed == "end" else [1.0, 0.0], jnp.float32)
    return coupled(x, jnp.float32(gain))


NORMS = {"end": lg.backward_norms, "start": lg.forward_norms}
every_end = pytest.mark.parametrize("fixed", NORMS)


@every_end
def test_a_norm_below_the_range_of_its_path_is_marked(fixed):
    profile = NORMS[fixed](hiding(fixed), of="fast", wrt="fast")
    true = np.arange(STEPS + 1) * np.log(1e-3)
    seen = np.arange(STEPS + 1) <= SEEN
    got, errors = np.asarray(profile.log_norms, float), np.asarray(profile.errors)
    np.testing.assert_allclose(got[seen], true[seen], rtol=1e-6)
    np.testing.assert_array_equal(errors[~seen], np.inf)
    np.testing.assert_array_equal(np.isfinite(errors), seen)
    assert profile.resolved[: SEEN - 1].all()
    assert not profile.resolved[~seen].any()
    # An upper level, and not a norm: nothing of the truth lies above it.
    level = np.log(4 * np.finfo(np.float32).tiny)
    assert np.all(got[~seen] >= true[~seen])
    np.testing.assert_allclose(got[~seen], level, atol=2.0)
    np.testing.assert_allclose(lg.decay_rate(profile), np.log(1e3), rtol=1e-6)
    assert lg.horizon(profile, threshold=1e-5) == 2
    assert np.isnan(lg.horizon(profile, threshold=1e-38 / 10))


@pytest.mark.slow
def test_a_map_and_chosen_lags_below_the_range_are_marked():
    """The rows of a map and the search pull, and so meet what `backward_norms` meets."""
    chain = hiding("end")
    got = lg.norm_map(chain, of="fast", wrt="fast", every=10)
    below = np.tril(np.ones((4, 4), bool))
    lags = np.subtract.outer(got.times, got.times)
    np.testing.assert_array_equal(got.errors[below & (lags > SEEN)], np.inf)
    np.testing.assert_array_equal(got.resolved, ~(below & (lags > SEEN)))
    free = lg.matrix_free_norms(chain, (5, 25), of="fast", wrt="fast")
    np.testing.assert_array_equal(free.resolved, [True, False])
    assert free.errors[1] == np.inf
    assert float(free.log_norms[1]) >= 25 * np.log(1e-3)
    np.testing.assert_allclose(free.log_norms[0], 5 * np.log(1e-3), rtol=1e-6)


@pytest.mark.parametrize("fixed", [slow("start"), "end"])
def test_singular_values_below_the_range_are_marked(fixed):
    readers = {"start": lg.forward_singular_spectrum, "end": lg.backward_singular_spectrum}
    got = readers[fixed](hiding(fixed), of="fast", wrt="fast", every=5)
    true = np.arange(0, STEPS + 1, 5) * np.log(1e-3)
    off = np.abs(np.asarray(got.log_values[:, 0], float) - true)
    resolved = np.asarray(got.resolved[:, 0])
    assert resolved[:3].all()
    assert np.all(off[resolved] < 1e-4)
    assert not np.any(np.isneginf(got.log_values[:, 0]) & resolved)


@every_end
def test_an_exact_zero_is_one(fixed):
    """A block that is zero as a whole: -inf, without an error."""
    chain = coupled(jnp.zeros(2, jnp.float32), jnp.float32(0))
    profile = NORMS[fixed](chain, of="fast", wrt="fast")
    np.testing.assert_array_equal(profile.log_norms[1:], -np.inf)
    np.testing.assert_array_equal(profile.errors[1:] <= eps("float32"), True)
    assert profile.resolved.all()
    assert lg.decay_rate(profile) == jnp.inf
    assert lg.horizon(profile) == 1


def test_a_horizon_and_a_rate_know_what_is_not_resolved():
    lags = jnp.arange(5)

    def profile(log_norms, errors):
        return lg.NormProfile(
            lags=lags,
            log_norms=jnp.asarray(log_norms, jnp.float64),
            errors=jnp.asarray(errors, jnp.float64),
            of=None,
            wrt=None,
            fixed="end",
            rtol=1e-5,
        )

    hidden = profile([0, -1, -2, -50, -50], [0, 0, 0, np.inf, np.inf])
    np.testing.assert_allclose(lg.decay_rate(hidden), 1.0, rtol=1e-14)
    assert lg.horizon(hidden, threshold=np.exp(-1.5)) == 2
    assert np.isnan(lg.horizon(hidden, threshold=np.exp(-60)))
    # Above the threshold at a lag that is seen: what was hidden before it does not decide.
    inside = profile([0, -50, -1, -2, -60], [0, np.inf, 0, 0, 0])
    assert lg.horizon(inside, threshold=np.exp(-1.5)) == 3
    # A level that still reaches the threshold decides nothing.
    doubtful = profile([0, -1, -1, -50, -60], [0, 0, np.inf, 0, 0])
    assert np.isnan(lg.horizon(doubtful, threshold=np.exp(-1.5)))
    assert np.isnan(lg.decay_rate(profile([0, -50, -50, -50, -50], [0] + 4 * [np.inf])))
    assert np.all(jax.vmap(lg.decay_rate)(jax.tree.map(lambda x: jnp.stack([x, x]), hidden)) > 0)
