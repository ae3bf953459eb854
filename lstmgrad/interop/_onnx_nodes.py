"""What an LSTM, GRU or RNN node of ONNX computes, in this package's cells.

Weights lie in W (directions, gates · h, d), R (directions, gates · h, h) and B (directions,
2 · gates · h), that of W before that of R. The gates of an LSTM are **i, o, f, c**, those of a GRU
**z, r, h**; peepholes are i, o, f. A GRU with ``linear_before_reset=0``, the default, resets before
the product with R.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lstmgrad._model import Model
from lstmgrad.cells._cell import zero_state
from lstmgrad.cells._gru import GRUParams, GRUState
from lstmgrad.cells._lstm import LSTMParams, LSTMState
from lstmgrad.cells._peephole import PeepholeLSTMParams, peephole_lstm_step
from lstmgrad.cells._rnn import RNNParams, RNNState, rnn_step
from lstmgrad.interop._gated_steps import Activation, gru_with, lstm_with, reset_before_with
from lstmgrad.interop._weights import to_numpy

KINDS = {"LSTM": "iofc", "GRU": "zrh", "RNN": "h"}
"""The gates of each kind of node, in the order of ONNX."""

_OURS = {"LSTM": "ifco", "GRU": "rzh", "RNN": "h"}
_DEFAULTS = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}
_ACTIVATIONS: dict[str, Activation] = {
    "relu": jax.nn.relu,
    "sigmoid": jax.nn.sigmoid,
    "softplus": jax.nn.softplus,
    "softsign": jax.nn.soft_sign,
    "tanh": jnp.tanh,
}
_SIDES = {"forward": ["forward"], "reverse": ["reverse"], "bidirectional": ["forward", "reverse"]}


class Node(NamedTuple):
    """A recurrent node of a graph.

    Attributes:
        name: as messages name it.
        kind: "LSTM", "GRU" or "RNN".
        options: its attributes.
        inputs: the names of X, W, R, B, ...; empty for those that are left out.
        read: from the name of a constant to its array, or None where it is not constant.
    """

    name: str
    kind: str
    options: Mapping[str, Any]
    inputs: list[str]
    read: Callable[[str], np.ndarray | None]

    @property
    def sides(self) -> list[str]:
        """The directions in their order."""
        direction = self.option("direction", "forward")
        if direction not in _SIDES:
            raise _refusal(self, f"a direction out of {', '.join(_SIDES)}", repr(direction))
        return _SIDES[direction]

    def option(self, name: str, default: Any) -> Any:
        """Returns an attribute, or the default that ONNX gives it."""
        return self.options.get(name, default)

    def input(self, index: int) -> str:
        """Returns the name of an input, empty if it is left out."""
        return self.inputs[index] if index < len(self.inputs) else ""

    def array(self, index: int, letter: str, shape: tuple[int, ...] | None) -> np.ndarray:
        """Returns a weight, zeros if it may be left out and is.

        Args:
            index: of the input.
            letter: what ONNX calls it.
            shape: that it has; None if any will do, and it must be there.
        """
        name = self.input(index)
        if not name and shape is not None:
            return np.zeros(shape, np.float32)
        found = self.read(name) if name else None
        if found is None:
            raise ValueError(
                f"source: expected {letter} of the {self.kind} {self.name!r} as a constant of the "
                "file, but it is computed from other tensors, or left out. Fold constants when the "
                "model is exported, or simplify it (onnxsim)."
            )
        found = to_numpy(found, f"{letter} of {self.name!r}")
        if shape is not None and found.shape != shape:
            raise ValueError(
                f"source: expected {letter} {list(shape)} of the {self.kind} {self.name!r}, but it "
                f"has {list(found.shape)}. The file is damaged."
            )
        return found


def make_model(node: Node, side: str) -> Model:
    """Returns one direction of a node as a model, in the dtype of W.

    Args:
        node: the node.
        side: "forward" or "reverse", one of its sides.

    Raises:
        ValueError: the node is not one of this package's cells, or its arrays do not fit.
    """
    direction, count, gates = node.sides.index(side), len(node.sides), len(KINDS[node.kind])
    W, R = (node.array(index, letter, None) for index, letter in ((1, "W"), (2, "R")))
    if W.ndim != 3 or R.ndim != 3 or 0 in W.shape or 0 in R.shape:
        raise _shapes(node, W, R)
    h = R.shape[2]
    if W.shape[:2] != (count, gates * h) or R.shape != (count, gates * h, h):
        raise _shapes(node, W, R)
    B = node.array(3, "B", (count, 2 * gates * h))
    _check_options(node)

    def ours(stacked: np.ndarray) -> jax.Array:
        parts = dict(zip(KINDS[node.kind], np.split(stacked, gates), strict=True))
        return jnp.asarray(np.concatenate([parts[gate] for gate in _OURS[node.kind]]))

    outer, inner = map(ours, np.split(B[direction].astype(W.dtype), 2))
    weights = ours(W[direction]), ours(R[direction].astype(W.dtype))
    functions = _functions(node, direction)
    if node.kind == "RNN":
        step, params = rnn_step(functions[0]), RNNParams(*weights, outer + inner)
        return _started(node, direction, Model(step, params, zero_state(RNNState, h, W.dtype)))
    if node.kind == "GRU":
        after = bool(node.option("linear_before_reset", 0))
        make = gru_with if after else reset_before_with
        inside = np.arange(3 * h) >= 2 * h
        bias = jnp.where(inside, outer, outer + inner) if after else outer + inner
        params = GRUParams(*weights, bias, inner[2 * h :] if after else jnp.zeros_like(inner[:h]))
        model = Model(make(functions[1], functions[0]), params, zero_state(GRUState, h, W.dtype))
        return _started(node, direction, model)
    start = zero_state(LSTMState, h, W.dtype)
    params = LSTMParams(*weights, outer + inner)
    model = Model(lstm_with(functions[1], functions[0]), params, start)
    if node.input(7):
        model = _peeping(node, direction, model)
    return _started(node, direction, model)


def _peeping(node: Node, direction: int, model: Model) -> Model:
    """The LSTM with the peepholes of the node."""
    params = model.params
    h = params.weight_hh.shape[1]
    P = node.array(7, "P", (len(node.sides), 3 * h))[direction].astype(params.bias.dtype)
    if not P.any():
        return model
    if model.step is not lstm_with(jnp.tanh, jax.nn.sigmoid):
        raise _refusal(node, "tanh and the logistic function beside peepholes", "others")
    i, o, f = np.split(P, 3)
    peepholes = jnp.asarray(np.stack([i, f, o]))
    params = PeepholeLSTMParams(params.weight_ih, params.weight_hh, peepholes, params.bias)
    return Model(peephole_lstm_step, params, model.state)


def _started(node: Node, direction: int, model: Model) -> Model:
    """The model with the start that the file has, if all sequences of a batch share one."""
    parts = []
    for index, part in zip((5, 6), model.state, strict=False):
        found = node.read(node.input(index)) if node.input(index) else None
        if (
            found is not None
            and found.ndim == 3
            and found.shape[::2]
            == (
                len(node.sides),
                *part.shape,
            )
        ):
            rows = found[direction]
            if len(rows) and (rows == rows[0]).all():
                part = jnp.asarray(rows[0], part.dtype)
        parts.append(part)
    return model._replace(state=type(model.state)._make(parts))


def _functions(node: Node, direction: int) -> list[Activation]:
    """The activations of one direction: of the gates, of the candidate, of the cell."""
    defaults = _DEFAULTS[node.kind]
    names = node.option("activations", defaults * len(node.sides))
    names = [str(name) for name in names] if isinstance(names, list) else []
    own = names[direction * len(defaults) : (direction + 1) * len(defaults)]
    unknown = [name for name in own if name.lower() not in _ACTIVATIONS]
    if unknown or len(own) != len(defaults):
        known = ", ".join(name.capitalize() for name in _ACTIVATIONS)
        raise _refusal(node, f"activations out of {known}", ", ".join(unknown) or "too few")
    if node.kind == "LSTM" and own[1].lower() != own[2].lower():
        raise _refusal(node, "one activation for candidate and cell", f"{own[1]} and {own[2]}")
    return [_ACTIVATIONS[name.lower()] for name in own]


def _check_options(node: Node) -> None:
    """No attribute changes what is computed in a way that the cells do not have."""
    for name in ("clip", "input_forget"):
        if node.option(name, 0):
            raise _refusal(node, f"no {name}", f"{name}={node.option(name, 0)}")


def _refusal(node: Node, expected: str, got: str) -> ValueError:
    return ValueError(
        f"source: expected {expected}, but the {node.kind} {node.name!r} has {got}. Write its "
        "step: every step(params, state, x) -> state will do."
    )


def _shapes(node: Node, W: np.ndarray, R: np.ndarray) -> ValueError:
    gates = len(KINDS[node.kind])
    return ValueError(
        f"source: expected W [{len(node.sides)}, {gates} h, d] and R [{len(node.sides)}, {gates} h,"
        f" h] of the {node.kind} {node.name!r}, but got {list(W.shape)} and {list(R.shape)}. The "
        "file is damaged."
    )
