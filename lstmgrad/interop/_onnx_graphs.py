"""Recurrent nodes in a graph of ONNX: which are layers of one network, and their constants.

A layer follows another if nothing but a change of shape lies between them. Constants are looked up,
and folded through the few operations that exporters leave between a weight and its node.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lstmgrad._checks import require
from lstmgrad.interop._onnx_nodes import KINDS, Node

_BETWEEN = {"Cast", "Dropout", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}
"""Operations between layers of one network."""

_FOLDED = _BETWEEN - {"Dropout"} | {"Concat", "DequantizeLinear", "Slice", "Split"}
"""Operations on constants, none of which makes more numbers than it was given."""

_MOST_FOLDS = 64
"""Operations between the constants of a file and one weight."""


def read_networks(source: Any) -> dict[str, list[Node]]:
    """Returns the networks of a model by the name of their first node, each from the lowest layer.

    Args:
        source: an `onnx.ModelProto` or the path of a file.

    Raises:
        ValueError: it is neither, or damaged, or has no recurrent node.
        FileNotFoundError: there is no such file.
    """
    onnx = require("onnx", "onnx")
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        model, folder = _load(path), path.parent
    elif isinstance(source, onnx.ModelProto):
        model, folder = source, None
    else:
        raise ValueError(
            "source: expected the path of an .onnx file or an onnx.ModelProto, but got "
            f"{type(source).__name__}."
        )
    nodes = list(_nodes(model.graph))
    makers = {output: node for node in nodes for output in node.output}
    read = _constants(model, nodes, folder)
    recurrent = [node for node in nodes if node.op_type in KINDS and node.domain in ("", "ai.onnx")]
    if not recurrent:
        kinds = {_text(node.op_type) for node in nodes}
        others = sorted(kind for kind in kinds if kind.endswith(tuple(KINDS)))
        what = f"only {', '.join(others)}" if others else "none"
        hint = " Export it before it is quantized or fused." if others else ""
        raise ValueError(
            f"source: expected LSTM, GRU or RNN nodes, but the model has {what}.{hint}"
        )
    networks: dict[str, list[Node]] = {}
    # By the name of a layer's output, the network that it ends.
    ends: dict[str, str] = {}
    for node in recurrent:
        name = _text(node.name or (node.output[0] if node.output else ""))
        options = {option.name: _option(option) for option in node.attribute}
        layer = Node(name, node.op_type, options, list(node.input), read)
        below = _source(node.input[0] if node.input else "", makers)
        first = ends.pop(below, None)
        if first is None:
            first = name if name not in networks else f"{name} #{len(networks)}"
            networks[first] = []
        networks[first].append(layer)
        ends[node.output[0] if node.output else ""] = first
    return networks


def _load(path: Path) -> Any:
    """The model in a file, without what lies in files beside it."""
    data = path.read_bytes()
    model = require("onnx", "onnx").ModelProto()
    try:
        model.ParseFromString(data)
    except Exception:
        model.Clear()
    if not model.graph.node:
        raise ValueError(
            f"source: expected an intact ONNX file with a graph of nodes, but {path.name} is none. "
            "Fetch or export it again."
        )
    return model


def _nodes(graph: Any, depth: int = 0) -> Iterator[Any]:
    """All nodes of a graph and of those inside it."""
    for node in graph.node:
        yield node
        for option in node.attribute:
            if option.HasField("g") and depth < 8:
                yield from _nodes(option.g, depth + 1)


def _graphs(graph: Any, depth: int = 0) -> Iterator[Any]:
    yield graph
    for node in graph.node:
        for option in node.attribute:
            if option.HasField("g") and depth < 8:
                yield from _graphs(option.g, depth + 1)


def _text(value: str | bytes) -> str:
    """A name, which protobuf gives as bytes where it is no text."""
    return value if isinstance(value, str) else value.decode("utf-8", "replace")


def _source(name: str, makers: dict[str, Any]) -> str:
    """The name of the tensor that another one is, but for its shape."""
    for _ in range(_MOST_FOLDS):
        node = makers.get(name)
        if node is None or node.op_type not in _BETWEEN or not node.input:
            break
        name = node.input[0]
    return name


def _option(option: Any) -> Any:
    """An attribute as a number, a text or a list of texts."""
    if option.HasField("s"):
        return option.s.decode("utf-8", "replace")
    if option.strings:
        return [text.decode("utf-8", "replace") for text in option.strings]
    return option.i or option.f or list(option.floats)


def _constants(
    model: Any, nodes: list[Any], folder: Path | None
) -> Callable[[str], np.ndarray | None]:
    """A function from the name of a tensor to its array, or None if it is no constant."""
    stored = {tensor.name: tensor for graph in _graphs(model.graph) for tensor in graph.initializer}
    makers = {output: node for node in nodes for output in node.output}
    for name, node in makers.items():
        for option in node.attribute if node.op_type == "Constant" else ():
            if option.name == "value":
                stored[name] = option.t
    sizes: dict[str, int] = {}

    def read(name: str, folds: list[int]) -> np.ndarray | None:
        if name in stored:
            found = _array(stored[name], folder)
            sizes[name] = found.size
            return found
        node = makers.get(name)
        folds.append(1)
        if node is None or node.op_type not in _FOLDED or len(folds) > _MOST_FOLDS:
            return None
        given = {part: read(part, folds) for part in dict.fromkeys(node.input) if part}
        arrays = [given[part] for part in node.input if part]
        known = [array for array in arrays if array is not None]
        # The same constant joined to itself again and again would be as large as one likes.
        if len(known) < len(arrays) or sum(array.size for array in known) > 2 * sum(sizes.values()):
            return None
        reference = require("onnx.reference", "onnx")
        try:
            versions = {one.domain: one.version for one in model.opset_import}
            outputs = reference.ReferenceEvaluator(node, opsets=versions).run(None, given)
            return np.asarray(dict(zip(node.output, outputs, strict=False))[name])
        except Exception:
            return None

    return lambda name: read(name, [])


def _array(tensor: Any, folder: Path | None) -> np.ndarray:
    """The numbers of a tensor, of the file or of one beside it."""
    if tensor.data_location != tensor.EXTERNAL:
        try:
            return require("onnx.numpy_helper", "onnx").to_array(tensor)
        except Exception:
            raise ValueError(
                f"source: expected the numbers of {tensor.name!r}, {list(tensor.dims)}, but the "
                "file has others. It is damaged; fetch or export it again."
            ) from None
    places = {entry.key: entry.value for entry in tensor.external_data}
    file = places.get("location", "")
    if folder is None:
        raise ValueError(
            f"source: expected a model with its weights, but {tensor.name!r} is in the file "
            f"{file!r}. Pass the path of the model, or onnx.load(path)."
        )
    whole = type(tensor)()
    whole.CopyFrom(tensor)
    try:
        helper = require("onnx.external_data_helper", "onnx")
        helper.load_external_data_for_tensor(whole, str(folder))
        return require("onnx.numpy_helper", "onnx").to_array(whole)
    except Exception:
        raise ValueError(
            f"source: expected {tensor.name!r} in the file {file!r} beside the model, but it is "
            "not there as the model says. Fetch both files, from one export."
        ) from None
