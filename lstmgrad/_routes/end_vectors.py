"""The direction that a gradient starts from, and the one that it ends in."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from lstmgrad._chains.base import Chain
from lstmgrad._chains.blocks import Block
from lstmgrad._chains.layout import Layout
from lstmgrad._chains.propagate import pull_back
from lstmgrad._checks import check_array
from lstmgrad._numeric import lapack
from lstmgrad._numeric.scaled import norm_of, widen


def end_vectors(
    chain: Chain, cotangent: Float[Array, " n"] | None, block: Block
) -> tuple[Float[Array, " m"], Float[Array, " m"]]:
    """Returns u on the rows of a block of ds_T/ds_0 and v on its columns, with zeros elsewhere.

    The top singular pair of the block for None; else the cotangent's rows as they are, and the
    direction of their pull. Both are flat vectors of the block's restricted chain.

    Args:
        chain: T factors that can be pulled back.
        cotangent: (n,), or None.
        block: of the chain.
    """
    size, dtype = block.chain.layout.size, block.chain.layout.dtype
    rows, columns = block.rows, block.columns
    if cotangent is None:
        pulled = pull_back(block.chain, jnp.eye(size, dtype=dtype)[rows])
        left, _, right = lapack.svd(widen(pulled.mantissa[:, columns]))
        u = jnp.zeros(size, dtype).at[rows].set(left[:, 0].astype(dtype))
        v = right[0].astype(dtype)
    else:
        check_array(cotangent, "cotangent")
        shape, kind = jnp.shape(cotangent), jnp.result_type(cotangent)
        _check_vector(shape, kind, chain.layout, "cotangent")
        kept = jnp.asarray(cotangent, dtype)[chain.layout.coordinates(block.chain.layout.parts)]
        u = jnp.zeros(size, dtype).at[rows].set(kept[rows])
        v = pull_back(block.chain, u).mantissa[columns]
        norm = norm_of(v)
        v = v / jnp.where(norm > 0, norm, 1.0)
    return u, jnp.zeros(size, dtype).at[columns].set(v)


def _check_vector(shape: tuple, dtype: Any, layout: Layout, argument: str) -> None:
    """One flat vector in the dtype of the chain or the state."""
    if shape != (layout.size,) or not layout.accepts(dtype):
        raise ValueError(
            f"{argument}: expected {layout.dtype}[{layout.size}], the flat state of the chain, but "
            f"got {dtype}{list(shape)}."
        )
