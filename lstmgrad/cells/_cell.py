"""What a cell is: three pure functions."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from lstmgrad._types import Params, State, StepFn

Initializer = Callable[..., Array]
"""``initializer(key, shape, dtype) -> array``, as those of `jax.nn.initializers`."""

GLOROT = jax.nn.initializers.glorot_normal()


class Cell(NamedTuple):
    """A recurrent cell as a record of pure functions.

    Attributes:
        init: ``init(key) -> params``.
        initial_state: ``initial_state() -> state``, all zeros.
        step: ``step(params, state, x) -> state`` for one sequence, no batch axis. The same object
            for every cell of the kind, so it is a stable key of the compilation cache.
    """

    init: Callable[[PRNGKeyArray], Params]
    initial_state: Callable[[], State]
    step: StepFn


def identity(scale: float = 1.0) -> Initializer:
    """Returns an initializer that gives ``scale * I``, for the recurrent weights of an IRNN.

    Args:
        scale: the factor on the identity.

    References:
        Le, Jaitly, Hinton 2015 (arXiv:1504.00941).
    """

    def init(key: PRNGKeyArray, shape: tuple[int, ...], dtype=None) -> Array:
        return scale * jnp.eye(*shape, dtype=dtype)

    return init


def stacked(
    initializer: Initializer, key: PRNGKeyArray, gates: int, shape: tuple[int, int], dtype
) -> Float[Array, "rows columns"]:
    """One weight matrix a gate, each initialized by itself, stacked along axis 0.

    Stacking first and initializing then would give the wrong fan-out, and gates that are orthogonal
    to one another instead of orthogonal matrices.
    """
    # Initializers take (fan-in, fan-out); a weight here maps columns to rows.
    rows, columns = shape
    blocks = [initializer(k, (columns, rows), dtype).T for k in jax.random.split(key, gates)]
    return jnp.concatenate(blocks, axis=0)


def default_float(dtype):
    """The dtype asked for, or JAX's default float (float64 where x64 is on)."""
    return jnp.zeros((), dtype).dtype
