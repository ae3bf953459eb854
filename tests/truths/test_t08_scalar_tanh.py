"""T8. The scalar map h' = tanh(w h).

Source: at w = 2 the fixed point solves h = tanh(2h) and λ = ln 2(1 - h²); at w = 1 the exponent is
zero but the gradient decays as t^(-3/2); ln|dh_T/dh_0| from h_0 = 1 summed in extended precision.
Tolerance: T rounding errors of the sum and of the trajectory, T·8·eps absolute in float64.
"""

import jax.numpy as jnp
import numpy as np

import lstmgrad as lg

EPS = np.finfo(np.float64).eps


def step(w, h, x):
    return jnp.tanh(w * h)


def log_norms(w, start, length):
    w, start = jnp.asarray(w), jnp.asarray(start)
    trajectory = lg.unroll(step, w, start, jnp.arange(length))
    return lg.forward_norms(lg.linearize(step, w, trajectory))


def test_at_the_fixed_point_the_decay_is_exponential(truth):
    profile = log_norms(2.0, 0.9575040240772688, 100)
    rate = -1.793528506542228
    np.testing.assert_allclose(profile.log_norms, rate * np.arange(101), rtol=0, atol=1e-12)
    truth("exponent of h' = tanh(2h)", rate, -lg.decay_rate(profile), rtol=1e-13)


def test_at_the_critical_gain_it_is_a_power_law(truth):
    got = np.asarray(log_norms(1.0, 1.0, 10_000).log_norms)
    for t, want in [
        (100, -6.442761624751021),
        (1000, -9.869869282093763),
        (10_000, -13.320581148535346),
    ]:
        truth(f"ln dh_T/dh_0 of h' = tanh(h), T = {t}", want, got[t], atol=t * 8 * EPS)
    slope = (got[10_000] - got[1000]) / np.log(10)
    np.testing.assert_allclose(slope, -1.5, rtol=1e-2)
