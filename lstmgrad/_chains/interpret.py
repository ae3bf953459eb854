"""Running a jaxpr with something done at its primitives, and inside of what it calls.

Values may be arrays or pytrees of arrays, such as pairs that are carried side by side. Compiled and
rematerialized functions, scans, loops and branches are looked into where there is a reason to;
everything else, custom derivative rules among it, runs as it is.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.extend.core as jex

LOOPS = (jex.primitives.scan_p, jex.primitives.while_p)
"""What runs its inside any number of times."""

BRANCHES = (jex.primitives.cond_p,)
"""What runs its inside or does not."""

RULES = (jex.primitives.custom_jvp_call_p, jex.primitives.custom_vjp_call_p)
"""What has a derivative of its own."""

CALLS = (jex.primitives.jit_p, jex.primitives.remat_p)
"""What runs its inside once."""


class Reading(NamedTuple):
    """What is done while a jaxpr runs.

    Attributes:
        at: ``at(equation, values) -> values``, called at every primitive that is not looked into.
        concerns: whether there is a reason to look into a jaxpr.
        constant: the value of an array that the jaxpr holds.
        plain: the array that decides where a branch or a loop goes, from a value.
        looked_into: primitives whose inside is run where it concerns, and not as it is.
    """

    at: Callable[[jex.JaxprEqn, list[Any]], Sequence[Any]]
    concerns: Callable[[jex.Jaxpr], bool]
    constant: Callable[[Any], Any] = lambda array: array
    plain: Callable[[Any], Any] = lambda value: value
    looked_into: tuple[jex.Primitive, ...] = (*CALLS, *LOOPS, *BRANCHES)


def run_jaxpr(closed: jex.ClosedJaxpr, values: Sequence[Any], reading: Reading) -> list[Any]:
    """What a jaxpr returns, read on the way.

    Args:
        closed: the jaxpr.
        values: its arguments.
        reading: what is done.
    """
    jaxpr = closed.jaxpr
    consts = [reading.constant(const) for const in closed.consts]
    known = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *values], strict=True))

    def read(atom: Any) -> Any:
        return reading.constant(atom.val) if isinstance(atom, jex.Literal) else known[atom]

    for equation in jaxpr.eqns:
        outputs = _apply(equation, [read(atom) for atom in equation.invars], reading)
        known.update(zip(equation.outvars, outputs, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def bind(equation: jex.JaxprEqn, values: Sequence[Any]) -> Sequence[Any]:
    """What a primitive returns.

    Args:
        equation: where it stands.
        values: its arguments, arrays.
    """
    primitive = equation.primitive
    with equation.ctx.manager:
        outputs = primitive.bind(*values, **primitive.get_bind_params(equation.params))
    return outputs if primitive.multiple_results else [outputs]


def _apply(equation: jex.JaxprEqn, values: list[Any], reading: Reading) -> Sequence[Any]:
    primitive, params = equation.primitive, equation.params
    if primitive in reading.looked_into and any(
        reading.concerns(inner) for inner in jex.jaxprs_in_params(params)
    ):
        with equation.ctx.manager:
            if primitive in CALLS:
                return run_jaxpr(_closed(params["jaxpr"]), values, reading)
            if primitive is jex.primitives.scan_p:
                return _scan(equation, values, reading)
            if primitive is jex.primitives.while_p:
                return _while(params, values, reading)
            return _cond(params, values, reading)
    return reading.at(equation, values)


def _scan(equation: jex.JaxprEqn, values: list[Any], reading: Reading) -> list[Any]:
    params = equation.params
    closed = _closed(params["jaxpr"])
    # Their counts are parameters by other names in other versions of JAX. What is scanned over has
    # an axis more outside than inside; constants and carry have not, and only the carry comes out.
    carried = _same_rank(equation.outvars, closed.jaxpr.outvars)
    fixed = _same_rank(equation.invars, closed.jaxpr.invars) - carried

    def body(carry: list[Any], xs: list[Any]) -> tuple[list[Any], list[Any]]:
        after = run_jaxpr(closed, [*values[:fixed], *carry, *xs], reading)
        return after[:carried], after[carried:]

    carry, ys = jax.lax.scan(
        body,
        values[fixed : fixed + carried],
        values[fixed + carried :],
        **{name: params[name] for name in ("length", "reverse", "unroll")},
    )
    return [*carry, *ys]


def _same_rank(outside: Sequence[Any], inside: Sequence[Any]) -> int:
    return sum(
        out.aval.ndim == within.aval.ndim for out, within in zip(outside, inside, strict=True)
    )


def _while(params: dict[str, Any], values: list[Any], reading: Reading) -> list[Any]:
    tested, fixed = params["cond_nconsts"], params["body_nconsts"]

    def goes_on(carry: list[Any]) -> Any:
        (found,) = run_jaxpr(params["cond_jaxpr"], [*values[:tested], *carry], reading)
        return reading.plain(found)

    def body(carry: list[Any]) -> list[Any]:
        consts = values[tested : tested + fixed]
        return run_jaxpr(params["body_jaxpr"], [*consts, *carry], reading)

    return jax.lax.while_loop(goes_on, body, values[tested + fixed :])


def _cond(params: dict[str, Any], values: list[Any], reading: Reading) -> list[Any]:
    def taking(branch: jex.ClosedJaxpr) -> Callable[..., list[Any]]:
        return lambda *values: run_jaxpr(branch, values, reading)

    index, *operands = values
    branches = [taking(branch) for branch in params["branches"]]
    return jax.lax.switch(reading.plain(index), branches, *operands)


def _closed(jaxpr: jex.Jaxpr | jex.ClosedJaxpr) -> jex.ClosedJaxpr:
    return jaxpr if isinstance(jaxpr, jex.ClosedJaxpr) else jex.ClosedJaxpr(jaxpr, [])
