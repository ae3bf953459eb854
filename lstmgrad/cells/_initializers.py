"""Where a network starts: initializers that decide how far its first gradients reach.

An initializer is ``initializer(key, shape, dtype) -> array``, as in `jax.nn.initializers`, for
the `recurrent_init` of a cell or for a leaf of another framework.
"""

import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from lstmgrad.cells._cell import Initializer


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
