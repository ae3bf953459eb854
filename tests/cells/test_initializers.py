"""How networks start: the biases of forget gates and the rings of eigenvalues.

Held against the share that a step keeps, by automatic differentiation, and against moments.
"""

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hand import sigmoid
from registry import D, H

import lstmgrad as lg

KEY = jax.random.key(0)
REGISTRY = lg.cells.registry()


def gate_of(name) -> Any:
    """Where the cell says that its forget gate is; None if it has none."""
    return getattr(type(jax.eval_shape(REGISTRY[name](D, H).init, KEY)), "forget_gate", None)


@functools.cache
def params_of(name):
    return REGISTRY[name](D, H).init(KEY)


GATED = [name for name in REGISTRY if gate_of(name)]
every_gated = pytest.mark.parametrize("name", GATED)


def kept(name):
    """The share of the cell, or of h where there is none, that one step keeps at zero weights."""
    cell = REGISTRY[name](D, H)
    start = cell.initial_state()
    part = "c" if "c" in start._fields else "h"

    @jax.jit
    def share(params):
        weights = [field for field in params._fields if not field.startswith("bias")]
        zeros = {field: jnp.zeros_like(getattr(params, field)) for field in weights}

        def after(value):
            state = cell.step(params._replace(**zeros), start._replace(**{part: value}), ZERO)
            return getattr(state, part) * jnp.exp(getattr(state, "m", jnp.zeros(())))

        one = jnp.ones_like(getattr(start, part))
        return jax.jvp(after, (one,), (one,))[1]

    return lambda params: np.asarray(share(params))


ZERO = jnp.zeros(D)


@every_gated
def test_a_bias_says_what_is_kept(name):
    params, gate = params_of(name), gate_of(name)
    was = getattr(params, gate.leaf)
    units = was.size // len(gate.order)
    share = kept(name)
    biases = jnp.linspace(-1.0, 3.0, units)
    got = share(lg.cells.with_forget_bias(params, biases))
    np.testing.assert_allclose(got, sigmoid(biases) + 0 * got, rtol=1e-14)
    chrono = lg.cells.with_chrono_bias(params, KEY, 100)
    u = np.exp(lg.cells.chrono(100)(KEY, (units,)))
    np.testing.assert_allclose(share(chrono), u / (1 + u) + 0 * got, rtol=1e-14)
    leaf = gate.leaf
    assert jax.tree.all(
        jax.tree.map(np.array_equal, chrono._replace(**{leaf: 0}), params._replace(**{leaf: 0}))
    )
    got, changed = getattr(chrono, leaf), gate.kept + gate.replaced + gate.written
    assert np.sum(got != was) == len(changed) * units
    assert got.dtype == was.dtype


@pytest.mark.parametrize("name", [name for name in GATED if gate_of(name).written])
def test_chrono_closes_the_input_gate_as_far_as_it_opens_the_forget_gate(name):
    """All these LSTMs have the input gate in front of the forget gate."""
    params, leaf = params_of(name), gate_of(name).leaf
    was, got = (getattr(p, leaf) for p in (params, lg.cells.with_chrono_bias(params, KEY, 100)))
    units = was.size // len(gate_of(name).order)
    np.testing.assert_array_equal(got[:units], -got[units : 2 * units])
    np.testing.assert_array_equal(got[2 * units :], was[2 * units :])


def test_which_cells_say_where_their_forget_gate_is():
    assert {"gru", "lstm", "mlstm", "min_lstm"} < set(GATED)
    assert not {"rnn", "lstm_1997", "lru", "orthogonal_rnn"} & set(GATED)


def test_the_option_of_the_constructor_is_the_same():
    for bias in (0.0, 3.0):
        option = lg.cells.lstm(D, H, forget_bias=bias).init(KEY)
        jax.tree.map(
            np.testing.assert_array_equal,
            option,
            lg.cells.with_forget_bias(params_of("lstm"), bias),
        )


def test_chrono_spreads_the_memories():
    """Truth T9: E[f^T] for T_max = 100, over 10^5 units, within five standard errors."""
    bias = np.asarray(lg.cells.chrono(100)(KEY, (100_000,)))
    assert bias.min() >= 0
    assert bias.max() <= np.log(99)
    for T, mean in [(1, 0.96008140), (10, 0.73258937), (50, 0.33020394), (100, 0.14964755)]:
        left = sigmoid(bias) ** T
        assert abs(left.mean() - mean) < 5 * left.std() / np.sqrt(left.size)
    np.testing.assert_array_equal(lg.cells.chrono(2)(KEY, (5,)), 0)
    assert lg.cells.chrono(100)(KEY, (5,), jnp.float32).dtype == np.float32


def test_units_draw_for_themselves():
    one = lg.cells.with_chrono_bias(params_of("lstm"), KEY, 100).bias[H : 2 * H]
    other = lg.cells.with_chrono_bias(params_of("lstm"), jax.random.key(1), 100).bias[H : 2 * H]
    assert len({*one.tolist(), *other.tolist()}) == 2 * H


@pytest.mark.parametrize("name", ["rnn", "lstm_1997", "lru"])
def test_cells_without_such_a_bias(name):
    message = "params: expected those of a cell with a forget gate, such as LSTMParams .* but got "
    with pytest.raises(ValueError, match=message + type(params_of(name)).__name__):
        lg.cells.with_forget_bias(params_of(name), 1.0)
    with pytest.raises(ValueError, match=message):
        lg.cells.with_chrono_bias(params_of(name), KEY, 100)


def test_options_out_of_range():
    with pytest.raises(ValueError, match="max_lag: expected a number, 2 or above, but got 1"):
        lg.cells.chrono(1)


def test_the_leaf_map_of_equinox():
    """One bias in the order i, f, g, o, as the docstring of with_chrono_bias says."""
    cell = eqx.nn.LSTMCell(D, H, key=KEY)
    bias = lg.cells.chrono(50)(KEY, (H,))
    zero = jax.tree.map(jnp.zeros_like, eqx.filter(cell, eqx.is_array))
    cell = eqx.combine(zero, cell)
    cell = eqx.tree_at(
        lambda cell: cell.bias, cell, cell.bias.at[H : 2 * H].set(bias).at[:H].set(-bias)
    )
    state = jnp.zeros(H), jnp.ones(H)
    np.testing.assert_allclose(cell(jnp.zeros(D), state)[1], sigmoid(bias), rtol=1e-14)
    ours = lg.cells.with_chrono_bias(lg.cells.lstm(D, H).init(KEY), KEY, 50)
    np.testing.assert_array_equal(cell.bias[: 2 * H], ours.bias[: 2 * H])


def test_orthogonal_and_its_gain():
    matrix = lg.cells.orthogonal(1.3)(KEY, (5, 5), jnp.float64)
    np.testing.assert_allclose(np.linalg.svd(matrix)[1], 1.3, rtol=1e-14)
    cell = lg.cells.lstm(D, H, recurrent_init=lg.cells.orthogonal())
    for block in np.split(np.asarray(cell.init(KEY).weight_hh), 4):
        np.testing.assert_allclose(block @ block.T, np.eye(H), rtol=0, atol=1e-14)


def test_the_ring_of_the_lru():
    """|λ|² uniform in [r_min², r_max²] and the phase in [0, max_phase], by their first moments."""
    low, high, phase, h = 0.6, 0.95, 0.8, 20_000
    cell = lg.cells.lru(1, h, r_min=low, r_max=high, max_phase=phase)
    params = cell.init(KEY)
    radius, angle = np.exp(-np.exp(params.nu_log)), np.exp(params.theta_log)
    assert low <= radius.min() < radius.max() <= high
    assert 0 <= angle.min() < angle.max() <= phase
    for sample, bottom, top in [(radius**2, low**2, high**2), (angle, 0, phase)]:
        unit = (np.asarray(sample) - bottom) / (top - bottom)
        for power in (1, 2):
            variance = 1 / (2 * power + 1) - 1 / (power + 1) ** 2
            error = np.mean(unit**power) - 1 / (power + 1)
            assert abs(error) < 5 * np.sqrt(variance / h)
    np.testing.assert_allclose(np.exp(2 * params.gamma_log) + radius**2, 1, rtol=1e-12)
    # |B|² of a complex normal of variance 1/d is exponential: mean and deviation are 1 for d = 1.
    size = np.asarray(params.weight_re) ** 2 + np.asarray(params.weight_im) ** 2
    assert abs(np.mean(size) - 1) < 5 / np.sqrt(h)


@pytest.mark.slow
def test_where_the_other_diagonal_recurrences_start():
    griffin = lg.cells.rg_lru(1, 2000).init(KEY)
    left = sigmoid(np.asarray(griffin.decay)) ** 8
    assert 0.9 <= left.min() < 0.901
    assert 0.998 < left.max() <= 0.999
    mamba = lg.cells.selective_ssm(1, 2000, state_size=3).init(KEY)
    np.testing.assert_allclose(-np.exp(mamba.a_log), np.tile([-1.0, -2, -3], (2000, 1)))
    time = np.log1p(np.exp(np.asarray(mamba.bias_delta)))
    assert 0.001 <= time.min() < 0.00102
    assert 0.098 < time.max() <= 0.1
    assert abs(np.mean(np.log(time)) - np.log(0.01)) < 5 * np.log(100) / np.sqrt(12 * 2000)
