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

LONG = 2048
"""Steps from which on a scan is cut: below, what it keeps is small."""


def scan(
    body: Callable[[Any, Any], tuple[Any, Any]],
    carry: Any,
    entries: Any,
    *,
    reverse: bool = False,
    steps: int = 1,
) -> tuple[Any, Any]:
    """What `jax.lax.scan` returns.

    Args:
        body: ``body(carry, entry) -> (carry, reading)``.
        carry: at the start.
        entries: a pytree with time on axis 0.
        reverse: from the last entry to the first.
        steps: of time in one entry.
    """
    length = len(jax.tree.leaves(entries)[0])
    if length * steps < LONG or length == 1:
        return jax.lax.scan(body, carry, entries, reverse=reverse)
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

    carry, readings = jax.lax.scan(
        through, carry, jax.tree.map(in_stretches, entries), reverse=reverse
    )
    readings = jax.tree.map(all_of, readings)
    if not rest:
        return carry, readings
    left = slice(rest) if reverse else slice(length - rest, None)
    carry, others = through(carry, jax.tree.map(lambda leaf: leaf[left], entries))
    pieces = (others, readings) if reverse else (readings, others)
    return carry, jax.tree.map(lambda *two: jnp.concatenate(two), *pieces)


def _stretch(length: int, wanted: int) -> int:
    """A size that divides a length, where one is near to what is wanted; else what is wanted."""
    near = [size for size in range(-(-wanted // 2), 2 * wanted + 1) if length % size == 0]
    return min(near, key=lambda size: abs(math.log(size / wanted)), default=min(wanted, length))
