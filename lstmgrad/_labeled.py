"""Results under the names of their axes: data frames of pandas, data sets of xarray.

A record says by `_axes` which axes its arrays have for one sequence, and what stands along them. A
batch adds the axis "member" in front, or "member_0", "member_1", ...
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.tree_util as jtu
import numpy as np

from lstmgrad._packages import require


class Axes:
    """The axes of the arrays of a record, for one sequence.

    Args:
        arrays: by field or property, the names of its axes with blanks between; of a tree, those of
            each leaf.
        **ticks: by axis, the field that stands along it, or the number of its first entry where
            that is not 1.
    """

    def __init__(self, arrays: Mapping[str, str], **ticks: str | int):
        self.arrays, self.ticks = arrays, ticks


class Labeled(NamedTuple):
    """Arrays with the names of their axes.

    Attributes:
        variables: by name, the axes and the array.
        ticks: by axis, what stands along it.
        about: plain numbers and words.
    """

    variables: dict[str, tuple[tuple[str, ...], np.ndarray]]
    ticks: dict[str, np.ndarray]
    about: dict[str, Any]

    def to_dataframe(self) -> Any:
        """Returns the variables with the axes of the first one as columns of a DataFrame."""
        pandas = require("pandas", "tables")
        axes = next(iter(self.variables.values()))[0]
        columns = {
            name: array.reshape(-1) for name, (own, array) in self.variables.items() if own == axes
        }
        ticks = [self.ticks[axis] for axis in axes]
        if len(axes) == 1:
            index = pandas.Index(ticks[0], name=axes[0])
        elif axes:
            index = pandas.MultiIndex.from_product(ticks, names=axes)
        else:
            index = None
        frame = pandas.DataFrame(columns, index)
        frame.attrs.update(self.about)
        return frame

    def to_xarray(self) -> Any:
        """Returns all variables as a Dataset, with the ticks as its coordinates."""
        return require("xarray", "tables").Dataset(self.variables, self.ticks, self.about)


def labeled(record: Any, axes: Axes, batch: tuple[int, ...]) -> Labeled:
    """Returns the arrays of a record under the names of their axes.

    Args:
        record: with arrays of NumPy.
        axes: of its arrays.
        batch: the sizes of the axes in front.
    """
    members = ("member",) if len(batch) == 1 else tuple(f"member_{i}" for i in range(len(batch)))
    variables = {}
    for field, own in axes.arrays.items():
        for path, leaf in jtu.tree_leaves_with_path(getattr(record, field)):
            name = field + "".join(f".{_key(step)}" for step in path)
            variables[name] = ((*members, *own.split()), _native(leaf))
    sizes = dict(zip(members, batch, strict=True))
    for own, array in variables.values():
        sizes |= zip(own, array.shape, strict=True)
    along = {axis: np.arange(sizes[axis]) + (axis not in members) for axis in sizes}
    for axis, what in axes.ticks.items():
        if isinstance(what, int):
            along[axis] = np.arange(what, what + sizes[axis])
            continue
        points = np.asarray(getattr(record, what)).reshape(math.prod(batch), -1)
        if len(points) and (points == points[0]).all():
            along[axis] = points[0]
        else:  # every member has its own
            along[axis] = np.arange(sizes[axis])
            variables[what] = ((*members, axis), _native(getattr(record, what)))
    return Labeled(variables, along, _about(record))


def _key(step: Any) -> str:
    """The name of one step on the way to a leaf."""
    return str(next(getattr(step, name) for name in ("key", "name", "idx") if hasattr(step, name)))


def _native(leaf: Any) -> np.ndarray:
    """An array in a dtype that NumPy itself has."""
    array = np.asarray(leaf)
    return array if array.dtype.kind in "biufc" else array.astype(np.float32)


def _about(record: Any) -> dict[str, Any]:
    """The fields that hold words and plain numbers."""
    fields = vars(record).items()
    found = {name: value for name, value in fields if isinstance(value, str | int | float)}
    # netCDF has no booleans.
    found |= {name: int(value) for name, value in found.items() if isinstance(value, bool)}
    return {"kind": type(record).__name__, **found}


def frame_of(rows: list[dict[str, Any]], index: list[str]) -> Any:
    """Returns rows as a DataFrame of pandas.

    Args:
        rows: with the same keys; at least one.
        index: the keys that name a row.
    """
    return require("pandas", "tables").DataFrame(rows).set_index(index)
