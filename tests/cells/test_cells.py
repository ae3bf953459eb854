"""The cells that everything else is crossed with: against Equinox, formulas and distributions."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from registry import CELLS, D, H, every_cell, every_dtype

import lstmgrad as lg

KEY = jax.random.key(0)


def split(weight, gates):
    return np.split(np.asarray(weight), gates)


@every_cell
@every_dtype
def test_parameters_and_state_have_the_dtype_asked_for(name, dtype):
    cell = CELLS[name](D, H, dtype=dtype)
    for leaf in jax.tree.leaves((cell.init(KEY), cell.initial_state())):
        assert leaf.dtype == dtype


@every_cell
def test_the_default_is_jax_s_default_float(name):
    cell = CELLS[name](D, H)
    for leaf in jax.tree.leaves((cell.init(KEY), cell.initial_state())):
        assert leaf.dtype == jnp.float64


@every_cell
def test_the_step_is_the_same_object_for_every_cell_of_the_kind(name):
    assert CELLS[name](D, H).step is CELLS[name](D + 1, H + 2).step


@every_cell
def test_the_start_is_zero_and_keys_matter(name):
    cell = CELLS[name](D, H)
    for leaf in jax.tree.leaves(cell.initial_state()):
        np.testing.assert_array_equal(leaf, np.zeros(H))
    one, same, other = cell.init(KEY), cell.init(KEY), cell.init(jax.random.key(1))
    np.testing.assert_array_equal(one.weight_hh, same.weight_hh)
    assert not np.allclose(one.weight_hh, other.weight_hh)
    assert not np.allclose(one.weight_ih, other.weight_ih)


@every_cell
def test_step_and_init_under_jit_and_vmap(name):
    cell = CELLS[name](D, H)
    params, x = cell.init(KEY), jax.random.normal(KEY, (4, D))
    for got, want in zip(
        jax.tree.leaves(jax.jit(cell.init)(KEY)), jax.tree.leaves(params), strict=True
    ):
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-15)
    state = cell.step(params, cell.initial_state(), x[0])
    together = jax.vmap(cell.step, (None, None, 0))(params, state, x)
    one = jax.jit(cell.step)(params, state, x[2])
    np.testing.assert_allclose(together.h[2], one.h, rtol=0, atol=1e-15)


def test_lstm_runs_exactly_as_equinox():
    theirs = eqx.nn.LSTMCell(D, H, key=KEY)
    assert theirs.bias is not None
    params = lg.cells.LSTMParams(theirs.weight_ih, theirs.weight_hh, theirs.bias)
    h, c, x = jax.random.normal(KEY, (3, H))
    want_h, want_c = theirs(x[:D], (h, c))
    got = lg.cells.lstm(D, H).step(params, lg.cells.LSTMState(h, c), x[:D])
    np.testing.assert_array_equal(got.h, want_h)
    np.testing.assert_array_equal(got.c, want_c)


def test_gru_runs_exactly_as_equinox():
    theirs = eqx.nn.GRUCell(D, H, key=KEY)
    assert theirs.bias is not None
    assert theirs.bias_n is not None
    params = lg.cells.GRUParams(theirs.weight_ih, theirs.weight_hh, theirs.bias, theirs.bias_n)
    h, x = jax.random.normal(KEY, (2, H))
    got = lg.cells.gru(D, H).step(params, lg.cells.GRUState(h), x[:D])
    np.testing.assert_array_equal(got.h, theirs(x[:D], h))


@pytest.mark.parametrize("activation", [jnp.tanh, jax.nn.relu, lambda x: x])
def test_rnn_is_its_formula(activation):
    cell = lg.cells.rnn(D, H, activation=activation)
    params = cell.init(KEY)._replace(bias=jnp.asarray([0.1, -0.7, 0.3]))
    h, x = jnp.asarray([0.5, -0.2, 0.9]), jnp.asarray([1.0, -2.0])
    drive = np.asarray(params.weight_ih) @ x + np.asarray(params.weight_hh) @ h + params.bias
    got = cell.step(params, lg.cells.RNNState(h), x).h
    np.testing.assert_allclose(got, activation(drive), rtol=1e-14)


def test_activations_differ():
    def drive(cell):
        return cell.step(cell.init(KEY), lg.cells.RNNState(-jnp.ones(H)), jnp.ones(D)).h

    tanh, relu = lg.cells.rnn(D, H), lg.cells.rnn(D, H, activation=jax.nn.relu)
    assert not np.allclose(drive(tanh), drive(relu))


@pytest.mark.parametrize(("name", "gates"), [("rnn", 1), ("gru", 3), ("lstm", 4)])
def test_orthogonal_recurrent_weights_are_orthogonal_gate_by_gate(name, gates):
    cell = CELLS[name](D, 5, recurrent_init=jax.nn.initializers.orthogonal())
    blocks = split(cell.init(KEY).weight_hh, gates)
    for block in blocks:
        np.testing.assert_allclose(block @ block.T, np.eye(5), rtol=0, atol=1e-14)
    assert gates == 1 or not np.allclose(blocks[0], blocks[1])


def test_identity_recurrent_weights():
    cell = lg.cells.lstm(D, H, recurrent_init=lg.cells.identity(0.5))
    for block in split(cell.init(KEY).weight_hh, 4):
        np.testing.assert_array_equal(block, 0.5 * np.eye(H))
    default = lg.cells.rnn(D, H, recurrent_init=lg.cells.identity())
    np.testing.assert_array_equal(default.init(KEY).weight_hh, np.eye(H))


@pytest.mark.parametrize(("name", "gates"), [("rnn", 1), ("gru", 3), ("lstm", 4)])
def test_default_weights_have_the_variance_of_glorot_gate_by_gate(name, gates):
    h, d = 128, 32
    params = CELLS[name](d, h).init(KEY)
    for weight, columns in ((params.weight_ih, d), (params.weight_hh, h)):
        for block in split(weight, gates):
            assert block.shape == (h, columns)
            # Truncated at two standard deviations, which bounds the fourth moment by the normal's:
            # the sample variance has a relative standard error of at most √(2/size).
            error = (block.var() * (h + columns) / 2 - 1) / np.sqrt(2 / block.size)
            assert abs(error) < 5


def test_forget_bias_is_a_parameter():
    for bias in (0.0, 1.0, 3.5):
        i, f, g, o = split(lg.cells.lstm(D, H, forget_bias=bias).init(KEY).bias, 4)
        np.testing.assert_array_equal(f, bias)
        for other in (i, g, o):
            np.testing.assert_array_equal(other, 0.0)
    np.testing.assert_array_equal(split(lg.cells.lstm(D, H).init(KEY).bias, 4)[1], 1.0)


def test_other_biases_are_zero():
    np.testing.assert_array_equal(lg.cells.rnn(D, H).init(KEY).bias, 0.0)
    params = lg.cells.gru(D, H).init(KEY)
    np.testing.assert_array_equal(params.bias, 0.0)
    np.testing.assert_array_equal(params.bias_n, 0.0)
