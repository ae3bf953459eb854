"""Layers of Keras, with any backend: their weights in this package's cells.

Cells of one's own run as they are, on Keras' backend JAX.
"""

import os
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp

from lstmgrad._calls import public
from lstmgrad._checks import require
from lstmgrad._model import Model
from lstmgrad._types import State
from lstmgrad.interop._checks import check_direction, check_known
from lstmgrad.interop._keras_activations import activation_of
from lstmgrad.interop._keras_cells import KerasCell, make_model
from lstmgrad.interop._keras_files import read_cells
from lstmgrad.interop._keras_own import own_model
from lstmgrad.interop._model import stack, with_state


@public
def from_keras(
    layer: Any,
    *,
    name: str | None = None,
    direction: Literal["forward", "reverse"] | None = None,
    state: State = None,
) -> Model:
    """Returns a recurrent layer or cell of Keras as a model.

    Args:
        layer: an `LSTMCell`, `GRUCell` or `SimpleRNNCell`; a layer around one (`LSTM`, `GRU`,
            `SimpleRNN`, `RNN`); `StackedRNNCells`, or an `RNN` around them; a `Bidirectional` of
            those; or any cell, ``cell(x, states) -> (output, states)``, for which the state is
            given. It must be built. Or the path of a `.keras` or `.h5` file of a whole model, of
            which no code is ever run.
        name: of the layer in a file; None if it has only one recurrent layer, and for layers.
        direction: "forward" or "reverse" for a `Bidirectional`, otherwise None.
        state: the starting state without a batch axis; None is zero, for one of the cells above.

    Returns:
        `Model` in the dtype of the weights, with the parts h and c, or h; h0, c0, h1, ... for
        stacked cells. Parameters are `LSTMParams`, `GRUParams` or `RNNParams`, copies of the
        weights. Any other cell keeps the parts that its state is given with, and its parameters
        are ``{"trainable": ..., "non_trainable": ...}``, its variables by name.

    Raises:
        ImportError: Keras is not installed, or pyfive for a file.
        FileNotFoundError: there is no such file.
        ValueError: a file is damaged, or has no such layer, or has code of the author's own in it;
            the layer is not yet built; it is of another kind and no state is given, or one
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

        >>> import keras
        >>> layer = keras.layers.LSTM(3)
        >>> layer.build((None, None, 2))
        >>> lg.unroll(*lg.interop.from_keras(layer), inputs).states.c.shape
        (7, 3)
    """
    if isinstance(layer, str | os.PathLike):
        return with_state(_from_file(Path(layer), name, direction), state)
    layers = require("keras", "keras").layers
    both = isinstance(layer, layers.Bidirectional)
    check_direction(direction, both, "the layer")
    if both:
        layer = layer.backward_layer if direction == "reverse" else layer.forward_layer
    cell = layer.cell if isinstance(layer, layers.RNN) else layer
    if type(cell) is layers.StackedRNNCells:
        return with_state(stack([from_keras(one) for one in cell.cells]), state)
    kinds = layers.LSTMCell, layers.GRUCell, layers.SimpleRNNCell
    if type(cell) not in kinds:  # a subclass may compute anything
        _check_cell(cell)
        known = f"one of {', '.join(kind.__name__ for kind in kinds)} or a layer around one"
        check_known(cell, state, known, "cell(x, states) -> (output, states)", "layer")
    if not cell.built:
        raise ValueError(
            "layer: expected a built layer, because its weights are read, but this one has none "
            "yet. Call it on data, or layer.build(input_shape)."
        )
    if type(cell) not in kinds:
        return own_model(cell, state)
    return with_state(make_model(_record(cell)), state)


def _from_file(path: Path, name: str | None, direction: Any) -> Model:
    """One direction of a layer in a file."""
    cells = read_cells(path, name)
    check_direction(direction, len(cells) == 2, "the layer")
    models = [make_model(cell) for cell in cells[direction or "forward"]]
    return models[0] if len(models) == 1 else stack(models)


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


def _record(cell: Any) -> KerasCell:
    """The arrays and options of a cell."""
    kind = type(cell).__name__.removesuffix("Cell")
    gate = getattr(cell, "recurrent_activation", None)
    activation = activation_of(cell.activation, "activation")
    return KerasCell(
        kind,
        _array(cell.kernel),
        _array(cell.recurrent_kernel),
        _array(cell.bias) if cell.use_bias else None,
        activation,
        activation if gate is None else activation_of(gate, "recurrent_activation"),
        getattr(cell, "reset_after", False),
    )
