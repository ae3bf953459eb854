"""One factor J_t: the step as a function of the flat state, and blocks that move through it."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact

from lstmgrad._chains.layout import Layout
from lstmgrad._chains.modes import pull_block, push_block
from lstmgrad._types import Inputs, State


def flat_step(step: Callable[[State, Inputs], State], layout: Layout, factor: Any):
    """The step as a function of the flat state, and the flat s_{t-1}.

    Args:
        step: the step with its parameters.
        layout: between the state and the flat vector.
        factor: s_{t-1} and x_t.
    """
    state, x = factor
    return lambda flat: layout.ravel(step(layout.unravel(flat, state), x)), layout.ravel(state)


def push_rows(step: Callable, flat: Float[Array, " n"], rows: Float[Array, "m n"]):
    """J v for every row v, one jvp batched over the rows, or what stands in for it.

    Args:
        step: a function of the flat state.
        flat: where J is taken.
        rows: (m, n).
    """
    with jax.default_matmul_precision("highest"):
        return nan_with(*push_block(step, flat, rows))


def pull_rows(step: Callable, flat: Float[Array, " n"], rows: Float[Array, "m n"]):
    """U J for every row u, one vjp batched over the rows, or what stands in for it.

    Args:
        step: a function of the flat state.
        flat: where J is taken.
        rows: (m, n).
    """
    with jax.default_matmul_precision("highest"):
        return nan_with(*pull_block(step, flat, rows))


def nan_with(after: Float[Array, "*T n"], block: Inexact[Array, "..."]):
    """The block, or all NaN where the step led to NaN.

    Derivatives of a selection are finite even there: that of relu at NaN is 0, and a broken
    trajectory would read as a vanished gradient.

    Args:
        after: the state after the step.
        block: a derivative.
    """
    return jnp.where(jnp.any(jnp.isnan(after)), jnp.nan, block)
