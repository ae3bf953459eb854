"""Which part of the new state depends on which part of the old one, and what lies between two.

Read once from the jaxpr of the step, before anything runs. A derivative flows only from floating
or complex values to such values, and not through `stop_gradient`. Compiled and rematerialized
functions are looked into; inside of loops, branches and custom derivative rules every result is
taken to depend on every argument, which is safe: at worst parts are carried that could have been
left out.

The product of a chain from part j to part i passes through parts that j reaches and that reach i.
All others add nothing to it, exactly, so a sweep that is read at one part carries these alone:
what a slow or an exploding part beside them does cannot push them out of the dtype's range.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.extend.core as jex
import jax.numpy as jnp

from lstmgrad._chains.interpret import CALLS
from lstmgrad._chains.layout import Dependence, Layout
from lstmgrad._types import Inputs, Params, PartName, State, StepFn


def dependence_of(
    step: StepFn, params: Params, state: State, x: Inputs, layout: Layout
) -> Dependence:
    """Which part of the new state depends on which part of the old one.

    Args:
        step: a step that was checked.
        params: its parameters.
        state: any state, or its abstract value.
        x: one step's input, or its abstract value.
        layout: of the whole state.
    """
    sources = [{owner} if owner is not None else set() for owner in layout.owners]
    closed = jax.make_jaxpr(lambda state, x: step(params, state, x))(state, x)
    reached = _reached(closed, sources, layout)
    return tuple(tuple(old in reached[new] for old in layout.parts) for new in layout.parts)


def leaf_dependence(
    step: StepFn, params: Params, state: State, x: Inputs, layout: Layout
) -> dict[PartName, list[bool]]:
    """For each part of the new state, which leaves of the parameters it depends on.

    Args:
        step: a step that was checked.
        params: a pytree of arrays, differentiable or not, in the order of the answer.
        state: any state, or its abstract value.
        x: one step's input, or its abstract value.
        layout: whose parts are asked for.
    """
    count = len(jax.tree.leaves(params))
    closed = jax.make_jaxpr(step)(params, state, x)
    reached = _reached(closed, [{index} for index in range(count)], layout)
    return {part: [index in found for index in range(count)] for part, found in reached.items()}


def backward_rules(step: StepFn, params: Params, state: State, x: Inputs) -> list[str]:
    """The names of the functions in a step that have a backward rule of their own.

    Args:
        step: a step that was checked.
        params: its parameters.
        state: any state, or its abstract value.
        x: one step's input, or its abstract value.
    """
    return _rules(jax.make_jaxpr(lambda state, x: step(params, state, x))(state, x).jaxpr)


def _rules(jaxpr: jex.Jaxpr) -> list[str]:
    found: dict[str, None] = {}
    for equation in jaxpr.eqns:
        if equation.primitive is jex.primitives.custom_vjp_call_p:
            info = getattr(equation.params["call_jaxpr"].jaxpr.debug_info, "func_src_info", "")
            found[(info or "a function").split(" at ")[0]] = None
        for inner in jex.jaxprs_in_params(equation.params):
            found.update(dict.fromkeys(_rules(inner)))
    return list(found)


def _reached(
    closed: jex.ClosedJaxpr, sources: Sequence[set], layout: Layout
) -> dict[PartName, set]:
    """For each part of the state that a jaxpr returns, which of its first arguments reach it."""
    nothing = [set() for _ in closed.jaxpr.invars[len(sources) :]]
    found: dict[PartName, set] = {part: set() for part in layout.parts}
    outputs = _trace(closed.jaxpr, [*sources, *nothing])
    for owner, result in zip(layout.owners, outputs, strict=True):
        if owner is not None:
            found[owner] |= result
    return found


def parts_between(
    layout: Layout, of: PartName | None, wrt: PartName | None
) -> tuple[PartName, ...]:
    """The parts on a path from `wrt` to `of`, both ends included; none where there is no path.

    Args:
        layout: of the state.
        of: where paths end; None is any part.
        wrt: where paths begin; None is any part.
    """
    count = len(layout.parts)
    forward = {i: {j for j in range(count) if layout.dependence[j][i]} for i in range(count)}
    backward = {i: {j for j in range(count) if layout.dependence[i][j]} for i in range(count)}
    reached = _closure(forward, [i for i in range(count) if wrt in (None, layout.parts[i])])
    reaching = _closure(backward, [i for i in range(count) if of in (None, layout.parts[i])])
    return tuple(layout.parts[i] for i in range(count) if i in reached & reaching)


def steps_between(layout: Layout, of: PartName | None, wrt: PartName | None) -> int | None:
    """The least number of steps from `wrt` to `of`: 0 where they overlap, None without a path.

    Args:
        layout: of the state.
        of: where paths end; None is any part.
        wrt: where paths begin; None is any part.
    """
    count = len(layout.parts)
    reached = {j for j in range(count) if wrt in (None, layout.parts[j])}
    ends = {i for i in range(count) if of in (None, layout.parts[i])}
    for steps in range(count + 1):
        if reached & ends:
            return steps
        reached = {i for i in range(count) for j in reached if layout.dependence[i][j]}
    return None


def mutual_groups(layout: Layout) -> list[tuple[PartName, ...]]:
    """The parts in groups whose members all reach one another, as a layer's h and c do.

    Args:
        layout: of the state.
    """
    found: list[tuple[PartName, ...]] = []
    for part in layout.parts:
        after, before = (parts_between(layout, *ends) for ends in ((None, part), (part, None)))
        group = tuple(other for other in layout.parts if other in after and other in before)
        if group not in found:
            found.append(group)
    return found


def _closure(edges: dict[int, set[int]], starts: Sequence[int]) -> set[int]:
    """All that can be reached from the starts, themselves included."""
    found, waiting = set(starts), list(starts)
    while waiting:
        new = edges[waiting.pop()] - found
        found |= new
        waiting += new
    return found


def _trace(jaxpr: jex.Jaxpr, inputs: Sequence[set]) -> list[set]:
    """What each output of a jaxpr depends on, given what each input does."""
    known: dict[Any, set] = dict(zip(jaxpr.invars, inputs, strict=True))

    def read(atom: Any) -> set:
        return set() if isinstance(atom, jex.Literal) else known.get(atom, set())

    for equation in jaxpr.eqns:
        arguments = [read(atom) for atom in equation.invars]
        inner = equation.params.get("jaxpr")
        if equation.effects:
            # What is written through a reference may be read through it later.
            results = [set().union(*arguments)] * len(equation.outvars)
            known.update(
                {
                    atom: results[0] if results else set().union(*arguments)
                    for atom in equation.invars
                    if not isinstance(atom, jex.Literal)
                }
            )
        elif equation.primitive in CALLS and inner is not None:
            results = _trace(getattr(inner, "jaxpr", inner), arguments)
        elif equation.primitive.name == "stop_gradient":
            results = [set() for _ in equation.outvars]
        else:
            results = [set().union(*arguments)] * len(equation.outvars)
        for variable, result in zip(equation.outvars, results, strict=True):
            dtype = getattr(variable.aval, "dtype", jnp.bool_)  # a token has none
            differentiable = jnp.issubdtype(dtype, jnp.inexact)
            known[variable] = result if differentiable else set()
    return [read(atom) for atom in jaxpr.outvars]
