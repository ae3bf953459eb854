"""Trees of arrays as plain JSON with the arrays beside it, and back; nothing in a file is run.

A node of the JSON says what it is:

    null                                 None
    {"array": name}                      an array, or a typed key, found under its name
    {"value": 0.5}                       a number, a bool or a string of Python
    {"float": "inf"}, {"complex": [..]}  numbers that JSON cannot write
    {"list": [..]}, {"tuple": [..]}      in order
    {"dict": [[key, node], ..]}          in order; keys are strings or whole numbers
    {"kind": name, "fields": {..}}       a record or a NamedTuple of the package, by public name

Classes are looked up by their public name in this package and nowhere else. Those of other packages
are written as a dict of what JAX finds in them.
"""

import dataclasses
import importlib
import math
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np

from lstmgrad._leaves import leaf_name


class UnknownKindError(ValueError):
    """A record or NamedTuple that this version of the package cannot make; says which."""


ROOMS = ("cells", "interop", "training")
"""Subpackages whose public records and NamedTuples are restored as themselves."""

_NAME = re.compile(rf"(?:(?:{'|'.join(ROOMS)})\.)?[A-Za-z]\w*")
_DTYPE = re.compile(r"bool|u?int\d+|b?float\d+(_\w+)?|complex(64|128)")


class Stored(NamedTuple):
    """An array as it lies in a file.

    Attributes:
        data: of a dtype that every NumPy reads; others are whole numbers of the same bits.
        dtype: the name of the dtype that it has in truth.
        key: the algorithm of typed random keys, whose words the data are; None for numbers.
    """

    data: np.ndarray
    dtype: str
    key: str | None


def public_class(name: Any) -> type | None:
    """The class with a public name, "NormProfile" or "cells.LSTMParams"; None if there is none."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        return None
    room, _, last = name.rpartition(".")
    found = getattr(importlib.import_module(f"lstmgrad.{room}".rstrip(".")), last, None)
    return found if isinstance(found, type) and fields_of(found) is not None else None


def public_name(kind: type) -> str | None:
    """The public name of a class; None for classes without one."""
    package, _, rest = kind.__module__.partition(".")
    room = rest.partition(".")[0]
    name = f"{room}.{kind.__name__}" if room in ROOMS else kind.__name__
    return name if package == "lstmgrad" and public_class(name) is kind else None


def fields_of(kind: type) -> dict[str, bool] | None:
    """The fields of a record by name, and whether each is static; None for other classes."""
    if issubclass(kind, tuple):
        names = getattr(kind, "_fields", None)
        return None if names is None else dict.fromkeys(names, False)
    if not dataclasses.is_dataclass(kind):
        return None
    return {
        field.name: bool(field.metadata.get("static", False)) for field in dataclasses.fields(kind)
    }


def encode(tree: Any, arrays: dict[str, Stored], path: tuple = ()) -> Any:
    """The JSON of a tree.

    Args:
        tree: of containers, arrays and plain numbers.
        arrays: where arrays are put, under names that say where they were.
        path: the way to the tree, as JAX writes it.

    Raises:
        ValueError: a leaf or a key that cannot be kept, by name.
    """
    if tree is None:
        return None
    # First of all, because some numbers of NumPy are numbers of Python as well.
    if isinstance(tree, jax.Array | np.ndarray | np.generic):
        name = _free_name(path, arrays)
        arrays[name] = _stored(tree, path)
        return {"array": name}
    if isinstance(tree, bool | int | float | complex | str):
        return _encode_number(tree)
    kind = type(tree)
    if kind in (list, tuple):
        children = [encode(c, arrays, (*path, jtu.SequenceKey(i))) for i, c in enumerate(tree)]
        return {kind.__name__: children}
    if kind is dict:
        return _encode_dict([((*path, jtu.DictKey(key)), key, tree[key]) for key in tree], arrays)
    if name := public_name(kind):
        nodes = {}
        for field, static in (fields_of(kind) or {}).items():
            value, below = getattr(tree, field), (*path, jtu.GetAttrKey(field))
            nodes[field] = _encode_static(value, below) if static else encode(value, arrays, below)
        return {"kind": name, "fields": nodes}
    children, _ = jtu.tree_flatten_with_path(tree, is_leaf=lambda node: node is not tree)
    if len(children) == 1 and not children[0][0]:
        raise ValueError(
            f"result: expected arrays and numbers, but leaf {leaf_name(path)} is of type "
            f"{kind.__name__}."
        )
    return _encode_dict([((*path, *p), _key_of(p), child) for p, child in children], arrays)


def _encode_dict(entries: list[tuple[tuple, Any, Any]], arrays: dict[str, Stored]) -> Any:
    for path, key, _ in entries:
        if type(key) not in (str, int):
            raise ValueError(
                f"result: expected strings or whole numbers as keys of dicts, but got {key!r} at "
                f"{leaf_name(path)}."
            )
    return {"dict": [[key, encode(child, arrays, path)] for path, key, child in entries]}


def _key_of(path: tuple) -> Any:
    """The name of a child of a container of another package."""
    step = path[-1]
    for attribute in ("key", "name", "idx"):
        if hasattr(step, attribute):
            return getattr(step, attribute)
    return str(step)


def _encode_number(value: Any) -> Any:
    if isinstance(value, complex):
        return {"complex": [_encode_number(value.real), _encode_number(value.imag)]}
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(float(value))}
    plain = next(kind for kind in (bool, int, float, str) if isinstance(value, kind))
    return {"value": plain(value)}


def _encode_static(value: Any, path: tuple) -> Any:
    """What a static field may hold: None, numbers and strings."""
    value = value.item() if isinstance(value, np.generic) else value
    if value is None:
        return None
    if not isinstance(value, bool | int | float | str):
        raise ValueError(
            f"result: expected a number, a string or None in the field {leaf_name(path)}, but got "
            f"{value!r}."
        )
    return _encode_number(value)


def _free_name(path: tuple, arrays: dict[str, Stored]) -> str:
    """A name for an array that says where it was, and that any file system would take."""
    where = leaf_name(path) if path else "array"
    name = re.sub(r"\W+", ".", where, flags=re.ASCII).strip(".")[:100]
    taken = {other.lower() for other in arrays}
    free, count = name or "array", 1
    while free.lower() in taken:
        count += 1
        free = f"{name or 'array'}.{count}"
    return free


def _stored(leaf: Any, path: tuple) -> Stored:
    key = None
    try:
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            key, leaf = str(jax.random.key_impl(leaf)), jax.random.key_data(leaf)
        data = np.asarray(leaf, order="C")
    except (jax.errors.JAXTypeError, RuntimeError) as error:
        traced = isinstance(error, jax.errors.JAXTypeError)
        why = "traced: save outside jit and vmap" if traced else f"not here to read: {error}"
        raise ValueError(f"result: leaf {leaf_name(path)} is {why}.") from None
    dtype = known_dtype(data.dtype.name)
    if dtype is None:
        raise ValueError(
            f"result: expected numbers that JAX knows, but leaf {leaf_name(path)} is {data.dtype}."
        )
    # The lowest byte first; a dtype that NumPy does not know as the bits that it has.
    data = data.astype(dtype.newbyteorder("<") if dtype.isbuiltin == 1 else dtype, copy=False)
    return Stored(data.view(dtype_on_disk(dtype)), dtype.name, key)


def known_dtype(name: Any) -> np.dtype | None:
    """The dtype of numbers with a name; None where JAX has none."""
    if not isinstance(name, str) or not _DTYPE.fullmatch(name):
        return None
    kind = getattr(jnp, "bool_" if name == "bool" else name, None)
    return None if kind is None else np.dtype(kind)


def dtype_on_disk(dtype: np.dtype) -> np.dtype:
    """The dtype that is written, which every NumPy reads."""
    return (dtype if dtype.isbuiltin == 1 else np.dtype(f"u{dtype.itemsize}")).newbyteorder("<")


def restored(stored: Stored) -> Any:
    """The array as it was: of JAX, or of NumPy where JAX as it is set would round it.

    Args:
        stored: with data of the dtype on disk.
    """
    dtype = known_dtype(stored.dtype)
    if dtype is None or stored.data.dtype != dtype_on_disk(dtype):
        raise ValueError(stored.dtype)
    data = stored.data.view(dtype)
    if stored.key is not None:
        return jax.random.wrap_key_data(jnp.asarray(data), impl=stored.key)
    return jnp.asarray(data) if jax.dtypes.canonicalize_dtype(dtype) == dtype else data


def decode(node: Any, arrays: Callable[[str], Any]) -> Any:
    """The tree of a JSON.

    Args:
        node: as `encode` made it.
        arrays: gives the array with a name.

    Raises:
        UnknownKindError: a record or NamedTuple that the package does not have, or has with other
            fields.
    """
    if node is None:
        return None
    if "kind" in node:
        return _decode_fields(node["kind"], node["fields"], arrays)
    ((what, value),) = node.items()
    match what:
        case "array":
            return arrays(value)
        case "list" | "tuple":
            children = [decode(child, arrays) for child in value]
            return children if what == "list" else tuple(children)
        case "dict":
            return {key: decode(child, arrays) for key, child in value}
        case _:
            return _decode_number(what, value)


def _decode_fields(name: Any, nodes: dict[str, Any], arrays: Callable[[str], Any]) -> Any:
    kind = public_class(name)
    if kind is None:
        raise UnknownKindError(f"{name!r}, which is not a record of this version of lstmgrad")
    fields = fields_of(kind) or {}
    if set(fields) != set(nodes):
        raise UnknownKindError(
            f"a {name} with the fields {', '.join(nodes)}, where this version of lstmgrad has "
            f"{', '.join(fields)}"
        )
    values = {field: decode(nodes[field], arrays) for field in fields}
    if issubclass(kind, tuple):
        return kind(**values)
    # As JAX puts a record together, which is no call of its class.
    record = object.__new__(kind)
    for field, value in values.items():
        if fields[field]:
            hash(value)
        object.__setattr__(record, field, value)
    return record


def _decode_number(what: str, value: Any) -> Any:
    if what == "complex":
        real, imag = (decode(part, _no_arrays) for part in value)
        return complex(real, imag)
    if what == "float":
        return float(value)
    if what == "value" and isinstance(value, bool | int | float | str):
        return value
    raise ValueError(what)


def _no_arrays(name: str) -> Any:
    raise ValueError(name)
