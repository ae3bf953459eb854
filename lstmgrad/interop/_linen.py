"""Cells of Flax's linen: a module without weights, its variables, and a carry that is **(c, h)**.

Each gate has kernels of its own, `ii, if, ig, io` and `hi, hf, hg, ho`, transposed against those of
PyTorch; the bias is that of the latter.
"""

import functools
from typing import Any

import jax

from lstmgrad._model import Model
from lstmgrad._types import Inputs, Params, State, StepFn
from lstmgrad.cells._cell import HiddenState
from lstmgrad.cells._lstm import LSTMState
from lstmgrad.interop._checks import check_known, check_variables, require
from lstmgrad.interop._model import marked, zero_hidden, zero_lstm


def from_linen(cell: Any, variables: Any, *, state: State = None) -> Model:
    """Returns a recurrent cell of Flax's linen as a model.

    Args:
        cell: an unbound `nn.LSTMCell`, `OptimizedLSTMCell`, `GRUCell`, `SimpleCell` or `MGUCell`,
            or an `nn.RNN` around one; or any module, ``cell(carry, x) -> (carry, output)``, for
            which the state is given.
        variables: all collections, ``{"params": ...}``, as ``cell.init`` returns them.
        state: the starting state, in our order (h, c); None is zero, of a cell that is known.

    Returns:
        `Model` whose step calls ``cell.apply``, with the variables as parameters and the parts h
        and c, or h. The carry of a cell of another kind keeps the parts that it has.

    Raises:
        ImportError: Flax is not installed.
        ValueError: the variables are not by collection; the cell is of another kind and no state is
            given.

    Notes:
        The dtype of the zero state is that in which the cell computes: its `dtype`, or that of its
        parameters. The directions of an `nn.Bidirectional` are ``forward_rnn`` and
        ``backward_rnn``, with variables of the same names; the latter reads ``inputs[::-1]``.
        The routes of the gradient are "hidden" and "cell", the part of the state that it comes
        through.

    Example:
        ```python
        cell = nn.LSTMCell(8)
        variables = cell.init(key, cell.initialize_carry(key, (3,)), inputs[0])
        trajectory = lg.unroll(*lg.interop.from_linen(cell, variables), inputs)
        ```
    """
    nn = require("flax.linen", "flax")
    check_variables(variables)
    if isinstance(cell, nn.RNN):
        cell = cell.cell
        variables = {name: tree["cell"] for name, tree in variables.items()}
    if isinstance(cell, nn.LSTMCell | nn.OptimizedLSTMCell):
        zero, step = zero_lstm(cell.features, _dtype(cell, variables)), _lstm(cell)
    elif isinstance(cell, nn.GRUCell | nn.SimpleCell | nn.MGUCell):
        zero, step = zero_hidden(cell.features, _dtype(cell, variables)), _hidden(cell)
    else:
        known = "an nn.LSTMCell, OptimizedLSTMCell, GRUCell, SimpleCell or MGUCell"
        check_known(cell, state, known, "cell(carry, x) -> (carry, output)")
        zero, step = None, _other(cell)
    return Model(step, variables, zero if state is None else state)


def _dtype(cell: Any, variables: Any) -> Any:
    own = jax.tree.leaves(variables["params"])[0].dtype
    return own if cell.dtype is None else cell.dtype


@functools.cache
def _lstm(cell: Any) -> StepFn:
    def step(variables: Params, state: LSTMState, x: jax.Array) -> LSTMState:
        h, c = marked(state)
        (c, h), _ = cell.apply(variables, (c, h), x)
        return LSTMState(h, c)

    return step


@functools.cache
def _hidden(cell: Any) -> StepFn:
    def step(variables: Params, state: HiddenState, x: jax.Array) -> HiddenState:
        return HiddenState(cell.apply(variables, marked(state).h, x)[0])

    return step


@functools.cache
def _other(cell: Any) -> StepFn:
    def step(variables: Params, state: State, x: Inputs) -> State:
        return cell.apply(variables, state, x)[0]

    return step
