"""Cells of Equinox: a module is its own parameters, and its state is (h, c) or h.

An LSTM stacks its gates in the order i, f, g, o, a GRU in the order r, z, n. The `bias_n` of a GRU
is inside the product with r. There is one other bias, and no 1 is added to the forget gate.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from lstmgrad._calls import public
from lstmgrad._model import Model
from lstmgrad._types import Inputs, State
from lstmgrad.cells._cell import HiddenState, zero_state
from lstmgrad.cells._gru import GRUParams, GRUState, gru_step
from lstmgrad.cells._lstm import LSTMParams, LSTMState, lstm_step
from lstmgrad.interop._checks import check_known
from lstmgrad.interop._model import mark_parts, with_state


@public
def from_equinox(cell: Any, *, state: State = None) -> Model:
    """Returns a recurrent cell of Equinox as a model.

    Args:
        cell: `eqx.nn.LSTMCell` or `eqx.nn.GRUCell`; or any module, ``cell(x, state) -> state``, for
            which the state is given.
        state: the starting state, (h, c) or h; None is zero, for one of the two cells above.

    Returns:
        `Model` with the module as parameters and the parts h and c, or h. Any other module keeps
        the parts that its state has.

    Raises:
        ValueError: the cell is of another kind and no state is given; the state of a known cell
            has other shapes.

    Notes:
        The routes of the gradient and the tagged values have the names of `lg.cells.lstm` and
        `lg.cells.gru`, whose equations these two cells have; for a subclass they are "hidden" and
        "cell", after the part of the state. Any other module has the tags that it sets itself.

    Example:
        ```python
        model = lg.interop.from_equinox(eqx.nn.LSTMCell(3, 8, key=key))
        chain = lg.chain(model, inputs)
        ```

        >>> import equinox as eqx
        >>> unit = eqx.nn.LSTMCell(2, 3, key=jax.random.key(0))
        >>> lg.chain(lg.interop.from_equinox(unit), inputs).trajectory.states.c.shape
        (7, 3)
    """
    if isinstance(cell, eqx.nn.LSTMCell):
        kind, step = LSTMState, _lstm if type(cell) is eqx.nn.LSTMCell else _own_lstm
    elif isinstance(cell, eqx.nn.GRUCell):
        kind, step = HiddenState, _gru if type(cell) is eqx.nn.GRUCell else _own_gru
    else:
        check_known(cell, state, "an eqx.nn.LSTMCell or GRUCell", "cell(x, state) -> state")
        return Model(_other, cell, state)
    start = zero_state(kind, cell.hidden_size, cell.weight_hh.dtype)
    return with_state(Model(step, cell, start), state)


def _lstm(cell: Any, state: LSTMState, x: jax.Array) -> LSTMState:
    return lstm_step(LSTMParams(cell.weight_ih, cell.weight_hh, _bias(cell, "bias", 4)), state, x)


def _gru(cell: Any, state: HiddenState, x: jax.Array) -> HiddenState:
    biases = _bias(cell, "bias", 3), _bias(cell, "bias_n", 1)
    params = GRUParams(cell.weight_ih, cell.weight_hh, *biases)
    return HiddenState(gru_step(params, GRUState(state.h), x).h)


def _bias(cell: Any, name: str, gates: int) -> jax.Array:
    if cell.use_bias:
        return getattr(cell, name)
    return jnp.zeros(gates * cell.hidden_size, cell.weight_hh.dtype)


def _own_lstm(cell: Any, state: LSTMState, x: jax.Array) -> LSTMState:
    h, c = mark_parts(state)
    return LSTMState(*cell(x, (h, c)))


def _own_gru(cell: Any, state: HiddenState, x: jax.Array) -> HiddenState:
    return HiddenState(cell(x, mark_parts(state).h))


def _other(cell: Any, state: State, x: Inputs) -> State:
    return cell(x, state)
