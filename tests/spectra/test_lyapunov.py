"""Exponents against a QR loop in NumPy, closed forms and determinants; what is refused."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hand import lstm_parts
from oracles import eps
from registry import T, chain_of, problem, random_chain, slow

import lstmgrad as lg

CLOSE = {"rtol": 0, "atol": 1e-11}
LONG = 60


def loop(factors, frame=None, burn_in=0):
    """Exponents by NumPy, with a QR at every step, from the largest on."""
    factors = np.asarray(factors, np.float64)
    frame = np.eye(factors.shape[-1]) if frame is None else np.linalg.qr(np.asarray(frame))[0]
    sums = np.zeros(frame.shape[1])
    for t, factor in enumerate(factors):
        frame, triangle = np.linalg.qr(factor @ frame)
        sums += np.log(np.abs(np.diag(triangle))) * (t >= burn_in)
    return np.sort(sums / (len(factors) - burn_in))[::-1]


@functools.cache
def long_lstm():
    """A random driven LSTM over 60 steps: the problem, its chain and that chain in matrices."""
    given = problem("lstm", length=LONG)
    chain = given.chain()
    return given, chain, lg.DenseChain.of(chain)


def stream_of(given):
    return lg.stream(given.step, given.params, given.state, given.inputs)


def diagonal_step(params, state, x):
    return jax.nn.sigmoid(params * x) * state + x


def diagonal_trajectory():
    inputs = jax.random.normal(jax.random.key(5), (T, 3))
    return diagonal_step, jnp.asarray([0.5, 1.0, 2.0]), inputs


# -- what the numbers are ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["rnn", "gru", "lstm"])
def test_cells_are_the_numpy_loop(name):
    found = lg.lyapunov_spectrum(chain_of(name))
    np.testing.assert_allclose(found.exponents, loop(chain_of(name, "dense").factors), **CLOSE)


@pytest.mark.parametrize("interval", [None, slow(1), slow(4), slow(7)])
def test_intervals_burn_in_and_frame_are_those_of_the_loop(interval):
    _, chain, dense = long_lstm()
    frame = np.random.default_rng(0).normal(size=(6, 4))
    found = lg.lyapunov_spectrum(chain, frame, burn_in=9, interval=interval)
    np.testing.assert_allclose(found.exponents, loop(dense.factors, frame, 9), rtol=0, atol=1e-8)
    assert found.times[-1] == found.state.num_steps == LONG - 9


@pytest.mark.slow
def test_sum_of_a_driven_lstm_is_the_time_mean_of_its_determinants():
    given, chain, _ = long_lstm()
    states = given.run().states
    exact = np.array(
        [
            lstm_parts(given.params, states.h[t], states.c[t], given.inputs[t])[2]
            for t in range(LONG)
        ]
    )
    found = lg.lyapunov_spectrum(chain)
    np.testing.assert_allclose(jnp.sum(found.exponents), exact.mean(), rtol=0, atol=1e-9)
    np.testing.assert_allclose(lg.log_abs_det(chain), exact, rtol=0, atol=1e-11)
    np.testing.assert_allclose(lg.log_abs_det(stream_of(given)), exact, rtol=0, atol=1e-11)


def test_every_kind_of_chain():
    given, chain, dense = long_lstm()
    want = lg.lyapunov_spectrum(chain)
    for other in (dense, stream_of(given)):
        found = lg.lyapunov_spectrum(other)
        np.testing.assert_allclose(found.exponents, want.exponents, **CLOSE)
    route = lg.routes(chain)["cell"]
    cell_path = lg.lyapunov_spectrum(route[:T], num_exponents=3)
    np.testing.assert_allclose(
        cell_path.exponents, loop(lg.DenseChain.of(route[:T]).factors, start_frame(6, 3)), **CLOSE
    )


def start_frame(n, m):
    """The frame that is used for m < n, read off a chain that does not turn it."""
    still = lg.DenseChain(np.eye(n)[None])
    return np.asarray(lg.lyapunov_spectrum(still, num_exponents=m).state.frame)


def test_a_diagonal_chain():
    step, params, inputs = diagonal_trajectory()
    trajectory = lg.unroll(step, params, jnp.ones(3), inputs)
    chain = lg.linearize_diagonal(step, params, trajectory)
    gains = np.log(1 / (1 + np.exp(-np.asarray(params) * np.asarray(inputs))))
    found = lg.lyapunov_spectrum(chain)
    np.testing.assert_allclose(found.exponents, np.sort(gains.mean(0))[::-1], **CLOSE)
    np.testing.assert_allclose(lg.log_abs_det(chain), gains.sum(1), **CLOSE)


# -- invariance ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_rotating_coordinates_and_frame_together_changes_nothing():
    _, _, dense = long_lstm()
    generator = np.random.default_rng(1)
    rotation = np.linalg.qr(generator.normal(size=(6, 6)))[0]
    frame = generator.normal(size=(6, 4))
    turned = lg.DenseChain(rotation @ np.asarray(dense.factors) @ rotation.T)
    one = lg.lyapunov_spectrum(dense, frame)
    other = lg.lyapunov_spectrum(turned, rotation @ frame)
    np.testing.assert_allclose(other.running_exponents, one.running_exponents, rtol=0, atol=1e-9)
    # Rotating the frame alone is another start, which is not forgotten yet.
    mixed = lg.lyapunov_spectrum(dense, rotation @ frame)
    assert np.abs(mixed.exponents - one.exponents).max() > 1e-4


def test_an_identity_step_changes_the_number_of_steps_alone():
    _, _, dense = long_lstm()
    factors = np.concatenate([dense.factors[:30], np.eye(6)[None], dense.factors[30:]])
    found = lg.lyapunov_spectrum(lg.DenseChain(factors))
    want = lg.lyapunov_spectrum(dense).exponents * LONG / (LONG + 1)
    np.testing.assert_allclose(found.exponents, want, rtol=0, atol=1e-9)


@pytest.mark.slow
def test_no_exponent_exceeds_the_norm_of_the_product():
    """ln‖J_T ··· J_1‖ >= T λ_1, and the two part by less and less per step."""
    _, chain, _ = long_lstm()
    norms = np.asarray(lg.forward_norms(chain, rtol=0.0).log_norms)[1:]
    found = lg.lyapunov_spectrum(chain)
    gap = norms / np.arange(1, LONG + 1) - np.asarray(found.running_exponents)[:, 0]
    assert np.all(gap > -1e-12)
    assert gap[-1] < 0.2 * gap[4]
    singular = np.linalg.svd(np.asarray(lg.product(chain).mantissa), compute_uv=False)
    assert np.log(singular[0] / singular[1]) / LONG > 0.1  # so that the limit is near


# -- going on, many at once ----------------------------------------------------------------------


@pytest.mark.slow
def test_two_calls_are_one():
    given, _, dense = long_lstm()
    whole = lg.lyapunov_spectrum(dense, burn_in=5)
    half = lg.lyapunov_spectrum(stream_of(given)[:30], burn_in=5)
    rest = lg.stream(given.step, given.params, half.state.model_state, given.inputs[30:])
    found = lg.lyapunov_spectrum(rest, half.state)
    np.testing.assert_allclose(found.exponents, whole.exponents, **CLOSE)
    np.testing.assert_allclose(found.running_exponents, whole.running_exponents[25:], **CLOSE)
    np.testing.assert_array_equal(found.times, whole.times[25:])
    # Blocks of one call and of two tell the same error, roughly.
    ratio = np.asarray(found.standard_errors / whole.standard_errors)
    assert np.all((ratio > 0.4) & (ratio < 2.5))
    np.testing.assert_allclose(found.rounding_errors, whole.rounding_errors, rtol=1e-6)


@eqx.filter_jit
def spectrum_of(params, inputs, interval):
    given = problem("lstm", length=LONG)
    chain = lg.stream(given.step, params, given.state, inputs)
    return lg.lyapunov_spectrum(chain, num_exponents=4, interval=interval, burn_in=3)


@pytest.mark.slow
def test_vmap_over_inputs_and_parameters_is_a_loop():
    given = problem("lstm", length=LONG)
    inputs = jnp.stack([given.inputs, -given.inputs])
    params = jax.tree.map(lambda leaf: jnp.stack([leaf, 3 * leaf]), given.params)
    chosen, fixed = (
        jax.vmap(lambda p, x, interval=interval: spectrum_of(p, x, interval))(params, inputs)
        for interval in (None, 3)
    )
    for index in range(2):
        one = spectrum_of(jax.tree.map(lambda leaf, i=index: leaf[i], params), inputs[index], None)
        for got, want in zip(jax.tree.leaves(chosen), jax.tree.leaves(one), strict=True):
            np.testing.assert_allclose(got[index], want, rtol=0, atol=1e-10)
    np.testing.assert_allclose(fixed.exponents, chosen.exponents, rtol=0, atol=1e-9)
    assert fixed.resolved.shape == (2, 4)
    assert np.abs(chosen.exponents[0] - chosen.exponents[1]).max() > 0.1


@pytest.mark.slow
def test_slopes():
    """With a given interval there are derivatives: Σλ has those of the determinants."""
    _, _, dense = long_lstm()
    short = dense.factors[:T]

    def sums(factors):
        return jnp.sum(lg.lyapunov_spectrum(lg.DenseChain(factors), interval=1).exponents)

    # d ln|det J| / dJ is the inverse, transposed.
    want = np.linalg.inv(np.asarray(short)).transpose(0, 2, 1) / T
    np.testing.assert_allclose(jax.grad(sums)(short), want, atol=1e-9 * np.abs(want).max())


def test_a_million_steps_take_the_memory_of_one_frame():
    """Read off the compiled program, which need not run."""

    given = problem("lstm")

    def exponents(inputs):
        chain = lg.stream(given.step, given.params, given.state, inputs)
        return lg.lyapunov_spectrum(chain).exponents

    inputs = jax.ShapeDtypeStruct((10**6, 2), jnp.float64)
    memory = jax.jit(exponents).lower(inputs).compile().memory_analysis()
    assert memory is not None
    assert memory.argument_size_in_bytes == 16 * 10**6
    assert memory.temp_size_in_bytes < 100_000


def test_the_second_call_compiles_nothing():
    calls = []

    def step(params, state, x):
        calls.append(None)
        return jnp.tanh(params * state + x)

    traces = []
    for seed in range(3):
        inputs = jax.random.normal(jax.random.key(seed), (7, 2))
        lg.lyapunov_spectrum(lg.stream(step, jnp.ones(2), jnp.zeros(2), inputs))
        traces.append(len(calls))
    assert traces == traces[:1] * 3


# -- errors, resolution, zeros -------------------------------------------------------------------


def test_running_estimates_lie_on_a_grid_of_at_most_200_times():
    chain = lg.DenseChain(np.tile(np.diag([2.0, 0.5]), (1001, 1, 1)))
    found = lg.lyapunov_spectrum(chain, interval=2, burn_in=1)
    np.testing.assert_array_equal(found.times, [*range(6, 1000, 6), 1000])
    np.testing.assert_allclose(found.running_exponents[:, 0], np.log(2), rtol=1e-14)
    np.testing.assert_array_equal(found.running_exponents[-1], found.exponents)
    # Increments that do not scatter have no standard error, but for rounding.
    assert np.all(np.asarray(found.standard_errors) < 1e-15)
    assert found.resolved.all()


def test_too_short_for_a_standard_error():
    found = lg.lyapunov_spectrum(random_chain(length=1))
    assert np.all(np.asarray(found.standard_errors) == np.inf)
    assert np.isfinite(found.exponents).all()
    assert found.resolved.all()


def test_intervals_that_are_too_long_are_not_resolved():
    chain = lg.DenseChain(np.tile([[1.0, 0.3], [0.1, 0.05]], (1220, 1, 1)))
    exact = np.log(np.abs(np.linalg.eigvals(np.asarray(chain.factors[0]))))
    chosen = lg.lyapunov_spectrum(chain, burn_in=20)
    np.testing.assert_allclose(chosen.exponents, np.sort(exact)[::-1], rtol=0, atol=1e-9)
    assert chosen.resolved.all()
    # They are longer than one step: more digits are spent than by a QR a step.
    each = lg.lyapunov_spectrum(chain, burn_in=20, interval=1)
    assert chosen.rounding_errors[1] > 3 * each.rounding_errors[1]
    long = lg.lyapunov_spectrum(chain, burn_in=20, interval=50)
    np.testing.assert_array_equal(long.resolved, [True, False])
    assert long.exponents[1] > exact.min() + 0.1


def test_exact_zeros():
    shift = lg.DenseChain(np.tile(np.eye(4, k=1), (9, 1, 1)))
    found = lg.lyapunov_spectrum(shift)
    np.testing.assert_array_equal(found.exponents, np.full(4, -np.inf))
    np.testing.assert_array_equal(found.standard_errors, np.zeros(4))
    assert found.resolved.all()
    assert not any(np.isnan(leaf).any() for leaf in jax.tree.leaves(found))
    np.testing.assert_array_equal(lg.log_abs_det(shift), np.full(9, -np.inf))
    # A part that is erased once is lost for good.
    factors = np.tile(np.diag([0.5, 0.25]), (9, 1, 1))
    factors[4, 1, 1] = 0
    found = lg.lyapunov_spectrum(lg.DenseChain(factors))
    np.testing.assert_allclose(found.exponents, [np.log(0.5), -np.inf], rtol=1e-14)
    assert lg.lyapunov_spectrum(lg.DenseChain(0 * factors)).exponents[0] == -np.inf


@pytest.mark.parametrize("options", [slow({}), {"burn_in": 12}, slow({"interval": 3})])
def test_a_tangent_that_became_zero_stays_zero_and_costs_the_others_nothing(options):
    factors = np.tile(np.diag([3.0, 2.0, 0.5]), (30, 1, 1))
    factors[7, :, 0] = 0  # the first tangent, of the largest rate
    chain = lg.DenseChain(factors)
    expected = np.log([2.0, 0.5, 0.0], where=[True, True, False], out=np.full(3, -np.inf))
    found = lg.lyapunov_spectrum(chain, **options)
    np.testing.assert_allclose(found.exponents, expected, rtol=1e-13)
    assert found.resolved.all()
    if not options:
        # Continued, too, and from a start that has it already.
        state = lg.lyapunov_spectrum(chain[:10]).state
        np.testing.assert_array_equal(np.asarray(state.frame)[:, 0], 0)
        for start in (state, state.frame):
            found = lg.lyapunov_spectrum(chain[10:], start)
            np.testing.assert_allclose(found.exponents, expected, rtol=1e-13)


def test_a_singular_factor_leaves_rounding_and_says_so():
    factors = np.random.default_rng(3).normal(size=(20, 4, 3)) @ np.ones((3, 4))
    factors[:, 0, :] += np.random.default_rng(4).normal(size=(20, 4))
    found = lg.lyapunov_spectrum(lg.DenseChain(factors))
    np.testing.assert_array_equal(found.resolved, [True, True, False, False])
    assert np.all(np.asarray(found.exponents)[2:] < -25)


def test_nan_gives_nan():
    given = problem("lstm")
    broken = given._replace(inputs=given.inputs.at[2].set(jnp.nan))
    for chain in (broken.chain(), stream_of(broken)):
        found = lg.lyapunov_spectrum(chain)
        assert np.isnan(found.exponents).all()
        assert np.isnan(found.standard_errors).all()
        assert not found.resolved.any()
        np.testing.assert_array_equal(
            np.isnan(found.running_exponents[:, 0]), np.arange(1, T + 1) > 2
        )
        np.testing.assert_array_equal(np.isnan(lg.log_abs_det(chain)), np.arange(1, T + 1) > 2)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_other_precisions(dtype):
    """(0.5 I)^1000, far below what either dtype can hold."""
    chain = lg.DenseChain(jnp.tile(0.5 * jnp.eye(2, dtype=dtype), (1000, 1, 1)))
    found = lg.lyapunov_spectrum(chain)
    assert found.state.frame.dtype == dtype
    assert found.exponents.dtype == jnp.float32
    np.testing.assert_allclose(found.exponents, np.log(0.5), rtol=4 * eps(jnp.float32))
    np.testing.assert_allclose(lg.log_abs_det(chain), 2 * np.log(0.5), rtol=4 * eps(jnp.float32))


def test_float32_is_float64_to_its_rounding():
    given = problem("lstm", "float32")
    found = lg.lyapunov_spectrum(given.chain())
    double = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), given[1:])
    truth = lg.DenseChain.of(lg.chain(lg.Model(given.step, *double[:2]), double[2]))
    error = np.abs(np.asarray(found.exponents) - loop(truth.factors))
    assert np.all(error < 10 * np.asarray(found.rounding_errors) + 10 * eps(jnp.float32))


# -- dimension and entropy -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("exponents", "dimension", "entropy"),
    [
        ([1.0, 0.0, -4.0], 2.25, 1.0),
        ([0.0, -4.0, 1.0], 2.25, 1.0),  # in any order
        ([-1.0, -2.0], 0.0, 0.0),
        ([0.0, -1.0], 1.0, 0.0),
        ([0.4, 0.3, -0.1], 3.0, 0.7),
        ([2.0, -2.0], 2.0, 2.0),
        ([1.0, -np.inf], 1.0, 1.0),
        ([-np.inf, -np.inf], 0.0, 0.0),
        ([1.0, np.nan], np.nan, np.nan),
    ],
)
def test_dimension_and_entropy(exponents, dimension, entropy):
    values = jnp.asarray(exponents)
    np.testing.assert_allclose(lg.kaplan_yorke_dimension(values), dimension, rtol=1e-15)
    np.testing.assert_allclose(lg.entropy_rate(values), entropy, rtol=1e-15)
    np.testing.assert_allclose(lg.kaplan_yorke_dimension(3.0 * values), dimension, rtol=1e-15)
    batch = lg.kaplan_yorke_dimension(jnp.stack([values, -jnp.abs(values) - 1]))
    np.testing.assert_allclose(batch, [dimension, 0 * dimension], rtol=1e-15)


# -- what is refused -----------------------------------------------------------------------------


@pytest.mark.usefixtures("as_installed")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_exponents": 5}, "num_exponents: expected a whole number from 1 to n = 4, but got 5"),
        ({"num_exponents": 0}, "num_exponents: expected a whole number from 1 to n = 4, but got 0"),
        (
            {"num_exponents": 2.0},
            "num_exponents: expected a whole number from 1 to n = 4, but got 2.0",
        ),
        ({"interval": 0}, "interval: expected a whole number from 1 to T = 5, but got 0"),
        ({"interval": 6}, "interval: expected a whole number from 1 to T = 5, but got 6"),
        (
            {"burn_in": 5},
            "burn_in: .* from 0 to T - 1 = 4, so that a step is left to count, but got 5",
        ),
        ({"burn_in": -1}, "burn_in: .* from 0 to T - 1 = 4, so that a step is left .* but got -1"),
        ({"start": np.ones((3, 2))}, r"start: expected a frame float64\[n,m\].*float64\[3,2\]"),
        ({"start": np.ones((4, 5))}, r"start: .*1 <= m <= n, but got float64\[4,5\]"),
        ({"start": np.ones(4)}, r"start: .*but got float64\[4\]"),
        ({"start": np.ones((4, 2), np.float32)}, r"start: .*but got float32\[4,2\]"),
        (
            {"start": np.eye(4)[:, :2], "num_exponents": 3},
            "num_exponents: expected 2, the columns of the start, or None, but got 3",
        ),
    ],
)
def test_bad_options(options, message):
    start = options.pop("start", None)
    with pytest.raises(ValueError, match=message):
        lg.lyapunov_spectrum(random_chain(), start, **options)


@pytest.mark.usefixtures("as_installed")
def test_bad_arguments():
    with pytest.raises(ValueError, match="chain: expected an lstmgrad Chain, but got str"):
        lg.lyapunov_spectrum("chain")  # pyright: ignore[reportArgumentType]
    with pytest.raises(
        ValueError,
        match="chain: expected at least one step, but got T = 0",
    ):
        lg.lyapunov_spectrum(random_chain()[:0])
    state = lg.lyapunov_spectrum(random_chain(3)).state
    with pytest.raises(ValueError, match=r"start: expected a frame .* n = 4 .*float64\[3,3\]"):
        lg.lyapunov_spectrum(random_chain(), state)
    for reading in (lg.kaplan_yorke_dimension, lg.entropy_rate):
        for value in (jnp.arange(3), jnp.asarray(1.0), jnp.zeros((2, 0))):
            with pytest.raises(ValueError, match="exponents: expected floating-point numbers"):
                reading(value)


def test_coordinates_lost_below_the_range_inside_an_interval_are_no_zeros():
    """Both tangents lose two of three coordinates, and would have one dimension between them."""
    factors = np.broadcast_to(np.diag([1.0, 1e-10, 1e-11]), (12, 3, 3)).astype(np.float32)
    start = np.random.default_rng(0).normal(size=(3, 2)).astype(np.float32)
    chain = lg.DenseChain(jnp.asarray(factors))
    found = lg.lyapunov_spectrum(chain, start, interval=12)
    np.testing.assert_allclose(found.exponents[0], 0.0, atol=0.2)
    assert np.isfinite(found.exponents[1])
    assert found.resolved.tolist() == [True, False]
    # What the factors themselves make zero is exactly zero.
    factors[4, 1:] = 0.0
    found = lg.lyapunov_spectrum(lg.DenseChain(jnp.asarray(factors[3:])), start, interval=3)
    assert found.exponents[1] == -np.inf
    assert found.resolved.tolist() == [True, True]
