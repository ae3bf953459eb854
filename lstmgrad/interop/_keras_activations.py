"""Activations of Keras in JAX: its own ones by what they compute, others as they are.

Keras' functions compute in float32 on JAX even where the weights are float64, and not on JAX at all
with another backend. So each of its own is the function of JAX that means the same.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from lstmgrad._checks import check_hashable, require

Activation = Callable[[jax.Array], jax.Array]

FUNCTIONS: dict[str, Activation] = {
    "celu": jax.nn.celu,
    "elu": jax.nn.elu,
    "exponential": jnp.exp,
    "gelu": functools.partial(jax.nn.gelu, approximate=False),
    "hard_sigmoid": jax.nn.hard_sigmoid,
    "hard_silu": jax.nn.hard_silu,
    "hard_tanh": jax.nn.hard_tanh,
    "leaky_relu": functools.partial(jax.nn.leaky_relu, negative_slope=0.2),
    "linear": jnp.positive,
    "log_sigmoid": jax.nn.log_sigmoid,
    "mish": jax.nn.mish,
    "relu": jax.nn.relu,
    "relu6": jax.nn.relu6,
    "selu": jax.nn.selu,
    "sigmoid": jax.nn.sigmoid,
    "silu": jax.nn.silu,
    "softmax": jax.nn.softmax,
    "softplus": jax.nn.softplus,
    "softsign": jax.nn.soft_sign,
    "squareplus": jax.nn.squareplus,
    "tanh": jnp.tanh,
}
"""By the name that Keras has for it, with Keras' own default options."""


def activation_of(function: Any, argument: str) -> Activation:
    """Returns an activation of a layer as a function of arrays of JAX.

    Args:
        function: as the layer holds it.
        argument: what the layer calls it, for messages.
    """
    keras = require("keras", "keras")
    for name, known in FUNCTIONS.items():
        if function is getattr(keras.activations, name, None):
            return known
    if keras.backend.backend() != "jax":
        name = getattr(function, "__name__", type(function).__name__)
        raise ValueError(
            f"{argument}: expected one of {', '.join(FUNCTIONS)}, because other functions run on "
            f"the backend of Keras, which is {keras.backend.backend()}, but the layer has {name}. "
            "Load the layer with KERAS_BACKEND=jax."
        )
    check_hashable(function, argument)
    return function
