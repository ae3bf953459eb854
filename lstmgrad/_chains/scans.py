"""A scan over time that reverse mode goes back through in stretches.

Differentiated in reverse, a scan over T steps keeps what it carries at every one of them: T blocks
of a sweep, which at T = 100 000 is gigabytes. Cut into √T stretches of √T steps it keeps the blocks
at their ends, and goes through one stretch at a time again: O(√T) blocks for one more sweep
(Griewank & Walther 2000; Chen et al. 2016, arXiv:1604.06174, Section 4.2). What is not
differentiated runs as it is, in the same order.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lstmgrad._progress import Meter, portions

LONG = 2048
"""Steps from which on a scan is cut: below, what it keeps is small."""

_NOTHING: Any = np.int32(0)
"""To be told."""


def scan(
    body: Callable[[Any, Any], tuple[Any, Any]],
    carry: Any,
    entries: Any,
    *,
    reverse: bool = False,
    steps: int = 1,
    meter: Meter | None = None,
) -> tuple[Any, Any]:
    """What `jax.lax.scan` returns.

    Args:
        body: ``body(carry, entry) -> (carry, reading)``.
        carry: at the start.
        entries: a pytree with time on axis 0.
        reverse: from the last entry to the first.
        steps: of time in one entry.
        meter: told on the way; None tells nobody.
    """
    length = len(jax.tree.leaves(entries)[0])
    if meter is not None:
        meter = meter.thinned(length * steps, carry)
    if length * steps < LONG or length == 1:
        return told_scan(body, carry, entries, meter, reverse=reverse)
    size = _stretch(length, max(1, round(math.sqrt(length * steps) / steps)))
    rest = length % size

    @functools.partial(jax.checkpoint, prevent_cse=False)
    def through(carry: Any, entries: Any) -> tuple[Any, Any]:
        return jax.lax.scan(body, carry, entries, reverse=reverse)

    def in_stretches(leaf: Any) -> Any:
        whole = leaf[rest:] if reverse else leaf[: length - rest]
        return whole.reshape(-1, size, *leaf.shape[1:])

    def all_of(leaf: Any) -> Any:
        return leaf.reshape(length - rest, *leaf.shape[2:])

    most, last = portions(meter, length - rest, rest) if rest else (meter, None)
    stretches = jax.tree.map(in_stretches, entries)
    loop, readings = _told(through, (carry, _NOTHING), stretches, most, reverse=reverse)
    readings = jax.tree.map(all_of, readings)
    if rest:
        left = slice(rest) if reverse else slice(length - rest, None)
        left_over = jax.tree.map(lambda leaf: leaf[left], entries)
        if last is None:
            carry, others = through(loop[0], left_over)
            loop = carry, _NOTHING
        else:
            loop, others = _told(body, loop, left_over, last, reverse=reverse)
        pieces = (others, readings) if reverse else (readings, others)
        readings = jax.tree.map(lambda *two: jnp.concatenate(two), *pieces)
    carry, done = loop
    if meter is not None:
        meter.tell(done)
    return carry, readings


def told_scan(
    body: Callable[[Any, Any], tuple[Any, Any]],
    carry: Any,
    entries: Any,
    meter: Meter | None,
    *,
    reverse: bool = False,
) -> tuple[Any, Any]:
    """What `jax.lax.scan` returns, and tells a meter on the way how far it is.

    Args:
        body: as for `scan`. A meter is asked in each turn of the loop.
        carry: at the start.
        entries: a pytree with time on axis 0.
        meter: of this scan; with None it is `jax.lax.scan` itself.
        reverse: from the last entry to the first.
    """
    (carry, done), readings = _told(body, (carry, _NOTHING), entries, meter, reverse=reverse)
    if meter is not None:
        meter.tell(done)
    return carry, readings


def _told(
    body: Callable[[Any, Any], tuple[Any, Any]],
    loop: tuple[Any, Any],
    entries: Any,
    meter: Meter | None,
    *,
    reverse: bool,
) -> tuple[tuple[Any, Any], Any]:
    """A scan that carries what is done, and still has to be told, besides its own.

    Args:
        body: as for `scan`.
        loop: (carry, done) at the start.
        entries: a pytree with time on axis 0.
        meter: of this scan; None leaves the scan as it is.
        reverse: from the last entry to the first.
    """
    if meter is None:
        carry, readings = jax.lax.scan(body, loop[0], entries, reverse=reverse)
        return (carry, loop[1]), readings
    marks = meter.marks(len(jax.tree.leaves(entries)[0]))
    marks = jnp.asarray(marks[::-1] if reverse else marks)

    def told(loop: tuple[Any, Any], entry: Any) -> tuple[tuple[Any, Any], Any]:
        (carry, done), (entry, mark) = loop, entry
        # What the turn before has done: within one turn, XLA may call before it computes.
        meter.tell(done)
        carry, reading = body(carry, entry)
        return (carry, mark), reading

    return jax.lax.scan(told, loop, (entries, marks), reverse=reverse)


def _stretch(length: int, wanted: int) -> int:
    """A size that divides a length, where one is near to what is wanted; else what is wanted."""
    near = [size for size in range(-(-wanted // 2), 2 * wanted + 1) if length % size == 0]
    return min(near, key=lambda size: abs(math.log(size / wanted)), default=min(wanted, length))
