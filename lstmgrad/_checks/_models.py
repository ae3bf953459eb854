"""Models: trees of arrays, steps, trajectories and losses."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import jax.tree_util as jtu

from lstmgrad._checks._misuse import check_callable, explained, written
from lstmgrad._leaves import dtype_of, leaf_name, shown, type_name, unregistered
from lstmgrad._types import Inputs, Params, State, StepFn


def check_arrays(tree: Any, argument: str) -> None:
    """Every leaf is a number or an array of numbers."""
    for path, leaf in jtu.tree_leaves_with_path(tree):
        if dtype_of(leaf) is None:
            what = f"{_leaf(path)} is {shown(leaf)}" if path else f"got {shown(leaf)}"
            raise ValueError(f"{argument}: expected arrays, but {what}.{unregistered(leaf)}")


def _leaf(path: Any) -> str:
    """A leaf of a tree, in a sentence."""
    return f"leaf {leaf_name(path)}" if path else leaf_name(path)


def check_array(value: Any, argument: str) -> None:
    """One array of numbers."""
    if value is None or (dtype_of(value) is None and not isinstance(value, list)):
        found = [name for name in ("log_values", "exponents", "mantissa") if hasattr(value, name)]
        way = f" Pass its {found[0]}." if found else ""
        raise ValueError(f"{argument}: expected an array, but got {shown(value)}.{way}")


def check_state(state: State) -> None:
    """The state has something to differentiate, in floats of 16 bits or more."""
    check_arrays(state, "state")
    leaves = jtu.tree_leaves_with_path(state)
    inexact = [
        (path, leaf) for path, leaf in leaves if jnp.issubdtype(jnp.result_type(leaf), jnp.inexact)
    ]
    if not inexact:
        if not leaves:
            raise ValueError(
                f"state: expected at least one array, but got {written(state)}. That of a "
                "cell is cell.initial_state()."
            )
        what = ", ".join(f"{leaf_name(p)}: {type_name(x)}" for p, x in leaves)
        raise ValueError(
            "state: expected at least one floating-point or complex leaf, because only those have "
            f"derivatives, but got {what}. Convert it, e.g. state.astype(jnp.float32)."
        )
    if not any(math.prod(jnp.shape(leaf)) for _, leaf in inexact):
        what = ", ".join(f"{leaf_name(p)}: {type_name(x)}" for p, x in inexact)
        raise ValueError(
            f"state: expected a number to differentiate, but all leaves are empty: {what}."
        )
    dtypes = {jnp.finfo(jnp.result_type(leaf)).dtype for _, leaf in inexact}
    if any(jnp.finfo(dtype).bits < 16 for dtype in dtypes):
        what = ", ".join(f"{leaf_name(p)}: {type_name(x)}" for p, x in inexact)
        raise ValueError(
            f"state: expected floats of 16 bits or more, but got {what}. Cast the state to one of "
            "them."
        )


def check_time_axis(tree: Any, argument: str) -> int:
    """All leaves share a first axis, time, of length one or more; returns that length."""
    check_arrays(tree, argument)
    leaves = jtu.tree_leaves_with_path(tree)
    if not leaves:
        raise ValueError(
            f"{argument}: expected arrays with time as their first axis, but there is no array. "
            "A step without inputs still needs to know T: pass jnp.arange(T) and ignore it."
        )
    lengths = {}
    for path, leaf in leaves:
        shape = jnp.shape(leaf)
        if not shape:
            raise ValueError(
                f"{argument}: expected time as the first axis, but {_leaf(path)} is a scalar."
            )
        lengths.setdefault(shape[0], leaf_name(path))
    if len(lengths) > 1:
        what = ", ".join(f"{name} has {length}" for length, name in lengths.items())
        raise ValueError(
            f"{argument}: expected the same number of time steps in every leaf, but {what}."
        )
    (length,) = lengths
    if length == 0:
        raise ValueError(f"{argument}: expected at least one time step, but the length is 0.")
    return length


def check_step(
    step: StepFn, params: Params, state: State, x: Inputs, inputs: Inputs = None
) -> None:
    """One abstract call of the step: the state comes back in the same structure and types.

    Args:
        step: what was passed as one, like the rest.
        params: any pytree.
        state: the state before.
        x: the input of one step.
        inputs: those of all steps, where they are known; they help to say what is wrong.
    """
    check_callable(step)
    try:
        _check_call(step, params, state, x)
    except Exception as error:
        mistake = explained(step, params, state, x, inputs)
        if mistake is None:
            raise
        raise ValueError(mistake) from error


def _check_call(step: StepFn, params: Params, state: State, x: Inputs) -> None:
    try:
        # A closure, because the step and its parameters may hold leaves that are not arrays.
        after = jax.eval_shape(lambda state, x: step(params, state, x), state, x)
    except Exception as error:
        shapes = jax.tree.map(type_name, (state, x))
        error.add_note(
            f"raised by step(params, state, x) on a state {shapes[0]} and one step's input "
            f"{shapes[1]} (time axis removed; no batch axis: use jax.vmap around the call)"
        )
        raise
    before_def, after_def = jax.tree.structure(state), jax.tree.structure(after)
    if before_def != after_def:
        paths = [[_leaf(p) for p, _ in jtu.tree_leaves_with_path(s)] for s in (state, after)]
        missing = [name for name in paths[0] if name not in paths[1]]
        new = [name for name in paths[1] if name not in paths[0]]
        leaves = [f"{name} is missing" for name in missing]
        leaves += [f"{name} is new" for name in new]
        what = f": {', '.join(leaves)}" if leaves and after is not None else ""
        pair = isinstance(after, tuple) and before_def in map(jax.tree.structure, after)
        advice = " Return the state alone, without an output." if pair else ""
        if after is None:
            advice = " Return the new state."
        raise ValueError(
            "step: expected it to return a state of the structure it was given, "
            f"{written(state)}, but it returned {written(after)}{what}.{advice}"
        )
    for (path, old), new in zip(
        jtu.tree_leaves_with_path(state), jax.tree.leaves(after), strict=True
    ):
        if type_name(old) != type_name(new):
            raise ValueError(
                f"step: expected {_leaf(path)} of the state to stay {type_name(old)}, but the step "
                f"returned {type_name(new)}. The state's shapes and dtypes must not change "
                "from step to step; cast the initial state, the parameters or the inputs."
            )


def check_differentiable(params: Any, *inputs: Any) -> None:
    """There is a leaf that a gradient can be taken with respect to, in inputs too if they count."""
    if not jax.tree.leaves((params, inputs)):
        where = " or the inputs" if inputs else ""
        raise ValueError(
            f"params: expected a floating-point or complex array in the parameters{where}, to take "
            "a gradient with respect to, but there is none. If a module is its own step, pass the "
            "module as params: step = lambda module, state, x: module(state, x)."
        )
