"""Weights of PyTorch that are stored in another form than the one in which they are used.

    weight norm   g v / ‖v‖   weight_hh_l0_g and _v; parametrizations.weight_hh_l0.original0 and 1
    pruning       w ⊙ mask    weight_hh_l0_orig and _mask
    weight drop   w           weight_hh_l0_raw beside the module: nothing is dropped in eval()

Of a file there is the name alone. Every other form is refused by it: what the module does to the
stored numbers before it uses them cannot be seen.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from lstmgrad.interop._weights import to_numpy

LEAF = r"(?:weight_ih|weight_hh|weight_hr|bias_ih|bias_hh)(?:_l\d+(?:_reverse)?)?"
"""The name of a weight of PyTorch's own recurrent networks, without its prefix."""

_BY_SUFFIX = re.compile(rf"(?P<prefix>(?:.*\.)?)(?P<leaf>{LEAF})_(?P<form>g|v|orig|mask|raw)")
_BY_PATH = re.compile(rf"(?P<prefix>(?:.*\.)?)parametrizations\.(?P<leaf>{LEAF})\.(?P<form>.+)")


def plain_weights(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Returns all tensors, with weights in the form in which they are used.

    Args:
        tensors: by dotted name.

    Raises:
        ValueError: half of a form is missing, or its shapes are not those of weight norm.
    """
    plain, forms = {}, {}
    for name, tensor in tensors.items():
        match = _BY_PATH.fullmatch(name) or _BY_SUFFIX.fullmatch(name)
        if match:
            place = match["prefix"], match["leaf"]
            forms.setdefault(place, {})[match["form"]] = name
        else:
            plain[name] = tensor
    for (prefix, leaf), names in forms.items():

        def array(form: str, names: dict[str, str] = names) -> np.ndarray:
            return to_numpy(tensors[names[form]], names[form])

        match sorted(names):
            case [("g" | "original0") as size, ("v" | "original1") as direction]:
                value = _normed(array(size), array(direction), names[size])
            case ["mask", "orig"]:
                value = array("orig") * array("mask")
            case ["raw"]:
                value = array("raw")
                prefix += "module." * any(name.startswith(f"{prefix}module.") for name in tensors)
            case _:
                raise _unknown(*names.values())
        plain[f"{prefix}{leaf}"] = value
    return plain


def check_all_known(names: Mapping[str, Any], prefix: str) -> None:
    """Every tensor of a network is a weight that PyTorch's own have, and so is what is around it.

    Args:
        names: of all tensors, in the form in which they are used.
        prefix: of the network.

    Raises:
        ValueError: some tensors are others; the message names them.
    """
    around = ["", *(prefix[: match.end()] for match in re.finditer(r"\.", prefix))]
    unknown = []
    for name in names:
        if re.fullmatch(rf"(?:.*\.)?{LEAF}", name):
            continue
        # Forms of a weight may lie in a module around that of the network.
        forms = [outer for outer in around if _is_form(name, outer)]
        if forms or name.startswith(prefix):
            unknown.append(name)
    if unknown:
        raise _unknown(*unknown)


def _is_form(name: str, outer: str) -> bool:
    form = rf"(?:parametrizations\.)?{LEAF}[_.].+"
    return name.startswith(outer) and bool(re.fullmatch(form, name.removeprefix(outer)))


def _normed(g: np.ndarray, v: np.ndarray, name: str) -> np.ndarray:
    """The directions v with lengths g; one for all, or one for each entry of an axis."""
    axes = tuple(axis for axis in range(v.ndim) if g.ndim == 0 or g.shape[axis : axis + 1] == (1,))
    lengths = np.sqrt(np.sum(v.astype(np.float64) ** 2, axis=axes, keepdims=True))
    if g.shape not in ((), lengths.shape) or not axes:
        raise _unknown(name)
    return (g * (v / lengths)).astype(v.dtype)


def _unknown(*names: str) -> ValueError:
    """The error of a network that does more than its plain weights say."""
    return ValueError(
        "source: expected a network of PyTorch's own, whose weights are weight_ih_l0, "
        f"weight_hh_l0, weight_hr_l0, bias_ih_l0, bias_hh_l0, ..., but got {', '.join(names)} "
        "with them. If the network uses them, write its step; if not, say so: "
        f"from_torch(..., unused={list(names)})."
    )
