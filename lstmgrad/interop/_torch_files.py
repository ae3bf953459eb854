"""Tensors in files that PyTorch writes, by dotted name: `torch.save` and `torch.jit.save`.

An archive has a pickle, data.pkl, and the numbers of each storage beside it, not compressed. Files
from before PyTorch 1.6 are a few pickles, with the numbers behind them. What a pickle says is read
by `_torch_pickles.py`: no object in it is made, and no code in an archive is looked at.
"""

import functools
import io
import zipfile
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import numpy as np

from lstmgrad.interop._bounded import Bounded
from lstmgrad.interop._torch_pickles import Thing, read_pickle
from lstmgrad.interop._torch_quantized import unpack
from lstmgrad.interop._torch_tensors import Storage, Tensor

_LEGACY = 0x1950A86A20F9469CFC6C
"""The first pickle of a file from before PyTorch 1.6."""

_DEPTH = 100
"""Of nested modules; what is deeper is no network."""


class ContentError(ValueError):
    """A file is whole, and holds something else; the message follows the name of the file."""


def read_torch_file(file: BinaryIO) -> dict[str, np.ndarray]:
    """Returns all tensors of a file by dotted name; quantized ones are dequantized.

    Args:
        file: with a state_dict, a checkpoint around one, a whole module or TorchScript; open, at
            its start.

    Raises:
        ContentError: there is no mapping and no module in it.
        PackedError: it has packed weights that cannot be told apart.
        Exception: it is damaged, in one of many ways.
    """
    archive = file.read(4) == b"PK\x03\x04"
    file.seek(0)
    root, storage = _open_archive(file) if archive else _open_pickles(file.read())
    if _parts(root) is None:
        what = root.kind if isinstance(root, Thing) else type(root).__name__
        raise ContentError(f"holds one {what}, and neither a state_dict nor a module")

    def read(tensor: Any) -> np.ndarray:
        items = tensor.read(storage(tensor.storage.key))
        if tensor.quantizer is None:
            return items
        scale, zero, axis = (
            read(part) if isinstance(part, Tensor) else part for part in tensor.quantizer
        )
        if axis is not None:
            shape = [-1 if axis == place else 1 for place in range(items.ndim)]
            scale, zero = scale.reshape(shape), zero.reshape(shape)
        return (scale * (items.astype(np.float64) - zero)).astype(np.float32)

    named = unpack(dict(_named(root, "", set())), read)
    return {
        name: read(value) if isinstance(value, Tensor) else value
        for name, value in named.items()
        if isinstance(value, Tensor | np.ndarray)
    }


def _open_archive(file: BinaryIO) -> tuple[Any, Callable[[str], bytes]]:
    """What data.pkl holds, and a function from the key of a storage to its bytes."""
    bounded = Bounded(file)
    left = bounded.size
    archive = zipfile.ZipFile(bounded)  # pyright: ignore[reportCallIssue, reportArgumentType]
    names = [name for name in archive.namelist() if name.endswith("/data.pkl")]
    if len(names) != 1:
        raise ContentError("is a zip archive that neither torch.save nor torch.jit.save has made")
    folder = names[0].removesuffix("data.pkl")

    @functools.cache
    def member(name: str) -> bytes:
        nonlocal left
        about = archive.getinfo(folder + name)
        left -= about.file_size
        if about.compress_type != zipfile.ZIP_STORED or left < 0:
            raise ContentError(f"is an archive whose {name} is compressed, which PyTorch's are not")
        return archive.read(about)

    root = read_pickle(io.BytesIO(member("data.pkl")), {})
    if f"{folder}byteorder" in archive.namelist():
        _check_byte_order(little=member("byteorder") == b"little")
    return root, lambda key: member(f"data/{key}")


def _open_pickles(data: bytes) -> tuple[Any, Callable[[str], bytes]]:
    """The same of a file from before PyTorch 1.6."""
    stream = io.BytesIO(data)
    if read_pickle(stream, {}) != _LEGACY:
        raise ContentError("is a pickle that torch.save has not made")
    storages: dict[str, Storage] = {}
    _version, system, root, keys = (read_pickle(stream, storages) for _ in range(4))
    _check_byte_order(little=system["little_endian"])
    start, places = stream.tell(), {}
    for key in keys:
        count = int.from_bytes(data[start : start + 8], "little")
        stop = start + 8 + count * storages[key].size
        if stop > len(data):
            raise ValueError("its numbers end too early")
        places[key] = slice(start + 8, stop)
        start = stop
    return root, functools.cache(lambda key: data[places[key]])


def _check_byte_order(*, little: bool) -> None:
    if not little:
        raise ContentError("was written with the most significant byte first; write it on another")


def _parts(value: Any) -> dict[Any, Any] | None:
    """What lies in a dict or a module, by name; None if a value is neither."""
    if isinstance(value, dict):
        return value
    state = value.state if isinstance(value, Thing) else None
    if not isinstance(state, dict):
        return None
    inner = [state.get(name, {}) for name in ("_parameters", "_buffers", "_modules")]
    if "_modules" in state and all(isinstance(part, dict) for part in inner):
        # Packed weights are no parameters, but an attribute.
        packed = {"param": state["param"]} if "param" in state else {}
        return packed | {name: entry for part in inner for name, entry in part.items()}
    return state if value.kind.startswith("__torch__.") else None


def _named(value: Any, prefix: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    """(dotted name, value) of all that lies in nested dicts and modules, each of these once."""
    seen.add(id(value))
    parts = _parts(value)
    assert parts is not None
    for key, part in parts.items():
        if _parts(part) is None:
            yield f"{prefix}{key}", part
        elif id(part) not in seen and prefix.count(".") < _DEPTH:
            yield from _named(part, f"{prefix}{key}.", seen)
