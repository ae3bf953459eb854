"""Cells of Keras as records of their arrays and options, and what these mean.

Kernels are (d, gates · h), the transpose of the weights here. The gates of an LSTM are i, f, c, o,
and the bias contains the 1 of `unit_forget_bias` already. The gates of a GRU are **z, r, h**. With
`reset_after` it has two biases (2, 3h), and the last part of the second is inside the product with
r. Without it, the reset comes *before* the product with U_n, which makes a different function of
the same weights.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from lstmgrad._model import Model
from lstmgrad.cells._cell import zero_state
from lstmgrad.cells._gru import GRUParams, GRUState
from lstmgrad.cells._lstm import LSTMParams, LSTMState
from lstmgrad.cells._rnn import RNNParams, RNNState, rnn_step
from lstmgrad.interop._gated_steps import Activation, gru_with, lstm_with, reset_before_with

GATES = {"LSTM": 4, "GRU": 3, "SimpleRNN": 1}
"""The cells of Keras that are cells of this package, and how many gates each stacks."""


class KerasCell(NamedTuple):
    """A cell of Keras.

    Attributes:
        kind: "LSTM", "GRU" or "SimpleRNN".
        kernel: (d, gates · h).
        recurrent_kernel: (h, gates · h).
        bias: (gates · h,), or (2, 3h) for a GRU that resets after; None for none.
        activation: of the candidate.
        recurrent_activation: of the gates.
        reset_after: of a GRU.
    """

    kind: str
    kernel: jax.Array
    recurrent_kernel: jax.Array
    bias: jax.Array | None
    activation: Activation
    recurrent_activation: Activation
    reset_after: bool


def make_model(cell: KerasCell) -> Model:
    """Returns a cell as a model in the dtype of its weights.

    Args:
        cell: the cell, whose arrays fit each other.
    """
    weight_ih, weight_hh = cell.kernel.T, cell.recurrent_kernel.T
    (rows, size), dtype = weight_hh.shape, weight_hh.dtype
    bias = jnp.zeros(rows, dtype) if cell.bias is None else cell.bias
    functions = cell.activation, cell.recurrent_activation
    if cell.kind == "SimpleRNN":
        params = RNNParams(weight_ih, weight_hh, bias)
        return Model(rnn_step(cell.activation), params, zero_state(RNNState, size, dtype))
    if cell.kind == "LSTM":
        params = LSTMParams(weight_ih, weight_hh, bias)
        return Model(lstm_with(*functions), params, zero_state(LSTMState, size, dtype))

    def reordered(stacked: jax.Array) -> jax.Array:
        z, r, n = jnp.split(stacked, 3)
        return jnp.concatenate([r, z, n])

    rows_of_biases = bias.reshape(-1, 3 * size)
    outer, bias_n = reordered(rows_of_biases[0]), jnp.zeros(size, dtype)
    if len(rows_of_biases) == 2:
        inner = reordered(rows_of_biases[1])
        outer, bias_n = outer.at[: 2 * size].add(inner[: 2 * size]), inner[2 * size :]
    params = GRUParams(reordered(weight_ih), reordered(weight_hh), outer, bias_n)
    make = gru_with if cell.reset_after else reset_before_with
    return Model(make(*functions), params, zero_state(GRUState, size, dtype))
