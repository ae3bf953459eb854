"""The direction that a gradient starts from, and the one that it ends in."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from lstmgrad._chains.chain import Chain
from lstmgrad._chains.propagate import pull_back
from lstmgrad._checks import check_vector
from lstmgrad._numeric.scaled import widen
from lstmgrad._numeric.spectral_norm import length


def end_vectors(
    chain: Chain, cotangent: Float[Array, " n"] | None, rows: slice, columns: slice
) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
    """U on the rows of ds_T/ds_0 and v on its columns, flat, with zeros elsewhere.

    The top singular pair of the block for None; else the cotangent's rows as they are, and the
    direction of their pull.

    Args:
        chain: T factors that can be pulled back.
        cotangent: (n,), or None.
        rows: of the flat s_T.
        columns: of the flat s_0.
    """
    size, dtype = chain.layout.size, chain.layout.dtype
    if cotangent is None:
        block = pull_back(chain, jnp.eye(size, dtype=dtype)[rows])
        left, _, right = jnp.linalg.svd(widen(block.mantissa[:, columns]), full_matrices=False)
        u = jnp.zeros(size, dtype).at[rows].set(left[:, 0].astype(dtype))
        v = right[0].astype(dtype)
    else:
        check_vector(jnp.shape(cotangent), jnp.result_type(cotangent), size, dtype, "cotangent")
        u = jnp.zeros(size, dtype).at[rows].set(jnp.asarray(cotangent)[rows])
        v = pull_back(chain, u).mantissa[columns]
        norm = length(v)
        v = v / jnp.where(norm > 0, norm, 1.0)
    return u, jnp.zeros(size, dtype).at[columns].set(v)
