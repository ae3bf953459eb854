"""Layers of Keras, with any backend: their weights in this package's cells.

Cells of one's own run as they are, on Keras' backend JAX.

Kernels are (d, gates · h), the transpose of the weights here. The gates of an LSTM are i, f, c, o,
and the bias contains the 1 of `unit_forget_bias` already. The gates of a GRU are **z, r, h**. With
`reset_after` it has two biases (2, 3h), and the last part of the second is inside the product with
r. Without it, the reset comes *before* the product with U_n, which makes a different function of
the same weights.
"""

from typing import Any, Literal

import jax
import jax.numpy as jnp

from lstmgrad._checks import require
from lstmgrad._model import Model
from lstmgrad._types import State
from lstmgrad.cells._cell import zero_state
from lstmgrad.cells._gru import GRUParams, GRUState
from lstmgrad.cells._lstm import LSTMParams, LSTMState
from lstmgrad.cells._rnn import RNNParams, RNNState, rnn_step
from lstmgrad.interop._checks import check_direction, check_known
from lstmgrad.interop._gated_steps import gru_with, lstm_with, reset_before_with
from lstmgrad.interop._keras_activations import Activation, activation_of
from lstmgrad.interop._keras_own import own_model
from lstmgrad.interop._model import stack, with_state


def from_keras(
    layer: Any,
    *,
    direction: Literal["forward", "reverse"] | None = None,
    state: State = None,
) -> Model:
    """Returns a recurrent layer or cell of Keras as a model.

    Args:
        layer: an `LSTMCell`, `GRUCell` or `SimpleRNNCell`; a layer around one (`LSTM`, `GRU`,
            `SimpleRNN`, `RNN`); `StackedRNNCells`, or an `RNN` around them; a `Bidirectional` of
            those; or any cell, ``cell(x, states) -> (output, states)``, for which the state is
            given. It must be built.
        direction: "forward" or "reverse" for a `Bidirectional`, otherwise None.
        state: the starting state without a batch axis; None is zero, for one of the cells above.

    Returns:
        `Model` in the dtype of the weights, with the parts h and c, or h; h0, c0, h1, ... for
        stacked cells. Parameters are `LSTMParams`, `GRUParams` or `RNNParams`, copies of the
        weights. Any other cell keeps the parts that its state is given with, and its parameters
        are ``{"trainable": ..., "non_trainable": ...}``, its variables by name.

    Raises:
        ImportError: Keras is not installed.
        ValueError: the layer is not yet built; it is of another kind and no state is given, or one
            of other shapes; there is a direction but the layer has only one, or none but it has
            two; an activation or a cell is not Keras' own, and its backend is not JAX.

    Notes:
        All activations of Keras have their meaning on every backend; your own activations and your
        own cells run as they are where ``KERAS_BACKEND=jax``. Dropout is off, as at inference. A
        reverse direction and a layer with ``go_backwards=True`` read ``inputs[::-1]``. Keras has
        the batch first: ``jax.vmap(lambda xs: lg.unroll(*model, xs))(batch)``. Keras' functions
        compute in float32 on JAX even if the weights are float64; this step then computes in
        float64. For a `Sequential`, pass its layers here one by one and the models to `stack`.

    Example:
        ```python
        layer = keras.layers.LSTM(8, return_sequences=True)
        layer.build((None, None, 3))
        chain = lg.chain(lg.interop.from_keras(layer), inputs)
        ```
    """
    layers = require("keras", "keras").layers
    both = isinstance(layer, layers.Bidirectional)
    check_direction(direction, both, "the layer")
    if both:
        layer = layer.backward_layer if direction == "reverse" else layer.forward_layer
    cell = layer.cell if isinstance(layer, layers.RNN) else layer
    if type(cell) is layers.StackedRNNCells:
        return with_state(stack([from_keras(one) for one in cell.cells]), state)
    makers = {
        layers.LSTMCell: _lstm,
        layers.GRUCell: _gru,
        layers.SimpleRNNCell: _rnn,
    }
    if type(cell) not in makers:  # a subclass may compute anything
        _check_cell(cell)
        known = f"one of {', '.join(kind.__name__ for kind in makers)} or a layer around one"
        check_known(cell, state, known, "cell(x, states) -> (output, states)", "layer")
    if not cell.built:
        raise ValueError(
            "layer: expected one that is built, because its weights are read, but this one has "
            "none yet. Call it on data, or layer.build(input_shape)."
        )
    if type(cell) not in makers:
        return own_model(cell, state)
    make = makers[type(cell)]
    return with_state(make(cell, _array(cell.kernel).T, _array(cell.recurrent_kernel).T), state)


def _check_cell(cell: Any) -> None:
    """The layer is recurrent, or a cell."""
    if not hasattr(cell, "state_size"):
        raise ValueError(
            "layer: expected a recurrent layer or its cell, but got "
            f"{type(cell).__name__}, which has no state. Pass the recurrent layer of the model."
        )


def _array(weight: Any) -> jax.Array:
    """The values of a weight, of any backend."""
    return jnp.asarray(require("keras", "keras").ops.convert_to_numpy(weight.value))


def _bias(cell: Any, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    return _array(cell.bias) if cell.use_bias else jnp.zeros(shape, dtype)


def _functions(cell: Any) -> tuple[Activation, Activation]:
    """The activation and that of the gates."""
    gate = activation_of(cell.recurrent_activation, "recurrent_activation")
    return activation_of(cell.activation, "activation"), gate


def _lstm(cell: Any, weight_ih: jax.Array, weight_hh: jax.Array) -> Model:
    bias = _bias(cell, weight_ih.shape[:1], weight_ih.dtype)
    start = zero_state(LSTMState, cell.units, weight_hh.dtype)
    params = LSTMParams(weight_ih, weight_hh, bias)
    return Model(lstm_with(*_functions(cell)), params, start)


def _gru(cell: Any, weight_ih: jax.Array, weight_hh: jax.Array) -> Model:
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
    start = zero_state(GRUState, size, weight_hh.dtype)
    make = gru_with if cell.reset_after else reset_before_with
    return Model(make(*_functions(cell)), params, start)


def _rnn(cell: Any, weight_ih: jax.Array, weight_hh: jax.Array) -> Model:
    activation = activation_of(cell.activation, "activation")
    params = RNNParams(weight_ih, weight_hh, _bias(cell, weight_ih.shape[:1], weight_ih.dtype))
    start = zero_state(RNNState, cell.units, weight_hh.dtype)
    return Model(rnn_step(activation), params, start)
