"""T3. Norms of matrix powers, which grow before they vanish.

Source: closed form for the Jordan block [[a, s], [0, a]], with p = a^k and q = k s a^(k-1):
‖W^k‖ = (|q| + √(q² + 4p²))/2; figures to nine digits, so their tolerance is 5e-9 relative. Closed
forms in float64 are held to k rounding errors a step, k·8·eps relative.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import eps
from registry import slow

import lstmgrad as lg

EPS = eps(np.float64)


def log_norms(matrix, count):
    matrix = jnp.asarray(matrix)
    chain = lg.DenseChain(jnp.broadcast_to(matrix, (count, *matrix.shape)))
    backward, forward = lg.backward_norms(chain).log_norms, lg.forward_norms(chain).log_norms
    assert backward.dtype == forward.dtype == matrix.dtype
    np.testing.assert_allclose(
        backward, forward, rtol=8 * eps(matrix.dtype), atol=count * 8 * eps(matrix.dtype)
    )
    return np.asarray(forward)


@pytest.mark.slow
def test_jordan_block(truth):
    norms = np.exp(log_norms([[0.9, 1.0], [0.0, 0.9]], 200))
    for k, figure in [
        (1, 1.52956301),
        (9, 3.91256708),
        (50, 0.286413583),
        (100, 2.95150558e-3),
        (200, 1.56782710e-7),
    ]:
        truth(
            f"norm of the Jordan block [[.9, 1], [0, .9]] to the {k}", figure, norms[k], rtol=5e-9
        )
    assert np.argmax(norms) == 9
    k = np.arange(1, 201)
    p, q = 0.9**k, k * 0.9 ** (k - 1)
    closed = (q + np.sqrt(q**2 + 4 * p**2)) / 2
    np.testing.assert_allclose(norms[1:], closed, rtol=200 * 8 * EPS)


@pytest.mark.slow
def test_a_non_normal_matrix_peaks_before_it_sinks(truth):
    norms = np.exp(log_norms([[0.95, 5.0], [0.0, 0.5]], 50))
    for k, figure in [(1, 5.11310765), (4, 8.39546062), (50, 0.858399710)]:
        truth(f"norm of [[.95, 5], [0, .5]] to the {k}", figure, norms[k], rtol=5e-9)
    assert np.argmax(norms) == 4


@pytest.mark.parametrize("dtype", ["float32", slow("float64")])
def test_the_shift_matrix_dies_at_once(dtype):
    got = log_norms(jnp.eye(8, k=-1, dtype=dtype), 20)
    np.testing.assert_allclose(got[:8], 0.0, rtol=0, atol=8 * eps(dtype))
    np.testing.assert_array_equal(got[8:], -np.inf)


@pytest.mark.parametrize("gain", [0.5, slow(1.0), slow(1.7)])
def test_orthogonal_matrices_scale_every_direction(gain):
    orthogonal = jax.nn.initializers.orthogonal()(jax.random.key(0), (5, 5), jnp.float64)
    k = np.arange(1, 101)
    got = log_norms(gain * orthogonal, 100)[1:]
    np.testing.assert_allclose(got, k * np.log(gain), rtol=0, atol=100 * 8 * EPS)
    chain = lg.DenseChain(jnp.broadcast_to(gain * orthogonal, (100, 5, 5)))
    sigma = jnp.linalg.svd(lg.jacobian(chain), compute_uv=False)
    np.testing.assert_allclose(sigma, gain**100, rtol=100 * 8 * EPS)


def test_half_the_identity_to_the_thousandth_power_in_float32(truth):
    got = log_norms(0.5 * jnp.eye(3, dtype=jnp.float32), 1000)
    truth("ln norm of half the identity to the 1000, float32", -693.1472, got[-1], rtol=1e-7)
