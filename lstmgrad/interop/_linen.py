"""Cells of Flax's linen: a module without weights, its variables, and a carry that is **(c, h)**.

Each gate has kernels of its own, `ii, if, ig, io` and `hi, hf, hg, ho`, which are PyTorch's
transposed; the only biases are those of `hi, hf, hg, ho`.
"""

import functools
from typing import Any

from lstmgrad._checks import require
from lstmgrad._model import Model
from lstmgrad._types import Inputs, Params, State, StepFn
from lstmgrad.cells._cell import HiddenState, zero_state
from lstmgrad.cells._lstm import LSTMState
from lstmgrad.interop._checks import check_known, not_pure
from lstmgrad.interop._flax import compute_dtype, hidden_step, lstm_step


def from_linen(cell: Any, variables: Any, *, state: State = None) -> Model:
    """Returns a recurrent cell of Flax's linen as a model.

    Args:
        cell: an unbound `nn.LSTMCell`, `OptimizedLSTMCell`, `GRUCell`, `SimpleCell` or `MGUCell`,
            or an `nn.RNN` around one; or any module, ``cell(carry, x) -> (carry, output)``, for
            which the state is given.
        variables: all collections, ``{"params": ...}``, as ``cell.init`` returns them.
        state: the starting state, in the order (h, c); None is zero, for one of the cells above.

    Returns:
        `Model` whose step calls ``cell.apply``, with the variables as parameters and the parts h
        and c, or h. Any other cell keeps the parts that its carry has.

    Raises:
        ImportError: Flax is not installed.
        ValueError: the variables are not by collection; the cell is of another kind and no state is
            given; and, when it runs, the cell draws random numbers or writes into its variables.

    Notes:
        The zero state has the dtype in which the cell computes: its `dtype`, or else the one of its
        parameters. The directions of an `nn.Bidirectional` are ``forward_rnn`` and
        ``backward_rnn``, with variables of the same names; ``backward_rnn`` reads ``inputs[::-1]``.
        The routes of the gradient are "hidden" and "cell", after the part of the state that it
        comes through.

    Example:
        ```python
        cell = nn.LSTMCell(8)
        variables = cell.init(key, cell.initialize_carry(key, (3,)), inputs[0])
        chain = lg.chain(lg.interop.from_linen(cell, variables), inputs)
        ```
    """
    nn = require("flax.linen", "flax")
    _check_variables(variables)
    if isinstance(cell, nn.RNN):
        cell = cell.cell
        variables = {name: tree["cell"] for name, tree in variables.items()}
    call = _call(cell)
    if isinstance(cell, nn.LSTMCell | nn.OptimizedLSTMCell):
        kind, step = LSTMState, lstm_step(call)
    elif isinstance(cell, nn.GRUCell | nn.SimpleCell | nn.MGUCell):
        kind, step = HiddenState, hidden_step(call)
    else:
        known = "an nn.LSTMCell, OptimizedLSTMCell, GRUCell, SimpleCell or MGUCell"
        check_known(cell, state, known, "cell(carry, x) -> (carry, output)")
        return Model(call, variables, state)
    if state is None:
        state = zero_state(kind, cell.features, compute_dtype(cell, variables["params"]))
    return Model(step, variables, state)


_WAY_OUT = (
    "Make it deterministic (nn.Dropout(deterministic=True), use_running_average=True), or write "
    "the step: step = lambda variables, carry, x: cell.apply(variables, carry, x[0], "
    "rngs={'dropout': x[1]})[0], with the keys of all steps beside the inputs."
)


@functools.cache
def _call(cell: Any) -> StepFn:
    def call(variables: Params, carry: State, x: Inputs) -> State:
        errors = require("flax.errors", "flax")
        try:
            return cell.apply(variables, carry, x)[0]
        except (errors.InvalidRngError, errors.ModifyScopeVariableError) as error:
            raise not_pure("cell", _WAY_OUT) from error

    return call


def _check_variables(variables: Any) -> None:
    """Variables come by collection."""
    if not hasattr(variables, "keys") or "params" not in variables:
        what = ", ".join(map(repr, variables)) if hasattr(variables, "keys") else type(variables)
        raise ValueError(
            "variables: expected all collections, {'params': ...}, as module.init returns them, "
            f"but got {what}. If they are parameters alone, pass {{'params': params}}."
        )
