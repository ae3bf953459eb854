"""What both modules of Flax share: a carry that is **(c, h)**, and the dtype a cell computes in.

A cell is given as its call, ``call(params, carry, x) -> carry``.
"""

import functools
from typing import Any

import jax

from lstmgrad._types import Params, StepFn
from lstmgrad.cells._cell import HiddenState
from lstmgrad.cells._lstm import LSTMState
from lstmgrad.interop._model import mark_parts


def compute_dtype(cell: Any, params: Any) -> Any:
    """Returns the dtype in which a cell computes: its own, or else that of its parameters.

    Args:
        cell: with an attribute `dtype`.
        params: its parameters.
    """
    return jax.tree.leaves(params)[0].dtype if cell.dtype is None else cell.dtype


@functools.cache
def lstm_step(call: StepFn) -> StepFn:
    """Returns the step of an LSTM, the same object for the same call.

    Args:
        call: with the carry (c, h).
    """

    def step(params: Params, state: LSTMState, x: jax.Array) -> LSTMState:
        h, c = mark_parts(state)
        c, h = call(params, (c, h), x)
        return LSTMState(h, c)

    return step


@functools.cache
def hidden_step(call: StepFn) -> StepFn:
    """Returns the step of a cell that has h alone, the same object for the same call.

    Args:
        call: with the carry h.
    """

    def step(params: Params, state: HiddenState, x: jax.Array) -> HiddenState:
        return HiddenState(call(params, mark_parts(state).h, x))

    return step
