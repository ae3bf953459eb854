"""Arrays in HDF5 files of Keras: of a cell, by the layers around it.

They are read by pyfive, which is Python alone: the library in C that other readers have does not
return from some damaged files. An array is what the file itself stores, in one piece as Keras
writes it; those of other files, and those that are made up as they are read, are refused.
"""

import io
import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from lstmgrad._checks import require


class Step(NamedTuple):
    """One step from a model to a cell inside it.

    Attributes:
        container: "layers" or "cells" for one of several, empty for an attribute of its own.
        key: the name of the attribute, or that of a class with its count, ``"lstm_1"``.
        name: of the layer.
        place: among those of the container.
    """

    container: str
    key: str
    name: str = ""
    place: int = 0


class Grouped:
    """Arrays in groups by class and count, as in `model.weights.h5`."""

    def __init__(self, data: bytes):
        self.file = _File(data)

    def of_cell(self, steps: tuple[Step, ...]) -> list[np.ndarray]:
        """Returns kernel, recurrent kernel and, if there is one, bias.

        Args:
            steps: from the model to the cell.
        """
        group = self.file.root
        for step in steps:
            if step.container:
                group = self.file.inside(group, step.container)
            group = self.file.inside(group, self._key(group, step))
        arrays = self.file.inside(group, "vars")
        return [self.file.array(arrays, str(index)) for index in range(len(arrays))]

    def _key(self, group: Any, step: Step) -> str:
        """The key of a step; files of later versions have the names of layers, which are surer."""
        base = re.sub(r"_\d+$", "", step.key)
        for key in group:
            if step.name and re.fullmatch(rf"{re.escape(base)}(_\d+)?", key):
                inner = self.file.inside(self.file.inside(group, key), "vars")
                if self.file.attributes(inner).get("name") == step.name:
                    return key
        return step.key


class Named:
    """Arrays by the names of layers and weights, as in an `.h5` file of a whole model."""

    def __init__(self, data: bytes):
        self.file = _File(data)

    def attribute(self, name: str) -> str:
        """Returns an attribute of the file as text."""
        value = self.file.attributes(self.file.root)[name]
        return value.decode() if isinstance(value, bytes) else str(value)

    def of_cell(self, steps: tuple[Step, ...]) -> list[np.ndarray]:
        """Returns kernel, recurrent kernel and, if there is one, bias.

        Args:
            steps: from the model to the cell.
        """
        top = self.file.inside(self.file.inside(self.file.root, "model_weights"), steps[0].name)
        folders: dict[str, dict[str, str]] = {}
        for name in map(_text, self.file.attributes(top)["weight_names"]):
            folder, _, leaf = name.rpartition("/")
            folders.setdefault(folder, {})[leaf.partition(":")[0]] = name
        for step in steps[1:]:
            side = step.key.removesuffix("_layer")
            folders = {
                folder: leaves
                for folder, leaves in folders.items()
                if (step.container != "layers" or step.name in folder.split("/"))
                and (side not in ("forward", "backward") or f"{side}_" in folder)
            }
        order = [step.place for step in steps if step.container == "cells"]
        leaves = list(folders.values())[order[0] if order else 0]
        if not order and len(folders) != 1:
            raise ValueError("several cells")
        kinds = ("kernel", "recurrent_kernel", "bias")
        return [self._dataset(top, leaves[kind]) for kind in kinds if kind in leaves]

    def _dataset(self, top: Any, name: str) -> np.ndarray:
        *folders, leaf = name.split("/")
        for folder in folders:
            top = self.file.inside(top, folder)
        return self.file.array(top, leaf)


Arrays = Grouped | Named
"""A file with the arrays of cells."""


class _File:
    """An HDF5 file in memory."""

    def __init__(self, data: bytes):
        self.library = require("pyfive", "keras")
        self.data = data
        self.root = self.library.File(io.BytesIO(data))

    def inside(self, group: Any, key: str) -> Any:
        """Returns what lies in a group."""
        if not isinstance(group, self.library.Group) or "/" in key:
            raise ValueError(f"no {key}")
        return group[key]

    def attributes(self, group: Any) -> Mapping[str, Any]:
        """Returns the attributes of a group, of which none has more entries than it has bytes.

        pyfive makes room for as many as the shape says, and that of a damaged file is any number.
        """
        stored = group._dataobjects
        read = stored._attr_value

        def bounded(kind: Any, data: bytes | None, count: int, start: int) -> Any:
            if not 0 <= count <= max(len(data or b"") - start, 0):
                raise ValueError("an attribute that is cut off")
            return read(kind, data, count, start)

        stored._attr_value = bounded
        return group.attrs

    def array(self, group: Any, key: str) -> np.ndarray:
        """Returns an array that the file stores in a group, in one piece."""
        found = self.inside(group, key)
        if not isinstance(found, self.library.Dataset) or found.dtype.kind not in "fiu":
            raise ValueError(f"no array {key}")
        start, items = getattr(found.id, "data_offset", -1), math.prod(found.shape)
        if not 0 < start <= len(self.data) - items * found.dtype.itemsize:
            raise ValueError(f"{key} is not in the file in one piece")
        return np.frombuffer(self.data, found.dtype, items, start).reshape(found.shape)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
