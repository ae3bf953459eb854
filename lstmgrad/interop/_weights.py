"""Named arrays from a model, a dict or a file of PyTorch; **no code in a file is ever run**.

A `.safetensors` file is numbers behind a header. What PyTorch writes has a pickle in it, a program
that can call anything while it runs; `_torch_files.py` reads what it says, and runs nothing. A
large model lies in several files, and an index beside them says which tensor is in which.
"""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import ml_dtypes
import numpy as np

from lstmgrad._checks import require
from lstmgrad.interop._torch_files import ContentError, read_torch_file
from lstmgrad.interop._torch_quantized import PackedError, unpack
from lstmgrad.interop._weight_folders import find_index, read_index

_SAFETENSORS = (".safetensors",)
_TORCH = (".pt", ".pth", ".bin", ".ckpt", ".jit", ".ts", ".tar")
_EIGHT_BITS = {
    "F8_E4M3": ml_dtypes.float8_e4m3fn,
    "F8_E5M2": ml_dtypes.float8_e5m2,
    "F8_E8M0": ml_dtypes.float8_e8m0fnu,
}
_OTHERS = {
    ".keras": "It is a model of Keras: lg.interop.from_keras(path).",
    ".h5": "If it is a model of Keras: lg.interop.from_keras(path).",
    ".onnx": "It is a model in ONNX: lg.interop.from_onnx(path).",
    ".msgpack": "If it holds variables of Flax: lg.interop.from_linen(cell, path).",
    ".npz": "NumPy reads it: lg.interop.from_torch(dict(numpy.load(path))).",
    ".pt2": "It is an exported program: pass torch.export.load(path).state_dict.",
    ".pkl": "A pickle may run anything: where you trust it, read it and pass the mapping.",
}
"""What to do with a file of another kind, by its ending."""


def read_tensors(source: Any) -> dict[str, Any]:
    """Returns all tensors of a source by dotted name.

    Args:
        source: a module with `state_dict()`, a mapping, nested or not, or the path of a file, of an
            index of several files, or of a folder with one of these.

    Raises:
        ImportError: the library that reads the file is not installed.
        ValueError: the file is damaged, is not what its name says, or holds no weights.
        FileNotFoundError: there is no such file.
    """
    if isinstance(source, str | os.PathLike):
        return _read(Path(source))
    if hasattr(source, "state_dict"):
        source = source.state_dict()
    if not hasattr(source, "items"):
        raise ValueError(
            "source: expected a torch module, a state_dict or the path of a file, but got "
            f"{type(source).__name__}."
        )
    named = unpack(dict(_flat(source, "")), lambda tensor: to_numpy(tensor, "a packed weight"))
    return {name: value for name, value in named.items() if hasattr(value, "shape")}


def to_numpy(tensor: Any, name: str) -> np.ndarray:
    """Returns a tensor as float32 or float64; narrower floats are widened, which is exact.

    Args:
        tensor: a tensor of PyTorch, on any device, or an array; a quantized tensor is dequantized.
        name: its name, for the message.
    """
    if hasattr(tensor, "detach"):
        tensor = tensor.detach().cpu()
        if tensor.is_quantized:
            tensor = tensor.dequantize()
        if tensor.is_floating_point() and tensor.element_size() < 4:
            tensor = tensor.float()
        tensor = tensor.numpy()
    array = np.asarray(tensor)
    if jnp.issubdtype(array.dtype, jnp.floating) and array.dtype.itemsize < 4:
        array = array.astype(np.float32)
    if array.dtype.name in ("int8", "uint8", "int32"):
        raise ValueError(
            f"source: expected floating-point weights, but {name} is {array.dtype.name}, as "
            "quantized weights are, without their scale. Pass scale * (w - zero_point) in its "
            "place: from_torch takes any mapping of names to arrays."
        )
    if array.dtype.name not in ("float32", "float64"):
        raise ValueError(
            f"source: expected floating-point weights of 8, 16, 32 or 64 bits, but {name} is "
            f"{array.dtype.name}."
        )
    return array


def _flat(tree: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    """(dotted name, value) for everything in nested mappings."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _read(path: Path) -> dict[str, np.ndarray]:
    """All tensors of a file, or of several that belong together."""
    path = find_index(path)
    if path.suffix == ".json":
        return read_index(path, _read)
    known = _SAFETENSORS + _TORCH
    if path.suffix not in known:
        hint = _OTHERS.get({".hdf5": ".h5", ".pickle": ".pkl"}.get(path.suffix, path.suffix))
        raise ValueError(
            f"source: expected a file that ends in {', '.join(known)}, but got {path.name}."
            + f" {hint}" * bool(hint)
        )
    with path.open("rb") as file:
        start = file.read(9)
    wanted = "safetensors" if path.suffix in _SAFETENSORS else "torch"
    # The length of a header in 8 bytes, which may begin like a pickle, and the header's brace; or
    # an archive or a pickle.
    if re.match(rb"(?s).{5}\x00{3}\{", start):
        _check_content(path, "safetensors", wanted)
    elif re.match(rb"PK\x03\x04|\x80[\x02-\x05]", start):
        _check_content(path, "torch", wanted)
    return _read_safetensors(path) if wanted == "safetensors" else _read_torch(path)


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    library = require("safetensors", "safetensors")
    try:
        with library.safe_open(path, framework="np") as file:
            kinds = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
            found = {
                name: file.get_tensor(name) for name, kind in kinds.items() if kind[:2] != "F8"
            }
        if len(found) < len(kinds):
            # Its arrays know no floats of 8 bits.
            for name, stored in library.deserialize(path.read_bytes()):
                if name not in found:
                    items = np.frombuffer(stored["data"], _EIGHT_BITS[stored["dtype"]])
                    found[name] = items.reshape(stored["shape"])
        return {name: found[name] for name in kinds}
    except Exception as error:
        raise _unreadable(path, "safetensors", f"is damaged ({error})") from None


def _read_torch(path: Path) -> dict[str, np.ndarray]:
    with path.open("rb") as file:
        try:
            return read_torch_file(file)
        except PackedError:
            raise
        except ContentError as error:
            raise _unreadable(path, "torch", str(error)) from None
        except Exception:  # a damaged file fails in many ways
            raise _unreadable(path, "torch", "is damaged; fetch or copy it again") from None


def _check_content(path: Path, content: str, wanted: str) -> None:
    """The file is what its name says."""
    if content != wanted:
        ends = ".safetensors" if content == "safetensors" else ".pt"
        raise ValueError(
            f"source: expected a {wanted} file, as its name says, but {path.name} is a {content} "
            f"file. If you know where it comes from, rename it to end in {ends}."
        )


def _unreadable(path: Path, kind: str, reason: str) -> ValueError:
    """The error of a file that is damaged, or that holds no weights."""
    return ValueError(
        f"source: expected an intact {kind} file of weights, but {path.name} {reason}. "
        "Nothing in it was run."
    )
