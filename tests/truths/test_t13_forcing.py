"""T13. Forget bias for a half-life, and teacher forcing of chaotic networks.

Source: σ(b)^l = ½ at b = -ln(2^{1/l} - 1); forcing interval ln 2/λ₁ of Mikhaeil, Monfared &
Durstewitz 2022, Eq. 17; generalized teacher forcing of Hess et al. 2023, which scales every factor
by 1 - α. Tolerance: figures to their printed digits; eps times the length elsewhere.
"""

import jax.numpy as jnp
import numpy as np
import pytest
from registry import random_chain
from result_records import lyapunov_spectrum

import lstmgrad as lg

EPS = np.finfo(np.float64).eps


def test_the_bias_of_a_half_life(truth):
    truth("forget bias for a half-life of 10", 2.63424047, lg.theory.forget_bias(10), atol=5e-9)
    lives = np.array([0.5, 1.0, 10.0, 1e4])
    bias = lg.theory.forget_bias(lives)
    np.testing.assert_allclose((1 / (1 + np.exp(-bias))) ** lives, 0.5, rtol=1e4 * EPS)
    np.testing.assert_allclose(lg.theory.forget_half_life(bias), lives, rtol=1e4 * EPS)
    with pytest.raises(ValueError, match="half_life: expected numbers above zero, but got 0"):
        lg.theory.forget_bias(0)


def test_the_forcing_interval_of_the_lorenz_network(truth):
    """From the published exponent, .8319 per time unit of 100 steps."""
    spectrum = lyapunov_spectrum()
    first = lg.LyapunovSpectrum(
        exponents=spectrum.exponents.at[0].set(0.8319 / 100),
        standard_errors=spectrum.standard_errors,
        rounding_errors=spectrum.rounding_errors,
        times=spectrum.times,
        running_exponents=spectrum.running_exponents,
        state=spectrum.state,
    )
    found = lg.forcing_interval(first).interval / 100
    truth("forcing interval of the Lorenz network, time units", 0.8332, found, atol=5e-5)


def test_forcing_by_one_half_where_all_doubles(truth):
    chain = lg.DenseChain(2.0 * jnp.stack([jnp.eye(3)] * 7))
    for name in ("largest", "product"):
        found = lg.forcing_strength(chain, growth=getattr(lg.Growth, name))
        truth(f"forcing strength at g = 2, {name}", 0.5, found, atol=8 * EPS)


@pytest.mark.slow
def test_forced_exponents_move_by_the_logarithm(truth):
    chain = random_chain(length=50)
    alpha = lg.forcing_strength(chain, growth=lg.Growth.largest)
    free, forced = (
        lg.lyapunov_spectrum(one).exponents
        for one in (chain, lg.DenseChain((1 - alpha) * chain.factors))
    )
    np.testing.assert_allclose(forced, free + np.log1p(-alpha), atol=50 * EPS)
    truth("shift of an exponent by forcing", np.log1p(-alpha), forced[0] - free[0], atol=50 * EPS)
    norms = lg.forward_norms(lg.DenseChain((1 - alpha) * chain.factors)).log_norms
    assert np.all(norms <= 50 * EPS)
