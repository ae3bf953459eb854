"""Exponents of a chain that consists of smaller ones: those of each, as often as it stands there.

Frames of the smaller chains, next to one another, are a frame of the whole. Where only the largest
exponents are wanted, the leading columns of each frame are taken, never one without those before
it: what they turn towards is what those leave.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


class Swept(NamedTuple):
    """What a sweep of a frame leaves.

    Attributes:
        frame: at the end.
        cells: Σ ln |R_ii| over cells of time.
        roundings: the effect of rounding on the sums.
        displaced: as in `LyapunovState`.
        faded: as in `LyapunovState`.
    """

    frame: Float[Array, "n m"]
    cells: Float[Array, "G m"]
    roundings: Float[Array, " m"]
    displaced: Float[Array, "m m"]
    faded: Bool[Array, " n"]


def joined_sweeps(sweeps: list[Swept], counts: list[int], wanted: int) -> Swept:
    """What a sweep of the whole chain would have left.

    Args:
        sweeps: of each batch of smaller chains, all their exponents, with the batch axis in front.
        counts: how often each of them stands in the whole.
        wanted: m, the exponents of the whole.
    """
    pairs = list(zip(sweeps, counts, strict=True))
    columns = [_columns(*pair) for pair in pairs]
    keys, cells, roundings = (jnp.concatenate(each, -1) for each in zip(*columns, strict=True))
    best = jnp.argsort(-keys)[:wanted]
    frames, displaced, before = [], jnp.zeros((wanted, wanted), roundings.dtype), 0
    for (sweep, count), (its_keys, *_) in zip(pairs, columns, strict=True):
        chains, size, _ = sweep.frame.shape
        mine = (best >= before) & (best < before + len(its_keys))
        chain, copy, column = jnp.unravel_index(
            jnp.where(mine, best - before, 0), (chains, count, size)
        )
        place = chain * count + copy
        rows = place[:, None] * size + jnp.arange(size)[None]
        values = jnp.where(mine[:, None], sweep.frame[chain, :, column], 0)
        frame = jnp.zeros((chains * count * size, wanted), values.dtype)
        frames.append(frame.at[rows, jnp.arange(wanted)[:, None]].set(values))
        same = (place[:, None] == place[None]) & mine[:, None] & mine[None]
        turned = sweep.displaced[chain[:, None], column[:, None], column[None]]
        displaced = jnp.where(same, turned, displaced)
        before += len(its_keys)
    faded = [jnp.repeat(sweep.faded, count, axis=0).reshape(-1) for sweep, count in pairs]
    return Swept(
        jnp.concatenate(frames),
        cells[:, best],
        roundings[best],
        displaced,
        jnp.concatenate(faded),
    )


def _columns(sweep: Swept, count: int) -> tuple[Array, Array, Array]:
    """By column of the whole frame, in order of chain, copy and column: what decides, and sums."""

    def all_copies(values: Float[Array, "chains ... m"]) -> Array:
        repeated = jnp.repeat(jnp.moveaxis(values, 0, -2)[..., None, :], count, axis=-2)
        return repeated.reshape(*repeated.shape[:-3], -1)

    # The least so far, so that no column is taken without those before it.
    keys = jax.lax.cummin(jnp.sum(sweep.cells, axis=1), axis=1)
    return all_copies(keys), all_copies(sweep.cells), all_copies(sweep.roundings)
