"""What a step that cannot run was probably given: tried, and said only where it then runs."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import jax.tree_util as jtu

from lstmgrad._leaves import type_name
from lstmgrad._types import Inputs, Params, State, StepFn


def check_callable(step: Any) -> None:
    """The step is a function."""
    if callable(step):
        return
    way = "Pass its step, cell.step." if hasattr(step, "step") else "Write one."
    raise ValueError(
        "step: expected a function step(params, state, x) -> state, but got "
        f"{type(step).__name__}. {way}"
    )


def explained(step: StepFn, params: Params, state: State, x: Inputs) -> str | None:
    """Returns the sentence of a known mistake, once the step is seen to run without it.

    Args:
        step: a step that failed, or changed its state.
        params: what it was given, like the rest.
        state: the state before.
        x: the input of one step.
    """
    if _runs(step, state, params, x):
        return (
            "params, state: expected them in this order, step(params, state, x), but got them "
            "the other way around. Exchange them."
        )
    for key, child in _children(params):
        if _runs(step, child, state, x):
            return (
                "params: expected the tree that the step reads, but got one that has it under "
                f"{key!r}. Pass params[{key!r}]."
            )
    leaves = jax.tree.leaves(x)
    what = ", ".join(type_name(leaf) for leaf in leaves)
    if leaves and all(jnp.ndim(leaf) > 0 for leaf in leaves):
        one = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), x)
        if _runs(step, params, state, one):
            return (
                f"inputs: expected those of one sequence, time first, but got a batch: {what} at "
                "every step. Wrap the call: jax.vmap(lambda one: lg.chain(model, one))(inputs)."
            )
    width = _width(step, params, state, x)
    if width is None:
        return None
    tokens = jnp.ndim(leaves[0]) == 0 and not jnp.issubdtype(leaves[0].dtype, jnp.inexact)
    way = "Embed the tokens: table[tokens], or jax.nn.one_hot(tokens, count)." if tokens else ""
    return (
        f"inputs: expected {width} numbers at every step, (T, {width}), but got {what} at every "
        f"step. {way}".strip()
    )


def _width(step: StepFn, params: Params, state: State, x: Inputs) -> int | None:
    """The size of a vector with which the step runs, among the sizes of its parameters."""
    shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves((params, x))]
    if not isinstance(x, jax.Array | jax.ShapeDtypeStruct) or len(shapes[-1]) > 1:
        return None
    dtypes = {jnp.result_type(leaf) for leaf in jax.tree.leaves(state)}
    sizes = sorted({size for shape in shapes for size in shape})[:8]
    for size in sizes:
        if _runs(step, params, state, jax.ShapeDtypeStruct((size,), max(dtypes, key=str))):
            return size
    return None


def _children(params: Any) -> list[tuple[Any, Any]]:
    """What lies one level below, by key or index."""
    if isinstance(params, Mapping):
        return list(params.items())
    if isinstance(params, tuple | list) and not hasattr(params, "_fields"):
        return list(enumerate(params))
    return []


def _runs(step: StepFn, params: Params, state: State, x: Inputs) -> bool:
    """Whether the step takes these, and keeps the state's structure, shapes and dtypes."""
    try:
        after = jax.eval_shape(lambda state, x: step(params, state, x), state, x)
    except Exception:  # whatever a wrong argument leads to
        return False
    before = jtu.tree_structure(state)
    return before == jtu.tree_structure(after) and [
        type_name(leaf) for leaf in jax.tree.leaves(state)
    ] == [type_name(leaf) for leaf in jax.tree.leaves(after)]
