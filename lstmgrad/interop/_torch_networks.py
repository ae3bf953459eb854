"""What the weights of a PyTorch module hold: networks by prefix, layers and directions.

`weight_ih_l0`, `weight_hh_l0`, `bias_ih_l0`, `bias_hh_l0`, and so on for every layer; the names of
the second direction end in `_reverse`, and those of a single cell have no `_l0`.
"""

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lstmgrad.interop._torch_reparametrized import check_all_known, plain_weights
from lstmgrad.interop._weights import to_numpy

_NAME = re.compile(
    r"(?P<prefix>(?:.*\.)?)(?P<leaf>weight_ih|weight_hh|weight_hr|bias_ih|bias_hh)"
    r"(?:_l(?P<layer>\d+)(?P<reverse>_reverse)?)?"
)


class Network(NamedTuple):
    """The arrays of a recurrent network.

    Attributes:
        layers: for each layer and direction ("forward", "reverse"), its arrays by name, without
            prefix and layer.
        bidirectional: whether there are two directions.
    """

    layers: list[dict[str, dict[str, np.ndarray]]]
    bidirectional: bool

    @property
    def gates(self) -> int:
        """4 for an LSTM, 3 for a GRU, 1 for a plain network."""
        return gates_of(self.layers[0]["forward"])

    def direction(self, side: str) -> list[dict[str, np.ndarray]]:
        """Returns the arrays of all layers in one direction, once the layers follow one another.

        Args:
            side: "forward" or "reverse".
        """
        layers = [layer[side] for layer in self.layers]
        for index, (below, above) in enumerate(itertools.pairwise(layers)):
            width, reads = below["weight_hh"].shape[1], above["weight_ih"].shape[1]
            if width != reads:
                raise ValueError(
                    f"source: expected layer {index + 1} to read the {width} outputs of layer "
                    f"{index}, but its weight_ih has {reads} columns."
                )
        return layers


def gates_of(leaves: Mapping[str, np.ndarray]) -> int:
    """Returns how many gates are stacked: 4 for an LSTM, 3 for a GRU, 1 for a plain network.

    Args:
        leaves: the arrays of one layer in one direction, by name.
    """
    rows, width = leaves["weight_hh"].shape
    return 4 if "weight_hr" in leaves else rows // width


def find_network(
    tensors: Mapping[str, Any], prefix: str | None, unused: Sequence[str] = ()
) -> tuple[str, Network]:
    """Returns the one network that is meant, and its prefix, with the dot.

    Args:
        tensors: by dotted name.
        prefix: what the names start with; None if there is only one network.
        unused: names of tensors that the network does not use.

    Raises:
        ValueError: there is no network, or not the one that is meant, or several; the network has
            other weights than PyTorch's own, or some that do not fit each other; a name of a tensor
            that is not there.
    """
    for name in unused:
        if name not in tensors:
            raise ValueError(
                f"unused: expected names of tensors in the source, but got {name!r}, which is not "
                "among them. The message that refused a tensor has its name."
            )
    tensors = {name: tensor for name, tensor in tensors.items() if name not in unused}
    networks = find_networks(tensors)
    prefix = _check_prefix(prefix, list(networks))
    check_all_known(plain_weights(tensors), prefix)
    return prefix, networks[prefix]


def find_networks(tensors: Mapping[str, Any]) -> dict[str, Network]:
    """Returns all recurrent networks by prefix, with the dot.

    Args:
        tensors: by dotted name.

    Raises:
        ValueError: there is no network, or one whose weights do not fit each other.
    """
    found: dict[str, dict[tuple[int, str], dict[str, np.ndarray]]] = {}
    for name, tensor in plain_weights(tensors).items():
        match = _NAME.fullmatch(name)
        if match:
            place = int(match["layer"] or 0), "reverse" if match["reverse"] else "forward"
            leaves = found.setdefault(match["prefix"], {}).setdefault(place, {})
            leaves[match["leaf"]] = to_numpy(tensor, name)
    if not found:
        some = ", ".join(list(tensors)[:8]) or "no tensor at all"
        raise ValueError(
            "source: expected recurrent weights under PyTorch's names, weight_ih_l0, weight_hh_l0, "
            f"..., with any prefix, but got {some}{', ...' if len(tensors) > 8 else ''}."
        )
    networks = {}
    for prefix, places in found.items():
        both = any(side == "reverse" for _, side in places)
        sides = ("forward", "reverse") if both else ("forward",)
        count = 1 + max(index for index, _ in places)
        layers = [{side: places.get((index, side), {}) for side in sides} for index in range(count)]
        for index, layer in enumerate(layers):
            for side, leaves in layer.items():
                _check_shapes(leaves, f"{prefix}*_l{index}" + "_reverse" * (side == "reverse"))
        networks[prefix] = Network(layers, both)
    return networks


def _check_prefix(prefix: str | None, known: list[str]) -> str:
    """The prefix of the one network that is meant, with the dot."""
    what = ", ".join(map(repr, known))
    if prefix is None:
        if len(known) > 1:
            raise ValueError(
                f"prefix: expected one of {what}, because the source has {len(known)} recurrent "
                "networks, but got None."
            )
        return known[0]
    for candidate in (prefix, f"{prefix}."):
        if candidate in known:
            return candidate
    ends = [one for one in known if f".{one}".endswith(f".{prefix.rstrip('.')}.")]
    if len(ends) == 1:
        return ends[0]
    raise ValueError(f"prefix: expected one of {what}, but got {prefix!r}.")


def _check_shapes(leaves: Any, where: str) -> None:
    """The weights of one layer and direction belong together."""
    for name in ("weight_ih", "weight_hh"):
        if name not in leaves:
            raise ValueError(
                f"source: expected weight_ih and weight_hh in {where}, but {name} is missing."
            )
    shapes = {name: array.shape for name, array in leaves.items()}
    what = ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items())
    ranks = {name: 1 if name.startswith("bias") else 2 for name in shapes}
    good = all(len(shapes[name]) == rank and 0 not in shapes[name] for name, rank in ranks.items())
    if good:
        rows, width = shapes["weight_hh"]
        hidden = shapes["weight_hr"][1] if "weight_hr" in shapes else width
        gates = (4,) if "weight_hr" in shapes else (1, 3, 4)
        stacked = {shape[0] for name, shape in shapes.items() if name != "weight_hr"}
        good = stacked == {rows} and rows in [number * hidden for number in gates]
        good = good and shapes.get("weight_hr", (width, hidden)) == (width, hidden)
    if not good:
        raise ValueError(
            "source: expected weight_ih [gates h, d], weight_hh [gates h, h] and biases [gates h] "
            "with 1, 3 or 4 gates, and in an LSTM with projections weight_hh [4h, p] and weight_hr "
            f"[p, h], but {where} has {what}."
        )
    dtypes = {array.dtype.name for array in leaves.values()}
    if len(dtypes) > 1:
        raise ValueError(f"source: expected one dtype, but {where} has {', '.join(dtypes)}.")
