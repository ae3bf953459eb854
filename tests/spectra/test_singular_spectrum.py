"""Singular spectra, against decimal arithmetic with 1500 digits and NumPy's SVD of short products.

The spectra of long products span hundreds of orders of magnitude; `errors` is an estimate and not a
bound, so values are held to thirty times it.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import eps, exact_log_singular_values, pairwise_jacobians
from registry import Problem, T, chain_of, every_dtype, problem, slow

import lstmgrad as lg
from lstmgrad._chains.layout import layout_of

LONG, N, EVERY = 20, 4, 10
READERS = {"forward": lg.forward_singular_spectrum, "backward": lg.backward_singular_spectrum}
every_reader = pytest.mark.parametrize("reader", READERS)


def orthogonal(rng, count, size):
    return np.linalg.qr(rng.normal(size=(count, size, size)))[0]


@functools.cache
def factors(kind, dtype="float64"):
    rng = np.random.default_rng(0)
    gaussian = rng.normal(size=(LONG, N, N))
    left, right = orthogonal(rng, LONG, N), orthogonal(rng, LONG, N)
    steep, mild = 10.0 ** np.array([0, -5, -12, -20]), 10.0 ** np.array([0, -1, -2, -4])
    blocks = np.zeros((LONG, N, N))
    blocks[:, 0, 0], blocks[:, 1:, 1:] = 1.0, orthogonal(rng, LONG, N - 1)
    in_turn = np.where(np.arange(LONG)[:, None] % 14 < 7, [1, 1e-3, 1e-3, 1e-3], [1e-6, 1, 1, 1])
    made = {
        "gaussian": gaussian,
        "small rows": steep[None, :, None] * gaussian,
        "small columns": gaussian * steep[None, None, :],
        "small both": steep[None, :, None] * gaussian * mild[None, None, :],
        "ill-conditioned": (left * mild) @ right,
        "triangular": np.triu(gaussian),
        "orthogonal": 0.5 * left,
        # One unit beside a group of three, which shrink in turn, so that what has fallen behind by
        # more than all digits leads again: it must not start from the rounding of the others.
        "in turn": in_turn[:, :, None] * blocks,
        "Jordan": np.broadcast_to(0.9 * np.eye(N) + np.eye(N, k=1), (LONG, N, N)),
    }
    return made[kind].astype(dtype)


@functools.cache
def exact(kind, dtype):
    return exact_log_singular_values(
        factors(kind, dtype), digits=1200 if kind.startswith("small") else 300
    )


@functools.cache
def spectrum(kind, reader, dtype):
    return READERS[reader](lg.DenseChain(factors(kind, dtype)), every=EVERY)


KINDS = [
    *("gaussian", "small rows", "small columns", "small both"),
    *("ill-conditioned", "triangular", "orthogonal", "Jordan", "in turn"),
]


@every_dtype
@every_reader
@pytest.mark.parametrize("kind", KINDS)
def test_every_value_is_right_to_its_error(kind, reader, dtype):
    got, want = spectrum(kind, reader, dtype), exact(kind, dtype)
    values, errors = np.asarray(got.log_values[-1]), np.asarray(got.errors[-1])
    off = np.abs(values - want)
    assert values.dtype == errors.dtype == dtype
    assert np.all(off <= 30 * errors + 2 * eps(dtype) * np.abs(want))
    assert np.all(off[np.asarray(got.resolved[-1])] < 0.01 * 30)
    np.testing.assert_array_equal(got.lags, [0, EVERY, 2 * EVERY])
    np.testing.assert_array_equal(got.log_values[0], 0.0)


def test_the_tail_outlives_every_float():
    """Small rows cost nothing when pushed, though the spread is 10^400, and 10^20 in every step."""
    got, want = spectrum("small rows", "forward", "float64"), exact("small rows", "float64")
    assert (want[0] - want[-1]) / np.log(10) > 380
    assert np.max(got.errors) < 1e-10
    np.testing.assert_allclose(got.log_values[-1], want, rtol=1e-14)
    assert np.all(spectrum("small rows", "forward", "float32").resolved)


def test_what_the_arithmetic_cannot_resolve_is_said():
    """Small columns when pushed: rounding of the large ones hides them, at 10^-16 a step."""
    got, want = spectrum("small columns", "forward", "float64"), exact("small columns", "float64")
    off = np.abs(np.asarray(got.log_values[-1]) - want)
    assert off[-1] > 1
    assert not np.any(np.asarray(got.resolved[-1])[off > 0.1])
    assert np.all(got.resolved[-1, :2])
    # From the other side the columns are rows.
    other = spectrum("small columns", "backward", "float64")
    np.testing.assert_allclose(other.log_values[-1], want, rtol=1e-14)


def test_well_conditioned_steps_lose_an_epsilon_each():
    got = spectrum("orthogonal", "forward", "float64")
    assert np.max(got.errors) < 10 * LONG * eps("float64")
    assert np.max(spectrum("ill-conditioned", "forward", "float64").errors) < 1e-6


@functools.cache
def short_factors():
    """Every ds_t/ds_k of an LSTM of five steps, by automatic differentiation."""
    return pairwise_jacobians(problem("lstm"))


@pytest.mark.parametrize(
    ("reader", "of", "wrt"),
    [
        slow("forward", None, None),
        slow("backward", None, None),
        ("forward", "h", "c"),
        ("backward", "c", None),
    ],
)
def test_blocks_against_automatic_differentiation(reader, of, wrt):
    chain = chain_of("lstm")
    got = READERS[reader](chain, of=of, wrt=wrt)
    blocks = {None: slice(0, 6), "h": slice(0, 3), "c": slice(3, 6)}
    for lag in range(T + 1):
        t, k = (lag, 0) if reader == "forward" else (T, T - lag)
        block = short_factors()[t, :, k, :][blocks[of], blocks[wrt]]
        sigma = np.linalg.svd(block, compute_uv=False)
        np.testing.assert_allclose(np.exp(got.log_values[lag]), sigma, rtol=1e-8, atol=1e-14)
    assert (got.of, got.wrt) == (of, wrt)
    assert got.fixed == {"forward": "start", "backward": "end"}[reader]


@pytest.mark.slow
def test_blocks_in_the_tail():
    """Part of a long product: the small rows of one part, the columns of another."""
    parts = layout_of({"a": jnp.ones(1), "b": jnp.ones(3)})
    got = lg.forward_singular_spectrum(
        lg.DenseChain(factors("gaussian"), layout=parts), of="b", wrt="a", every=LONG
    )
    want = exact_log_singular_values(factors("gaussian"), slice(1, N), slice(0, 1), 200)
    np.testing.assert_allclose(got.log_values[-1], want, rtol=1e-12)
    np.testing.assert_array_equal(got.log_values[0], -np.inf)
    assert np.all(got.resolved)


@pytest.mark.parametrize("reader", ["forward", slow("backward")])
def test_exact_zeros_are_exact(reader):
    """Shifts lose one direction a step, and all of them in the end."""
    shift = np.broadcast_to(np.eye(8, k=-1, dtype=np.float32), (9, 8, 8))
    got = READERS[reader](lg.DenseChain(shift))
    lost = np.arange(8)[None] >= 8 - np.arange(10)[:, None]
    np.testing.assert_array_equal(got.log_values, np.where(lost, -np.inf, 0.0))
    assert np.all(got.resolved)


@pytest.mark.parametrize("reader", ["forward", slow("backward")])
def test_a_part_that_nothing_reads_is_zero(reader):
    """An LSTM without recurrent weights forgets h at once, and keeps c by its forget gates."""
    given = problem("lstm")
    params = given.params._replace(weight_hh=jnp.zeros_like(given.params.weight_hh))
    cut = Problem(given.step, params, given.state, given.inputs)
    got = READERS[reader](cut.chain())
    np.testing.assert_array_equal(got.log_values[1:, 3:], -np.inf)
    sigma = np.linalg.svd(np.asarray(lg.product(cut.chain()).to_array()), compute_uv=False)
    np.testing.assert_allclose(np.exp(got.log_values[-1, :3]), sigma[:3], rtol=1e-10)
    # Pulled, rows of h fall together with rows of c, and the estimate fears for both.
    if reader == "forward":
        assert np.all(got.resolved)


@pytest.mark.slow
def test_zero_rows_do_not_spoil_the_rest():
    given = np.array(factors("gaussian")[:T])
    given[2, 1], given[3, :, 3] = 0, 0
    for reader in READERS.values():
        got = reader(lg.DenseChain(given))
        want = exact_log_singular_values(given, digits=100)
        np.testing.assert_allclose(got.log_values[-1, :2], want[:2], rtol=1e-12)
        assert np.all(got.resolved[-1, :2])
        # Rank two in exact arithmetic: what is left of the rest is rounding, and flagged.
        assert not np.any(
            np.asarray(got.resolved[-1]) & np.isfinite(got.log_values[-1]) & (want < -30)
        )


@every_reader
def test_nan_begins_where_the_trajectory_breaks(reader):
    given = np.array(factors("gaussian")[:T])
    given[3, 2, 2] = np.nan
    got = READERS[reader](lg.DenseChain(given))
    good = 4 if reader == "forward" else 2
    assert np.all(np.isfinite(got.log_values[:good]))
    assert np.all(np.isnan(got.log_values[good:]))
    assert not np.any(got.resolved[good:])


def test_spacing_and_number_of_values():
    chain = lg.DenseChain(factors("gaussian")[:T])
    all_of_them = lg.forward_singular_spectrum(chain)
    few = lg.forward_singular_spectrum(chain, every=2, num_values=3)
    np.testing.assert_array_equal(few.lags, [0, 2, 4])
    np.testing.assert_allclose(
        few.log_values, all_of_them.log_values[::2, :3], rtol=1e-13, atol=1e-13
    )
    assert few.errors.shape == few.resolved.shape == (3, 3)


def test_batches_and_jit():
    stacked = jnp.asarray(factors("gaussian")[: 2 * T].reshape(2, T, N, N))
    got = jax.jit(jax.vmap(lambda one: lg.forward_singular_spectrum(lg.DenseChain(one))))(stacked)
    for one, values in zip(stacked, got.log_values, strict=True):
        want = lg.forward_singular_spectrum(lg.DenseChain(one)).log_values
        np.testing.assert_allclose(values, want, rtol=1e-12, atol=1e-14)
    assert got.resolved.shape == (2, T + 1, N)


@pytest.mark.slow
def test_streams_and_diagonals_are_the_same_chain():
    given = problem("lstm")
    streamed = lg.stream(given.step, given.params, given.state, given.inputs)
    got = lg.forward_singular_spectrum(streamed)
    want = lg.forward_singular_spectrum(chain_of("lstm"))
    np.testing.assert_allclose(got.log_values, want.log_values, rtol=1e-12, atol=1e-14)

    def step(gains, state, x):
        return {key: gains[key] * x.astype(gains[key].dtype) * state[key] for key in state}

    gains = {"a": jnp.asarray([0.5, 3.0, 0.0]), "b": jnp.asarray([0.6 + 0.8j, 2.0 + 0j])}
    run = lg.unroll(step, gains, jax.tree.map(jnp.ones_like, gains), jnp.linspace(0.5, 1, T))
    diagonal, whole = lg.linearize_diagonal(step, gains, run), lg.linearize(step, gains, run)
    for reader, parts in [
        (lg.forward_singular_spectrum, {}),
        (lg.backward_singular_spectrum, {"of": "b"}),
    ]:
        got, want = reader(diagonal, **parts), reader(whole, **parts)
        np.testing.assert_allclose(got.log_values, want.log_values, rtol=1e-12, atol=1e-14)
        assert np.all(got.resolved)


def test_short_and_narrow():
    chain = lg.DenseChain(factors("gaussian")[:0])
    np.testing.assert_array_equal(lg.forward_singular_spectrum(chain).log_values, np.zeros((1, N)))
    scalar = factors("gaussian")[:, :1, :1]
    got = lg.forward_singular_spectrum(lg.DenseChain(scalar))
    want = np.cumsum(np.log(np.abs(scalar[:, 0, 0])))
    np.testing.assert_allclose(got.log_values[1:, 0], want, rtol=1e-13, atol=1e-13)


@pytest.mark.slow
def test_half_precision_says_what_it_costs():
    given = jnp.asarray(factors("ill-conditioned")[:T], jnp.bfloat16)
    got = lg.forward_singular_spectrum(lg.DenseChain(given))
    want = exact_log_singular_values(np.asarray(given, np.float64), digits=100)
    off = np.abs(np.asarray(got.log_values[-1]) - want)
    assert got.log_values.dtype == jnp.float32
    assert np.all(off <= 30 * np.asarray(got.errors[-1]))
    assert not got.resolved[-1, -1]


@pytest.mark.usefixtures("as_installed")
def test_what_is_refused():
    chain = chain_of("lstm")
    given = problem("lstm")
    for reader in READERS.values():
        with pytest.raises(
            ValueError, match=r"num_values: .* from 1 to 3, all that the block has, but got 4"
        ):
            reader(chain, of="h", num_values=4)
        with pytest.raises(
            ValueError, match=r"num_values: expected a whole number from 1 to 6, .* but got 0"
        ):
            reader(chain, num_values=0)
        with pytest.raises(
            ValueError, match=r"every: expected a whole number from 1 to T = 5, but got 6"
        ):
            reader(chain, every=6)
        with pytest.raises(ValueError, match=r"wrt: expected one of .*'h', 'c'"):
            reader(chain, wrt="z")
        with pytest.raises(ValueError, match="chain: expected an lstmgrad Chain"):
            reader(given.params)
    streamed = lg.stream(given.step, given.params, given.state, given.inputs)
    with pytest.raises(ValueError, match="got a StreamedChain"):
        lg.backward_singular_spectrum(streamed)


def test_numbers_of_a_spectrum():
    even = jnp.full((4,), -2000.0)
    np.testing.assert_allclose(lg.effective_rank(even), 4.0)
    np.testing.assert_allclose(lg.participation_ratio(even), 4.0)
    assert lg.log_condition(even) == 0
    assert lg.isometry_distance(even) == 2000
    assert lg.isometry_distance(jnp.zeros(4)) == 0

    values = np.array([[3.0, 1.0, 0.5], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    with np.errstate(divide="ignore"):
        logs = jnp.asarray(np.log(values)) + jnp.asarray([[1e4], [-1e4], [0.0]])
    p = values[0] / values[0].sum()
    np.testing.assert_allclose(
        lg.effective_rank(logs), [np.exp(-np.sum(p * np.log(p))), 2.0, 0.0], rtol=1e-9
    )
    square = values[0] ** 2
    np.testing.assert_allclose(
        lg.participation_ratio(logs), [square.sum() ** 2 / (square**2).sum(), 2.0, 0.0], rtol=1e-9
    )
    np.testing.assert_allclose(lg.log_condition(logs), [np.log(6.0), np.inf, np.inf], rtol=1e-9)
    np.testing.assert_allclose(lg.isometry_distance(logs), [1e4 + np.log(3), np.inf, np.inf])
    many = jnp.zeros((70, 130), jnp.float32).at[60, 100].set(jnp.nan)
    for measure in (lg.isometry_distance, lg.log_condition, lg.effective_rank):
        assert np.flatnonzero(np.isnan(measure(many))).tolist() == [60]
    for number in (lg.effective_rank, lg.participation_ratio, lg.log_condition):
        assert np.isnan(number(jnp.asarray([0.0, np.nan])))


@every_reader
def test_what_rounding_or_the_range_took_is_no_exact_zero(reader):
    """Factors without an exact dependence.

    Rank one but for rounding, entries of any size, and triangles of which half vanishes.
    """
    rng = np.random.default_rng(1)
    one = rng.normal(size=(LONG, N, 1)) @ rng.normal(size=(LONG, 1, N))
    rows, columns = 10.0 ** rng.uniform(-6, 6, (2, LONG, N))
    for given in (
        one,
        rows[:, :, None] * factors("gaussian") * columns[:, None],
        *(
            np.tril(rng.normal(size=(LONG, N, N)), -1) + np.diag([3e-8, 1, 3e-8, 1])
            for _ in range(20)
        ),
    ):
        got = READERS[reader](lg.DenseChain(given.astype(np.float32)), every=EVERY)
        assert not np.any((got.log_values[1:] == -np.inf) & got.resolved[1:])
    # What has no entries to come from is zero exactly.
    dead = one * (np.arange(N) > 0)[:, None]
    got = READERS[reader](lg.DenseChain(dead.astype(np.float32)), every=EVERY)
    np.testing.assert_array_equal(got.log_values[1:, -1], -np.inf)
    assert got.resolved[1:, -1].all()


@every_dtype
def test_eigenvalues_of_the_steps(dtype):
    chain = chain_of("lstm", "implicit", dtype)
    got = lg.step_eigenvalues(chain)
    assert got.shape == (T, 6)
    assert got.dtype == {"float32": "complex64", "float64": "complex128"}[dtype]
    assert np.all(np.diff(np.abs(got), axis=1) <= 1e-6)
    for values, factor in zip(
        np.asarray(got), np.asarray(lg.DenseChain.of(chain).factors), strict=True
    ):
        want = np.linalg.eigvals(factor.astype(np.float64))
        distance = np.abs(values[:, None] - want[None])
        assert max(distance.min(axis=0).max(), distance.min(axis=1).max()) < 1e4 * eps(dtype)


def test_eigenvalues_of_known_and_of_broken_steps():
    given = np.array(factors("orthogonal")[:T])
    given[1, 0, 0] = np.nan
    got = np.abs(lg.step_eigenvalues(lg.DenseChain(given)))
    np.testing.assert_allclose(got[[0, 2, 3, 4]], 0.5, rtol=1e-13)
    assert np.all(np.isnan(got[1]))
