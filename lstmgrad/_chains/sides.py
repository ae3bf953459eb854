"""What a step multiplies the matrices of its state by, read off a few of its derivatives.

A unit vector in each row of a matrix comes out of S' = S A as a row of A each, and one probe at
random says whether that is all the step does to S.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lstmgrad._chains.factors import in_single
from lstmgrad._chains.layout import Layout
from lstmgrad._chains.modes import push_block
from lstmgrad._chains.probes import differs, noise
from lstmgrad._chains.run import BoundStep
from lstmgrad._types import PartName, State


def is_carried_matrix(layout: Layout, part: PartName) -> bool:
    """Whether a part is one real array of two axes or more, which depends on what it was."""
    places = [place for place, owner in enumerate(layout.owners) if owner == part]
    index = layout.parts.index(part)
    return (
        len(places) == 1
        and len(layout.shapes[places[0]]) > 1
        and jnp.issubdtype(layout.dtypes[places[0]], jnp.floating)
        and layout.dependence[index][index]
    )


def sides_of(step: BoundStep, places: list[int], state: State, x: Any) -> tuple[list[Array], Array]:
    """A of every matrix in one step, and whether any of them has none.

    Args:
        step: with its parameters.
        places: of the matrices among the leaves of the state.
        state: s_{t-1}.
        x: x_t.
    """
    function, weights = step.parts()
    params, state, x = in_single(function, weights, state, x)
    leaves, treedef = jax.tree.flatten(state)
    found = []
    for place in places:

        def moved(leaf: Array, place: int = place) -> Array:
            filled = [*leaves[:place], leaf, *leaves[place + 1 :]]
            after = function(params, jax.tree.unflatten(treedef, filled), x)
            return jax.tree.leaves(after)[place].astype(leaf.dtype)

        found.append(_side(moved, leaves[place]))
    sides, wrong = zip(*found, strict=True)
    return list(sides), jnp.any(jnp.stack(wrong))


def _side(moved: Any, leaf: Float[Array, "*heads v k"]) -> tuple[Array, Array]:
    """A of one matrix in one step, and whether there is none.

    Args:
        moved: what the matrix becomes, as a function of it.
        leaf: the matrix.
    """
    *heads, values, keys = leaf.shape
    # A unit vector in each row gives a row of A each.
    count = -(-keys // values)
    units = np.zeros((count * values, keys))
    units[:keys] = np.eye(keys)
    units = np.broadcast_to(
        units.reshape(count, *[1] * len(heads), values, keys), (count, *leaf.shape)
    )
    probe = noise(leaf, np.random.default_rng(0))
    rows = jnp.asarray(np.concatenate([units, probe[None]]), leaf.dtype)
    with jax.default_matmul_precision("highest"):
        after, pushed = push_block(moved, leaf, rows)
        seen = jnp.moveaxis(pushed[:-1], 0, -3).reshape(*heads, count * values, keys)
        side = seen[..., :keys, :]
        wrong = differs(pushed[-1], rows[-1] @ side, side)
    # As in `ImplicitChain`: what led to NaN has no derivative.
    return jnp.where(jnp.any(jnp.isnan(after)), jnp.nan, side), wrong
