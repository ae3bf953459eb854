"""Decompositions one after the other: the numbers and derivatives of JAX's own, batched or not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstmgrad._numeric import lapack
from lstmgrad._numeric.graded import inverse_of_upper

TALL = np.random.default_rng(0).standard_normal((2, 3, 4, 3))
SQUARE = TALL[..., :3, :] + 2 * np.eye(3)
SYMMETRIC = SQUARE + SQUARE.swapaxes(-1, -2)

PAIRS = {
    "qr": (lapack.qr, lambda matrix: tuple(jnp.linalg.qr(matrix)), TALL),
    "triangle": (lapack.triangle, lambda matrix: jnp.linalg.qr(matrix, mode="r"), TALL),
    "svd": (
        lambda matrix: lapack.svd(matrix)[1:],
        lambda matrix: tuple(jnp.linalg.svd(matrix, full_matrices=False))[1:],
        TALL,
    ),
    "singular_values": (
        lapack.singular_values,
        lambda matrix: jnp.linalg.svd(matrix, compute_uv=False),
        TALL,
    ),
    "eigh": (lapack.eigh, lambda matrix: tuple(jnp.linalg.eigh(matrix)), SYMMETRIC),
    "log_abs_det": (lapack.log_abs_det, lambda matrix: jnp.linalg.slogdet(matrix)[1], SQUARE),
}


def _total(values):
    return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(values))


def _slopes(function):
    """Values, tangents and slopes, one inside and one outside of a batch."""

    def slope(matrix):
        return jax.grad(lambda matrix: _total(function(matrix)))(matrix)

    def total_slope(matrices):
        return _total(jax.vmap(slope)(matrices))

    def read(batches):
        tangents = jax.jvp(jax.vmap(jax.vmap(function)), (batches,), (jnp.cos(batches),))
        return tangents, jax.vmap(jax.vmap(slope))(batches)

    # The second derivative is the same machinery once more: one decomposition stands for all.
    return jax.jit(read), jax.jit(jax.vmap(jax.grad(total_slope)))


@pytest.mark.parametrize("name", PAIRS)
def test_values_and_derivatives_of_batches_are_those_of_jax(name):
    ours, theirs, matrices = PAIRS[name]
    for order in (0, 1) if name == "singular_values" else (0,):
        for one, other in zip(
            jax.tree.leaves(_slopes(ours)[order](matrices)),
            jax.tree.leaves(_slopes(theirs)[order](matrices)),
            strict=True,
        ):
            np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-11)


def test_eigenvalues_of_a_batch():
    values = jax.jit(jax.vmap(jax.vmap(lapack.eigenvalues)))(SQUARE)
    np.testing.assert_allclose(np.sort(values), np.sort(np.linalg.eigvals(SQUARE)), rtol=1e-12)


def test_a_batch_on_a_cpu_is_one_loop_of_calls_for_one_matrix():
    text = jax.jit(jax.vmap(lapack.qr)).lower(TALL[0]).as_text()
    calls = [line for line in text.splitlines() if "@lapack_" in line]
    assert calls
    assert all("tensor<4x3xf64>" in line and "tensor<3x4x3xf64>" not in line for line in calls)


@pytest.mark.parametrize("size", [1, 2, 5, 33])
def test_the_inverse_of_a_graded_triangle_is_that_of_substitution(size):
    generator = np.random.default_rng(size)
    upper = np.triu(generator.standard_normal((size, size)) + 3 * np.eye(size))
    upper *= 10.0 ** -np.arange(size)[:, None]
    # NumPy solves for columns of the identity with rows at a common scale.
    scales = np.max(np.abs(upper), axis=1)
    expected = np.linalg.inv(upper / scales[:, None]) / scales[None]
    found = jax.jit(inverse_of_upper)(upper)
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-11 * np.abs(expected).max())
    assert np.all(np.tril(found, -1) == 0)


def test_a_zero_on_the_diagonal_has_no_inverse():
    upper = jnp.asarray([[1.0, 2.0], [0.0, 0.0]])
    assert not np.any(np.isfinite(inverse_of_upper(upper)[:, 1]))
