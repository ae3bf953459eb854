"""One factor J_t: the step as a function of the flat state, and blocks that move through it."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact

from lstmgrad._chains.elsewhere import CurrentStep
from lstmgrad._chains.half import is_half, widened
from lstmgrad._chains.layout import Layout
from lstmgrad._chains.modes import pull_block, push_block
from lstmgrad._chains.run import BoundStep
from lstmgrad._types import Inputs, Params, State, StepFn


def flat_step(step: BoundStep, layout: Layout, factor: Any):
    """The step as a function of the flat state, and the flat s_{t-1}.

    Args:
        step: the step with its parameters.
        layout: between the state and the flat vector.
        factor: s_{t-1} and x_t.
    """
    function, params = step.parts()
    params, state, x = in_single(function, params, *factor)

    def after(flat: Float[Array, " n"]) -> Float[Array, " n"]:
        return layout.ravel(function(params, layout.unravel(flat, state), x))

    return after, layout.ravel(state)


def in_single(step: StepFn, params: Params, state: State, x: Inputs) -> tuple:
    """The arguments of a step where it is differentiated: float32 in place of half precision.

    The states stay those of the model itself, and what a small change does at these states is
    calculated in float32: rounding it to a few bits at every step would be an error that grows
    with T. As they are where the state has no half precision, or the step does not take float32
    for it; see `half` for what it casts itself.

    Args:
        step: the step.
        params: its parameters.
        state: where it is differentiated.
        x: the input there.
    """
    arguments = params, state, x
    if not any(is_half(leaf.dtype) for leaf in jax.tree.leaves(state)):
        return arguments
    wide = jax.tree.map(widened, arguments)
    try:
        after = jax.eval_shape(lambda: step(*wide))
    except Exception:
        return arguments
    fits = not isinstance(step, CurrentStep) and _kinds(after) == _kinds(state)
    return wide if fits else arguments


def _kinds(state: State) -> Any:
    return jax.tree.structure(state), [leaf.shape for leaf in jax.tree.leaves(state)]


def push_rows(step: Callable, flat: Float[Array, " n"], rows: Float[Array, "m n"]):
    """J v for every row v, one jvp batched over the rows, or what stands in for it.

    Args:
        step: a function of the flat state, or of a flat input.
        flat: where J is taken.
        rows: (m, n).
    """
    with jax.default_matmul_precision("highest"):
        return nan_with(*push_block(step, flat, rows))


def pull_rows(step: Callable, flat: Float[Array, " n"], rows: Float[Array, "m after"]):
    """U J for every row u, one vjp batched over the rows, or what stands in for it.

    Args:
        step: a function of the flat state, or of a flat input.
        flat: where J is taken.
        rows: as wide as what the function returns.
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
