"""T12. The largest exponent of an LSTM with its cell frozen, as one tool has it, and the exact one.

Source: a published tool that keeps only dh_t/dh_{t-1} at held c; each figure measured with that
tool's setting (h = 32, d = 8, T = 400, weights U(±1/√h), inputs N(0, 1)). One draw scatters by
about 0.1 nats per step, the defect is 1.5 and more.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstmgrad as lg

H, D, T = 32, 8, 400
BIASES = jnp.asarray([0.0, 1.0, 3.0])
FROZEN = (-1.95, -1.97, -1.98)
FULL = (-0.485, -0.174, -0.002)
CELL = lg.cells.lstm(D, H, dtype=jnp.float64)


@eqx.filter_jit
def largest_exponents(bias):
    keys = jax.random.split(jax.random.key(0), 4)
    shapes = (4 * H, D), (4 * H, H), (4 * H,)
    weights = [
        jax.random.uniform(key, shape, minval=-(H**-0.5), maxval=H**-0.5)
        for key, shape in zip(keys, shapes, strict=False)
    ]
    params = lg.cells.LSTMParams(*weights)
    params = params._replace(bias=params.bias.at[H : 2 * H].add(bias))
    inputs = jax.random.normal(keys[3], (T, D))
    trajectory = lg.unroll(CELL.step, params, CELL.initial_state(), inputs)

    def frozen_step(params, state, entry):
        x, c = entry
        return CELL.step(params, lg.cells.LSTMState(state, c), x).h

    alone = lg.Trajectory((inputs, trajectory.states.c[:-1]), trajectory.states.h)
    chains = (
        lg.linearize(frozen_step, params, alone),
        lg.linearize(CELL.step, params, trajectory),
    )
    return [
        lg.lyapunov_spectrum(chain, num_exponents=1, interval=5).exponents[0] for chain in chains
    ]


@pytest.mark.slow
def test_the_cell_must_not_be_frozen():
    frozen, full = jax.vmap(largest_exponents)(BIASES)
    np.testing.assert_allclose(frozen, FROZEN, rtol=0, atol=0.1)
    np.testing.assert_allclose(full, FULL, rtol=0, atol=0.1)
