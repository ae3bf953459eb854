"""One block of a chain, ∂of_t/∂wrt_k: the parts that it takes, and where it lies in them."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lstmgrad._chains.base import Chain
from lstmgrad._chains.dependence import parts_between, steps_between
from lstmgrad._types import PartName


class Block(NamedTuple):
    """∂of_t/∂wrt_k of a chain, carried by the parts on a path from `wrt` to `of` alone.

    Attributes:
        chain: restricted to these parts; the whole chain where there is no path.
        rows: where `of` lies in the flat state of `chain`.
        columns: where `wrt` lies in it.
        shape: (n_of, n_wrt) of the whole block.
        shared: how many coordinates `of` and `wrt` have in common: the ones of the identity.
        distance: the least number of steps from `wrt` to `of`: the block is exactly zero at lags
            below it, and at every lag but 0 where there is no path, for None.
    """

    chain: Chain
    rows: slice
    columns: slice
    shape: tuple[int, int]
    shared: int
    distance: int | None

    @property
    def connected(self) -> bool:
        """Whether there is a path from `wrt` to `of`."""
        return self.distance is not None

    def is_zero(self, lags: int | np.ndarray) -> Any:
        """Whether the block is exactly zero at each of some lags, whatever the factors are."""
        least = np.inf if self.distance is None else self.distance
        return np.less(lags, least) & ~np.equal(lags, 0 if self.shared else -1)


def block_between(chain: Chain, of: PartName | None, wrt: PartName | None) -> Block:
    """Returns the block of a chain between two parts.

    Args:
        chain: T factors.
        of: the part that is differentiated; None is the whole state.
        wrt: the part that is varied; None is the whole state.

    Raises:
        ValueError: an unknown part (the known ones are listed).
    """
    layout = chain.layout
    rows, columns = layout.block(of, "of"), layout.block(wrt, "wrt")
    shape = rows.stop - rows.start, columns.stop - columns.start
    shared = max(0, min(rows.stop, columns.stop) - max(rows.start, columns.start))
    parts = parts_between(layout, of, wrt)
    if parts and parts != layout.parts:
        chain = chain.restricted(parts)
        rows, columns = chain.layout.block(of, "of"), chain.layout.block(wrt, "wrt")
    return Block(chain, rows, columns, shape, shared, steps_between(layout, of, wrt))


def whole_block(
    values: Float[Array, "rows columns"],
    block: Block,
    chain: Chain,
    of: PartName | None,
    wrt: PartName | None,
) -> Float[Array, "n_of n_wrt"]:
    """The block with zeros in the rows and columns of parts that are on no path.

    Args:
        values: what the restricted chain gives.
        block: what it is a block of.
        chain: the whole chain.
        of: the part that is differentiated.
        wrt: the part that is varied.
    """
    if values.shape == block.shape:
        return values
    inside = np.zeros(chain.layout.size, bool)
    inside[chain.layout.coordinates(block.chain.layout.parts)] = True
    rows, columns = (np.flatnonzero(inside[chain.layout.block(name, "part")]) for name in (of, wrt))
    return jnp.zeros(block.shape, values.dtype).at[rows[:, None], columns[None]].set(values)
