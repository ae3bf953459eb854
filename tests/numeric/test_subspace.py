"""Rounds of subspace iteration, against NumPy's SVD of the same matrix."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import eps
from registry import every_dtype

from lstmgrad._numeric.krylov import proved_error, start_frame
from lstmgrad._numeric.subspace import WIDTH, refine

N, P = 40, 50


def rng(seed=0):
    return np.random.default_rng(seed)


def with_values(values):
    """A matrix with these singular values and no others."""
    left, right = (
        np.linalg.qr(rng(seed).normal(size=(size, N)))[0] for seed, size in ((1, N), (2, P))
    )
    return left[:, : len(values)] * values @ right[:, : len(values)].T


MATRICES = {
    "far ahead": lambda: with_values(0.5 ** np.arange(N)),
    "graded": lambda: with_values(0.02 ** np.arange(4)),
    "flat": lambda: with_values(np.linspace(1.0, 0.9, N)),
    "double": lambda: with_values(np.array([1.0, 1.0, 0.3, 0.1])),
    "rank one": lambda: with_values(np.ones(1)),
    "gaussian": lambda: rng().normal(size=(N, P)) / np.sqrt(N),
}


@jax.jit
def rounds(matrix, frame):
    """What six rounds find, one after the other."""
    with jax.default_matmul_precision("highest"):
        return jax.lax.scan(lambda frame, _: refine(matrix, frame), frame, None, length=6)


@every_dtype
@pytest.mark.parametrize("kind", MATRICES)
def test_rounds_never_pass_the_norm_and_what_they_prove_holds(kind, dtype):
    matrix = np.asarray(MATRICES[kind](), dtype)
    frame, found = rounds(jnp.asarray(matrix), start_frame(N, matrix.dtype, WIDTH))
    top = np.linalg.norm(matrix.astype(np.float64), 2) ** 2
    rounding = 4 * N**0.5 * eps(dtype)
    np.testing.assert_allclose(frame @ frame.T, np.eye(WIDTH), rtol=0, atol=8 * eps(dtype))
    values = np.asarray(found.values[:, 0], np.float64)
    assert np.all(values <= top * (1 + rounding))
    assert np.all(np.diff(values) >= -top * rounding)
    bound = np.inf
    for turn in range(len(values)):
        one = jax.tree.map(lambda x, turn=turn: x[turn], found)
        trace = np.sum(matrix * matrix) / one.values[0]
        bound = float(proved_error(one, trace, 2 * N**0.5 * eps(dtype)))
        assert np.sqrt(top / values[turn]) - 1 <= bound + rounding
    if kind not in ("flat", "gaussian"):
        assert bound < 1e-5
        assert 1 - values[-1] / top < 1e-5


def test_vectors_of_before_are_found_again_in_one_round():
    matrix = with_values(0.8 ** np.arange(N))
    vectors = np.linalg.svd(matrix)[0][:, :WIDTH].T
    frame, found = refine(jnp.asarray(matrix), jnp.asarray(vectors))
    np.testing.assert_allclose(
        np.abs(np.asarray(found.vectors) @ vectors[:2].T), np.eye(2), atol=1e-12
    )
    np.testing.assert_allclose(np.abs(np.asarray(frame) @ vectors.T), np.eye(WIDTH), atol=1e-9)
    np.testing.assert_allclose(found.residuals, 0.0, atol=1e-14)
    np.testing.assert_allclose(found.values, 0.64 ** np.arange(WIDTH), rtol=1e-12)
