"""Moving a block through a chain and keeping it representable: the only scans over a chain.

Forward:  v ↦ J_T ··· J_1 v.   Backward:  u ↦ u J_T ··· J_1.

After every factor the block is normalized by an exact power of two, so the result is a `Scaled`
that neither under- nor overflows, whatever T. Reverse mode goes back through long sweeps in
stretches (see `scans`).
"""

from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import Array, Float, Int

from lstmgrad._chains.base import Chain, StoredChain, Walk
from lstmgrad._chains.scans import scan
from lstmgrad._numeric.scaled import Scaled, normalize
from lstmgrad._progress import Meter

Read = Callable[[Any, Scaled], tuple[Any, Scaled, Any]]
"""``read(carry, block) -> (carry, block, reading)``, which may replace the block on its way."""

Renew = Callable[[Any, Scaled], tuple[Any, Scaled]]
"""``renew(carry, block) -> (carry, block)``, after every factor, whether it is read or not."""

Inject = Callable[[Scaled, Any], Scaled]
"""``inject(block, source) -> block``, what arrives at one time put into the block (m, n)."""


def sweep_forward(
    chain: Chain,
    block: Scaled,
    read: Read,
    carry: Any,
    *,
    every: int = 1,
    renew: Renew | None = None,
    walk: Walk | None = None,
    meter: Meter | None = None,
):
    """Pushes tangents, rows (m, n), through J_1, J_2, ..., J_T.

    Args:
        chain: T factors.
        block: at time 0.
        read: called at times every, 2·every, ...; factors past the last of them are left out.
        carry: what `read` and `renew` carry along.
        every: how many factors lie between one reading and the next.
        renew: called after every factor, before `read`; None leaves the block as it is.
        walk: other factors than the chain's own, as for a stretch of it.
        meter: told on the way; None tells nobody.

    Returns:
        ((memory, block), carry) at the end, where the memory is what the chain carries besides its
        block (the state, for a stream); and the readings, that of time (j+1)·every at index j.
    """
    walk = chain.walk() if walk is None else walk
    return _sweep(walk, chain.push, block, read, carry, every, renew, meter, reverse=False)


def sweep_from(chain: StoredChain, block: Scaled, start: Int[Array, ""]) -> Scaled:
    """Pushes tangents, rows (m, n), from a time that may be traced on to T.

    Args:
        chain: T factors.
        block: at the time `start`.
        start: from 0 to T. One compiled program serves all of them; reverse-mode differentiation
            does not go through it.
    """

    def factor_by_factor(time: Array, block: Scaled) -> Scaled:
        factor = jax.tree.map(lambda leaf: leaf[time], chain.factors)
        return normalize(Scaled(chain.push(factor, block.mantissa), block.exponent))

    return jax.lax.fori_loop(start, len(chain), factor_by_factor, block)


def sweep_backward(
    chain: StoredChain,
    block: Scaled,
    read: Read,
    carry: Any,
    *,
    every: int = 1,
    renew: Renew | None = None,
    meter: Meter | None = None,
):
    """Pulls cotangents, rows (m, n), back through J_T, J_{T-1}, ..., J_1.

    Args:
        chain: T factors that can be pulled back.
        block: at time T.
        read: called at times T - every, T - 2·every, ...; factors before the last are left out.
        carry: what `read` and `renew` carry along.
        every: how many factors lie between one reading and the next.
        renew: called after every factor, before `read`; None leaves the block as it is.
        meter: told on the way; None tells nobody.

    Returns:
        As `sweep_forward`; the reading of time T - (j+1)·every at index j.
    """
    return _sweep(chain.walk(), chain.pull, block, read, carry, every, renew, meter, reverse=True)


def sweep_adjoint(
    chain: StoredChain,
    block: Scaled,
    sources: Any,
    inject: Inject,
    observe: Callable[[Any, Scaled], Any],
    watched: Any = None,
    *,
    renew: Renew | None = None,
    carry: Any = None,
    meter: Meter | None = None,
) -> tuple[Scaled, Any]:
    """Pulls cotangents back while more of them arrive on the way.

    Args:
        chain: T factors that can be pulled back.
        block: what arrives at time T, rows (m, n).
        sources: a pytree with T on axis 0; entry t is what arrives at time t < T.
        inject: ``inject(block, source) -> block``, called at each of these times.
        observe: ``observe(entry, block) -> reading``, called before each pull through J_t with the
            block at time t and entry t-1 of `watched`.
        watched: a pytree with T on axis 0, or None.
        renew: called at each of these times, after `inject`; None leaves the block as it is.
        carry: what `renew` carries along.
        meter: told on the way; None tells nobody.

    Returns:
        The block at time 0, and the readings of times 1, ..., T stacked along axis 0.
    """

    def back(loop: tuple[Any, Scaled], entry: Any) -> tuple[tuple[Any, Scaled], Any]:
        (carry, block), (factor, source, seen) = loop, entry
        reading = observe(seen, block)
        block = normalize(Scaled(chain.pull(factor, block.mantissa), block.exponent))
        block = inject(block, source)
        return (carry, block) if renew is None else renew(carry, block), reading

    entries = chain.factors, sources, watched
    (_, block), readings = scan(back, (carry, block), entries, reverse=True, meter=meter)
    return block, readings


def read_nothing(carry: Any, block: Scaled) -> tuple[Any, Scaled, None]:
    """No reading: only the block at the end is wanted."""
    return carry, block, None


def read_mantissa(carry: Any, block: Scaled) -> tuple[Any, Scaled, Float[Array, "m n"]]:
    """The block's mantissa, whose size means nothing."""
    return carry, block, block.mantissa


def _sweep(
    walk: Walk,
    move: Callable[[Any, Float[Array, "m n"]], Float[Array, "m n"]],
    block: Scaled,
    read: Read,
    carry: Any,
    every: int,
    renew: Renew | None,
    meter: Meter | None,
    *,
    reverse: bool,
):
    def factor_by_factor(loop, entry):
        (memory, block), carry = loop
        memory, factor = walk.meet(memory, entry)
        block = normalize(Scaled(move(factor, block.mantissa), block.exponent))
        if renew is not None:
            carry, block = renew(carry, block)
        return ((memory, block), carry), None

    def stretch(loop, entries):
        if every == 1:
            loop, _ = factor_by_factor(loop, entries)
        else:
            loop, _ = scan(factor_by_factor, loop, entries, reverse=reverse)
        (memory, block), carry = loop
        carry, block, reading = read(carry, block)
        return ((memory, block), carry), reading

    entries = walk.entries
    if every > 1:
        length = jax.tree.leaves(entries)[0].shape[0]
        count = length // every
        used = slice(length - count * every, None) if reverse else slice(0, count * every)
        entries = jax.tree.map(
            lambda leaf: leaf[used].reshape(count, every, *leaf.shape[1:]), entries
        )
    loop = ((walk.memory, block), carry)
    loop, readings = scan(stretch, loop, entries, reverse=reverse, steps=every, meter=meter)
    if reverse:
        readings = jax.tree.map(lambda leaf: leaf[::-1], readings)
    return loop, readings
