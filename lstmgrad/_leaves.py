"""How a message calls the leaves of a pytree."""

import dataclasses
from typing import Any

import jax.numpy as jnp
import jax.tree_util as jtu


def leaf_name(path: Any) -> str:
    """The name of a pytree leaf as one would write it in code, `.h` or `['h'][0]`."""
    return jtu.keystr(path) or "the whole array"


def type_name(leaf: Any) -> str:
    """`float32[4,8]`, for messages."""
    return f"{jnp.result_type(leaf).name}[{','.join(map(str, jnp.shape(leaf)))}]"


def unregistered(leaf: Any) -> str:
    """What to do about a dataclass that JAX does not look into."""
    if not dataclasses.is_dataclass(leaf):
        return ""
    return (
        f" Make it a pytree: jax.tree_util.register_dataclass({type(leaf).__name__}), or a "
        "NamedTuple or eqx.Module instead."
    )
