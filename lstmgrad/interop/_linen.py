"""Cells of Flax's linen: a module without weights, its variables, and a carry that is **(c, h)**.

Each gate has kernels of its own, `ii, if, ig, io` and `hi, hf, hg, ho`, which are PyTorch's
transposed; the only biases are those of `hi, hf, hg, ho`.
"""

import functools
import os
from typing import Any

import jax

from lstmgrad._calls import public
from lstmgrad._checks import require
from lstmgrad._model import Model
from lstmgrad._tag import tag
from lstmgrad._types import Inputs, Params, State, StepFn
from lstmgrad.cells._cell import HiddenState, zero_state
from lstmgrad.cells._gru import gru_update
from lstmgrad.cells._lstm import LSTMState, lstm_update
from lstmgrad.interop._checks import Keys, check_keys, check_known, draws, with_key
from lstmgrad.interop._flax import compute_dtype, hidden_step, lstm_step
from lstmgrad.interop._flax_files import read_params
from lstmgrad.interop._model import with_state


@public
def from_linen(
    cell: Any,
    variables: Any,
    *,
    prefix: str | None = None,
    state: State = None,
    keys: Keys = None,
) -> Model:
    """Returns a recurrent cell of Flax's linen as a model.

    Args:
        cell: an unbound `nn.LSTMCell`, `OptimizedLSTMCell`, `GRUCell`, `SimpleCell` or `MGUCell`,
            or an `nn.RNN` around one; or any module, ``cell(carry, x) -> (carry, output)``, for
            which the state is given.
        variables: all collections, ``{"params": ...}``, as ``cell.init`` returns them; or the path
            of a file of parameters, in MessagePack (`flax.serialization.to_bytes`) or a folder that
            Orbax has written, of a whole model or a training state.
        prefix: the modules around the cell in a file, ``"encoder.lstm"``, or the end of that; None
            if the file has only one cell like this.
        state: the starting state, in the order (h, c); None is zero, for one of the cells above.
        keys: "inputs" for a cell that draws random numbers, as dropout does: each step's input is
            then a pair (x, key), and its key serves every stream of the cell. None is for all
            others.

    Returns:
        `Model` with the variables as parameters and the parts h and c, or h. Any other cell keeps
        the parts that its carry has, and its step calls ``cell.apply``.

    Raises:
        ImportError: Flax is not installed.
        FileNotFoundError: there is no such file.
        ValueError: the variables are not by collection; a file is damaged, or has no such cell, or
            several; the cell is of another kind and no state is
            given, or one of other shapes for a known cell; and, when it runs, the cell draws random
            numbers without `keys`, or writes into its variables.

    Notes:
        The zero state has the dtype in which the cell computes: its `dtype`, or else the one of its
        parameters. The directions of an `nn.Bidirectional` are ``forward_rnn`` and
        ``backward_rnn``, with variables of the same names; ``backward_rnn`` reads ``inputs[::-1]``.
        The routes of the gradient and the tagged values have the names of `lg.cells`: "forget",
        "input", "candidate", "output" and "cell", whatever the activations; "candidate", "update",
        which is the share of h that is kept, and "carry" for a GRU; "recurrent". A subclass, or a
        cell with `keys`, has "hidden" and "cell", after the part of the state.

    Example:
        ```python
        cell = nn.LSTMCell(8)
        variables = cell.init(key, cell.initialize_carry(key, (3,)), inputs[0])
        chain = lg.chain(lg.interop.from_linen(cell, variables), inputs)
        ```

        >>> from flax import linen as nn
        >>> unit = nn.LSTMCell(3)
        >>> carry = unit.initialize_carry(jax.random.key(0), (2,))
        >>> variables = unit.init(jax.random.key(1), carry, inputs[0])
        >>> lg.unroll(*lg.interop.from_linen(unit, variables), inputs).states.c.shape
        (7, 3)
    """
    nn = require("flax.linen", "flax")
    if isinstance(variables, str | os.PathLike):
        cell = cell.cell if isinstance(cell, nn.RNN) else cell
        variables = _from_file(cell, variables, prefix)
    _check_variables(variables)
    if isinstance(cell, nn.RNN):
        cell = cell.cell
        variables = {name: tree["cell"] for name, tree in variables.items()}
    check_keys(keys)
    call = _call(cell, keys)
    if isinstance(cell, nn.LSTMCell | nn.OptimizedLSTMCell):
        kind, step = LSTMState, lstm_step(call)
    elif isinstance(cell, nn.GRUCell | nn.SimpleCell | nn.MGUCell):
        kind, step = HiddenState, hidden_step(call)
    else:
        known = "an nn.LSTMCell, OptimizedLSTMCell, GRUCell, SimpleCell or MGUCell"
        check_known(cell, state, known, "cell(carry, x) -> (carry, output)")
        return Model(call, variables, state)
    named = None if keys else _with_gates(cell)
    step = step if named is None else named
    start = zero_state(kind, cell.features, compute_dtype(cell, variables["params"]))
    return with_state(Model(step, variables, start), state)


def _from_file(cell: Any, path: Any, prefix: str | None) -> Any:
    """The variables of a cell from a file."""
    nn = require("flax.linen", "flax")
    kinds = nn.LSTMCell, nn.OptimizedLSTMCell, nn.GRUCell, nn.SimpleCell, nn.MGUCell
    if not isinstance(cell, kinds):
        raise ValueError(
            "variables: expected those of the cell as a dict, because which parameters in a file "
            f"are its own is not known of {type(cell).__name__}, but got a path. Read the file, "
            "flax.serialization.msgpack_restore(path.read_bytes()), and pass its part."
        )

    def init(key: jax.Array) -> Any:
        x = jax.numpy.zeros(1, cell.param_dtype)
        return cell.init(key, cell.initialize_carry(key, x.shape), x)["params"]

    like = jax.eval_shape(init, jax.random.key(0))
    params = jax.tree.map(jax.numpy.asarray, read_params(path, like, prefix))
    # Of the kernels of x the number of columns is known, of all others the shape.
    for known, found in zip(jax.tree.leaves(like), jax.tree.leaves(params), strict=True):
        if known.shape[known.shape[:1] == (1,) :] != found.shape[known.shape[:1] == (1,) :]:
            raise ValueError(
                f"cell: expected as many features as the parameters in the file have, but a "
                f"parameter is {list(found.shape)} and not {list(known.shape)}."
            )
    return {"params": params}


@functools.cache
def _with_gates(cell: Any) -> StepFn | None:
    """The step of one of Flax's own cells, by its own layers, with its gates named; else None."""
    nn = require("flax.linen", "flax")

    def dense(variables: Params, name: str, value: jax.Array) -> jax.Array:
        params = variables["params"][name]
        kinds = {"dtype": cell.dtype, "param_dtype": cell.param_dtype}
        layer = nn.Dense(cell.features, use_bias="bias" in params, **kinds)
        return layer.apply({"params": params}, value)

    def drive(variables: Params, gate: str, state: State, x: jax.Array) -> jax.Array:
        return dense(variables, f"i{gate}", x) + dense(variables, f"h{gate}", state.h)

    def lstm(variables: Params, state: LSTMState, x: jax.Array) -> LSTMState:
        drives = [drive(variables, gate, state, x) for gate in "ifgo"]
        return lstm_update(drives, state.c, cell.activation_fn, cell.gate_fn)

    def gru(variables: Params, state: HiddenState, x: jax.Array) -> HiddenState:
        r, z = (cell.gate_fn(drive(variables, gate, state, x)) for gate in "rz")
        inner = r * dense(variables, "hn", state.h)
        n = cell.activation_fn(dense(variables, "in", x) + inner)
        return HiddenState(gru_update(n, z, state.h))

    def simple(variables: Params, state: HiddenState, x: jax.Array) -> HiddenState:
        total = drive(variables, "", state, x)
        total = total + state.h if cell.residual else total
        return HiddenState(cell.activation_fn(tag(total, "recurrent")))

    def mgu(variables: Params, state: HiddenState, x: jax.Array) -> HiddenState:
        f = tag(cell.gate_fn(drive(variables, "f", state, x)), "forget")
        inner = dense(variables, "hn", tag(state.h, "candidate"))
        inner = f * inner if cell.reset_gate else inner
        n = cell.activation_fn(dense(variables, "in", x) + inner)
        return HiddenState((1 - f) * n + f * tag(state.h, "carry"))

    steps = {
        nn.LSTMCell: lstm,
        nn.OptimizedLSTMCell: lstm,
        nn.GRUCell: gru,
        nn.SimpleCell: simple,
        nn.MGUCell: mgu,
    }
    return steps.get(type(cell))


@functools.cache
def _call(cell: Any, keys: Keys) -> StepFn:
    def call(variables: Params, carry: State, x: Inputs) -> State:
        errors = require("flax.errors", "flax")
        x, key = with_key(x, keys)
        # A stream that is not given is that of the parameters.
        rngs = None if key is None else {"params": key}
        try:
            return cell.apply(variables, carry, x, rngs=rngs)[0]
        except errors.InvalidRngError as error:
            raise draws("cell") from error
        except errors.ModifyScopeVariableError as error:
            raise ValueError(
                "cell: expected a cell that leaves its variables as they are, but got one that "
                "writes into them, as running means do. Make it read only: "
                "nn.BatchNorm(use_running_average=True)."
            ) from error

    return call


def _check_variables(variables: Any) -> None:
    """Variables come by collection."""
    if not hasattr(variables, "keys") or "params" not in variables:
        what = ", ".join(map(repr, variables)) if hasattr(variables, "keys") else type(variables)
        raise ValueError(
            "variables: expected all collections, {'params': ...}, as module.init returns them, "
            f"but got {what}. If they are parameters alone, pass {{'params': params}}."
        )
