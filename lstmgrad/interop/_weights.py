"""Named arrays from a model, a dict or a file of PyTorch; **no code in a file is ever run**.

A `.safetensors` file is numbers behind a header. A `.pt` file is a pickle, which can call anything
while it is read: it is read by PyTorch's own reader of weights alone, which refuses whatever is not
a tensor or a plain container.
"""

import os
import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lstmgrad.interop._checks import (
    check_content,
    check_dtype,
    check_reader,
    check_source,
    check_suffix,
    require,
    unreadable,
)

_TORCH = (".pt", ".pth", ".bin")
_SAFETENSORS = (".safetensors",)


def named_tensors(source: Any) -> dict[str, Any]:
    """Returns all tensors of a source by dotted name.

    Args:
        source: a module with `state_dict()`, a mapping, nested or not, or the path of a file.

    Raises:
        ImportError: what reads the file is not installed.
        ValueError: the file is not what its name says, damaged, or holds more than weights; PyTorch
            is older than 2.6, and not safe to read it.
        FileNotFoundError: there is no such file.
    """
    if hasattr(source, "state_dict"):
        source = source.state_dict()
    if isinstance(source, str | os.PathLike):
        source = _read(Path(source))
    check_source(source)
    return dict(_flat(source, ""))


def to_numpy(tensor: Any, name: str) -> np.ndarray:
    """Returns a tensor as float32 or float64; narrower floats are widened, which is exact.

    Args:
        tensor: of PyTorch, on any device, or an array.
        name: for the message.
    """
    if hasattr(tensor, "detach"):
        tensor = tensor.detach().cpu()
        if str(tensor.dtype) == "torch.bfloat16":
            tensor = tensor.float()
        tensor = tensor.numpy()
    array = np.asarray(tensor)
    if array.dtype.name in ("float16", "bfloat16"):
        array = array.astype(np.float32)
    check_dtype(array.dtype.name, name)
    return array


def _flat(tree: Any, prefix: str) -> Any:
    """(dotted name, tensor) for every tensor of nested mappings; what is no tensor is left out."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif hasattr(value, "shape"):
            yield f"{prefix}{key}", value


def _read(path: Path) -> Mapping[str, Any]:
    check_suffix(path, _SAFETENSORS + _TORCH)
    with path.open("rb") as file:
        start = file.read(9)
    wanted = "safetensors" if path.suffix in _SAFETENSORS else "torch"
    # An archive or a pickle; or the length of a header in 8 bytes, and the header's brace.
    if re.match(rb"PK\x03\x04|\x80[\x02-\x05]", start):
        check_content(path, "torch", wanted)
    elif start[8:] == b"{":
        check_content(path, "safetensors", wanted)
    return _read_safetensors(path) if wanted == "safetensors" else _read_torch(path)


def _read_safetensors(path: Path) -> Mapping[str, Any]:
    reader = require("safetensors.numpy", "safetensors")
    try:
        return reader.load_file(path)
    except Exception as error:
        raise unreadable(path, "safetensors", f"is damaged ({error})") from None


def _read_torch(path: Path) -> Mapping[str, Any]:
    torch = require("torch", "torch")
    check_reader(torch.__version__)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickle protocols
            weights = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        reason = "is damaged or holds Python objects; save the state_dict() of the model"
        raise unreadable(path, "torch", reason) from None
    except Exception as error:  # a damaged archive fails in many ways
        raise unreadable(path, "torch", f"is damaged ({type(error).__name__})") from None
    if not isinstance(weights, Mapping):
        raise unreadable(path, "torch", f"holds one {type(weights).__name__}")
    return weights
