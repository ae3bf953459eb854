"""Weights that lie in several files, and folders with a model's files: which are meant.

An index, `model.safetensors.index.json`, has a "weight_map": for each tensor the file that holds
it, in the same folder.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

_NAMES = ("model.safetensors", "pytorch_model.bin", "model.pt", "model.pth")
"""What a folder's weights are called, the first before the others."""


def find_index(path: Path) -> Path:
    """Returns the file of weights, or the index of several, that a folder holds; a file is itself.

    Args:
        path: of a folder or a file.

    Raises:
        ValueError: the folder has none under the usual names.
    """
    if not path.is_dir():
        return path
    for name in _NAMES:
        for file in (path / name, path / f"{name}.index.json"):
            if file.is_file():
                return file
    raise ValueError(
        f"source: expected a folder with {', '.join(_NAMES)}, or the .index.json of one of these, "
        f"but {path.name} has none. Pass the path of the file."
    )


def read_index(path: Path, read: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    """Returns all tensors that an index names, each from the file that holds it.

    Args:
        path: of the index.
        read: from the path of a file to its tensors by name.

    Raises:
        ValueError: it is not an index; a tensor is not in the file that it should be in, or that
            is missing or in another folder.
    """
    try:
        places = json.loads(path.read_bytes())["weight_map"]
        entries = [(str(name), str(file)) for name, file in places.items()]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise ValueError(
            "source: expected an index with a weight_map from tensors to files, but got "
            f"{path.name}. Pass the path of the index, model.safetensors.index.json, or of one "
            "file of weights."
        ) from None
    files = {}
    for file in sorted({file for _, file in entries}):
        known = Path(file).name == file and (path.parent / file).is_file()
        if not known or file.endswith(".json"):
            raise ValueError(
                f"source: expected all files that {path.name} names beside it, but {file!r} is not "
                "there. Fetch the whole folder."
            )
        files[file] = read(path.parent / file)
    for name, file in entries:
        if name not in files[file]:
            raise ValueError(
                f"source: expected {name} in {file}, as {path.name} says, but it is not there. "
                "The files are not of one model, or one is of another version."
            )
    return {name: files[file][name] for name, file in entries}
