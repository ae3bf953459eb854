"""Running a step with something done at its tagged values.

Every value of the step is carried twice, as a pair (reference, moving): the same number, computed
from the state itself and from the copy of it that is differentiated. A tagged value can then be
*held*, by replacing the moving one with its reference, and still depends on the parameters and on
the state as it should.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.extend.core as jex

from lstmgrad._chains.interpret import LOOPS, RULES, Reading, bind, run_jaxpr
from lstmgrad._types import Inputs, Params, State, StepFn

AtTag = Callable[[str, Any, Any], Any]
"""``at_tag(name, reference, moving) -> moving``, called at every tagged value."""

_Pair = tuple[Any, Any]


def tag_names(step: StepFn, params: Params, state: State, x: Inputs) -> list[str]:
    """The names of all tags of a step in order of appearance, inner functions included.

    Args:
        step: a step.
        params: its parameters.
        state: any state.
        x: one step's input.
    """
    return _names(jax.make_jaxpr(lambda state, x: step(params, state, x))(state, x).jaxpr)


def straight_tag_names(
    step: StepFn,
    params: Params,
    state: State,
    x: Inputs,
    outside: tuple[jex.Primitive, ...] = LOOPS,
) -> list[str]:
    """The names of the tags that are crossed once per step: those outside of its scans and loops.

    Tags inside custom derivative rules are left out, too: `run_tagged` does not see them.

    Args:
        step: a step.
        params: its parameters.
        state: any state.
        x: one step's input.
        outside: what a tag must not be inside of.
    """
    jaxpr = jax.make_jaxpr(lambda state, x: step(params, state, x))(state, x).jaxpr
    inside = set(_names(jaxpr, inside=(*outside, *RULES)))
    return [name for name in _names(jaxpr) if name not in inside]


def run_tagged(
    step: StepFn, params: Params, reference: State, state: State, x: Inputs, at_tag: AtTag
) -> State:
    """One step from `state`, with something done at its tagged values.

    Args:
        step: a step.
        params: its parameters.
        reference: the state that references are computed from.
        state: the state that the step is taken from, equal to `reference` in value.
        x: one step's input.
        at_tag: called at the tags of the step and of what it calls: compiled and rematerialized
            functions, scans, loops and branches, but not at those inside custom derivative rules.
    """
    closed, shape = jax.make_jaxpr(lambda state, x: step(params, state, x), return_shape=True)(
        reference, x
    )
    pairs = list(zip(jax.tree.leaves((reference, x)), jax.tree.leaves((state, x)), strict=True))
    values = run_jaxpr(closed, pairs, _carrying_pairs(at_tag))
    return jax.tree.unflatten(jax.tree.structure(shape), [moving for _, moving in values])


def _names(jaxpr: jex.Jaxpr, *, inside: tuple[jex.Primitive, ...] = ()) -> list[str]:
    """The names of all tags, or only of those inside of some primitives."""
    found: dict[str, None] = {}
    for equation in jaxpr.eqns:
        if equation.primitive is jex.primitives.name_p and not inside:
            found[equation.params["name"]] = None
        within = () if equation.primitive in inside else inside
        for inner in jex.jaxprs_in_params(equation.params):
            found.update(dict.fromkeys(_names(inner, inside=within)))
    return list(found)


def _carrying_pairs(at_tag: AtTag) -> Reading:
    """Every primitive applied to both halves of a pair, once where they are one and the same."""

    def at(equation: jex.JaxprEqn, pairs: list[_Pair]) -> list[_Pair]:
        if equation.primitive is jex.primitives.name_p:
            name = equation.params["name"]
            return [(reference, at_tag(name, reference, moving)) for reference, moving in pairs]
        if all(reference is moving for reference, moving in pairs):
            return [(output, output) for output in bind(equation, [one for one, _ in pairs])]
        reference, moving = zip(*pairs, strict=True)
        return list(zip(bind(equation, reference), bind(equation, moving), strict=True))

    return Reading(
        at,
        concerns=lambda jaxpr: bool(_names(jaxpr)),
        constant=lambda array: (array, array),
        plain=lambda pair: pair[1],
    )
