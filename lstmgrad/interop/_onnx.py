"""Recurrent networks in files of ONNX, from their nodes and constants alone."""

import itertools
from typing import Any, Literal

from lstmgrad._calls import public
from lstmgrad._checks import require
from lstmgrad._model import Model
from lstmgrad.interop._checks import check_direction
from lstmgrad.interop._model import stack
from lstmgrad.interop._onnx_graphs import read_networks
from lstmgrad.interop._onnx_nodes import make_model
from lstmgrad.interop._torch import check_layer


@public
def from_onnx(
    source: Any,
    *,
    prefix: str | None = None,
    layer: int | None = None,
    direction: Literal["forward", "reverse"] | None = None,
) -> Model:
    """Returns a recurrent network of an ONNX file as a model.

    Args:
        source: the path of an `.onnx` file, or an `onnx.ModelProto`.
        prefix: what the name of the network's first node starts with, ``"/encoder/"``; None if
            there is only one network.
        layer: one layer, counted from 0; None is all of them, stacked.
        direction: "forward" or "reverse" for a bidirectional network, otherwise None.

    Returns:
        `Model` with the parts h and c, or h; h0, c0, h1, ... for several layers. Parameters are
        `LSTMParams`, `PeepholeLSTMParams`, `GRUParams` or `RNNParams`, or a tuple of them.

    Raises:
        ImportError: onnx is not installed.
        ValueError: the file is damaged; there are no LSTM, GRU or RNN nodes, or those of several
            networks; a node does what the cells do not (other activations, clip, input_forget), or
            its weights are computed from something else than constants; an option is out of range,
            or missing.
        FileNotFoundError: there is no such file, or none that holds its weights.

    Notes:
        Layers belong to one network if nothing but a change of shape lies between them. The start
        is that of the file, if it is a constant that all sequences share, and zero otherwise. Both
        kinds of GRU are read, ``linear_before_reset`` or not. A reverse direction reads
        ``inputs[::-1]``. Floats of 8 and 16 bits are widened, constants behind `DequantizeLinear`
        are dequantized, and weights in files beside the model are looked for in its folder alone.

    Example:
        ```python
        model = lg.interop.from_onnx("model.onnx")
        profile = lg.backward_norms(lg.chain(model, inputs), of="c", wrt="c")
        ```

        >>> from onnx import TensorProto, helper, numpy_helper
        >>> weights = {"W": np.ones((1, 12, 2), np.float32), "R": np.ones((1, 12, 3), np.float32)}
        >>> stored = [numpy_helper.from_array(weights[name], name) for name in weights]
        >>> node = helper.make_node("LSTM", ["X", "W", "R"], ["Y"], hidden_size=3)
        >>> ends = [[helper.make_tensor_value_info(x, TensorProto.FLOAT, None)] for x in "XY"]
        >>> network = helper.make_model(helper.make_graph([node], "net", *ends, stored))
        >>> lg.unroll(*lg.interop.from_onnx(network), inputs).states.c.shape
        (7, 3)

    References:
        https://onnx.ai/onnx/operators/onnx__LSTM.html, and GRU and RNN beside it.
    """
    require("onnx", "onnx")
    networks = read_networks(source)
    nodes = networks[_choose(list(networks), prefix)]
    both = any(len(node.sides) == 2 for node in nodes)
    if direction == "reverse" and all(node.sides == ["reverse"] for node in nodes):
        direction = None
    check_direction(direction, both, "the network")
    check_layer(layer, len(nodes), both)
    chosen = nodes if layer is None else [nodes[layer]]
    if len({tuple(node.sides) for node in chosen}) > 1:
        raise ValueError(
            f"layer: expected one of 0 to {len(nodes) - 1}, because the layers read the sequence "
            "in different directions, so the stack is not a recurrence, but got None."
        )
    models = [make_model(node, direction or node.sides[0]) for node in chosen]
    for index, (below, above) in enumerate(itertools.pairwise(models)):
        width, reads = below.state.h.size, above.params.weight_ih.shape[1]
        if width != reads:
            raise ValueError(
                f"source: expected layer {index + 1} to read the {width} outputs of layer {index}, "
                f"but its W reads {reads}. Take the layers one by one: layer=0."
            )
    return models[0] if len(models) == 1 else stack(models)


def _choose(known: list[str], prefix: str | None) -> str:
    """The name of the one network that is meant."""
    found = [name for name in known if name.startswith(prefix or "")]
    if prefix in found:
        return str(prefix)
    if len(found) != 1:
        why = f", because the model has {len(known)} recurrent networks" * (prefix is None)
        raise ValueError(
            f"prefix: expected the start of one of {', '.join(map(repr, known))}{why}, but got "
            f"{prefix!r}."
        )
    return found[0]
