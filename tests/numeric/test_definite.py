"""Positive definite or not, against the eigenvalues in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import eps
from registry import every_dtype

from lstmgrad._numeric.definite import WIDTH, is_definite


def with_least(least, size, seed=0):
    """A symmetric matrix with eigenvalues from `least` to 1."""
    rng = np.random.default_rng(seed)
    vectors = np.linalg.qr(rng.normal(size=(size, size)))[0]
    values = np.concatenate([[least], rng.uniform(abs(least), 1.0, size - 1)])
    return vectors * values @ vectors.T


@every_dtype
@pytest.mark.parametrize("size", [WIDTH // 2, 2 * WIDTH, 2 * WIDTH + 5])
def test_the_sign_of_the_least_eigenvalue_decides(size, dtype):
    least = 2 * np.sqrt(size) * eps(dtype)
    for sign in (1, -1):
        matrix = jnp.asarray(with_least(sign * least, size), dtype)
        assert bool(is_definite(matrix)) == (sign > 0)


@every_dtype
def test_a_nearly_singular_corner_is_not_what_decides(dtype):
    """The direction that nearly vanishes lies in the first panel, and leaves the rest no error."""
    size = 2 * WIDTH
    # In float64 the matrix itself, which is made in it, is no closer than that to what is meant.
    tight = (1000 if dtype == "float64" else 20) * eps(dtype)
    for least in (tight, -tight):
        matrix = with_least(0.1, size)
        first = with_least(tight, WIDTH, seed=1)
        matrix[:WIDTH, :WIDTH] = first
        # Coupled to the rest only as far as the nearly singular direction allows.
        root = np.linalg.cholesky(first)
        corner = root @ (0.1 * np.random.default_rng(2).normal(size=(WIDTH, WIDTH)) / WIDTH**0.5)
        matrix[:WIDTH, WIDTH:], matrix[WIDTH:, :WIDTH] = corner, corner.T
        rest = with_least(least, WIDTH, seed=3)
        inner = np.linalg.solve(root, corner)
        matrix[WIDTH:, WIDTH:] = rest + inner.T @ inner
        assert bool(is_definite(jnp.asarray(matrix, dtype))) == (least > 0)


def test_nan_is_not_definite_and_a_batch_is_the_loop():
    size = WIDTH + 3
    good, bad = np.eye(size), np.eye(size)
    bad[3, 3] = -1.0
    broken = np.full((size, size), np.nan)
    batch = jnp.asarray(np.stack([good, bad, broken]))
    assert jax.vmap(is_definite)(batch).tolist() == [True, False, False]
    assert [bool(is_definite(matrix)) for matrix in batch] == [True, False, False]
