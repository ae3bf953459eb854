"""Layers of Keras, of whatever backend: their weights in cells of ours.

Kernels are (d, gates · h), transposed against ours. The gates of an LSTM are i, f, c, o, with the 1
of `unit_forget_bias` in the bias already. Those of a GRU are **z, r, h**; with `reset_after` it has
two biases (2, 3h), of which the second's last part is inside the product with r, and without it the
reset comes *before* the product with U_n, which makes another function of the same weights.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from lstmgrad._model import Model
from lstmgrad._tag import tag
from lstmgrad.cells._gru import GRUParams, GRUState, gru_step
from lstmgrad.cells._lstm import LSTMParams, LSTMState, lstm_step
from lstmgrad.cells._rnn import RNNParams, RNNState, rnn_step
from lstmgrad.interop._checks import (
    check_built,
    check_direction,
    check_function,
    check_type,
    require,
)
from lstmgrad.interop._model import stack

_FUNCTIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "sigmoid": jax.nn.sigmoid,
    "linear": jnp.positive,
}


def from_keras(layer: Any, *, direction: str | None = None) -> Model:
    """Returns a recurrent layer or cell of Keras as a model.

    Args:
        layer: built: an `LSTMCell`, `GRUCell` or `SimpleRNNCell`; a layer around one (`LSTM`,
            `GRU`, `SimpleRNN`, `RNN`); `StackedRNNCells`, or an `RNN` around them; a
            `Bidirectional` of those.
        direction: of a `Bidirectional`, "forward" or "reverse"; None elsewhere.

    Returns:
        `Model` in the dtype of the weights, with the parts h and c, or h; h0, c0, h1, ... of
        stacked cells. Parameters are `LSTMParams`, `GRUParams` or `RNNParams`, copies of the
        weights.

    Raises:
        ImportError: Keras is not installed.
        ValueError: a layer of another kind or not yet built; a direction where there is none, or
            none where there are two; an activation that is not the cell's usual one (of an LSTM or
            GRU), or is not known (of a SimpleRNN: tanh, relu, sigmoid and linear are).

    Notes:
        As at inference: dropout is off. A reverse direction and a layer with ``go_backwards=True``
        read ``inputs[::-1]``. Keras has the batch first: ``jax.vmap(lambda xs: lg.unroll(*model,
        xs))(batch)``. Its own functions `tanh` and `relu` compute in float32 on JAX even where the
        weights are float64; this step computes in float64 then. Layers of a `Sequential` go one by
        one into `stack`.

    Example:
        ```python
        layer = keras.layers.LSTM(8, return_sequences=True)
        layer.build((None, None, 3))
        trajectory = lg.unroll(*lg.interop.from_keras(layer), inputs)
        ```
    """
    layers = require("keras", "keras").layers
    both = isinstance(layer, layers.Bidirectional)
    check_direction(direction, both, "the layer")
    if both:
        layer = layer.backward_layer if direction == "reverse" else layer.forward_layer
    cell = layer.cell if isinstance(layer, layers.RNN) else layer
    if isinstance(cell, layers.StackedRNNCells):
        return stack([from_keras(one) for one in cell.cells])
    makers = {
        layers.LSTMCell: _lstm,
        layers.GRUCell: _gru,
        layers.SimpleRNNCell: _rnn,
    }
    check_type(cell, tuple(makers), "layer")
    check_built(cell)
    make = makers[type(cell)]
    return make(cell, _array(cell.kernel).T, _array(cell.recurrent_kernel).T)


def _array(weight: Any) -> jax.Array:
    """The values of a weight, of any backend."""
    return jnp.asarray(require("keras", "keras").ops.convert_to_numpy(weight.value))


def _bias(cell: Any, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    return _array(cell.bias) if cell.use_bias else jnp.zeros(shape, dtype)


def _function(function: Any, known: tuple[str, ...], argument: str) -> str:
    """The name of an activation, once it is one of those that a step has."""
    name = getattr(function, "__name__", repr(function))
    check_function(name, known, argument)
    return name


def _check_gates(cell: Any) -> None:
    _function(cell.activation, ("tanh",), "activation")
    _function(cell.recurrent_activation, ("sigmoid",), "recurrent_activation")


def _lstm(cell: Any, weight_ih: jax.Array, weight_hh: jax.Array) -> Model:
    _check_gates(cell)
    bias = _bias(cell, weight_ih.shape[:1], weight_ih.dtype)
    zeros = jnp.zeros(cell.units, weight_hh.dtype)
    return Model(lstm_step, LSTMParams(weight_ih, weight_hh, bias), LSTMState(zeros, zeros))


def _gru(cell: Any, weight_ih: jax.Array, weight_hh: jax.Array) -> Model:
    _check_gates(cell)
    size = cell.units
    bias = _bias(cell, (1 + cell.reset_after, 3 * size), weight_ih.dtype).reshape(-1, 3 * size)

    def reordered(stacked: jax.Array) -> jax.Array:
        z, r, n = jnp.split(stacked, 3)
        return jnp.concatenate([r, z, n])

    outer, bias_n = reordered(bias[0]), jnp.zeros(size, bias.dtype)
    if cell.reset_after:
        inner = reordered(bias[1])
        outer, bias_n = outer.at[: 2 * size].add(inner[: 2 * size]), inner[2 * size :]
    params = GRUParams(reordered(weight_ih), reordered(weight_hh), outer, bias_n)
    start = GRUState(jnp.zeros(size, weight_hh.dtype))
    return Model(gru_step if cell.reset_after else _reset_before, params, start)


def _reset_before(params: GRUParams, state: GRUState, x: jax.Array) -> GRUState:
    """The GRU with n = tanh(W_n x + b_n + U_n (r ⊙ h)), the rest as in `gru_step`."""
    r_x, z_x, n_x = jnp.split(params.weight_ih @ x + params.bias, 3)
    r_h, z_h, n_h = jnp.split(params.weight_hh, 3)
    r, z = jax.nn.sigmoid(r_x + r_h @ state.h), jax.nn.sigmoid(z_x + z_h @ state.h)
    n = tag(jnp.tanh(n_x + n_h @ (r * state.h)), "candidate")
    z, h = tag(z, "update"), tag(state.h, "carry")
    return GRUState(n + z * (h - n))


def _rnn(cell: Any, weight_ih: jax.Array, weight_hh: jax.Array) -> Model:
    name = _function(cell.activation, tuple(_FUNCTIONS), "activation")
    params = RNNParams(weight_ih, weight_hh, _bias(cell, weight_ih.shape[:1], weight_ih.dtype))
    return Model(
        rnn_step(_FUNCTIONS[name]), params, RNNState(jnp.zeros(cell.units, weight_hh.dtype))
    )
