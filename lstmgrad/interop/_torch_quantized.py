"""Recurrent layers that PyTorch has quantized dynamically, under the names of those they came from.

Such a layer keeps, for each of its layers and directions, one packed object instead of four
tensors: `_all_weight_values.0.param`, ... It holds the two biases in float32, and the two matrices
as 8-bit integers with a scale and a zero point, or in float16; w = scale · (q - zero point). As the
layer runs, what it reads is rounded to 8 bits, too, at every step: that is no part of the weights.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

_PACKED = re.compile(r"(?P<prefix>(?:.*\.)?)_all_weight_values\.(?P<index>\d+)\.param")
_PACKED_CELL = re.compile(r"(?P<prefix>(?:.*\.)?)_packed_weight_(?P<side>ih|hh)")
_FORMS = ("quantized_dynamic", "quantized_fp16")


class PackedError(ValueError):
    """Packed weights that are of another form, or cannot be told apart."""


def unpack(named: Mapping[str, Any], read: Callable[[Any], np.ndarray]) -> dict[str, Any]:
    """Returns all values by name, with packed ones replaced by the arrays that they hold.

    Args:
        named: tensors and other objects by dotted name.
        read: from a tensor of any kind to its numbers.

    Raises:
        PackedError: packed weights of another form, or of which it cannot be told whether they are
            two layers or two directions.
    """
    found, cells = {}, {}
    for name, value in named.items():
        if match := _PACKED.fullmatch(name):
            cells.setdefault(match["prefix"], {})[int(match["index"])] = value
        elif match := _PACKED_CELL.fullmatch(name):
            leaves = _linear(value, match["side"], match["prefix"])
            found |= {match["prefix"] + leaf: read(tensor) for leaf, tensor in leaves.items()}
        else:
            found[name] = value
    for prefix, packed in cells.items():
        arrays = [_cell(packed.get(index), prefix, read) for index in range(len(packed))]
        for end, cell in zip(_ends(arrays, prefix), arrays, strict=True):
            found |= {f"{prefix}{leaf}{end}": array for leaf, array in cell.items()}
    return found


def _state(value: Any) -> Any:
    """The state of a packed object, live or of a file."""
    state = getattr(value, "state", None)
    if state is None and type(value).__name__ == "ScriptObject":
        state = value.__getstate__()
    if isinstance(state, tuple) and len(state) == 2 and isinstance(state[1], str):
        return state[0]
    return state


def _cell(packed: Any, prefix: str, read: Callable[[Any], np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays of one layer in one direction."""
    match _state(packed):
        case [form, biases, _, _, [first, second]] if form in _FORMS:
            leaves = _linear(first, "ih", prefix) | _linear(second, "hh", prefix)
            leaves |= zip(("bias_ih", "bias_hh"), biases, strict=False)
            return {leaf: read(tensor) for leaf, tensor in leaves.items()}
    raise _unknown(prefix)


def _linear(packed: Any, side: str, prefix: str) -> dict[str, Any]:
    """The tensors of one packed product by name.

    Args:
        packed: the object.
        side: "ih" or "hh".
        prefix: of the network, for the message.
    """
    match _state(packed):
        case (weight, *bias) if hasattr(weight, "shape"):
            leaves = zip((f"weight_{side}", f"bias_{side}"), [weight, *bias], strict=False)
            return {leaf: tensor for leaf, tensor in leaves if tensor is not None}
    raise _unknown(prefix)


def _unknown(prefix: str) -> PackedError:
    """The error of packed weights of another form."""
    return PackedError(
        "source: expected weights that are quantized dynamically, but the packed ones of "
        f"{prefix or 'the network'} are of another form. Take them from the network itself: "
        "lstm.get_weight() and lstm.get_bias() give tensors by name."
    )


def _ends(cells: list[dict[str, np.ndarray]], prefix: str) -> list[str]:
    """The ends of the names of layers and directions, which the widths of what they read show."""
    reads = [cell["weight_ih"].shape[1] for cell in cells]
    width = cells[0]["weight_hh"].shape[1]
    stacked = all(read == width for read in reads[1:])
    both = len(reads) % 2 == 0 and reads == [reads[0]] * 2 + [2 * width] * (len(reads) - 2)
    if stacked and both:
        raise PackedError(
            "source: expected packed weights whose widths show what they are, but those of "
            f"{prefix or 'the network'} may be two layers or two directions. Take them from the "
            "network itself: lstm.get_weight() and lstm.get_bias() give tensors by name."
        )
    if both:
        return [f"_l{index // 2}{'_reverse' * (index % 2)}" for index in range(len(cells))]
    return [f"_l{index}" for index in range(len(cells))]
