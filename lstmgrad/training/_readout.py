"""The linear readout: what a network says, from a part of its state."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from lstmgrad._chains.layout import layout_of
from lstmgrad._types import PartName, State


class Readout(NamedTuple):
    """output = weight @ part + bias.

    Attributes:
        weight: (o, size of the part).
        bias: (o,).

    Example:
        >>> lg.training.Readout(jnp.ones((2, 3)), jnp.zeros(2))(jnp.ones(3)).tolist()
        [3.0, 3.0]
    """

    weight: Float[Array, "*networks o size"]
    bias: Float[Array, "*networks o"]

    def __call__(self, part: Float[Array, " size"]) -> Float[Array, " o"]:
        """Returns what is said, (o,).

        Args:
            part: (size,), from `part_vector`.
        """
        return self.weight @ part + self.bias


def init_readout(key: PRNGKeyArray, state: State, part: PartName, output_size: int) -> Readout:
    """Returns a readout with Glorot normal weights and zero biases.

    Args:
        key: random key.
        state: a state of the model, or its shapes.
        part: which part of it is read.
        output_size: o.
    """
    layout = layout_of(state)
    block = layout.block(part, "read")
    shape = (output_size, block.stop - block.start)
    weight = jax.nn.initializers.glorot_normal()(key, shape, layout.dtype)
    return Readout(weight, jnp.zeros(output_size, layout.dtype))


def part_vector(state: State, part: PartName) -> Float[Array, " size"]:
    """Returns a part of a state as one real vector; complex numbers count as two real ones.

    Args:
        state: of the model.
        part: its name.
    """
    layout = layout_of(state)
    return layout.ravel(state)[layout.block(part, "read")]
