"""The gradient by groups of parts, so that no part pushes that of another out of range.

The parts of a state fall into groups whose parts all act on one another, as the h and c of a
layer do. The gradient dL/ds_t at a group is made by the parts that the group acts on and by no
others: each group is swept with these alone, and has exponents of its own. A state of one layer is
one group, and nothing is done twice.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from lstmgrad._chains.base import StoredChain, check_stored, known_run
from lstmgrad._chains.dependence import leaf_dependence, mutual_groups, parts_between
from lstmgrad._chains.run import one_step
from lstmgrad._gradients.adjoint import pull_cotangents
from lstmgrad._gradients.local import LocalStep, differentiable, with_room
from lstmgrad._gradients.outer import is_outer
from lstmgrad._gradients.sums import in_stretches
from lstmgrad._numeric.scaled import Scaled, normalize, power_below, widen
from lstmgrad._progress import Meter, portions
from lstmgrad._types import Inputs, Params, PartName, State


class Group(NamedTuple):
    """Parts of the state that act on one another, and the gradient there.

    Attributes:
        local: one step, seen at these parts.
        rows: (T, m), dL/ds_t at these parts, t = 1..T, with room for squares.
        exponents: (T,), of the rows.
        coordinates: (m,), where the parts lie in the flat state.
        fed_by: for each leaf of (parameters, inputs), whether these parts depend on it in a step.
        trained: whether one of these leaves is a parameter.
    """

    local: LocalStep
    rows: Float[Array, "T m"]
    exponents: Int[Array, " T"]
    coordinates: Any
    fed_by: list[bool]
    trained: bool


def groups_of(
    chain: StoredChain,
    flat: Float[Array, "times n"],
    moving: Params,
    fixed: Params,
    meter: Meter | None = None,
) -> list[Group]:
    """The groups that depend on parameters or inputs; all of them where none does.

    Args:
        chain: T factors that know their model.
        flat: ∂L/∂s_t as flat vectors.
        moving: the differentiable leaves of the parameters.
        fixed: the others.
        meter: told on the way; None tells nobody.
    """
    layout, run = chain.layout, known_run(chain)
    step, _ = run.step.parts()
    x_moving, _ = differentiable(run.inputs)
    reached = _reached_by_leaves(chain, moving, fixed)
    count, nowhere = len(jax.tree.leaves(moving)), not any(map(any, reached.values()))
    fed: list[tuple[tuple[PartName, ...], list[bool]]] = []
    for parts in mutual_groups(layout):
        feeds = zip(*(reached[part] for part in parts), strict=True)
        fed_by = [any(feed) for feed in feeds]
        if any(fed_by) or nowhere:
            fed.append((parts, fed_by))
    groups = []
    for (parts, fed_by), own in zip(fed, portions(meter, *[1] * len(fed)), strict=True):
        rows, exponents = _gradient_at(chain, flat, parts, (moving, x_moving), own)
        local = LocalStep(step, fixed, layout.restricted(parts))
        inside, trained = layout.coordinates(parts), any(fed_by[:count])
        groups.append(Group(local, rows, exponents, inside, fed_by, trained))
    return groups


def fed_by_parameters(
    chain: StoredChain, flat: Float[Array, "times n"], moving: Params, fixed: Params
) -> tuple[StoredChain, Float[Array, "times m"]]:
    """The chain of the parts that the gradient with respect to the parameters comes through.

    Args:
        chain: T factors that know their model.
        flat: ∂L/∂s_t as flat vectors.
        moving: the differentiable leaves of the parameters.
        fixed: the others.

    Returns:
        The chain, and the cotangents of these parts.
    """
    layout, count = chain.layout, len(jax.tree.leaves(moving))
    reached = _reached_by_leaves(chain, moving, fixed)
    fed = [part for part in layout.parts if any(reached[part][:count])]
    behind = {later for part in fed for later in parts_between(layout, None, part)}
    if not fed or behind == set(layout.parts):
        return chain, flat
    restricted = check_stored(chain.restricted([part for part in layout.parts if part in behind]))
    return restricted, flat[:, layout.coordinates(behind)]


def shared_exponents(
    groups: list[Group], leaves: tuple[Params, Inputs]
) -> tuple[Int[Array, " T"], tuple[Params, Inputs], list[list[Array | None]]]:
    """The exponents that sums over the groups have, and what each group is weighted with in them.

    Args:
        groups: at least one.
        leaves: the differentiable leaves of parameters and inputs.

    Returns:
        Those of all parameters together; those of each leaf, the largest among the groups that it
        feeds; and for each group the weight of each leaf, None where it is the only one or none.
    """
    together = _largest([group.exponents for group in _trained(groups)])
    flat, treedef = jax.tree.flatten(leaves)
    feeding = [[group for group in groups if group.fed_by[i]] for i in range(len(flat))]
    own = [_largest([group.exponents for group in fed]) if fed else together for fed in feeding]
    weights = [
        [
            power_below(group.exponents - own[i], group.rows.dtype)
            if group.fed_by[i] and len(feeding[i]) > 1
            else None
            for i in range(len(flat))
        ]
        for group in groups
    ]
    return together, treedef.unflatten(own), weights


def weighted_sum(groups: list[Group], found: list[Any], weights: list[Any]) -> Any:
    """The sum of what each group adds to the leaves that it feeds.

    Args:
        groups: at least one.
        found: for each group, like (parameters, inputs), of arrays and `Outer`s.
        weights: as `shared_exponents` gives them, at one step.
    """
    flat = [jax.tree.flatten(tree, is_leaf=is_outer) for tree in found]
    leaves, treedefs = zip(*flat, strict=True)

    def total(index: int) -> Any:
        terms = []
        for group, own, weight in zip(groups, leaves, weights, strict=True):
            if group.fed_by[index]:
                terms.append((own[index], weight[index]))
        if not terms:
            return jnp.zeros(leaves[0][index].shape, leaves[0][index].dtype)
        if terms[0][1] is None:
            return terms[0][0]
        arrays = [(leaf.to_array() if is_outer(leaf) else leaf, factor) for leaf, factor in terms]
        return sum(leaf * factor.astype(leaf.dtype) for leaf, factor in arrays)

    return treedefs[0].unflatten([total(index) for index in range(len(leaves[0]))])


def inner_products(
    groups: list[Group],
    move: Callable[[Any], Float[Array, " n"]],
    factors: Any,
    exponents: Int[Array, " T"],
    meter: Meter | None,
) -> Float[Array, " T"]:
    """The inner product of dL/ds_t with a direction of s_t at every t, with given exponents.

    Args:
        groups: the gradient.
        move: from s_{t-1} and x_t to the direction of s_t; the T directions are not kept.
        factors: s_{t-1} and x_t, with T on axis 0.
        exponents: of the result.
        meter: told of every stretch of steps.
    """
    trained = _trained(groups)

    def products(entry: tuple[Any, list[Array]]) -> list[Float[Array, ""]]:
        factor, rows = entry
        moved, found = move(factor), []
        for group, row in zip(trained, rows, strict=True):
            part = moved if row.shape == moved.shape else moved[group.coordinates]
            found.append(jnp.vdot(widen(row), widen(part), precision="highest"))
        return found

    found = in_stretches(products, (factors, [group.rows for group in trained]), meter)
    total: Any = 0
    for group, inner in zip(trained, found, strict=True):
        total += inner * power_below(group.exponents - exponents, inner.dtype)
    return total


def _gradient_at(
    chain: StoredChain,
    flat: Float[Array, "times n"],
    parts: tuple[PartName, ...],
    leaves: tuple[Params, Inputs],
    meter: Meter | None,
) -> tuple[Float[Array, "T m"], Int[Array, " T"]]:
    """dL/ds_t at a group of parts, t = 1..T, with room for squares; and its exponents."""
    layout = chain.layout
    behind = parts_between(layout, None, parts[0])
    if behind != layout.parts:
        flat = flat[:, layout.coordinates(behind)]
        chain = check_stored(chain.restricted(behind))
    found = pull_cotangents(chain, flat, meter)
    mantissas, exponents = found.mantissa[1:], found.exponent[1:]
    if parts != behind:
        inside = chain.layout.coordinates(parts)
        mantissas, exponents = normalize(Scaled(mantissas[:, inside], exponents))
    room = jax.vmap(lambda row: with_room(row, layout, *leaves))(Scaled(mantissas, exponents))
    return room.mantissa, room.exponent


def _reached_by_leaves(
    chain: StoredChain, moving: Params, fixed: Params
) -> dict[PartName, list[bool]]:
    """For each part, which differentiable leaves of parameters and inputs it depends on."""
    run = known_run(chain)
    step, _ = run.step.parts()
    x_moving, x_fixed = differentiable(run.inputs)

    def of_leaves(leaves: tuple[Params, Inputs], state: State, x_fixed: Inputs) -> State:
        return step(eqx.combine(leaves[0], fixed), state, eqx.combine(leaves[1], x_fixed))

    one, one_fixed, state = (one_step(tree) for tree in (x_moving, x_fixed, run.before))
    return leaf_dependence(of_leaves, (moving, one), state, one_fixed, chain.layout)


def _trained(groups: list[Group]) -> list[Group]:
    """The groups that depend on parameters; all of them where none does."""
    return [group for group in groups if group.trained] or groups


def _largest(exponents: list[Int[Array, " T"]]) -> Int[Array, " T"]:
    largest = exponents[0]
    for other in exponents[1:]:
        largest = jnp.maximum(largest, other)
    return largest
