"""Q R by Gram and Schmidt, repeated: what does not mix stays apart, however different its size.

Householder's reflections, as in LAPACK, spread an epsilon of the largest entries over the rows of a
column where it had exact zeros, or numbers far smaller than its others. In a long product that is
fatal: a direction that one factor has shrunk leads again some steps later, and what it starts from
is that epsilon. Here every operation combines columns, row by row. A row of the result has errors
of its own size, zeros stay zeros, and groups of rows that the columns do not mix never meet. What
is left, orthogonality up to rounding, moves all singular values of a product by their own epsilon.
Two passes are enough for that; where the sizes of the rows are further apart than the digits of the
dtype reach, each further one makes good for as many digits again.

References:
    Giraud, Langou, Rozložník & van den Eshof 2005, Rounding error analysis of the classical
    Gram-Schmidt orthogonalization process: two passes are enough. Ostrowski 1959, A quantitative
    formulation of Sylvester's law of inertia, for the singular values.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from lstmgrad._numeric.scaled import norm_of

_WIDTH = 16
"""Columns that are made orthogonal one after the other, before all others are to them."""

_KEPT, _PASSES = 0.1, 6
"""As long as a pass takes more than nine tenths of a column away, there is another one."""


def orthonormalize(
    columns: Float[Array, "n m"], rank: Int[Array, ""], fillers: Float[Array, "n m"]
) -> tuple[Float[Array, "n m"], Float[Array, "m m"]]:
    """Q with orthonormal columns and an upper triangle R >= 0 on its diagonal, Q R = columns.

    Args:
        columns: each of size about one, or zero.
        rank: how many dimensions they span at most. From this place on Q is zero, as are the rows
            of R.
        fillers: of the size of the rounding; what stands for one of the first columns where nothing
            at all is left of it beside those before. Where that is zero, Q is zero and R_jj, too.
    """

    def unfinished(loop: tuple) -> Array:
        _, _, kept, passes = loop
        return (passes < 2) | ((kept < _KEPT) & (passes < _PASSES))

    def one_more(loop: tuple) -> tuple:
        frame, upper, _, passes = loop
        frame, again = _one_pass(frame, rank, jnp.where(passes == 0, fillers, 0.0))
        sizes = jnp.diagonal(again)
        kept = jnp.min(sizes, where=sizes > 0, initial=1.0)
        return frame, jnp.matmul(again, upper, precision="highest"), kept, passes + 1

    start = jnp.zeros((), columns.dtype), jnp.zeros((), jnp.int32)
    loop = columns, jnp.eye(columns.shape[1], dtype=columns.dtype), *start
    frame, upper, _, _ = jax.lax.while_loop(unfinished, one_more, loop)
    counts = jnp.arange(columns.shape[1]) < rank
    frame, upper = jnp.where(counts[None], frame, 0.0), jnp.where(counts[:, None], upper, 0.0)
    # Where nothing is left of the filler either, it stands for itself, with next to no weight.
    lost = counts & jnp.all(frame == 0, axis=0)
    lengths = jnp.linalg.norm(fillers, axis=0)
    frame = jnp.where(lost[None], fillers / jnp.where(lengths > 0, lengths, 1.0)[None], frame)
    weight = float(jnp.finfo(columns.dtype).eps) ** 2
    return frame, upper + jnp.diag(jnp.where(lost & (lengths > 0), weight, 0.0))


def _one_pass(columns: Array, rank: Array, fillers: Array) -> tuple[Array, Array]:
    m = columns.shape[1]
    width = min(m, _WIDTH)
    missing = -m % width
    columns, fillers = (jnp.pad(array, ((0, 0), (0, missing))) for array in (columns, fillers))

    def next_block(done: tuple[Array, Array], start: Array) -> tuple[tuple[Array, Array], None]:
        frame, upper = done
        block = jax.lax.dynamic_slice_in_dim(columns, start, width, axis=1)
        filler = jax.lax.dynamic_slice_in_dim(fillers, start, width, axis=1)
        if m > width:
            # Columns of the frame that are not there yet are zero.
            shares = jnp.matmul(frame.T, block, precision="highest")
            block = block - jnp.matmul(frame, shares, precision="highest")
        else:
            shares = jnp.zeros((m, width), block.dtype)
        loop = block, jnp.zeros((width, width), block.dtype)

        def next_column(j: Array, loop: tuple[Array, Array]) -> tuple[Array, Array]:
            return _next_column(j, *loop, filler[:, j], start + j < rank)

        block, own = jax.lax.fori_loop(0, width, next_column, loop)
        shares = jax.lax.dynamic_update_slice_in_dim(shares, own, start, axis=0)
        frame = jax.lax.dynamic_update_slice_in_dim(frame, block, start, axis=1)
        upper = jax.lax.dynamic_update_slice_in_dim(upper, shares, start, axis=1)
        return (frame, upper), None

    total = columns.shape[1]
    done = jnp.zeros_like(columns), jnp.zeros((total, total), columns.dtype)
    starts = jnp.arange(0, total, width)
    (frame, upper), _ = jax.lax.scan(next_block, done, starts)
    return frame[:, :m], upper[:m, :m]


def _next_column(
    j: Array, block: Array, upper: Array, filler: Array, counts: Array
) -> tuple[Array, Array]:
    """One more column of length one, and what is left beside it of those behind it."""
    column = block[:, j]
    filled = jnp.where(jnp.all(column == 0), filler, column)
    top = jnp.max(jnp.abs(filled))
    filled = filled / jnp.where(top > 0, top, 1.0)
    size = norm_of(filled)
    unit = filled / jnp.where(size > 0, size, 1.0)
    # From the rank on, what is left of a column stays as it is, for the next pass.
    unit, size = jnp.where(counts, unit, column), jnp.where(counts, top * size, 1.0)
    later = (jnp.arange(block.shape[1]) > j) & counts
    shares = jnp.where(later, jnp.matmul(unit, block, precision="highest"), 0.0)
    block = (block - unit[:, None] * shares[None]).at[:, j].set(unit)
    return block, upper.at[j].set(shares.at[j].set(size))


def signs(shape: tuple[int, ...]) -> np.ndarray:
    """Plus and minus ones without a pattern."""
    return np.sign(np.random.default_rng(3).standard_normal(shape))
