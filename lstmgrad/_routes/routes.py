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
from jaxtyping import Array, Float

from lstmgrad._chains.chain import Chain, ImplicitChain, Model, linearize
from lstmgrad._chains.layout import Layout, ravel, unravel
from lstmgrad._chains.trajectory import Trajectory
from lstmgrad._checks import check_tags
from lstmgrad._routes.tagged import run_tagged, tag_names
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
        Differentiable with respect to the parameters, as any chain: what is held still depends on
        them. Traces the step once a call; what is done with the routes is compiled as for any
        chain. A pull through a route costs what it needs: the cell route of an LSTM is a product
        with the forget gate, without the recurrent weights. "crossed" costs as much as all others
        together.

    Example:
        For an LSTM, ``jacobian(routes(step, params, trajectory)["cell"], of="c", wrt="c")`` is the
        additive path alone, diag Π f.

    References:
        Arpit et al. 2019 (arXiv:1810.03023), Section 2, for the two paths of the LSTM.
    """
    whole = linearize(step, params, trajectory)
    assert isinstance(whole, ImplicitChain)
    first = jax.tree.map(lambda leaf: leaf[0], whole.factors)
    names = check_tags(tag_names(step, params, *first), (UNTAGGED, CROSSED))

    def of(*terms: tuple[int, Model]) -> RouteChain:
        weights, models = zip(*terms, strict=True)
        return RouteChain(
            factors=whole.factors, models=models, weights=weights, layout=whole.layout
        )

    def freeing(*free: str) -> Model:
        return Model.of(_Holding(step, free), params)

    held, through = freeing(), {name: freeing(name) for name in names}
    rest = [(-1, model) for model in through.values()]
    return {
        **{name: of((1, model), (-1, held)) for name, model in through.items()},
        UNTAGGED: of((1, held)),
        CROSSED: of((1, freeing(*names)), *rest, (len(names) - 1, held)),
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
            _HeldChain(factors=self.factors, model=model, layout=self.layout)
            for model in self.models
        ]

    def _sum(self, blocks: Sequence[Array]) -> Array:
        # From the first on: 0 · x + y would not be y to the last bit for signed zeros and NaN.
        total = blocks[0] * self.weights[0] if self.weights[0] != 1 else blocks[0]
        for weight, block in zip(self.weights[1:], blocks[1:], strict=True):
            total = total - block if weight == -1 else total + weight * block
        return total


class _HeldChain(ImplicitChain):
    """An implicit chain of a `_Holding` step."""

    def _flat_step(self, factor: Any):
        state, x = factor
        return ravel(state), lambda flat: ravel(self.model.step((state, unravel(flat, state)), x))


class _Holding(eqx.Module):
    """A step with all tagged values held, so that no gradient passes, but those named in `free`.

    Its state is a pair: the state that held values are computed from, and the one that moves.
    """

    step: Any
    free: tuple[str, ...] = eqx.field(static=True)

    def __call__(self, params: Params, states: tuple[State, State], x: Inputs) -> State:
        def at_tag(name: str, reference: Any, moving: Any) -> Any:
            return moving if name in self.free else reference

        return run_tagged(self.step, params, *states, x, at_tag)
