"""The search for leading eigenvectors, against NumPy's eigenvalues of the same matrix."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import eps
from registry import every_dtype

from lstmgrad._numeric.krylov import dominant, start_frame

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


@functools.partial(jax.jit, static_argnames=("rtol", "max_steps"))
def search(matrix, diagonal, frame, rtol=1e-5, min_steps=24, max_steps=100):
    with jax.default_matmul_precision("highest"):
        return dominant(lambda x: matrix @ x, diagonal, frame, rtol, min_steps, max_steps)


def search_whole(matrix, **options):
    """With all that can be known, from random vectors."""
    matrix = jnp.asarray(matrix)
    return search(matrix, jnp.diagonal(matrix), start_frame(N, matrix.dtype), **options)


def relative_gap(matrix, vectors):
    """How far σ̂ of the first vector is below σ_max, in float64."""
    matrix, vector = np.asarray(matrix, np.float64), np.asarray(vectors[0], np.float64)
    top = np.linalg.eigvalsh(matrix)[-1]
    return float(np.sqrt(top / (vector @ matrix @ vector / (vector @ vector))) - 1)


@every_dtype
@pytest.mark.parametrize("rtol", [1e-2, 1e-5])
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
    np.testing.assert_allclose(vectors[1] @ matrix @ vectors[1], 1.0, rtol=1e-6)


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


def test_a_row_that_proves_a_larger_norm_is_followed():
    matrix, frame = hidden()
    vectors, error = search(matrix, jnp.diagonal(matrix), frame, min_steps=0)
    assert relative_gap(matrix, vectors) <= error + eps("float64") <= 1e-5
    blind, _ = search(matrix, jnp.zeros(N), frame, min_steps=0)
    assert relative_gap(matrix, blind) > 0.1


def test_a_row_that_still_proves_a_larger_norm_at_the_end_makes_the_error_infinite():
    matrix, frame = hidden()
    diagonal = jnp.diagonal(matrix)
    # No operator denies its own diagonal: the entry stands for one that the steps did not reach.
    _, error = search(matrix, diagonal.at[7].set(2.0), frame, min_steps=0, max_steps=12)
    assert error == np.inf
    _, error = search(matrix, diagonal, frame, min_steps=0, max_steps=12)
    assert error <= 1e-5


def test_the_least_and_the_largest_number_of_steps_are_kept():
    matrix, calls = jnp.asarray(with_spectrum([1.0])), []
    frame = start_frame(N, matrix.dtype)

    def gram(x):
        jax.debug.callback(lambda: calls.append(1))
        return matrix @ x

    def count(rtol, *steps):
        calls.clear()
        jax.block_until_ready(dominant(gram, jnp.zeros(N), frame, rtol, *steps))
        jax.effects_barrier()
        return len(calls)

    assert 4 <= count(1.0, 0) < 24
    assert count(1.0, 24) == 24
    assert count(0.0, 0, 12) == 12
    assert count(1.0, 24, 3) == 3


def test_a_batch_is_the_loop():
    batch = jnp.stack([jnp.asarray(MATRICES[kind]()) for kind in MATRICES])
    frame = start_frame(N, batch.dtype)
    together, errors = jax.vmap(lambda m: search(m, jnp.diagonal(m), frame))(batch)
    for i, matrix in enumerate(batch):
        alone, error = search(matrix, jnp.diagonal(matrix), frame)
        got, want = (relative_gap(matrix, vectors) for vectors in (together[i], alone))
        np.testing.assert_allclose(got, want, atol=1e-12)
        np.testing.assert_allclose(errors[i], error, rtol=1e-3, atol=1e-12)


def test_start_vectors_are_orthonormal_and_always_the_same():
    frame = start_frame(N, jnp.float64)
    np.testing.assert_allclose(frame @ frame.T, np.eye(2), atol=1e-15)
    np.testing.assert_array_equal(frame, start_frame(N, jnp.float64))
