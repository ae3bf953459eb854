"""Cells of Equinox: a module is its own parameters, and its state is (h, c) or h.

Gates are stacked in the order i, f, g, o of an LSTM and r, z, n of a GRU, whose `bias_n` is inside
the product with r. There is one bias, and no 1 is added to the forget gate.
"""

from typing import Any

import equinox as eqx
import jax

from lstmgrad._model import Model
from lstmgrad._types import Inputs, State
from lstmgrad.cells._cell import HiddenState
from lstmgrad.cells._lstm import LSTMState
from lstmgrad.interop._checks import check_known
from lstmgrad.interop._model import marked, zero_hidden, zero_lstm


def from_equinox(cell: Any, *, state: State = None) -> Model:
    """Returns a recurrent cell of Equinox as a model.

    Args:
        cell: `eqx.nn.LSTMCell` or `eqx.nn.GRUCell`; or any module, ``cell(x, state) -> state``, for
            which the state is given.
        state: the starting state; None is zero, of a cell that is known.

    Returns:
        `Model` whose step calls the cell, with the module as parameters and the parts h and c, or
        h. A state of another kind keeps the parts that it has.

    Raises:
        ValueError: the cell is of another kind and no state is given.

    Notes:
        The routes of the gradient are "hidden" and "cell", the part of the state that it comes
        through: an Equinox cell has no tags of its own.

    Example:
        ```python
        model = lg.interop.from_equinox(eqx.nn.LSTMCell(3, 8, key=key))
        trajectory = lg.unroll(*model, inputs)
        ```
    """
    if isinstance(cell, eqx.nn.LSTMCell):
        zero, step = zero_lstm(cell.hidden_size, cell.weight_hh.dtype), _lstm
    elif isinstance(cell, eqx.nn.GRUCell):
        zero, step = zero_hidden(cell.hidden_size, cell.weight_hh.dtype), _gru
    else:
        check_known(cell, state, "an eqx.nn.LSTMCell or GRUCell", "cell(x, state) -> state")
        zero, step = None, _other
    return Model(step, cell, zero if state is None else state)


def _lstm(cell: Any, state: LSTMState, x: jax.Array) -> LSTMState:
    h, c = marked(state)
    return LSTMState(*cell(x, (h, c)))


def _gru(cell: Any, state: HiddenState, x: jax.Array) -> HiddenState:
    return HiddenState(cell(x, marked(state).h))


def _other(cell: Any, state: State, x: Inputs) -> State:
    return cell(x, state)
