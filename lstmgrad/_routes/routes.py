"""Through what the gradient comes: the chain split by the value that carries the perturbation.

A step marks values on the way from the old state to the new one with `tag`. If every path crosses
exactly one tag, the step Jacobian is the sum over the tags of what flows when all other tagged
values are held,

    J_t = Σ_r J_t^r,      J_t^r = D[all tags held but r] - D[all tags held],

and each route r is a chain of its own. What crosses no tag (D[all tags held]) and what crosses more
than one (the rest) are routes too, `UNTAGGED` and `CROSSED`, so that nothing is hidden.
"""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, Float

from lstmgrad._calls import public
from lstmgrad._chains.base import Chain, StoredChain, check_chain, cut_leaves, known_run
from lstmgrad._chains.factors import in_single, pull_rows, push_rows
from lstmgrad._chains.implicit import layout_with_dependence
from lstmgrad._chains.layout import Layout
from lstmgrad._chains.run import BoundStep
from lstmgrad._checks import check_tags
from lstmgrad._routes.tagged import run_tagged, tag_names
from lstmgrad._types import Inputs, Params, PartName, State

UNTAGGED = "untagged"
"""The route of paths that cross no tag."""

CROSSED = "crossed"
"""The route of paths that cross two different tags or more."""


@public
def routes(chain: Chain) -> dict[str, StoredChain]:
    """Returns the chain of step Jacobians split into one chain per route.

    Args:
        chain: of steps that mark values with `tag`, in themselves or in functions that they call,
            compiled ones included; not inside custom derivative rules, which have no inside to a
            gradient. From `chain` or `linearize`, of any declared structure, or a slice of such a
            chain.

    Returns:
        A dict of chains, by tag in the order of the step, then "untagged" and "crossed". At every
        step their factors add up to that of the chain. Each is a `Chain` for every analysis of
        chains. A complete and disjoint set of tags has zeros in the last two.

    Raises:
        ValueError: the chain does not know its model; the step has no tag, or one with the name of
            one of the two rests.

    Notes:
        Differentiable with respect to the parameters, as any chain: what is held still depends on
        them. Traces the step once per call; what is done with the routes is compiled as for any
        chain. A pull through a route costs what it needs: the cell route of an LSTM is a product
        with the forget gate, without the recurrent weights. "crossed" costs as much as all others
        together.

    Example:
        For an LSTM, ``jacobian(routes(chain)["cell"], of="c", wrt="c")`` is the
        additive path alone, diag Π f.

        >>> parts = [lg.jacobian(route[2:3]) for route in lg.routes(chain).values()]
        >>> bool(jnp.allclose(sum(parts), lg.jacobian(chain[2:3]), atol=1e-6))
        True

    References:
        Arpit et al. 2019 (arXiv:1810.03023), Section 2, for the two paths of the LSTM.
    """
    check_chain(chain)
    run = known_run(chain)
    step, params = run.step.parts()
    state, x = run.example()
    names = check_tags(tag_names(step, params, state, x), (UNTAGGED, CROSSED))
    layout = layout_with_dependence(step, params, state, x)

    def of(*terms: tuple[int, BoundStep]) -> RouteChain:
        weights, steps = zip(*terms, strict=True)
        return RouteChain(factors=run.factors, steps=steps, weights=weights, layout=layout)

    def freeing(*free: str) -> BoundStep:
        return BoundStep.of(_Holding(step, free), params)

    held, through = freeing(), {name: freeing(name) for name in names}
    rest = [(-1, variant) for variant in through.values()]
    return {
        **{name: of((1, variant), (-1, held)) for name, variant in through.items()},
        UNTAGGED: of((1, held)),
        CROSSED: of((1, freeing(*names)), *rest, (len(names) - 1, held)),
    }


class RouteChain(StoredChain):
    """A chain whose factors are a sum of the Jacobians of variants of one step.

    Attributes:
        factors: (states, inputs): s_{t-1} and x_t at index t-1.
        steps: the variants with their parameters; each takes a pair of states.
        weights: the whole number that each variant's Jacobian is taken with.
        layout: the named map between the state and the flat vector.
    """

    factors: Any
    steps: tuple[BoundStep, ...]
    weights: tuple[int, ...] = eqx.field(static=True)
    layout: Layout = eqx.field(static=True)

    def push(self, factor: Any, rows: Float[Array, "m n"]) -> Float[Array, "m n"]:
        """J_t^r v for every row v."""
        return self._sum(push_rows, factor, rows)

    def pull(self, factor: Any, rows: Float[Array, "m n"]) -> Float[Array, "m n"]:
        """U J_t^r for every row u."""
        return self._sum(pull_rows, factor, rows)

    def cut(self, bounds: slice) -> "RouteChain":
        """The route along a stretch of the trajectory."""
        return eqx.tree_at(lambda chain: chain.factors, self, cut_leaves(self.factors, bounds))

    def restricted(self, parts: Sequence[PartName]) -> "RouteChain":
        """The route between some of the parts, the others held."""
        return RouteChain(
            factors=self.factors,
            steps=self.steps,
            weights=self.weights,
            layout=self.layout.restricted(parts),
        )

    @property
    def run(self) -> None:
        """Nothing: a route is not the model's own chain."""
        return None

    @property
    def steps_along(self) -> tuple[BoundStep, tuple[State, Inputs]]:
        """The model's step, and all (s_{t-1}, x_t)."""
        holding: Any
        holding, params = self.steps[0].parts()
        return BoundStep.of(holding.step, params), self.factors

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """The axes in front of the time axis of the states."""
        leaf = jax.tree.leaves(self.factors[0])[0]
        return leaf.shape[: leaf.ndim - 1 - len(self.layout.shapes[0])]

    def _sum(self, move: Callable[..., Array], factor: Any, rows: Array) -> Array:
        def moved(step: BoundStep) -> Array:
            holding: Any
            holding, params = step.parts()
            params, state, x = in_single(holding.step, params, *factor)

            def after(flat: Array) -> Array:
                pair = state, self.layout.unravel(flat, state)
                return self.layout.ravel(holding(params, pair, x))

            return move(after, self.layout.ravel(state), rows)

        # Starting with the first block: 0 · x + y is not y bit for bit for signed zeros and NaN.
        blocks = [moved(step) for step in self.steps]
        total = blocks[0] * self.weights[0] if self.weights[0] != 1 else blocks[0]
        for weight, block in zip(self.weights[1:], blocks[1:], strict=True):
            total = total - block if weight == -1 else total + weight * block
        return total


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
