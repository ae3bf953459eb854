"""How a message calls the leaves of a pytree."""

import dataclasses
from typing import Any

import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np

_SHORT = 40
"""Characters of a value that a message shows."""


def leaf_name(path: Any) -> str:
    """The name of a pytree leaf as one would write it in code, `.h` or `['h'][0]`."""
    return jtu.keystr(path) or "the whole array"


def type_name(leaf: Any) -> str:
    """`float32[4,8]`, for messages; the name of its type for what is no array of numbers."""
    kind = dtype_of(leaf)
    if kind is None:
        return type(leaf).__name__
    return f"{kind.name}[{','.join(map(str, jnp.shape(leaf)))}]"


def dtype_of(leaf: Any) -> Any:
    """The dtype of a number or of an array of numbers, None for anything else."""
    # JAX takes texts and types for the names of dtypes: "f" and float for a float.
    if isinstance(leaf, str | bytes | type | np.dtype | tuple | list | dict):
        return None
    try:
        return jnp.result_type(leaf)
    except (TypeError, ValueError):
        return None


def kind_of(value: Any) -> str:
    """What kind of thing was passed: the dtype and shape of an array, otherwise its class."""
    if value is None:
        return "None"
    return type(value).__name__ if dtype_of(value) is None else type_name(value)


def shown(value: Any) -> str:
    """A value as one would write it, where that is short; otherwise what it is.

    Args:
        value: whatever was passed.
    """
    if dtype_of(value) is not None and hasattr(value, "shape"):
        return type_name(value)
    text = repr(value)
    if len(text) <= _SHORT and not text.startswith("<"):
        return text
    return getattr(value, "__name__", None) or type(value).__name__


def unregistered(leaf: Any) -> str:
    """What to do about a dataclass that JAX does not look into."""
    if not dataclasses.is_dataclass(leaf):
        return ""
    return (
        f" Make it a pytree: jax.tree_util.register_dataclass({type(leaf).__name__}), or a "
        "NamedTuple or eqx.Module instead."
    )
