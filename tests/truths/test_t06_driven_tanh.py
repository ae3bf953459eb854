"""T6. The sum of the exponents of a tanh network, exact at any size; and what a QR cannot see.

Source: h' = tanh(W h + x) has J = diag(φ') W, so Σλ = ln|det W| + ⟨Σ ln φ'⟩. In a saturated network
the singular values of one step span more than 1/eps: the QR sum is too high, and must say so. The
decimal module, which calculates with as many digits as one likes, is the reference for single
exponents.
"""

import decimal

import jax.numpy as jnp
import numpy as np
import pytest
from registry import slow

import lstmgrad as lg


def step(W, a, x):
    return W @ jnp.tanh(a) + x


def network(n, gain, dtype="float64", steps=60):
    """The chain, and the exact sum of the exponents in float64."""
    generator = np.random.default_rng(0)
    W = jnp.asarray(gain * generator.normal(size=(n, n)) / np.sqrt(n), dtype)
    start, inputs = (jnp.asarray(generator.normal(size=size), dtype) for size in (n, (steps, n)))
    trajectory = lg.unroll(step, W, start, inputs)
    a = np.abs(np.asarray(trajectory.states[:-1], np.float64))
    log_slopes = 2 * (np.log(2) - a - np.log1p(np.exp(-2 * a)))
    exact = np.linalg.slogdet(np.asarray(W, np.float64))[1] + log_slopes.sum(axis=1).mean()
    return lg.linearize(step, W, trajectory), exact


@pytest.mark.parametrize("gain", [0.5, 3.0])
def test_sum(gain, truth):
    chain, exact = network(20, gain)
    found = lg.lyapunov_spectrum(chain)
    assert np.asarray(found.resolved).all()
    quantity = f"sum of the exponents of a driven tanh network, gain {gain}"
    truth(quantity, exact, jnp.sum(found.exponents), atol=1e-9)
    np.testing.assert_allclose(jnp.mean(lg.log_abs_det(chain)), exact, rtol=0, atol=1e-11)


@pytest.mark.parametrize(
    ("dtype", "gain", "gap"), [slow("float64", 10.0, 0.2), ("float32", 5.0, 0.1)]
)
def test_trap(dtype, gain, gap):
    """N = 200: the QR sum is too high per unit, which is said, and the determinant is right."""
    n = 200
    chain, exact = network(n, gain, dtype, steps=20)
    found = lg.lyapunov_spectrum(chain, interval=1)
    resolved = np.asarray(found.resolved)
    excess = (float(jnp.sum(found.exponents)) - exact) / n
    assert excess > gap
    assert not resolved[-1]
    assert resolved[: n // 2].all()
    # The estimate of what rounding did errs on the safe side: inf where nothing else is left.
    assert np.isinf(np.asarray(found.rounding_errors)[-1])
    assert not np.isinf(np.asarray(found.rounding_errors)[: n // 2]).any()
    log_dets = lg.log_abs_det(chain)
    np.testing.assert_allclose(
        jnp.mean(log_dets), exact, rtol=4 * float(jnp.finfo(dtype).eps), atol=0
    )


def exact_exponents(factors):
    """Gram-Schmidt in 150 digits."""
    n = factors.shape[-1]
    sums, number = np.zeros(n), np.vectorize(decimal.Decimal, otypes=[object])
    frame = number(np.eye(n))
    for factor in factors:
        frame = number(factor).dot(frame)
        for i in range(n):
            size = frame[:, i].dot(frame[:, i]).sqrt()
            sums[i] += float(size.ln())
            frame[:, i] /= size
            overlap = frame[:, i].dot(frame[:, i + 1 :])
            frame[:, i + 1 :] -= frame[:, i][:, None] * overlap[None, :]
    return np.sort(sums / len(factors))[::-1]


def test_what_is_resolved_is_right_and_what_is_not_reads_too_high():
    chain, _ = network(12, 30.0, steps=20)
    found = lg.lyapunov_spectrum(chain, interval=1)
    with decimal.localcontext(prec=150):
        exact = exact_exponents(np.asarray(lg.DenseChain.of(chain).factors))
    error, rounding = np.asarray(found.exponents) - exact, np.asarray(found.rounding_errors)
    resolved = np.asarray(found.resolved)
    assert 2 <= resolved.sum() <= 9
    assert np.sum(error[~resolved] > 0.1) >= 9
    assert error[-1] > 10
    assert np.all(np.abs(error[resolved]) < np.asarray(found.standard_errors)[resolved])
    assert np.all(np.abs(error) < 100 * rounding)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_slope_that_a_value_of_one_has_no_trace_of(dtype):
    """At a = 30 tanh rounds to 1 in either dtype, and the determinant has its slope, 4 exp(-60)."""
    W, inputs = 3.0 * jnp.eye(4, dtype=dtype), jnp.zeros((1, 4), dtype)
    start = np.asarray([30.0, 0.1, 0.2, 0.3])
    trajectory = lg.unroll(step, W, jnp.asarray(start, dtype), inputs)
    exact = 4 * np.log(3) - 2 * np.log(np.cosh(start)).sum()
    found = lg.log_abs_det(lg.linearize(step, W, trajectory))
    np.testing.assert_allclose(found, [exact], rtol=8 * float(jnp.finfo(dtype).eps), atol=0)
