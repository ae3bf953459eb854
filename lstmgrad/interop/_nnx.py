"""Cells of Flax's nnx: a module that holds its weights, with a carry that is **(c, h)**.

The trees differ from linen's (`if_`; one `dense_i` and `dense_h` in `OptimizedLSTMCell`), and
`GRUCell` lacks the second bias of the candidate.
"""

import functools
from typing import Any

import jax

from lstmgrad._model import Model
from lstmgrad._types import Inputs, Params, State, StepFn
from lstmgrad.cells._cell import HiddenState
from lstmgrad.cells._lstm import LSTMState
from lstmgrad.interop._checks import check_known, require
from lstmgrad.interop._model import marked, zero_hidden, zero_lstm


def from_nnx(cell: Any, *, state: State = None) -> Model:
    """Returns a recurrent cell of Flax's nnx as a model.

    Args:
        cell: an `nnx.LSTMCell`, `OptimizedLSTMCell`, `GRUCell` or `SimpleCell`, or an `nnx.RNN`
            around one; or any module, ``cell(carry, x) -> (carry, output)``, for which the state is
            given.
        state: the starting state, in our order (h, c); None is zero, of a cell that is known.

    Returns:
        `Model` whose step merges the module and calls it, with its `nnx.State` as parameters and
        the parts h and c, or h. The carry of a cell of another kind keeps the parts that it has.

    Raises:
        ImportError: Flax is not installed.
        ValueError: the cell is of another kind and no state is given.

    Notes:
        The dtype of the zero state is that in which the cell computes: its `dtype`, or that of its
        parameters. `nnx.SimpleCell` computes in float32 whatever its parameters are, unless it was
        made with ``dtype=None``. What a call changes in the module (counters, random streams) is
        forgotten: a step is pure. The directions of an `nnx.Bidirectional` are its ``forward_rnn``
        and ``backward_rnn``; the latter reads ``inputs[::-1]``. The routes of the gradient are
        "hidden" and "cell", the part of the state that it comes through.

    Example:
        ```python
        model = lg.interop.from_nnx(nnx.LSTMCell(3, 8, rngs=nnx.Rngs(0)))
        trajectory = lg.unroll(*model, inputs)
        ```
    """
    nnx = require("flax.nnx", "flax")
    if isinstance(cell, nnx.RNN):
        cell = cell.cell
    graph, params = nnx.split(cell)
    if isinstance(cell, nnx.LSTMCell | nnx.OptimizedLSTMCell):
        zero, step = zero_lstm(cell.hidden_features, _dtype(cell, params)), _lstm(graph)
    elif isinstance(cell, nnx.GRUCell | nnx.SimpleCell):
        zero, step = zero_hidden(cell.hidden_features, _dtype(cell, params)), _hidden(graph)
    else:
        known = "an nnx.LSTMCell, OptimizedLSTMCell, GRUCell or SimpleCell"
        check_known(cell, state, known, "cell(carry, x) -> (carry, output)")
        zero, step = None, _other(graph)
    return Model(step, params, zero if state is None else state)


def _dtype(cell: Any, params: Any) -> Any:
    own = jax.tree.leaves(params)[0].dtype
    return own if cell.dtype is None else cell.dtype


def _call(graph: Any, params: Params, carry: Any, x: Inputs) -> Any:
    """The next carry."""
    nnx = require("flax.nnx", "flax")
    return nnx.merge(graph, params)(carry, x)[0]


@functools.cache
def _lstm(graph: Any) -> StepFn:
    def step(params: Params, state: LSTMState, x: jax.Array) -> LSTMState:
        h, c = marked(state)
        c, h = _call(graph, params, (c, h), x)
        return LSTMState(h, c)

    return step


@functools.cache
def _hidden(graph: Any) -> StepFn:
    def step(params: Params, state: HiddenState, x: jax.Array) -> HiddenState:
        return HiddenState(_call(graph, params, marked(state).h, x))

    return step


@functools.cache
def _other(graph: Any) -> StepFn:
    def step(params: Params, state: State, x: Inputs) -> State:
        return _call(graph, params, state, x)

    return step
