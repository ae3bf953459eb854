"""What a step reads from elsewhere than its arguments: closures, attributes and globals.

    net.W = 2.0 * W                    step = net.step, which reads net.W

A step is a key of the compilation cache, and the key does not change when `net.W` does: the second
chain would be that of the first W. So a step that may read something like that is traced once per
chain, the arrays that it read become data of the chain, and the rest of it, numbers included,
becomes the key. Most steps, all cells of the library among them, are seen not to from the outside,
and cost nothing.
"""

import functools
import types
from typing import Any

import equinox as eqx
import jax
import jax.extend.core as jex
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np

from lstmgrad._chains.run import is_array
from lstmgrad._types import Inputs, Params, State, StepFn

_KNOWN = ("jax", "jaxlib", "numpy", "equinox", "flax", "haiku", "keras", "lstmgrad", "builtins")
"""Packages whose functions read no numbers from elsewhere."""


class CurrentStep(eqx.Module):
    """A step with what it read from elsewhere when a chain was made.

    Attributes:
        arrays: what it read.
        program: the rest of it.
    """

    arrays: list[Any]
    program: "_Program" = eqx.field(static=True)

    def __call__(self, params: Params, state: State, x: Inputs) -> State:
        """The state after one step."""
        leaves, signature = _signature((params, state, x))
        if signature != self.program.signature:  # arguments that it was not traced for
            return self.program.step(params, state, x)
        run = jex.jaxpr_as_fun(jex.ClosedJaxpr(self.program.jaxpr, self.arrays))
        return jax.tree.unflatten(self.program.structure, run(*leaves))


class _Program:
    """A traced step: two of them are equal only if they are one and the same."""

    def __init__(self, step: StepFn, jaxpr: jex.Jaxpr, signature: Any, structure: Any):
        self.step, self.jaxpr = step, jaxpr
        self.signature, self.structure = signature, structure


def current_step(step: StepFn, params: Params, state: State, inputs: Inputs) -> StepFn:
    """Returns the step with what it reads from elsewhere now; the step itself if it reads nothing.

    Args:
        step: any step, checked or not.
        params: its parameters.
        state: a state.
        inputs: with time on axis 0.
    """
    if isinstance(step, CurrentStep) or not _reads(step, set()):
        return step
    try:
        return _traced(step, params, state, inputs)
    except Exception:
        return step  # what is wrong with it is said where it is checked


def current_step_along(step: StepFn, params: Params, trajectory: Any) -> StepFn:
    """Returns the step as `current_step` does, for the states and inputs of a trajectory.

    Args:
        step: any step.
        params: its parameters.
        trajectory: as for `linearize`.
    """
    states = getattr(trajectory, "states", None)
    return current_step(step, params, _first(states), getattr(trajectory, "inputs", None))


def _traced(step: StepFn, params: Params, state: State, inputs: Inputs) -> CurrentStep:
    weights = jax.tree.map(lambda leaf: _abstract(leaf) if is_array(leaf) else leaf, params)
    arguments = (weights, jax.tree.map(_abstract, state), _first(inputs))
    leaves, signature = _signature(arguments)
    treedef, kinds = signature

    def plain(*leaves: Any) -> State:
        queue = iter(leaves)
        every = [next(queue) if is_data else leaf for is_data, leaf, _ in kinds]
        return step(*jax.tree.unflatten(treedef, every))

    closed, shape = jax.make_jaxpr(plain, return_shape=True)(*leaves)
    structure = jax.tree.structure(shape)
    program = _program(step, signature, structure, str(closed.jaxpr), _Unhashed(closed.jaxpr))
    # A copy: an array of NumPy may be written into later.
    arrays = [
        const if isinstance(const, jax.Array) else jnp.array(const) for const in closed.consts
    ]
    return CurrentStep(arrays, program)


class _Unhashed:
    """A value that is no part of a key: equal to all others."""

    def __init__(self, value: Any):
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Unhashed)

    def __hash__(self) -> int:
        return 0


@functools.lru_cache(maxsize=256)
def _program(step: StepFn, signature: Any, structure: Any, text: str, jaxpr: _Unhashed) -> _Program:
    """The same object for the same text, so that it is a stable key of the compilation cache."""
    return _Program(step, jaxpr.value, signature, structure)


def _abstract(leaf: Any) -> jax.ShapeDtypeStruct:
    dtype = leaf.dtype if isinstance(leaf, jax.Array) else jnp.result_type(leaf)
    return jax.ShapeDtypeStruct(np.shape(leaf), dtype)


def _first(tree: Any) -> Any:
    """The abstract values of one time step."""

    def first(leaf: Any) -> jax.ShapeDtypeStruct:
        whole = _abstract(leaf)
        return jax.ShapeDtypeStruct(whole.shape[1:], whole.dtype)

    return jax.tree.map(first, tree)


def _signature(arguments: Any) -> tuple[list[Any], Any]:
    """The arrays of the arguments, and everything else about them."""
    leaves, treedef = jax.tree.flatten(arguments)
    data = [is_array(leaf) or isinstance(leaf, jax.ShapeDtypeStruct) for leaf in leaves]
    kinds = tuple(
        (True, leaf.shape, leaf.dtype) if is_data else (False, leaf, type(leaf))
        for leaf, is_data in zip(leaves, data, strict=True)
    )
    arrays = [leaf for leaf, is_data in zip(leaves, data, strict=True) if is_data]
    return arrays, (treedef, kinds)


def _reads(value: Any, seen: set[int]) -> bool:
    """Whether what a function gives may depend on what can be changed from outside of it."""
    if id(value) in seen or (_is_known(value) and "<locals>" not in _qualified_name(value)):
        return False
    seen.add(id(value))

    def any_of(values: Any) -> bool:
        return any(_reads(one, seen) for one in values)

    match value:
        case None | str() | bytes() | type() | types.ModuleType() | types.BuiltinFunctionType():
            return False
        case int() | float() | complex() | np.generic() | np.ndarray() | jax.Array():
            return not isinstance(value, bool)
        case eqx.Module():  # its arrays are data, and the rest of it is the key
            return _reads(type(value).__call__, seen) if callable(value) else False
        case jtu.Partial() | functools.partial():
            inside = () if isinstance(value, jtu.Partial) else (value.args, value.keywords)
            return any_of((value.func, *inside))
        case types.MethodType():
            own = isinstance(value.__self__, eqx.Module | type)
            return _reads(value.__func__, seen) if own else True
        case types.FunctionType():
            return any_of(_inside(value))
        case tuple() | list() | frozenset() | set():
            return any_of(value)
        case dict():
            return any_of(value.values())
    if hasattr(value, "__wrapped__"):
        return _reads(value.__wrapped__, seen)
    return not _is_known(type(value))


def _inside(function: types.FunctionType) -> list[Any]:
    """What a function finds in its closure and by the names of globals."""
    found = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    for cell in function.__closure__ or ():
        try:
            found.append(cell.cell_contents)
        except ValueError:  # not yet filled
            continue
    if _is_known(function):
        # Functions that were handed to a function of a library are the user's own.
        parts = [value if isinstance(value, tuple) else (value,) for value in found]
        return [part for value in parts for part in value if callable(part)]
    names = _names(function.__code__)
    return [*found, *(function.__globals__[n] for n in names if n in function.__globals__)]


def _names(code: types.CodeType) -> set[str]:
    inner = [const for const in code.co_consts if isinstance(const, types.CodeType)]
    return {*code.co_names, *(name for one in inner for name in _names(one))}


def _is_known(value: Any) -> bool:
    """Whether a function or a class is that of a package, not the user's own."""
    package = (getattr(value, "__module__", None) or "").split(".")[0]
    if package in _KNOWN:
        return True
    return "site-packages" in getattr(getattr(value, "__code__", None), "co_filename", "")


def _qualified_name(value: Any) -> str:
    """With `<locals>` where a function was made by another, and may hold what it was given."""
    named = getattr(value, "__code__", None)
    name = getattr(named, "co_qualname", None) or getattr(value, "__qualname__", None)
    return name if isinstance(name, str) else "<locals>"
