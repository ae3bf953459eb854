"""Layers of Keras, with any backend: their weights in this package's cells.

Kernels are (d, gates · h), the transpose of the weights here. The gates of an LSTM are i, f, c, o,
and the bias contains the 1 of `unit_forget_bias` already. The gates of a GRU are **z, r, h**. With
`reset_after` it has two biases (2, 3h), and the last part of the second is inside the product with
r. Without it, the reset comes *before* the product with U_n, which makes a different function of
the same weights.
"""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp

from lstmgrad._checks import require
from lstmgrad._model import Model
from lstmgrad._tag import tag
from lstmgrad.cells._cell import zero_state
from lstmgrad.cells._gru import GRUParams, GRUState, gru_step
from lstmgrad.cells._lstm import LSTMParams, LSTMState, lstm_step
from lstmgrad.cells._rnn import RNNParams, RNNState, rnn_step
from lstmgrad.interop._checks import check_direction, check_type
from lstmgrad.interop._model import stack

_FUNCTIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "sigmoid": jax.nn.sigmoid,
    "linear": jnp.positive,
}


def from_keras(layer: Any, *, direction: Literal["forward", "reverse"] | None = None) -> Model:
    """Returns a recurrent layer or cell of Keras as a model.

    Args:
        layer: an `LSTMCell`, `GRUCell` or `SimpleRNNCell`; a layer around one (`LSTM`, `GRU`,
            `SimpleRNN`, `RNN`); `StackedRNNCells`, or an `RNN` around them; a `Bidirectional` of
            those. It must be built.
        direction: "forward" or "reverse" for a `Bidirectional`, otherwise None.

    Returns:
        `Model` in the dtype of the weights, with the parts h and c, or h; h0, c0, h1, ... for
        stacked cells. Parameters are `LSTMParams`, `GRUParams` or `RNNParams`, copies of the
        weights.

    Raises:
        ImportError: Keras is not installed.
        ValueError: the layer is of another kind or not yet built; there is a direction but the
            layer has only one, or none but it has two; the activation is not the usual one (LSTM,
            GRU), or not one of tanh, relu, sigmoid and linear (SimpleRNN).

    Notes:
        Dropout is off, as at inference. A reverse direction and a layer with ``go_backwards=True``
        read ``inputs[::-1]``. Keras has the batch first: ``jax.vmap(lambda xs: lg.unroll(*model,
        xs))(batch)``. Keras' own `tanh` and `relu` compute in float32 on JAX even if the weights
        are float64; this step then computes in float64. For a `Sequential`, pass its layers here
        one by one and the models to `stack`.

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
    if isinstance(cell, layers.StackedRNNCells):
        return stack([from_keras(one) for one in cell.cells])
    makers = {
        layers.LSTMCell: _lstm,
        layers.GRUCell: _gru,
        layers.SimpleRNNCell: _rnn,
    }
    check_type(type(cell), tuple(makers), "layer")
    if not cell.built:
        raise ValueError(
            "layer: expected one that is built, because its weights are read, but this one has "
            "none yet. Call it on data, or layer.build(input_shape)."
        )
    make = makers[type(cell)]
    return make(cell, _array(cell.kernel).T, _array(cell.recurrent_kernel).T)


def _array(weight: Any) -> jax.Array:
    """The values of a weight, of any backend."""
    return jnp.asarray(require("keras", "keras").ops.convert_to_numpy(weight.value))


def _bias(cell: Any, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    return _array(cell.bias) if cell.use_bias else jnp.zeros(shape, dtype)


def _function(function: Any, known: tuple[str, ...], argument: str) -> str:
    """The name of an activation, once it is one that the step has."""
    name = getattr(function, "__name__", repr(function))
    if name not in known:
        raise ValueError(
            f"{argument}: expected {' or '.join(known)}, but the layer has {name}. Write the step "
            "of this layer: every step(params, state, x) -> state will do."
        )
    return name


def _check_gates(cell: Any) -> None:
    _function(cell.activation, ("tanh",), "activation")
    _function(cell.recurrent_activation, ("sigmoid",), "recurrent_activation")


def _lstm(cell: Any, weight_ih: jax.Array, weight_hh: jax.Array) -> Model:
    _check_gates(cell)
    bias = _bias(cell, weight_ih.shape[:1], weight_ih.dtype)
    start = zero_state(LSTMState, cell.units, weight_hh.dtype)
    return Model(lstm_step, LSTMParams(weight_ih, weight_hh, bias), start)


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
    start = zero_state(GRUState, size, weight_hh.dtype)
    return Model(gru_step if cell.reset_after else _reset_before, params, start)


def _reset_before(params: GRUParams, state: GRUState, x: jax.Array) -> GRUState:
    """A step of the GRU with n = tanh(W_n x + b_n + U_n (r ⊙ h)), otherwise as in `gru_step`."""
    r_x, z_x, n_x = jnp.split(params.weight_ih @ x + params.bias, 3)
    r_h, z_h, n_h = jnp.split(params.weight_hh, 3)
    r, z = jax.nn.sigmoid(r_x + r_h @ state.h), jax.nn.sigmoid(z_x + z_h @ state.h)
    n = tag(jnp.tanh(n_x + n_h @ (r * state.h)), "candidate")
    z, h = tag(z, "update"), tag(state.h, "carry")
    return GRUState(n + z * (h - n))


def _rnn(cell: Any, weight_ih: jax.Array, weight_hh: jax.Array) -> Model:
    name = _function(cell.activation, tuple(_FUNCTIONS), "activation")
    params = RNNParams(weight_ih, weight_hh, _bias(cell, weight_ih.shape[:1], weight_ih.dtype))
    start = zero_state(RNNState, cell.units, weight_hh.dtype)
    return Model(rnn_step(_FUNCTIONS[name]), params, start)
