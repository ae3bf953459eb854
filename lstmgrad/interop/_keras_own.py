"""Cells of one's own in Keras, called as Keras calls them: this takes its backend JAX."""

import functools
import inspect
import posixpath
from typing import Any

import jax
import jax.numpy as jnp

from lstmgrad._checks import check_arrays, require
from lstmgrad._model import Model
from lstmgrad._types import Inputs, Params, State, StepFn


def own_model(cell: Any, state: State) -> Model:
    """Returns any cell as a model whose step is ``cell.stateless_call``.

    Args:
        cell: a built cell, ``cell(x, states) -> (output, states)``.
        state: the starting state, an array or a sequence of arrays in the order of the cell's.
    """
    backend = require("keras", "keras").backend.backend()
    if backend != "jax":
        raise ValueError(
            "layer: expected a cell that runs on JAX, because it is not one of Keras' own, but the "
            f"backend of Keras is {backend}. Set KERAS_BACKEND=jax before keras is imported."
        )
    _check_state(cell, state)
    groups = {"trainable": cell.trainable_variables, "non_trainable": cell.non_trainable_variables}
    params = {
        group: {name: jnp.asarray(variable.value) for name, variable in _by_name(variables)}
        for group, variables in groups.items()
    }
    return Model(_step(cell), params, jax.tree.map(jnp.asarray, state))


def _by_name(variables: list[Any]) -> list[tuple[str, Any]]:
    """Variables with their paths, from below the layers that all of them share."""
    folders = [posixpath.dirname(variable.path) for variable in variables]
    above = posixpath.commonpath(folders or [""])
    names = [posixpath.relpath(variable.path, above or ".") for variable in variables]
    if len(set(names)) < len(names):
        names = [f"{index}/{name}" for index, name in enumerate(names)]
    return list(zip(names, variables, strict=True))


@functools.cache
def _step(cell: Any) -> StepFn:
    groups = cell.trainable_variables, cell.non_trainable_variables
    names = [[name for name, _ in _by_name(variables)] for variables in groups]
    # Dropout is off, as at inference; a cell of one's own need not know of training.
    options = {"training": False} if "training" in inspect.signature(cell.call).parameters else {}

    def step(params: Params, state: State, x: Inputs) -> State:
        trainable = [params["trainable"][name] for name in names[0]]
        fixed = [params["non_trainable"][name] for name in names[1]]
        leaves, structure = jax.tree.flatten(state)
        batch = [leaf[None] for leaf in leaves]
        inputs = jax.tree.map(lambda leaf: leaf[None], x)
        (_, after), _ = cell.stateless_call(trainable, fixed, inputs, batch, **options)
        return jax.tree.unflatten(structure, [leaf[0] for leaf in jax.tree.leaves(after)])

    return step


def _check_state(cell: Any, state: State) -> None:
    """The states of the cell are there, in its order and without a batch axis."""
    check_arrays(state, "state")
    sizes = cell.state_size
    sizes = list(sizes) if isinstance(sizes, list | tuple) else [sizes]
    shapes = [tuple(size) if isinstance(size, list | tuple) else (size,) for size in sizes]
    leaves = jax.tree.leaves(state)
    ordered = not isinstance(state, dict)  # JAX sorts the keys of a dict
    if ordered and [jnp.shape(leaf) for leaf in leaves] == shapes:
        return
    got = ", ".join(str(jnp.shape(leaf)) for leaf in leaves) if ordered else "a dict"
    raise ValueError(
        f"state: expected arrays of the shapes {', '.join(map(str, shapes))}, in the order of the "
        f"cell's state_size, but got {got or 'no array'}. Pass an array, a tuple or a NamedTuple, "
        "whose fields then name the parts, without a batch axis."
    )
