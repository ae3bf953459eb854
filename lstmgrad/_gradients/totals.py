"""What all steps add to each leaf of the parameters, with the sums that residuals come from."""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from lstmgrad._chains.run import Run
from lstmgrad._gradients.groups import Group, weighted_sum
from lstmgrad._gradients.local import squares
from lstmgrad._gradients.outer import Outer
from lstmgrad._gradients.sums import Summed, add_up
from lstmgrad._numeric.scaled import power_below
from lstmgrad._progress import Meter
from lstmgrad._types import Inputs, Params


def summed(
    groups: list[Group], run: Run, moving: Params, shared: tuple, meter: Meter | None
) -> Summed:
    """The sums over all steps, with one entry for each leaf of the parameters.

    Args:
        groups: the gradient at the state behind every step.
        run: the model and its states.
        moving: the differentiable leaves of the parameters.
        shared: what `shared_exponents` gives for these groups.
        meter: told on the way; None tells nobody.

    Returns:
        With (dL/dx_t, their squared norms) beside them.
    """
    exponents, (leaf_exponents, _), weights = shared
    leaves, own = jax.tree.leaves(moving), jax.tree.leaves(leaf_exponents)
    fed = [i for i in range(len(leaves)) if any(group.fed_by[i] for group in groups)]

    def added(entry: tuple) -> tuple[list[Outer], tuple[Inputs, Inputs]]:
        factor, rows, weights = entry
        found = [
            group.local.outer(moving, factor, row) for group, row in zip(groups, rows, strict=True)
        ]
        parts, x_part = weighted_sum(groups, found, weights)
        return [Outer.of(parts[i]) for i in fed], (x_part, squares(x_part))

    entries = run.factors, [group.rows for group in groups], weights
    found = add_up(added, entries, [own[i] for i in fed], exponents, meter=meter)
    # Nothing is added to leaves on which no part depends.
    totals, tops = [jnp.zeros_like(leaf) for leaf in leaves], [each[-1] for each in own]
    parts = [jnp.zeros_like(found.sums)] * len(leaves)
    for place, total, top, part in zip(fed, *found[:3], strict=True):
        totals[place], tops[place], parts[place] = total, top, part
    return Summed(totals, tops, parts, found.sums, found.beside)


def lowered(squares: Params, leaf_exponents: Params, exponents: Array) -> Params:
    """Squares of leaves with exponents of their own as squares with one exponent for all."""

    def lower(square: Array, exponent: Array) -> Array:
        # Factor by factor: twice the exponent may not fit an int32.
        power = power_below(exponent - exponents, square.dtype)
        return square * power * power

    return jax.tree.map(lower, squares, leaf_exponents)
