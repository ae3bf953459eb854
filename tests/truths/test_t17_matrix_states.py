"""T17. Matrix states under the delta rule with decay, S' = S a (I - b k kᵀ) + ...

Source: the step's Jacobian a (I - b k kᵀ) acts on the rows of S, with the norm a. For k uniform on
the sphere in d dimensions E k kᵀ = I/d, so the expected square of the Frobenius norm of T steps is
exactly d (a² (1 - (2b - b²)/d))^T, and ln|det| of a step is d ln a + ln(1 - b) per row. Figures for
d = 8, a = .98, b = .9, T = 50. Tolerance: T·8·eps where exact; 5 standard errors of the mean over
the draws where random.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

import lstmgrad as lg
from lstmgrad.cells._delta_net import delta_rule

D, A, B, STEPS, DRAWS, ROWS = 8, 0.98, 0.9, 50, 200, 2
EPS = np.finfo(np.float64).eps


def step(params, s, k):
    return delta_rule(s, k, jnp.ones(ROWS), jnp.asarray(B), jnp.asarray(A))


@functools.cache
def keys():
    drawn = np.random.default_rng(0).normal(size=(DRAWS, STEPS, D))
    return drawn / np.linalg.norm(drawn, axis=-1, keepdims=True)


def chain_of(keys):
    model = lg.Model(step, None, jnp.zeros((ROWS, D)))
    return lg.chain(model, keys, linearize=lg.linearize_one_sided)


@functools.cache
def measured():
    """The norms at T of all draws, and of one of them ln |det| of each step and its exponents."""
    chains = jax.vmap(chain_of)(jnp.asarray(keys()))
    norms = jax.vmap(lambda chain: lg.forward_norms(chain, every=STEPS).log_norms[-1])(chains)
    one = chain_of(jnp.asarray(keys()[0]))
    return norms, lg.log_abs_det(one), lg.lyapunov_spectrum(one, interval=5).exponents


def products():
    """A_1 ··· A_T of every draw, in NumPy."""
    found = np.broadcast_to(np.eye(D), (DRAWS, D, D))
    for t in range(STEPS):
        k = keys()[:, t]
        found = A * (found - B * (found @ k[:, :, None]) * k[:, None])
    return found


def test_the_norm_of_each_draw_is_that_of_the_product(truth):
    want = np.log(np.linalg.norm(products(), 2, axis=(1, 2)))
    np.testing.assert_allclose(measured()[0], want, rtol=0, atol=STEPS * 8 * EPS)
    # The products are those of T17.
    squares = np.sum(products() ** 2, axis=(1, 2))
    exact = D * (A**2 * (1 - (2 * B - B**2) / D)) ** STEPS
    error = np.std(squares) / np.sqrt(DRAWS)
    assert abs(np.mean(squares) - exact) < 5 * error
    log10 = np.asarray(measured()[0]) / np.log(10)
    truth("log10 norm of 50 delta rules", -1.55, np.mean(log10), atol=5 * 0.24 / np.sqrt(DRAWS))
    truth("its spread over the keys", 0.24, np.std(log10), atol=5 * 0.24 / np.sqrt(2 * DRAWS))
    half_life = STEPS * np.log10(2) / -np.mean(log10)
    assert 9 < half_life < 11


def test_the_gates_alone_say_three_times_as_much(truth):
    routes = lg.routes(lg.chain(chain_of(jnp.asarray(keys()[0])).model, jnp.asarray(keys()[0])))
    gates = lg.forward_norms(routes["carry"], every=STEPS).log_norms[-1]
    np.testing.assert_allclose(gates, STEPS * np.log(A), rtol=0, atol=STEPS * 8 * EPS)
    truth("log10 of the decay alone", -0.44, gates / np.log(10), atol=5e-3)
    truth("half-life of the decay alone", 34, np.log(2) / (-gates / STEPS), atol=0.5)


def test_volumes_and_exponents_of_the_delta_rule(truth):
    _, volumes, exponents = measured()
    each = D * np.log(A) + np.log(1 - B)
    np.testing.assert_allclose(volumes, np.full(STEPS, ROWS * each), rtol=0, atol=64 * EPS)
    assert exponents.shape == (ROWS * D,)
    truth("sum of the exponents of a delta rule", each, jnp.sum(exponents) / ROWS, atol=1e-12)
    np.testing.assert_allclose(exponents[::2], exponents[1::2], rtol=0, atol=1e-14)
