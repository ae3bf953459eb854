"""Named arrays from a model, a dict or a file of PyTorch; **no code in a file is ever run**.

A `.safetensors` file is numbers behind a header. A `.pt` file is a pickle, which can call anything
while it is read. So it is read by PyTorch's reader for weights only, which refuses whatever is not
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

from lstmgrad._checks import require

_TORCH = (".pt", ".pth", ".bin")
_SAFETENSORS = (".safetensors",)


def read_tensors(source: Any) -> dict[str, Any]:
    """Returns all tensors of a source by dotted name.

    Args:
        source: a module with `state_dict()`, a mapping, nested or not, or the path of a file.

    Raises:
        ImportError: the library that reads the file is not installed.
        ValueError: the file is damaged, is not what its name says, or holds more than weights;
            PyTorch is older than 2.6, and not safe to read it.
        FileNotFoundError: there is no such file.
    """
    if hasattr(source, "state_dict"):
        source = source.state_dict()
    if isinstance(source, str | os.PathLike):
        source = _read(Path(source))
    if not hasattr(source, "items"):
        raise ValueError(
            "source: expected a torch module, a state_dict or the path of a file, but got "
            f"{type(source).__name__}."
        )
    return dict(_flat(source, ""))


def to_numpy(tensor: Any, name: str) -> np.ndarray:
    """Returns a tensor as float32 or float64; narrower floats are widened, which is exact.

    Args:
        tensor: a tensor of PyTorch, on any device, or an array.
        name: its name, for the message.
    """
    if hasattr(tensor, "detach"):
        tensor = tensor.detach().cpu()
        if str(tensor.dtype) == "torch.bfloat16":
            tensor = tensor.float()
        tensor = tensor.numpy()
    array = np.asarray(tensor)
    if array.dtype.name in ("float16", "bfloat16"):
        array = array.astype(np.float32)
    if array.dtype.name not in ("float32", "float64"):
        raise ValueError(
            f"source: expected floating-point weights of 16, 32 or 64 bits, but {name} is "
            f"{array.dtype.name}."
        )
    return array


def _flat(tree: Any, prefix: str) -> Any:
    """(dotted name, tensor) for every tensor in nested mappings, without anything else in them."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif hasattr(value, "shape"):
            yield f"{prefix}{key}", value


def _read(path: Path) -> Mapping[str, Any]:
    known = _SAFETENSORS + _TORCH
    if path.suffix not in known:
        raise ValueError(
            f"source: expected a file that ends in {', '.join(known)}, but got {path.name}."
        )
    with path.open("rb") as file:
        start = file.read(9)
    wanted = "safetensors" if path.suffix in _SAFETENSORS else "torch"
    # An archive or a pickle; or the length of a header in 8 bytes, and the header's brace.
    if re.match(rb"PK\x03\x04|\x80[\x02-\x05]", start):
        _check_content(path, "torch", wanted)
    elif start[8:] == b"{":
        _check_content(path, "safetensors", wanted)
    return _read_safetensors(path) if wanted == "safetensors" else _read_torch(path)


def _read_safetensors(path: Path) -> Mapping[str, Any]:
    reader = require("safetensors.numpy", "safetensors")
    try:
        return reader.load_file(path)
    except Exception as error:
        raise _unreadable(path, "safetensors", f"is damaged ({error})") from None


def _read_torch(path: Path) -> Mapping[str, Any]:
    torch = require("torch", "torch")
    _check_reader(torch.__version__)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickle protocols
            weights = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        reason = "is damaged or holds Python objects; save the state_dict() of the model"
        raise _unreadable(path, "torch", reason) from None
    except Exception as error:  # a damaged archive fails in many ways
        raise _unreadable(path, "torch", f"is damaged ({type(error).__name__})") from None
    if not isinstance(weights, Mapping):
        raise _unreadable(path, "torch", f"holds one {type(weights).__name__}")
    return weights


def _check_content(path: Path, content: str, wanted: str) -> None:
    """The file is what its name says."""
    if content != wanted:
        ends = ".safetensors" if content == "safetensors" else ".pt"
        raise ValueError(
            f"source: expected a {wanted} file, as its name says, but {path.name} is a {content} "
            f"file. If you know where it comes from, rename it to end in {ends}."
        )


def _check_reader(version: str) -> None:
    """This PyTorch is safe to read a file that may hold code."""
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
    if numbers < (2, 6):
        raise ValueError(
            "source: expected PyTorch 2.6 or later to read the file, because the reader of earlier "
            f"versions can be made to run code (CVE-2025-32434), but {version} is installed."
        )


def _unreadable(path: Path, kind: str, reason: str) -> ValueError:
    """The error of a file that is damaged, or that holds more than weights."""
    return ValueError(
        f"source: expected an intact {kind} file of weights alone, but {path.name} {reason}. "
        "Nothing in it was run."
    )
