"""Running a step with something done at its tagged values.

Every value of the step is carried twice, as a pair (reference, moving): the same number, computed
from the state itself and from the copy of it that is differentiated. A tagged value can then be
*held*, by replacing the moving one with its reference, and still depends on the parameters and on
the state as it should.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.extend.core as jex

from lstmgrad._types import Inputs, Params, State, StepFn

AtTag = Callable[[str, Any, Any], Any]
"""``at_tag(name, reference, moving) -> moving``, called at every tagged value."""

LOOPS = (jex.primitives.scan_p, jex.primitives.while_p)
"""What runs its inside any number of times."""

BRANCHES = (jex.primitives.cond_p,)
"""What runs its inside or does not."""

_RULES = (jex.primitives.custom_jvp_call_p, jex.primitives.custom_vjp_call_p)

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
    inside = set(_names(jaxpr, inside=(*outside, *_RULES)))
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
    values = _evaluate(closed, pairs, at_tag)
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


def _evaluate(closed: jex.ClosedJaxpr, pairs: Sequence[_Pair], at_tag: AtTag) -> list[_Pair]:
    jaxpr = closed.jaxpr
    consts = [(const, const) for const in closed.consts]
    known = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *pairs], strict=True))

    def read(atom: Any) -> _Pair:
        return (atom.val, atom.val) if isinstance(atom, jex.Literal) else known[atom]

    for equation in jaxpr.eqns:
        outputs = _apply(equation, [read(atom) for atom in equation.invars], at_tag)
        known.update(zip(equation.outvars, outputs, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _apply(equation: jex.JaxprEqn, inputs: list[_Pair], at_tag: AtTag) -> Sequence[_Pair]:
    primitive, params, known = equation.primitive, equation.params, jex.primitives
    if primitive is known.name_p:
        name = params["name"]
        return [(reference, at_tag(name, reference, moving)) for reference, moving in inputs]
    if any(_names(inner) for inner in jex.jaxprs_in_params(params)):
        if primitive in (known.jit_p, known.remat_p):
            return _evaluate(_closed(params["jaxpr"]), inputs, at_tag)
        if primitive is known.scan_p:
            return _scan(equation, inputs, at_tag)
        if primitive is known.while_p:
            return _while(params, inputs, at_tag)
        if primitive is known.cond_p:
            return _cond(params, inputs, at_tag)

    def bind(values: tuple) -> Sequence[Any]:
        with equation.ctx.manager:
            outputs = primitive.bind(*values, **primitive.get_bind_params(params))
        return outputs if primitive.multiple_results else [outputs]

    if all(reference is moving for reference, moving in inputs):
        return [(output, output) for output in bind(tuple(moving for _, moving in inputs))]
    reference, moving = zip(*inputs, strict=True)
    return list(zip(bind(reference), bind(moving), strict=True))


def _scan(equation: jex.JaxprEqn, inputs: list[_Pair], at_tag: AtTag) -> list[_Pair]:
    params = equation.params
    closed = _closed(params["jaxpr"])
    # Their counts are parameters by other names in other versions of JAX. What is scanned over has
    # an axis more outside than inside; constants and carry have not, and only the carry comes out.
    carried = _same_rank(equation.outvars, closed.jaxpr.outvars)
    fixed = _same_rank(equation.invars, closed.jaxpr.invars) - carried

    def body(carry: list[_Pair], xs: list[_Pair]) -> tuple[list[_Pair], list[_Pair]]:
        after = _evaluate(closed, [*inputs[:fixed], *carry, *xs], at_tag)
        return after[:carried], after[carried:]

    carry, ys = jax.lax.scan(
        body,
        inputs[fixed : fixed + carried],
        inputs[fixed + carried :],
        **{name: params[name] for name in ("length", "reverse", "unroll")},
    )
    return [*carry, *ys]


def _same_rank(outside: Sequence[Any], inside: Sequence[Any]) -> int:
    return sum(
        out.aval.ndim == within.aval.ndim for out, within in zip(outside, inside, strict=True)
    )


def _while(params: dict[str, Any], inputs: list[_Pair], at_tag: AtTag) -> list[_Pair]:
    tested, fixed = params["cond_nconsts"], params["body_nconsts"]

    def goes_on(carry: list[_Pair]) -> Any:
        ((_, moving),) = _evaluate(params["cond_jaxpr"], [*inputs[:tested], *carry], at_tag)
        return moving

    def body(carry: list[_Pair]) -> list[_Pair]:
        consts = inputs[tested : tested + fixed]
        return _evaluate(params["body_jaxpr"], [*consts, *carry], at_tag)

    return jax.lax.while_loop(goes_on, body, inputs[tested + fixed :])


def _cond(params: dict[str, Any], inputs: list[_Pair], at_tag: AtTag) -> list[_Pair]:
    def taking(branch: jex.ClosedJaxpr) -> Callable[..., list[_Pair]]:
        return lambda *pairs: _evaluate(branch, pairs, at_tag)

    (_, index), *operands = inputs
    return jax.lax.switch(index, [taking(branch) for branch in params["branches"]], *operands)


def _closed(jaxpr: jex.Jaxpr | jex.ClosedJaxpr) -> jex.ClosedJaxpr:
    return jaxpr if isinstance(jaxpr, jex.ClosedJaxpr) else jex.ClosedJaxpr(jaxpr, [])
