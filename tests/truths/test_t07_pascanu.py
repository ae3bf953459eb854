"""T7. The bound and the regularizer of Pascanu, Mikolov & Bengio.

Source: Pascanu, Mikolov, Bengio 2013 (arXiv:1211.5063): ‖dh_t/dh_0‖ <= (γ σ_max(W))^t, and their
Eq. 9, Ω = Σ_k (‖δ_{k+1} J_{k+1}‖/‖δ_{k+1}‖ - 1)². Tolerance: the bound holds up to rtol of the
norms; Ω to T·64·eps for orthogonal factors, whose entries are rounded themselves; the figures of
the counterexample to their printed digits.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstmgrad as lg

EPS = float(np.finfo(np.float64).eps)
T, H = 50, 6


def step(weight, h, x, *, activation):
    return activation(weight @ h + x)


STEPS = {
    "tanh": (functools.partial(step, activation=jnp.tanh), 1.0),
    "sigmoid": (functools.partial(step, activation=jax.nn.sigmoid), 0.25),
}


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("gain", [0.8, 3.0])
def test_the_bound_holds_at_every_step(name, gain):
    model, slope = STEPS[name]
    keys = jax.random.split(jax.random.key(0), 3)
    weight = gain * jax.random.normal(keys[0], (H, H)) / jnp.sqrt(H)
    start, inputs = jax.random.normal(keys[1], (H,)), 0.1 * jax.random.normal(keys[2], (T, H))
    chain = lg.linearize(model, weight, lg.unroll(model, weight, start, inputs))
    bound = lg.theory.pascanu_log_bound(weight, jnp.arange(T + 1), slope=slope)
    log_norms = np.asarray(lg.forward_norms(chain, rtol=0.0).log_norms)
    assert np.all(log_norms <= bound + 64 * EPS * np.arange(T + 1))
    # It is a bound on norms, not on anything smaller: within a few nats after one step.
    assert log_norms[1] > bound[1] - 3


def test_the_bound_is_attained():
    weight = jnp.asarray(1.3 * np.linalg.qr(np.random.default_rng(0).normal(size=(H, H)))[0])
    chain = lg.DenseChain(jnp.broadcast_to(weight, (T, H, H)))
    bound = lg.theory.pascanu_log_bound(weight, jnp.arange(T + 1))
    np.testing.assert_allclose(
        lg.forward_norms(chain, rtol=0.0).log_norms, bound, rtol=0, atol=T * 64 * EPS
    )


@pytest.mark.parametrize("radius", [1.0, 0.9, 1.25])
def test_the_regularizer_of_orthogonal_factors(radius, truth):
    """Ω = T (ρ - 1)² for ρ times orthogonal: 0 for an orthogonal linear network."""
    rng = np.random.default_rng(1)
    factors = radius * np.linalg.qr(rng.normal(size=(T, H, H)))[0]
    cotangents = np.zeros((T + 1, H))
    cotangents[-1] = rng.normal(size=H)
    omega = lg.pascanu_regularizer(lg.DenseChain(factors), jnp.asarray(cotangents))
    quantity = f"Ω of {T} steps, {radius} times orthogonal"
    truth(quantity, T * (radius - 1) ** 2, omega, rtol=64 * EPS, atol=T * 64 * EPS)


def test_the_regularizer_of_any_chain_and_loss():
    """Against a plain loop, with a loss at every time and norms beyond the range of floats."""
    rng = np.random.default_rng(2)
    factors, cotangents = 1e-10 * rng.normal(size=(T, H, H)), np.zeros((T + 1, H))
    cotangents[[0, 30, T]] = rng.normal(size=(3, H))
    want, delta = 0.0, cotangents[T]
    for t in range(T, 0, -1):
        pulled = delta @ factors[t - 1]
        want += (np.linalg.norm(pulled) / np.linalg.norm(delta) - 1) ** 2
        delta = pulled / np.linalg.norm(pulled) if t - 1 != 30 else cotangents[30]
    got = lg.pascanu_regularizer(lg.DenseChain(factors), jnp.asarray(cotangents))
    np.testing.assert_allclose(got, want, rtol=1e-12)
    # Its gradient exists, where the gradient of the loss is zero too.
    slope = jax.grad(lambda a: lg.pascanu_regularizer(lg.DenseChain(a), jnp.asarray(cotangents)))
    assert np.all(np.isfinite(slope(jnp.asarray(factors))))
    assert lg.pascanu_regularizer(lg.DenseChain(factors), jnp.zeros((T + 1, H))) == 0


@pytest.mark.slow
def test_the_spectral_radius_bounds_nothing(truth):
    """W has radius 0.7483, and the step at its fixed point (0, s) has radius 1.1997."""
    s = np.tanh(5.0)
    weight = jnp.asarray([[1.2, 1.0], [-2.0, -1.2]])
    bias = jnp.asarray([-s, 5 + 1.2 * s])
    model = STEPS["tanh"][0]
    fixed = jnp.asarray([0.0, s])
    chain = lg.linearize(
        model, weight, lg.unroll(model, weight, fixed, jnp.broadcast_to(bias, (T, 2)))
    )
    radius = float(np.abs(lg.step_eigenvalues(lg.DenseChain(weight[None])))[0, 0])
    truth("spectral radius of the counterexample's W", 0.7483, radius, atol=5e-5)
    at_fixed_point = np.abs(lg.step_eigenvalues(chain[:1]))[0, 0]
    truth("spectral radius of its J at the fixed point", 1.1997, at_fixed_point, atol=5e-5)
    first = chain[:10]
    np.testing.assert_allclose(
        lg.forward_norms(first, rtol=0.0).log_norms[10] / 10, np.log(1.1997), atol=0.1
    )
    assert lg.forward_norms(first, rtol=0.0).log_norms[10] > 10 * np.log(radius) + 4
