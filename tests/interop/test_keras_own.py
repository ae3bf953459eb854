"""Activations and cells of one's own in Keras: against their own run and derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from keras_layers import built, keras, layer_of, lenient, own
from oracles import eps
from parity import D, H, filled, sequence
from registry import slow

import lstmgrad as lg
from lstmgrad.interop._keras_activations import FUNCTIONS

X = sequence("float32", 12)
ZERO = jnp.zeros(H, jnp.float32)


def test_activations_are_those_of_keras():
    values = jnp.asarray([-7.0, -2.0, -0.3, 0.0, 0.4, 1.5, 8.0], jnp.float32)
    for name, function in FUNCTIONS.items():
        with lenient():
            expected = getattr(keras.activations, name)(values)
        got = np.asarray(function(values))
        np.testing.assert_allclose(got, expected, rtol=4e-6, atol=1e-6, err_msg=name)


def assert_run_and_jacobian(model, run):
    """Outputs and the last part's Jacobian are the framework's own, as far as float32 goes."""
    model = model._replace(state=filled(model.state, 7))
    with lenient():
        chain = lg.chain(model, X)
        found = lg.jacobian(chain)
        start = tuple(model.state)
        outputs = run(start, X)[0]
        blocks = jax.jacrev(lambda parts: run(parts, X)[1])(start)
    np.testing.assert_allclose(chain.trajectory.states[0][1:], outputs, rtol=0, atol=1e-5)
    expected = np.block([list(row) for row in blocks])
    size = np.abs(expected).max()
    assert size > 0
    np.testing.assert_allclose(found, expected, rtol=0, atol=len(X) * 8 * eps("float32") * size)


def steep(x):
    """An activation of one's own, in Keras' operations."""
    return keras.ops.tanh(2 * x)


@pytest.mark.parametrize(
    ("kind", "activation", "gate"),
    [
        ("lstm", "softsign", "hard_sigmoid"),
        slow("lstm", "relu", "sigmoid"),
        slow("lstm", steep, "hard_sigmoid"),
        ("gru", steep, "hard_sigmoid"),
        slow("gru", "relu", "sigmoid"),
        slow("gru-reset-before", "softsign", "hard_sigmoid"),
        slow("rnn", "softplus", None),
    ],
)
def test_layers_with_other_activations(kind, activation, gate):
    gates = {"recurrent_activation": gate} if gate else {}
    layer = layer_of(kind, "float32", activation=activation, **gates)
    model = lg.interop.from_keras(layer)
    assert_run_and_jacobian(model, own(layer))
    assert model.step is lg.interop.from_keras(layer).step


class Showing(keras.layers.LSTMCell):
    """An LSTM that shows its cell, too."""

    def call(self, inputs, states, training=False):
        h, (_, c) = super().call(inputs, states, training=training)
        return keras.ops.concatenate([h, c], -1), [h, c]


class Leak(keras.layers.Layer):
    """A cell from the ground up, which knows of no training and has a fixed rate."""

    state_size = D

    def build(self, input_shape):
        self.rate = self.add_weight(
            shape=(), initializer=keras.initializers.Constant(0.25), trainable=False
        )

    def call(self, inputs, states):
        after = states[0] + self.rate * (inputs - states[0])
        return after, [after]


def test_a_cell_of_ones_own():
    cell = Showing(H)
    built(keras.layers.RNN(cell))
    model = lg.interop.from_keras(cell, state=lg.cells.LSTMState(ZERO, ZERO))

    def run(parts, inputs):
        states, outputs = [part[None] for part in parts], []
        for x in inputs:
            output, states = cell(x[None], states)
            outputs.append(output[0, :H])
        return jnp.stack(outputs), tuple(part[0] for part in states)

    assert_run_and_jacobian(model, run)
    assert set(model.params["trainable"]) == {"kernel", "recurrent_kernel", "bias"}
    by_place = lg.interop.from_keras(keras.layers.RNN(cell), state=(ZERO, ZERO))
    assert by_place.step is model.step


def test_a_cell_that_knows_nothing_of_training():
    cell = Leak()
    built(keras.layers.RNN(cell))
    value = cell.rate.value
    with lenient():
        model = lg.interop.from_keras(cell, state=jnp.zeros(D, jnp.float32))
        chain = lg.chain(model, X[:3])
    assert set(model.params["non_trainable"]) == {"variable"}
    expected = (1 - float(value)) ** 3 * np.eye(D)
    np.testing.assert_allclose(lg.jacobian(chain), expected, rtol=1e-6)


@pytest.mark.usefixtures("as_installed")
def test_states_of_another_shape():
    layer, cell = layer_of("lstm", "float32"), built(keras.layers.RNN(Showing(H))).cell
    message = r"state: expected arrays of the shapes h: \(4,\), c: \(4,\), but got \("
    for wrong in ((ZERO[None], ZERO[None]), ZERO, (ZERO,)):
        with pytest.raises(ValueError, match=message):
            lg.interop.from_keras(layer, state=wrong)
        with pytest.raises(ValueError, match=r"state: expected arrays of the shapes \(4,\), \(4"):
            lg.interop.from_keras(cell, state=wrong)
    with pytest.raises(ValueError, match=r"but got a dict\. Pass an array, a tuple or"):
        lg.interop.from_keras(cell, state={"h": ZERO, "c": ZERO})
    for known in ((ZERO + 1, ZERO), {"c": ZERO, "h": ZERO + 1}):
        state = lg.interop.from_keras(layer, state=known).state
        np.testing.assert_array_equal(state.h, 1)
        np.testing.assert_array_equal(state.c, 0)


def test_other_backends_have_the_known_activations_alone(monkeypatch):
    plain, mine = layer_of("lstm", "float32", activation="relu"), layer_of("lstm", "float32")
    cell = built(keras.layers.RNN(Showing(H))).cell
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    assert lg.interop.from_keras(plain).state._fields == ("h", "c")
    with pytest.raises(ValueError, match=r"activation: expected one of celu.*backend of Keras"):
        lg.interop.from_keras(mine)
    with pytest.raises(ValueError, match=r"layer: expected a cell that runs on JAX.*is torch"):
        lg.interop.from_keras(cell, state=(ZERO, ZERO))
