"""T9. How long a forget gate remembers.

Source: at zero weights f = σ(b) and dc_T/dc_0 = σ(b)^T, time constant 1/ln(1 + e^(-b)); chrono
initialization of Tallec & Ollivier 2018 (arXiv:1804.11188), Eq. 16, b = log u, u ~ U([1, T_max-1]):
E[f^T] = ∫ (u/(1+u))^T du / (T_max - 2). Tolerance: figures to their printed digits; T·8·eps in
float64; the chrono mean to its eight digits, by a midpoint rule of N = 20 000 points on [a, b],
whose error is (b-a)/(24 N²)·|g'(b) - g'(a)| to leading order, below 1e-8 as |g'| < 1 here.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstmgrad as lg

EPS = np.finfo(np.float64).eps


def cell_chain(bias, length, units=2):
    """A chain of an LSTM with all weights zero."""
    cell = lg.cells.lstm(1, units)
    params = jax.tree.map(jnp.zeros_like, cell.init(jax.random.key(0)))
    params = params._replace(bias=params.bias.at[units : 2 * units].set(bias))
    state = lg.cells.LSTMState(jnp.ones(units), jnp.ones(units))
    trajectory = lg.unroll(cell.step, params, state, jnp.zeros((length, 1)))
    return lg.linearize(cell.step, params, trajectory)


@pytest.mark.parametrize(
    ("bias", "constant", "rtol"),
    [(0.0, 1.442695, 5e-7), (1.0, 3.1922192845, 5e-11), (3.0, 20.58, 5e-4), (5.0, 148.91, 5e-5)],
)
def test_the_cell_forgets_exponentially(bias, constant, rtol, truth):
    profile = lg.backward_norms(cell_chain(bias, 100), of="c", wrt="c")
    log_forget = -np.log1p(np.exp(-bias))
    want = log_forget * np.arange(101)
    np.testing.assert_allclose(profile.log_norms, want, rtol=0, atol=100 * 8 * EPS)
    ours = 1 / lg.decay_rate(profile)
    truth(f"time constant of a forget gate of bias {bias:g}", constant, ours, rtol=rtol)


def test_a_forget_bias_of_one(truth):
    chain = cell_chain(1.0, 100)
    block = lg.jacobian(chain, of="c", wrt="c")
    np.testing.assert_allclose(block, 2.48e-14 * np.eye(2), rtol=2e-3)
    half_life = np.log(2) / lg.decay_rate(lg.backward_norms(chain, of="c", wrt="c"))
    truth("half-life of a forget gate of bias 1", 2.21, half_life, rtol=2e-3)


@pytest.mark.slow
def test_chrono_initialization(truth):
    longest, points, length = 100, 20_000, 100
    u = 1 + (longest - 2) * (jnp.arange(0.0, points) + 0.5) / points

    def memory(bias):
        return lg.forward_norms(cell_chain(bias, length, units=1), of="c", wrt="c").log_norms

    mean = jnp.mean(jnp.exp(jax.jit(jax.vmap(memory))(jnp.log(u))), axis=0)
    for t, want in [(1, 0.96008140), (10, 0.73258937), (50, 0.33020394), (100, 0.14964755)]:
        truth(f"E[f^{t}] under chrono initialization to 100", want, mean[t], atol=1.5e-8)
