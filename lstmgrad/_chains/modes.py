"""Derivatives of a step by the mode of differentiation that it has.

    forward   v ↦ J v        a step with a loop of unknown length has this mode alone
    reverse   u ↦ u J        a step with a backward rule of its own has this mode alone

Either gives what the other is asked for. Reverse mode pushes, since u ↦ u J is linear and so is its
own derivative: pulling v back through it gives J v. Forward mode pulls with the whole matrix, J
times the unit vectors. And wherever a step is differentiated its slopes hold far in saturation.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lstmgrad._chains.saturation import saturating


def push_block(function: Callable[[Any], Any], point: Any, rows: Any) -> tuple[Any, Any]:
    """Returns the value of a function and J v for every row v.

    Args:
        function: from a pytree of arrays to another.
        point: where J is taken.
        rows: like the point, with an axis of rows in front.

    Notes:
        One jvp batched over the rows; without forward mode two vjps.
    """
    sharp = saturating(function)
    count = next((len(leaf) for leaf in jax.tree.leaves(rows)), 1)  # one of nothing

    def forward() -> tuple[Any, Any]:
        value, push = jax.linearize(sharp, point)
        return value, jax.vmap(push, axis_size=count)(rows)

    def reverse() -> tuple[Any, Any]:
        value, pull = jax.vjp(sharp, point)
        # A linear map is its own derivative, everywhere.
        _, push = jax.vjp(lambda row: pull(row)[0], jax.tree.map(jnp.zeros_like, value))
        return value, jax.vmap(lambda row: push(row)[0], axis_size=count)(rows)

    return _first_of(forward, reverse)


def pull_block(
    function: Callable[[Array], Array], point: Float[Array, " n"], rows: Float[Array, "m after"]
) -> tuple[Float[Array, " after"], Float[Array, "m n"]]:
    """Returns the value of a function and u J for every row u.

    Args:
        function: from flat vectors to flat vectors.
        point: where J is taken.
        rows: as wide as what the function returns.

    Notes:
        One vjp batched over the rows; without reverse mode n jvps.
    """
    sharp = saturating(function)

    def reverse() -> tuple[Array, Array]:
        value, pull = jax.vjp(sharp, point)
        return value, jax.vmap(lambda row: pull(row)[0])(rows)

    def forward() -> tuple[Array, Array]:
        value, push = jax.linearize(sharp, point)
        columns = jax.vmap(push)(jnp.eye(point.size, dtype=point.dtype))
        return value, jnp.matmul(rows, columns.T)

    return _first_of(reverse, forward)


def pulling(
    function: Callable[..., Any], *points: Any, why: str
) -> tuple[Any, Callable[[Any], Any]]:
    """Returns the value of a function and u ↦ u J, by reverse mode, which nothing stands in for.

    Args:
        function: from pytrees of arrays to another.
        points: where J is taken.
        why: who pulls where to, for the message.

    Raises:
        ValueError: the function has no reverse mode.
    """

    def checked(call: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return call(*arguments)
        except Exception as error:
            reason = str(error).strip().splitlines()[0].rstrip(".")
            raise ValueError(
                f"step: expected one with a reverse mode, because {why}, but JAX says: {reason}. "
                "Norms, spectra, routes and the adjoint do without; a loop of known length, "
                "jax.lax.scan, has both modes."
            ) from error

    value, pull = checked(jax.vjp, saturating(function), *points)
    return value, lambda row: checked(pull, row)


def _first_of(own: Callable[[], tuple], other: Callable[[], tuple]) -> tuple:
    """What the one mode gives, or the other if a step lacks it; JAX's error if it has neither."""
    try:
        return own()
    except Exception as error:
        try:
            return other()
        except Exception:
            raise error from None
