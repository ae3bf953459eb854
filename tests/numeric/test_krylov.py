"""The search for leading eigenvectors, against NumPy's eigenvalues of the same matrix."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import eps
from registry import every_dtype, slow

from lstmgrad._numeric.krylov import dominant, proved_error, start_frame

N = 40


def rng(seed=0):
    return np.random.default_rng(seed)


def with_spectrum(values, seed=0):
    """A symmetric matrix with these eigenvalues, and others that fall off slowly behind them."""
    values = np.concatenate([values, 0.5 * 0.95 ** np.arange(N - len(values))])
    vectors = np.linalg.qr(rng(seed).normal(size=(N, N)))[0]
    return vectors * values @ vectors.T


def gaussian(seed=0):
    matrix = rng(seed).normal(size=(N, N)) / np.sqrt(N)
    return matrix @ matrix.T


MATRICES = {
    "gaussian": gaussian,
    "far ahead": lambda: with_spectrum([100.0]),
    "close": lambda: with_spectrum([1.0, 0.99, 0.98, 0.97]),
    "double": lambda: with_spectrum([1.0, 1.0]),
    "all equal": lambda: np.eye(N),
    "rank one": lambda: np.outer(np.arange(N), np.arange(N)) / N**2,
    "diagonal": lambda: np.diag(rng(1).uniform(0.1, 1.0, N)),
}


@functools.partial(jax.jit, static_argnames=("rtol", "min_steps", "max_steps", "capacity"))
def search(matrix, frame, rtol=1e-5, min_steps=24, max_steps=100, capacity=8):
    steps = {"min_steps": min_steps, "max_steps": max_steps, "capacity": capacity}
    with jax.default_matmul_precision("highest"):
        return dominant(lambda x: matrix @ x, frame, rtol, **steps)


def search_whole(matrix, **options):
    """From random vectors: the two leading vectors, and the estimate of the error."""
    matrix = jnp.asarray(matrix)
    found = search(matrix, start_frame(N, matrix.dtype), **options)
    return found.vectors, found.error


def relative_gap(matrix, vectors):
    """How far σ̂ of the first vector is below σ_max, in float64."""
    matrix, vector = np.asarray(matrix, np.float64), np.asarray(vectors[0], np.float64)
    top = np.linalg.eigvalsh(matrix)[-1]
    return float(np.sqrt(top / (vector @ matrix @ vector / (vector @ vector))) - 1)


@every_dtype
@pytest.mark.parametrize("rtol", [slow(1e-2), 1e-5])
@pytest.mark.parametrize("kind", MATRICES)
def test_the_gap_is_within_the_estimate_and_the_estimate_within_the_tolerance(kind, rtol, dtype):
    matrix = np.asarray(MATRICES[kind](), dtype)
    vectors, error = search_whole(matrix, rtol=rtol)
    error = float(error)
    rounding = N * eps(dtype)
    assert -rounding <= relative_gap(matrix, vectors) <= error + rounding
    assert error <= rtol
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(2), atol=rounding)


def test_the_second_vector_belongs_to_the_second_eigenvalue():
    matrix = with_spectrum([2.0, 1.0])
    vectors, _ = search_whole(matrix, rtol=1e-10)
    np.testing.assert_allclose(vectors[1] @ matrix @ vectors[1], 1.0, rtol=1e-3)


def test_a_tight_tolerance_is_met_after_restarts():
    matrix = with_spectrum([1.0, 0.97, 0.95])
    few, error = search_whole(matrix, rtol=1e-12, max_steps=8)
    assert error > 1e-12
    many, error = search_whole(matrix, rtol=1e-12)
    assert error <= 1e-12
    assert relative_gap(matrix, many) <= 1e-12 < relative_gap(matrix, few)


def test_a_zero_operator_is_zero_without_error():
    vectors, error = search_whole(np.zeros((N, N)))
    assert error == 0
    assert np.all(np.isfinite(vectors))


def test_nan_gives_no_trusted_error():
    _, error = search_whole(np.full((N, N), np.nan))
    assert np.isnan(error)


def hidden():
    """A diagonal matrix, and a frame that holds its second and third eigenvectors exactly."""
    values = np.linspace(0.1, 0.5, N)
    values[[0, 1, 30]] = 1.0, 0.9, 1.5
    return jnp.diag(jnp.asarray(values)), jnp.eye(N)[:2]


def test_a_closed_space_is_left_for_a_random_direction():
    matrix, frame = hidden()
    found = search(matrix, frame, capacity=25)
    assert relative_gap(matrix, found.vectors) <= 1e-5


def test_as_many_steps_as_dimensions_leave_nothing_out():
    values = np.zeros(N)
    values[17] = 1.0
    found = search(jnp.diag(jnp.asarray(values)), jnp.eye(N)[:2], min_steps=N, capacity=N + 1)
    assert relative_gap(np.diag(values), found.vectors) <= 1e-12


@pytest.mark.parametrize("kind", MATRICES)
@pytest.mark.parametrize("min_steps", [0, slow(24)])
def test_a_proved_error_holds_whatever_the_search_found(kind, min_steps):
    """From a frame that hides the top, too: then nothing is proved."""
    matrix = MATRICES[kind]()
    values, vectors = np.linalg.eigh(matrix)
    for frame in (np.eye(N)[:2], vectors.T[[-1, 0]], vectors.T[[-3, -4]]):
        found = search(jnp.asarray(matrix), jnp.asarray(frame), min_steps=min_steps)
        proved = float(proved_error(found, jnp.trace(matrix) / found.values[0], 1e-13))
        size = relative_gap(matrix, found.vectors)
        assert size <= proved + 1e-12
        if values[-1] > 3 * np.sum(values[:-1]):
            assert proved <= 1e-5  # one that never proves would pass the rest


def test_a_frame_that_hides_the_top_proves_nothing():
    matrix, frame = hidden()
    found = search(matrix, frame, min_steps=0, max_steps=2)
    assert relative_gap(matrix, found.vectors) > 0.1
    trace = jnp.trace(matrix) / found.values[0]
    assert proved_error(found, trace, 0.0) > relative_gap(matrix, found.vectors)


@pytest.mark.slow
def test_the_least_and_the_largest_number_of_steps_are_kept():
    matrix, calls = jnp.asarray(with_spectrum([1.0])), []
    frame = start_frame(N, matrix.dtype)

    names = "min_steps", "max_steps"

    def gram(x):
        jax.debug.callback(lambda: calls.append(1))
        return matrix @ x

    def count(rtol, *steps):
        calls.clear()
        jax.block_until_ready(dominant(gram, frame, rtol, **dict(zip(names, steps, strict=False))))
        jax.effects_barrier()
        return len(calls)

    assert 3 <= count(1.0, 0) < 24
    assert count(1.0, 24) == 24
    assert count(0.0, 0, 12) == 12
    assert count(1.0, 24, 3) == 3


def test_a_batch_is_the_loop():
    batch = jnp.stack([jnp.asarray(MATRICES[kind]()) for kind in MATRICES])
    frame = start_frame(N, batch.dtype)
    together = jax.vmap(lambda m: search(m, frame))(batch)
    for i, matrix in enumerate(batch):
        alone = search(matrix, frame)
        found = together.vectors[i], alone.vectors
        got, want = (relative_gap(matrix, vectors) for vectors in found)
        np.testing.assert_allclose(got, want, atol=1e-12)
        np.testing.assert_allclose(together.error[i], alone.error, rtol=1e-3, atol=1e-12)


def test_start_vectors_are_orthonormal_and_always_the_same():
    frame = start_frame(N, jnp.float64)
    np.testing.assert_allclose(frame @ frame.T, np.eye(2), atol=1e-15)
    np.testing.assert_array_equal(frame, start_frame(N, jnp.float64))
    np.testing.assert_array_equal(np.abs(start_frame(1, jnp.float32)), [[1.0], [0.0]])


@pytest.mark.parametrize("kind", MATRICES)
def test_traces_of_powers_prove_more_and_nothing_wrong(kind):
    """The bound of every power holds; where the second value is apart, a high one proves it."""
    matrix = MATRICES[kind]()
    values, vectors = np.linalg.eigh(matrix)
    for frame in (np.eye(N)[:2], vectors.T[[-3, -4]]):
        found = search(jnp.asarray(matrix), jnp.asarray(frame), min_steps=0)
        size = relative_gap(matrix, found.vectors)
        for power in (2.0, 4.0, 8.0, 16.0):
            trace = np.sum((np.maximum(values, 0) / float(found.values[0])) ** power)
            proved = float(proved_error(found, jnp.asarray(trace), 1e-13, power))
            assert size <= proved + 1e-12
        if kind in ("far ahead", "rank one"):
            assert proved <= 1e-5
