"""Marking values that a gradient may come through."""

from typing import TypeVar

from jax.ad_checkpoint import checkpoint_name

from lstmgrad._calls import public
from lstmgrad._leaves import shown

Value = TypeVar("Value")


@public
def tag(value: Value, name: str) -> Value:
    """Returns the value, marked as one that a gradient may come through.

    Args:
        value: an array, or a pytree of arrays, inside a step.
        name: what the route is called; several values may share a name.

    Raises:
        ValueError: the name is not a text.

    Notes:
        JAX's own `checkpoint_name`: the identity for everything but `routes` (and rematerialization
        policies that ask for names). It costs nothing when compiled.

    Example:
        >>> def step(params, state, x):
        ...     return lg.tag(jnp.tanh(params @ state), "recurrent") + lg.tag(0.5 * state, "carry")
        >>> tagged = lg.chain(lg.Model(step, jnp.eye(2), jnp.ones(2)), jnp.zeros(6))
        >>> sorted(lg.routes(tagged))
        ['carry', 'crossed', 'recurrent', 'untagged']
    """
    if not isinstance(name, str):
        raise ValueError(
            f"name: expected a text, but got {shown(name)}. Write tag(value, 'name of the route')."
        )
    return checkpoint_name(value, name)
