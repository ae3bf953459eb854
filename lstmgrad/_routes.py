"""Through what the gradient comes: the chain split by the value that carries the perturbation.

A step marks values on the way from the old state to the new one with `tag`. If every path crosses
exactly one tag, the step Jacobian is the sum over the tags of what flows when all other tagged
values are held,

    J_t = Σ_r J_t^r,      J_t^r = D[all tags held but r] - D[all tags held],

and each route r is a chain of its own. What crosses no tag (D[all tags held]) and what crosses more
than one (the rest) are routes too, `UNTAGGED` and `CROSSED`, so that nothing is hidden.
"""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.extend.core as jex
from jaxtyping import Array, Float

from lstmgrad._chain import Chain, ImplicitChain, Model, linearize
from lstmgrad._checks import check_tags
from lstmgrad._layout import Layout
from lstmgrad._trajectory import Trajectory
from lstmgrad._types import Inputs, Params, State, StepFn

UNTAGGED = "untagged"
"""The route of paths that cross no tag."""

CROSSED = "crossed"
"""The route of paths that cross two different tags or more."""


def routes(step: StepFn, params: Params, trajectory: Trajectory) -> dict[str, Chain]:
    """Returns the chain of step Jacobians split into one chain a route.

    Args:
        step: a step that marks values with `tag`, in itself or in functions that it calls, compiled
            ones included; not inside custom derivative rules, which have no inside to a gradient.
        params: its parameters.
        trajectory: as for `linearize`.

    Returns:
        A dict of chains, by tag in the order of the step, then "untagged" and "crossed". At every
        step their factors add up to the factor of `linearize`. Each is a `Chain` for every
        analysis. A complete and disjoint set of tags has zeros in the last two.

    Raises:
        ValueError: as `linearize`; the step has no tag; a tag has the name of one of the two rests.

    Notes:
        A held value is held against the parameters, too: slopes of a route with respect to the
        parameters leave out how the held values change, so differentiate the whole chain instead.
        Traces the step once a call; what is done with the routes is compiled as for any chain. A
        pull through a route costs what it needs: the cell route of an LSTM is a product with the
        forget gate, without the recurrent weights. "crossed" costs as much as all others together.

    Example:
        For an LSTM, ``jacobian(routes(step, params, trajectory)["cell"], of="c", wrt="c")`` is the
        additive path alone, diag Π f.

    References:
        Arpit et al. 2019 (arXiv:1810.03023), Section 2, for the two paths of the LSTM.
    """
    whole = linearize(step, params, trajectory)
    assert isinstance(whole, ImplicitChain)
    first = jax.tree.map(lambda leaf: leaf[0], whole.factors)
    closed = jax.make_jaxpr(lambda state, x: step(params, state, x))(*first)
    names = check_tags(_names(closed.jaxpr), (UNTAGGED, CROSSED))

    def of(*terms: tuple[int, Model]) -> RouteChain:
        weights, models = zip(*terms, strict=True)
        return RouteChain(
            factors=whole.factors, models=models, weights=weights, layout=whole.layout
        )

    held = Model.of(_Holding(step, ()), params)
    through = {name: Model.of(_Holding(step, (name,)), params) for name in names}
    rest = [(-1, model) for model in through.values()]
    return {
        **{name: of((1, model), (-1, held)) for name, model in through.items()},
        UNTAGGED: of((1, held)),
        CROSSED: of((1, whole.model), *rest, (len(names) - 1, held)),
    }


class RouteChain(Chain):
    """A chain whose factors are a sum of the Jacobians of variants of one step.

    Attributes:
        factors: (states, inputs): s_{t-1} and x_t at index t-1.
        models: the variants.
        weights: the whole number that each variant's Jacobian is taken with.
        layout: the named map between the state and the flat vector.
    """

    factors: Any
    models: tuple[Model, ...]
    weights: tuple[int, ...] = eqx.field(static=True)
    layout: Layout = eqx.field(static=True)

    def push(self, factor: Any, rows: Float[Array, "m n"]) -> Float[Array, "m n"]:
        """J_t^r v for every row v."""
        return self._sum([variant.push(factor, rows) for variant in self._variants()])

    def pull(self, factor: Any, rows: Float[Array, "m n"]) -> Float[Array, "m n"]:
        """U J_t^r for every row u."""
        return self._sum([variant.pull(factor, rows) for variant in self._variants()])

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """The axes in front of the time axis of the states."""
        return self._variants()[0].batch_shape

    def _variants(self) -> list[ImplicitChain]:
        return [
            ImplicitChain(factors=self.factors, model=model, layout=self.layout)
            for model in self.models
        ]

    def _sum(self, blocks: Sequence[Array]) -> Array:
        # From the first on: 0 · x + y would not be y to the last bit for signed zeros and NaN.
        total = blocks[0] * self.weights[0] if self.weights[0] != 1 else blocks[0]
        for weight, block in zip(self.weights[1:], blocks[1:], strict=True):
            total = total - block if weight == -1 else total + weight * block
        return total


class _Holding(eqx.Module):
    """A step with all tagged values held, so that no gradient passes, but those named in `free`."""

    step: Any
    free: tuple[str, ...] = eqx.field(static=True)

    def __call__(self, params: Params, state: State, x: Inputs) -> State:
        arguments = (state, x)
        closed, shape = jax.make_jaxpr(
            lambda state, x: self.step(params, state, x), return_shape=True
        )(*arguments)
        values = _evaluate(closed.jaxpr, closed.consts, jax.tree.leaves(arguments), self.free)
        return jax.tree.unflatten(jax.tree.structure(shape), values)


def _names(jaxpr: jex.Jaxpr) -> list[str]:
    """The names of all tags, in order of appearance, inner functions included."""
    found: dict[str, None] = {}
    for equation in jaxpr.eqns:
        if equation.primitive is jex.primitives.name_p:
            found[equation.params["name"]] = None
        for inner in jex.jaxprs_in_params(equation.params):
            found.update(dict.fromkeys(_names(inner)))
    return list(found)


def _evaluate(
    jaxpr: jex.Jaxpr, consts: Sequence[Any], arguments: Sequence[Any], free: tuple[str, ...]
) -> list[Any]:
    """Runs a jaxpr with the values of tags that are not free held."""
    known = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *arguments], strict=True))

    def read(atom: Any) -> Any:
        return atom.val if isinstance(atom, jex.Literal) else known[atom]

    for equation in jaxpr.eqns:
        inputs = [read(atom) for atom in equation.invars]
        known.update(zip(equation.outvars, _apply(equation, inputs, free), strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _apply(equation: jex.JaxprEqn, inputs: list[Any], free: tuple[str, ...]) -> Sequence[Any]:
    primitive, params = equation.primitive, equation.params
    if primitive is jex.primitives.name_p:
        held = params["name"] not in free
        return [jax.lax.stop_gradient(value) if held else value for value in inputs]
    if primitive in (jex.primitives.jit_p, jex.primitives.remat_p) and _names(_open(params)):
        consts = params["jaxpr"].consts if isinstance(params["jaxpr"], jex.ClosedJaxpr) else []
        return _evaluate(_open(params), consts, inputs, free)
    if any(_names(inner) for inner in jex.jaxprs_in_params(params)):
        params = {name: _rewritten(value, free) for name, value in params.items()}
    with equation.ctx.manager:
        outputs = primitive.bind(*inputs, **primitive.get_bind_params(params))
    return outputs if primitive.multiple_results else [outputs]


def _open(params: dict[str, Any]) -> jex.Jaxpr:
    inner = params["jaxpr"]
    return inner.jaxpr if isinstance(inner, jex.ClosedJaxpr) else inner


def _rewritten(value: Any, free: tuple[str, ...]) -> Any:
    """The bodies of loops and branches, with their own tags held."""
    if isinstance(value, jex.ClosedJaxpr):
        avals = [jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in value.jaxpr.invars]
        return jax.make_jaxpr(lambda *args: _evaluate(value.jaxpr, value.consts, args, free))(
            *avals
        )
    if isinstance(value, tuple) and any(isinstance(item, jex.ClosedJaxpr) for item in value):
        return tuple(_rewritten(item, free) for item in value)
    return value
