"""What a declared structure is probed with: derivatives by the leaves of a state, and noise."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from lstmgrad._types import State


def inexact_leaves(state: State) -> list[Array]:
    """The leaves of a state that have derivatives.

    Args:
        state: a pytree of arrays.
    """
    leaves = jax.tree.leaves(state)
    return [leaf for leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.inexact)]


def with_inexact(state: State, values: list[Array]) -> State:
    """The state with other values in the leaves that have derivatives.

    Args:
        state: a pytree of arrays.
        values: one for each of these leaves.
    """
    leaves, treedef = jax.tree.flatten(state)
    queue = iter(values)
    filled = [next(queue) if jnp.issubdtype(leaf.dtype, jnp.inexact) else leaf for leaf in leaves]
    return jax.tree.unflatten(treedef, filled)


def noise(leaf: Array, generator: np.random.Generator) -> Any:
    """Normal numbers like a leaf: no two alike, where signs alone would coincide and see nothing.

    Args:
        leaf: real or complex; an entry that is not holomorphic has no complex factor.
        generator: of the numbers, from a fixed seed.
    """
    real, imaginary = generator.standard_normal((2, *leaf.shape))
    return real + 1j * imaginary if jnp.iscomplexobj(leaf) else real


def differs(seen: Array, wanted: Array, factor: Array) -> Array:
    """Whether a probe came out of a step otherwise than what was declared says.

    Args:
        seen: what came out.
        wanted: what should have.
        factor: what the step multiplies by; off by the square root of the dtype's epsilon of the
            largest entry of it is too far.
    """
    size = jnp.max(jnp.abs(factor), initial=0)
    tolerance = jnp.sqrt(jnp.finfo(factor.dtype).eps) * size
    return jnp.any(jnp.abs(seen - wanted) > 8 * tolerance)
