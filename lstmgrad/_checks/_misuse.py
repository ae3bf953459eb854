"""What a step that cannot run was probably given: tried, and said only where it then runs."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import jax.tree_util as jtu

from lstmgrad._checks._probes import StateProbe, reads
from lstmgrad._leaves import shown, type_name
from lstmgrad._types import Inputs, Params, State, StepFn


def check_callable(step: Any) -> None:
    """The step is a function of three arguments."""
    if callable(step):
        _check_arguments(step)
        return
    way = "Pass its step, cell.step." if hasattr(step, "step") else "Write one."
    raise ValueError(
        "step: expected a function step(params, state, x) -> state, but got "
        f"{type(step).__name__}. {way}"
    )


def _check_arguments(step: Any) -> None:
    """The step may be called with three arguments."""
    try:
        signature = inspect.signature(step)
        signature.bind("params", "state", "x")
    except TypeError:
        name = getattr(step, "__name__", type(step).__name__)
        names = ", ".join(inspect.signature(step).parameters)
        raise ValueError(
            "step: expected a function of three arguments, step(params, state, x) -> state, but "
            f"got {name}({names}). Wrap it in one: lambda params, state, x: ..."
        ) from None
    except ValueError:  # what is written in C may have no signature
        return


def explained(
    step: StepFn, params: Params, state: State, x: Inputs, inputs: Inputs = None
) -> str | None:
    """Returns the sentence of a known mistake, once the step is seen to run without it.

    Args:
        step: a step that failed, or changed its state.
        params: what it was given, like the rest.
        state: the state before.
        x: the input of one step.
        inputs: those of all steps, where they are known.
    """
    if inputs is not None and _runs(step, params, inputs, _first(state)):
        return _exchanged("state, inputs")
    rules: tuple[Callable[..., str | None], ...] = (
        _order,
        _level,
        _batch,
        _stacked,
        _features,
        _state_kind,
        _state_size,
        _params_kind,
    )
    sentences = (rule(step, params, state, x) for rule in rules)
    return next(filter(None, sentences), None)


def _order(step: StepFn, params: Params, state: State, x: Inputs) -> str | None:
    """Two arguments are exchanged."""
    orders = {
        "params, state": (step, state, params, x),
        "state, inputs": (step, params, x, state),
        "params, inputs": (step, x, state, params),
    }
    for names, order in orders.items():
        if _runs(*order):
            return _exchanged(names)
    return None


def _exchanged(names: str) -> str:
    return (
        f"{names}: expected them in this order, step(params, state, x), but got them the other way "
        "around. Exchange them."
    )


def _level(step: StepFn, params: Params, state: State, x: Inputs) -> str | None:
    """The parameters are one level above or below what the step reads."""
    for key, child in _children(params):
        if _runs(step, child, state, x):
            return (
                "params: expected the tree that the step reads, but got one that has it under "
                f"{key!r}. Pass params[{key!r}]."
            )
    for key in reads(step, params, state, x):
        if _runs(step, {key: params}, state, x):
            return (
                f"params: expected a tree that has {key!r}, which the step reads, but got what "
                f"lies under it. Pass {{{key!r}: params}}, or the whole tree."
            )
    return None


def _batch(step: StepFn, params: Params, state: State, x: Inputs) -> str | None:
    """Inputs or states have a batch axis."""
    leaves, what = jax.tree.leaves(x), _kinds(x)
    one, single = _first(x), _first(state)
    if one is not None and _runs(step, params, state, one):
        return (
            f"inputs: expected those of one sequence, time first, but got a batch: {what} at "
            "every step. Wrap the call: jax.vmap(lambda one: lg.chain(model, one))(inputs)."
        )
    if single is not None and _runs(step, params, single, x):
        return (
            f"state: expected that of one sequence, but got a batch: {_kinds(state)}. Drop the "
            "batch axis: jax.tree.map(lambda part: part[0], state)."
        )
    if leaves and single is not None and one is not None and _runs(step, params, single, one):
        return (
            f"inputs, state: expected those of one sequence, but got a batch: {what} at every "
            f"step, {_kinds(state)}. Pass one sequence, or map over them by jax.vmap."
        )
    return None


def _stacked(step: StepFn, params: Params, state: State, x: Inputs) -> str | None:
    """The steps are a list of arrays instead of one array."""
    if not isinstance(x, list | tuple) or len({type_name(leaf) for leaf in x}) != 1:
        return None
    width = _width(step, params, state, jnp.asarray(x[0]))
    if width is None:
        return None
    return (
        f"inputs: expected one array ({'T, ' + str(width)}), but got a {type(x).__name__} of "
        f"{len(x)} arrays. Stack them: jnp.stack(inputs)."
    )


def _features(step: StepFn, params: Params, state: State, x: Inputs) -> str | None:
    """The inputs have another number of features, or are numbers of tokens."""
    width = _width(step, params, state, x)
    if width is None:
        return None
    leaf = jax.tree.leaves(x)[0]
    tokens = jnp.ndim(leaf) == 0 and not jnp.issubdtype(leaf.dtype, jnp.inexact)
    way = "Embed the tokens: table[tokens], or jax.nn.one_hot(tokens, count)." if tokens else ""
    return (
        f"inputs: expected {width} numbers at every step, (T, {width}), but got {_kinds(x)} at "
        f"every step. {way}".strip()
    )


def _state_kind(step: StepFn, params: Params, state: State, x: Inputs) -> str | None:
    """The arrays of the state are those that the step reads, in another structure."""
    given = jax.tree.leaves(state)
    if _count_after(step, params, state, x) not in (None, len(given)):
        return None  # it runs as it is, and leaves out or adds a part
    for count in range(1, max(len(given), 4) + 1):
        probe = StateProbe([given[min(index, len(given) - 1)] for index in range(count)])
        try:
            after = jax.eval_shape(lambda x, probe=probe: step(params, probe, x), x)
        except Exception:  # it reads something else
            continue
        leaves = jax.tree.leaves(after)
        if len(leaves) != count or jtu.tree_structure(after) == jtu.tree_structure(state):
            continue
        if not _runs(step, params, after, x):
            continue
        return (
            f"state: expected {written(after)}, which the step reads and returns, but got "
            f"{written(state)}."
        )
    return None


def _count_after(step: StepFn, params: Params, state: State, x: Inputs) -> int | None:
    """The number of arrays that the step returns; None if it does not run."""
    try:
        after = jax.eval_shape(lambda state, x: step(params, state, x), state, x)
    except Exception:  # whatever a wrong argument leads to
        return None
    return len(jax.tree.leaves(after))


def _state_size(step: StepFn, params: Params, state: State, x: Inputs) -> str | None:
    """The vectors of the state have another size."""
    leaves = jax.tree.leaves(state)
    if len({jnp.shape(leaf) for leaf in leaves}) != 1 or jnp.ndim(leaves[0]) != 1:
        return None
    for size in _sizes(params):
        other = jax.tree.map(lambda leaf, n=size: jax.ShapeDtypeStruct((n,), _dtype(leaf)), state)
        if _runs(step, params, other, x):
            return f"state: expected arrays of shape ({size},), but got {_kinds(state)}."
    return None


def _params_kind(step: StepFn, params: Params, state: State, x: Inputs) -> str | None:
    """The step reads something that the parameters do not have."""
    try:
        jax.eval_shape(lambda state, x: step(params, state, x), state, x)
    except AttributeError as error:
        if error.obj is params or (params is None and error.obj is None):
            return (
                f"params: expected parameters with {error.name}, which the step reads, but got "
                f"{written(params)}. Those of a cell are cell.init(key)."
            )
    except Exception:  # whatever else is wrong
        pass
    if isinstance(params, Mapping):
        for key in reads(step, params, state, x):
            return (
                f"params: expected a tree that has {key!r}, which the step reads, but got "
                f"{written(params)}."
            )
    return None


def _width(step: StepFn, params: Params, state: State, x: Inputs) -> int | None:
    """The size of a vector with which the step runs, among the sizes of its parameters."""
    if not isinstance(x, jax.Array | jax.ShapeDtypeStruct) or len(x.shape) > 1:
        return None
    dtype = max({_dtype(leaf) for leaf in jax.tree.leaves(state)}, key=str)
    for size in _sizes((params, x)):
        if _runs(step, params, state, jax.ShapeDtypeStruct((size,), dtype)):
            return size
    return None


def _sizes(tree: Any) -> list[int]:
    """The sizes of all axes, the smallest first."""
    return sorted({size for leaf in jax.tree.leaves(tree) for size in jnp.shape(leaf)})[:8]


def _dtype(leaf: Any) -> Any:
    return jnp.result_type(leaf)


def _first(tree: Any) -> Any:
    """The abstract values without their first axis; None where a leaf has none."""
    leaves = jax.tree.leaves(tree)
    if not leaves or not all(jnp.ndim(leaf) for leaf in leaves):
        return None
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(jnp.shape(leaf)[1:], _dtype(leaf)), tree)


def _kinds(tree: Any) -> str:
    return ", ".join(type_name(leaf) for leaf in jax.tree.leaves(tree))


def written(tree: Any) -> str:
    """A tree as one would write it: `LSTMState(h, c)`, `(float32[3], float32[3])`."""
    if hasattr(tree, "_fields"):
        return f"{type(tree).__name__}({', '.join(tree._fields)})"
    if isinstance(tree, Mapping):
        return f"a dict with {', '.join(map(repr, tree)) or 'nothing'}"
    if isinstance(tree, tuple | list):
        left, right = ("(", ")") if isinstance(tree, tuple) else ("[", "]")
        last = "," * (isinstance(tree, tuple) and len(tree) == 1)
        return f"{left}{', '.join(map(written, tree))}{last}{right}"
    leaves = jax.tree.leaves(tree)
    if len(leaves) == 1 and leaves[0] is tree:
        return type_name(tree) if hasattr(tree, "shape") else shown(tree)
    return type(tree).__name__ if tree is not None else "None"


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
