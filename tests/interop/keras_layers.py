"""Layers of Keras with random weights, and their own runs."""

import contextlib
import os
import warnings
from typing import Any

os.environ["KERAS_BACKEND"] = "jax"

import jax
import jax.numpy as jnp
from parity import D, H, filled

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import keras

# Keras' own tanh computes in float32, whatever the dtype.
TANH: Any = jnp.tanh

KINDS = {
    "lstm": (keras.layers.LSTM, {"activation": TANH}),
    "gru": (keras.layers.GRU, {"activation": TANH}),
    "gru-reset-before": (keras.layers.GRU, {"activation": TANH, "reset_after": False}),
    "rnn": (keras.layers.SimpleRNN, {"activation": TANH}),
    "rnn-relu": (keras.layers.SimpleRNN, {"activation": jax.nn.relu}),
    "lstm-no-bias": (keras.layers.LSTM, {"activation": TANH, "use_bias": False}),
    "gru-no-bias": (keras.layers.GRU, {"activation": TANH, "use_bias": False}),
}

RETURNS = {"return_sequences": True, "return_state": True}


@contextlib.contextmanager
def lenient():
    """Keras relies on promotions that the tests forbid."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def built(layer):
    """The layer with random weights, biases included."""
    with lenient():
        layer.build((None, None, D))
        weights = filled([weight.value for weight in layer.weights], 1)
        for weight, value in zip(layer.weights, weights, strict=True):
            weight.assign(value)
    return layer


def layer_of(kind, dtype="float64", **options):
    make, own = KINDS[kind]
    plain = {"kernel_initializer": "zeros", "recurrent_initializer": "zeros"}
    options = plain | RETURNS | {"dtype": dtype} | own | options
    return built(make(H, **options))


def own(layer):
    def run(parts, inputs):
        with lenient():
            start = [part[None] for part in parts]
            outputs, *last = layer(inputs[None], initial_state=start, training=False)
        return outputs[0], tuple(part[0] for part in last)

    return run
