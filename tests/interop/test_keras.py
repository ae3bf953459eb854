"""Layers of Keras: against their own run and derivatives, and the meaning of their weights."""

from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from keras_layers import KINDS, RETURNS, TANH, built, keras, layer_of, lenient, own
from parity import D, H, assert_parity, sequence
from readings import assert_means, gru, lstm
from registry import slow

import lstmgrad as lg


@pytest.mark.parametrize(
    ("kind", "dtype"), [*((kind, "float64") for kind in KINDS), slow("lstm", "float32")]
)
def test_layers(kind, dtype):
    layer = layer_of(kind, dtype)
    assert_parity(lg.interop.from_keras(layer), own(layer), dtype)


def test_a_cell_is_its_layer():
    layer = layer_of("lstm")
    of_cell, of_layer = lg.interop.from_keras(layer.cell), lg.interop.from_keras(layer)
    jax.tree.map(np.testing.assert_array_equal, of_cell, of_layer._replace(step=of_cell.step))
    assert of_cell.step is of_layer.step


@pytest.mark.slow
def test_stacked_cells():
    cells = [keras.layers.LSTMCell(H, activation=TANH, dtype="float64") for _ in range(2)]
    stacked = keras.layers.StackedRNNCells(cells, dtype="float64")
    layer = built(keras.layers.RNN(stacked, dtype="float64", **RETURNS))

    def run(parts, inputs):
        with lenient():
            start = [[part[None] for part in pair] for pair in (parts[:2], parts[2:])]
            outputs, *last = layer(inputs[None], initial_state=start, training=False)
        return outputs[0], tuple(part[0] for pair in last for part in pair)

    model = lg.interop.from_keras(layer)
    assert model.state._fields == ("h0", "c0", "h1", "c1")
    assert_parity(model, run, "float64")


def test_both_directions_of_a_batch_major_layer():
    layer = built(keras.layers.Bidirectional(keras.layers.GRU(H, return_sequences=True)))
    batch = jnp.stack([sequence("float32", 6), -sequence("float32", 6)])
    with lenient():
        outputs = layer(batch, training=False)
    halves: list[tuple[Literal["forward", "reverse"], slice, int]] = [
        ("forward", slice(H), 1),
        ("reverse", slice(H, 2 * H), -1),
    ]
    for direction, columns, step in halves:
        model = lg.interop.from_keras(layer, direction=direction)
        states = jax.vmap(lambda xs, model=model: lg.unroll(*model, xs))(batch[:, ::step]).states
        np.testing.assert_allclose(states.h[:, 1:][:, ::step], outputs[..., columns], atol=1e-6)
    with pytest.raises(ValueError, match="direction: expected 'forward' or 'reverse', because"):
        lg.interop.from_keras(layer)
    with pytest.raises(ValueError, match="has one direction, but got 'reverse'"):
        lg.interop.from_keras(layer.forward_layer, direction="reverse")


@pytest.mark.usefixtures("as_installed")
def test_a_direction_is_one_of_two():
    up: Any = "up"
    with pytest.raises(ValueError, match="expected 'forward', 'reverse' or None, but got 'up'"):
        lg.interop.from_keras(keras.layers.LSTM(3), direction=up)


def test_what_is_no_built_recurrent_layer_is_refused():
    with pytest.raises(ValueError, match=r"layer: expected a recurrent layer .* got Dense, which"):
        lg.interop.from_keras(keras.layers.Dense(3))
    mine = type("MyCell", (keras.layers.LSTMCell,), {})
    with pytest.raises(ValueError, match=r"layer: expected one of LSTMCell, .* got MyCell.*state="):
        lg.interop.from_keras(mine(3))
    with pytest.raises(ValueError, match="layer: expected a built layer"):
        lg.interop.from_keras(keras.layers.LSTM(3))


def weights_of(kind, **options):
    """A layer and its random weights."""
    layer = layer_of(kind, activation="tanh", **options)
    return layer, [np.asarray(weight.value) for weight in layer.weights]


def test_keras_has_the_forget_bias_in_its_weights():
    layer = keras.layers.LSTM(H, recurrent_initializer="zeros")
    with lenient():
        layer.build((None, None, D))
    np.testing.assert_array_equal(np.split(layer.cell.bias.value, 4)[1], 1)
    layer, (kernel, recurrent, bias) = weights_of("lstm")
    weights = kernel.T, recurrent.T, bias
    model = lg.interop.from_keras(layer)
    assert model.state.h.dtype == "float64"
    assert_means(model, lstm(weights), lstm(weights, forget_bias=1.0), lstm(weights, order="igfo"))


@pytest.mark.parametrize("reset_after", [True, False])
def test_keras_has_the_update_gate_in_front_and_two_kinds_of_reset(reset_after):
    layer, (kernel, recurrent, bias) = weights_of("gru", reset_after=reset_after)
    outer, inner = bias if reset_after else (bias, 0 * bias)
    weights = kernel.T, recurrent.T, outer, inner
    resets = ("after", "before") if reset_after else ("before", "after")
    summed = kernel.T, recurrent.T, outer + inner, 0 * inner
    wrongs = [gru(weights, reset=resets[0]), gru(weights, order="zrn", reset=resets[1])]
    if reset_after:
        wrongs.append(gru(summed, order="zrn"))
    right = gru(weights, order="zrn", reset=resets[0])
    assert_means(lg.interop.from_keras(layer), right, *wrongs)
