"""Cells of Flax's nnx: a module that holds its weights, with a carry that is **(c, h)**.

Its trees differ from linen's (`if_`; one `dense_i` and one `dense_h` in `OptimizedLSTMCell`), and
`GRUCell` lacks the second bias of the candidate.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from lstmgrad._calls import public
from lstmgrad._checks import require
from lstmgrad._model import Model
from lstmgrad._tag import tag
from lstmgrad._types import Inputs, Params, State, StepFn
from lstmgrad.cells._cell import HiddenState, zero_state
from lstmgrad.cells._gru import gru_update
from lstmgrad.cells._lstm import LSTMState, lstm_update
from lstmgrad.interop._checks import Keys, check_keys, check_known, with_key
from lstmgrad.interop._flax import compute_dtype, hidden_step, lstm_step
from lstmgrad.interop._model import with_state


@public
def from_nnx(cell: Any, *, state: State = None, keys: Keys = None) -> Model:
    """Returns a recurrent cell of Flax's nnx as a model.

    Args:
        cell: an `nnx.LSTMCell`, `OptimizedLSTMCell`, `GRUCell` or `SimpleCell`, or an `nnx.RNN`
            around one; or any module, ``cell(carry, x) -> (carry, output)``, for which the state is
            given.
        state: the starting state, in the order (h, c); None is zero, for one of the cells above.
        keys: "inputs" for a cell that draws random numbers, as dropout does: each step's input is
            then a pair (x, key), and its streams are reseeded with that key, as by `nnx.reseed`.
            With None they start anew at every step, and dropout draws the same mask every time.

    Returns:
        `Model` whose step merges the module and calls it, or the layers in it, with its `nnx.State`
        as parameters and the parts h and c, or h. Any other cell keeps the parts that its carry
        has.

    Raises:
        ImportError: Flax is not installed.
        ValueError: the cell is of another kind and no state is given; the state of a known cell
            has other shapes; there are keys, but the cell has no random stream.

    Notes:
        The zero state has the dtype in which the cell computes: its `dtype`, or else the one of its
        parameters. `nnx.SimpleCell` computes in float32 whatever its parameters are, unless it was
        made with ``dtype=None``. What a call changes in the module (counters, running means, random
        streams) is forgotten, because a step is pure. The directions of an `nnx.Bidirectional` are
        its ``forward_rnn`` and ``backward_rnn``; ``backward_rnn`` reads ``inputs[::-1]``. The
        routes of the gradient and the tagged values have the names of `lg.cells`, as for
        `from_linen`; a subclass, or a cell with `keys`, has "hidden" and "cell", after the part of
        the state.

    Example:
        ```python
        model = lg.interop.from_nnx(nnx.LSTMCell(3, 8, rngs=nnx.Rngs(0)))
        chain = lg.chain(model, inputs)
        ```

        >>> from flax import nnx
        >>> network = lg.interop.from_nnx(nnx.LSTMCell(2, 3, rngs=nnx.Rngs(0)))
        >>> lg.unroll(*network, inputs).states.c.shape
        (7, 3)
    """
    nnx = require("flax.nnx", "flax")
    if isinstance(cell, nnx.RNN):
        cell = cell.cell
    graph, params = nnx.split(cell)
    check_keys(keys)
    streams = _streams(cell)
    if keys and not streams:
        raise ValueError(
            "keys: expected None, because the cell has no random streams (nnx.Rngs), but got "
            f"{keys!r}."
        )
    call = _call(graph, streams if keys else ())
    if isinstance(cell, nnx.LSTMCell | nnx.OptimizedLSTMCell):
        kind, step = LSTMState, lstm_step(call)
    elif isinstance(cell, nnx.GRUCell | nnx.SimpleCell):
        kind, step = HiddenState, hidden_step(call)
    else:
        known = "an nnx.LSTMCell, OptimizedLSTMCell, GRUCell or SimpleCell"
        check_known(cell, state, known, "cell(carry, x) -> (carry, output)")
        return Model(call, params, state)
    named = None if keys else _with_gates(type(cell), graph)
    step = step if named is None else named
    start = zero_state(kind, cell.hidden_features, compute_dtype(cell, params))
    return with_state(Model(step, params, start), state)


@functools.cache
def _with_gates(kind: type, graph: Any) -> StepFn | None:
    """The step of one of Flax's own cells, by its own layers, with its gates named; else None.

    Args:
        kind: of the cell.
        graph: the cell without its weights.
    """
    nnx = require("flax.nnx", "flax")

    def lstm(cell: Any, state: LSTMState, x: jax.Array) -> LSTMState:
        layers = (cell.ii, cell.hi), (cell.if_, cell.hf), (cell.ig, cell.hg), (cell.io, cell.ho)
        drives = [entering(x) + recurrent(state.h) for entering, recurrent in layers]
        return lstm_update(drives, state.c, cell.activation_fn, cell.gate_fn)

    def optimized(cell: Any, state: LSTMState, x: jax.Array) -> LSTMState:
        drives = jnp.split(cell.dense_i(x) + cell.dense_h(state.h), 4)
        return lstm_update(drives, state.c, cell.activation_fn, cell.gate_fn)

    def gru(cell: Any, state: HiddenState, x: jax.Array) -> HiddenState:
        r_x, z_x, n_x = jnp.split(cell.dense_i(x), 3)
        r_h, z_h, n_h = jnp.split(cell.dense_h(state.h), 3)
        r, z = cell.gate_fn(r_x + r_h), cell.gate_fn(z_x + z_h)
        return HiddenState(gru_update(cell.activation_fn(n_x + r * n_h), z, state.h))

    def simple(cell: Any, state: HiddenState, x: jax.Array) -> HiddenState:
        drive = cell.dense_i(x) + cell.dense_h(state.h)
        drive = drive + state.h if cell.residual else drive
        return HiddenState(cell.activation_fn(tag(drive, "recurrent")))

    update = {
        nnx.LSTMCell: lstm,
        nnx.OptimizedLSTMCell: optimized,
        nnx.GRUCell: gru,
        nnx.SimpleCell: simple,
    }.get(kind)
    if update is None:
        return None

    def step(params: Params, state: State, x: jax.Array) -> State:
        return update(nnx.merge(graph, params, copy=True), state, x)

    return step


def _streams(cell: Any) -> tuple[str, ...]:
    """The names of all streams of random numbers in a module."""
    nnx = require("flax.nnx", "flax")
    nodes = (node for _, node in nnx.iter_graph(cell))
    return tuple(sorted({node.tag for node in nodes if isinstance(node, nnx.RngStream)}))


@functools.cache
def _call(graph: Any, streams: tuple[str, ...]) -> StepFn:
    def call(params: Params, carry: State, x: Inputs) -> State:
        nnx = require("flax.nnx", "flax")
        x, key = with_key(x, "inputs" if streams else None)
        # A copy, which the cell may write into: counters, running means, streams of random numbers.
        module = nnx.merge(graph, params, copy=True)
        if streams:
            nnx.reseed(module, **dict.fromkeys(streams, key))
        return module(carry, x)[0]

    return call
