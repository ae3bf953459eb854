"""How far each unit, channel or head reaches: one profile per group of units.

    ‖∂of_T/∂wrt_k[g]‖₂,   g = 1, ..., G

The norm of a part is that of its best direction, and says nothing of the others. Columns of the
same block, read group by group, do: all of them come out of one backward pass.
"""

import operator
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from lstmgrad._chains.base import Chain, check_spacing, check_stored, identity_rows
from lstmgrad._chains.blocks import Block, block_between
from lstmgrad._chains.padded import check_length, ending_last
from lstmgrad._chains.sweeps import sweep_backward
from lstmgrad._compile import compiled, plain_options
from lstmgrad._leaves import shown
from lstmgrad._norms.reading import within_range
from lstmgrad._norms.records import NormProfile
from lstmgrad._numeric.rows import Watch, joined, log_size, start_rows, watch_range
from lstmgrad._numeric.scaled import Scaled, exponent_of, log_of, widen
from lstmgrad._numeric.tracked import SVD_ROUNDING, NormReading, svd_norm
from lstmgrad._types import PartName


@plain_options
def unit_norms(
    chain: Chain,
    *,
    of: PartName | None = None,
    wrt: PartName | None = None,
    groups: int | Sequence[int] | None = None,
    every: int = 1,
    length: int | Int[Array, ""] | None = None,
) -> NormProfile:
    """Returns ‖∂of_T/∂wrt_k[g]‖₂ by lag for every unit, or group g of units, of a part.

    Args:
        chain: T factors that can be pulled back (not a stream).
        of: the part of s_T; None is the whole state.
        wrt: the part of s_k whose units are told apart; None is the whole state. All other units
            are held.
        groups: None takes each coordinate of the part by itself; a number takes so many groups of
            consecutive coordinates, such as the heads of a layer; and a sequence names the group of
            every coordinate, 0 to G - 1.
        every: read norms at lags 0, every, 2·every, ... <= T only.
        length: steps of the sequence, where its inputs are padded behind it to T, as for
            `backward_norms`.

    Returns:
        A batch of G profiles, (G, L), on which `horizon`, `decay_rate`, `half_life`,
        `batch_summary` and `plot.norms` work as on any batch.

    Raises:
        ValueError: an unknown part; groups that do not divide the part, or do not name a group for
            each of its coordinates; `every` below 1 or above T; a stream; a `length` that is not a
            whole number from 1 to T.

    Notes:
        One backward pass, as for `backward_norms`, and at every lag one norm of a column per unit,
        or an SVD per group. A complex part has its real and its imaginary coordinates behind one
        another: each by itself has the norm of both.

    Example:
        The largest of all units is at most the norm of the part, and that of one group is it.

        >>> profiles = lg.unit_norms(chain, of="c", wrt="c")
        >>> lg.horizon(profiles).shape
        (3,)
    """
    length = check_length(length, check_stored(chain))
    if groups is not None and not isinstance(groups, int):
        groups = tuple(np.asarray(groups).ravel().tolist())
    return _unit_norms(chain, length, of=of, wrt=wrt, groups=groups, every=every)


@compiled
def _unit_norms(
    chain: Chain, length: Any, *, of: Any, wrt: Any, groups: Any, every: Any
) -> NormProfile:
    chain = check_stored(chain)
    every = check_spacing(every, chain)
    chain = ending_last(chain, length)
    part, whole = chain.layout.block(wrt, "wrt"), chain.layout.block(of, "of")
    members = _members_of(groups, part.stop - part.start)
    block = block_between(chain, of, wrt)
    columns = _columns_of(members, part, chain, block)
    lags = np.arange(len(chain) // every + 1) * every
    shared = np.array(
        [any(whole.start <= part.start + i < whole.stop for i in group) for group in members]
    )
    dtype = widen(jnp.zeros((), chain.layout.dtype)).dtype
    first = jnp.asarray(np.where(shared, 0.0, -np.inf), dtype)[None]
    if block.connected:
        log_norms, errors = _read(block, columns, every)
    else:
        log_norms = jnp.full((len(lags) - 1, len(members)), -jnp.inf, dtype)
        errors = jnp.zeros_like(log_norms)
    log_norms = jnp.concatenate([first, log_norms]).T
    errors = jnp.concatenate([jnp.zeros_like(first), errors]).T
    zero = jnp.asarray(block.is_zero(lags)) & (lags > 0)
    log_norms = jnp.where(zero[None], -jnp.inf, log_norms)
    errors = jnp.where(zero[None], 0.0, errors)
    if length is not None:
        there = (jnp.asarray(lags, length.dtype) <= length)[None]
        log_norms, errors = (jnp.where(there, x, jnp.nan) for x in (log_norms, errors))
        length = jnp.broadcast_to(length, (len(members),))
    return NormProfile(
        lags=jnp.broadcast_to(jnp.asarray(lags), log_norms.shape),
        log_norms=log_norms,
        errors=errors,
        of=of,
        wrt=wrt,
        fixed="end",
        rtol=0,
        length=length,
    )


def _members_of(groups: Any, size: int) -> list[list[int]]:
    """The coordinates of each group within the part."""
    if groups is None:
        return [[i] for i in range(size)]
    if isinstance(groups, int):
        if isinstance(groups, bool) or groups < 1 or size % groups:
            raise ValueError(
                f"groups: expected a number that divides the {size} coordinates of the part, but "
                f"got {groups}."
            )
        return np.arange(size).reshape(groups, -1).tolist()
    try:
        names = [operator.index(name) for name in groups]
    except TypeError:
        names = []
    count = max(names, default=-1) + 1
    if len(names) != size or set(names) != set(range(count)):
        raise ValueError(
            f"groups: expected the group, 0 to G - 1, of each of the {size} coordinates of the "
            f"part, every group named, but got {shown(groups)}."
        )
    return [[i for i, name in enumerate(names) if name == group] for group in range(count)]


def _columns_of(
    members: list[list[int]], part: slice, chain: Chain, block: Block
) -> Int[np.ndarray, "G m"]:
    """Where the groups lie in the restricted chain, filled up by n, a column of zeros."""
    place = np.full(chain.layout.size, block.chain.layout.size)
    kept = chain.layout.coordinates(block.chain.layout.parts)
    place[kept] = np.arange(len(kept))
    width = max(map(len, members))
    found = np.full((len(members), width), block.chain.layout.size)
    for row, group in zip(found, members, strict=True):
        row[: len(group)] = place[part.start + np.asarray(group)]
    return found


def _read(block: Block, columns: Int[np.ndarray, "G m"], every: int) -> tuple[Array, Array]:
    """The norms of all groups at every lag but 0, (L, G), and their errors."""
    chain, size = block.chain, block.chain.layout.size
    gains = chain.log_gains()
    if gains is not None:
        sums = jnp.cumsum(gains[::-1], axis=0)[every - 1 :: every]
        inside = (np.arange(size) >= block.rows.start) & (np.arange(size) < block.rows.stop)
        sums = jnp.where(inside[None], sums, -jnp.inf)
        padded = jnp.pad(sums, ((0, 0), (0, 1)), constant_values=-jnp.inf)
        found = jnp.max(padded[:, columns], axis=-1)
        return found, jnp.where(jnp.isnan(found), found, jnp.zeros_like(found))
    watch, unit = start_rows(identity_rows(chain)[block.rows])
    dtype = chain.layout.dtype

    def of_group(watch: Watch, rows: Scaled, place: Array) -> NormReading:
        own = jnp.pad(rows.mantissa, ((0, 0), (0, 1)))[:, place]
        inner = joined(Scaled(own[:-1], rows.exponent[:-1]))
        if columns.shape[1] == 1:
            log = log_size(Scaled(inner.mantissa[:, 0], inner.exponent))
            rounding = SVD_ROUNDING * float(jnp.finfo(widen(own).dtype).eps)
            reading = NormReading(log, jnp.where(jnp.isneginf(log), 0.0, rounding))
        else:
            reading = svd_norm(inner)
        reading = within_range(reading, watch, Scaled(own, rows.exponent), slice(0, own.shape[1]))
        # As for parts: a zero beside other units may have been taken out of the range.
        level = jnp.max(jax.vmap(exponent_of)(rows)) + int(jnp.finfo(dtype).minexp)
        lost = (reading.log_norm == -jnp.inf) & jnp.any(rows.mantissa[:-1] != 0)
        floor = log_of(jnp.asarray(size, reading.log_norm.dtype), level)
        return NormReading(
            jnp.where(lost, floor, reading.log_norm), jnp.where(lost, jnp.inf, reading.error)
        )

    def read(watch: Watch, rows: Scaled) -> tuple[Watch, Scaled, NormReading]:
        found = jax.vmap(lambda place: of_group(watch, rows, place))(jnp.asarray(columns))
        return watch, rows, found

    pulled = sweep_backward(check_stored(chain), unit, read, watch, every=every, renew=watch_range)
    return pulled[1].log_norm, pulled[1].error
