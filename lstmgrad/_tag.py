"""Marking values that a gradient may come through."""

from typing import TypeVar

from jax.ad_checkpoint import checkpoint_name

Value = TypeVar("Value")


def tag(value: Value, name: str) -> Value:
    """Returns the value, marked as one that a gradient may come through.

    Args:
        value: an array, or a pytree of arrays, inside a step.
        name: what the route is called; several values may share a name.

    Notes:
        JAX's own `checkpoint_name`: the identity for everything but `routes` (and rematerialization
        policies that ask for names). It costs nothing when compiled.
    """
    return checkpoint_name(value, name)
