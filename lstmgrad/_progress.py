"""How a long computation tells how far it is: a function of the host, called by compiled code."""

import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from lstmgrad._leaves import shown

REPORTS = 100
"""Reports of one computation, about, and at most."""

BETWEEN = 2**26
"""Numbers that are computed between two reports, at least: a report takes as long as 3·10^5 of
them, 0.3 ms, and all reports together have to stay below 2 % of the time."""

STEP = 2**12
"""Numbers that take as long as the rest of a small step."""

Progress = Callable[[int, int], object]
"""``progress(done, total)``."""


class Meter(NamedTuple):
    """A part of a computation, and whom to tell of it.

    Attributes:
        progress: called with what is done and with the total.
        total: of the whole computation, in steps or rows.
        start: what is done before this part.
        stop: what is done after it.
        most: reports of this part.
    """

    progress: Progress
    total: int
    start: int
    stop: int
    most: int = REPORTS

    @staticmethod
    def of(progress: Any, total: int) -> "Meter | None":
        """That of a whole computation; None where there is nobody to tell, or nothing.

        Args:
            progress: the option of a public function.
            total: in steps or rows.
        """
        check_progress(progress)
        return None if progress is None or total == 0 else Meter(progress, total, 0, total)

    def marks(self, count: int) -> Int[np.ndarray, " count"]:
        """What is to be told after each of some equal pieces of the part; 0 is nothing.

        Args:
            count: how many pieces.
        """
        size = self.stop - self.start
        least = int(self.stop == self.total)  # the end is always told
        reports = max(least, min(self.most, size * REPORTS // self.total))
        done = np.arange(count + 1, dtype=np.int64) * size // count
        shares = done * reports // max(1, size)
        return np.where(np.diff(shares) > 0, self.start + done[1:], 0).astype(np.int32)

    def thinned(self, steps: int, carry: Any = None) -> "Meter":
        """The meter with no more reports than steps of a loop are long enough for.

        Args:
            steps: how many.
            carry: the arrays that each of them computes anew, besides what a small step does.
        """
        size = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(carry))
        return self._replace(most=steps * (STEP + size) // BETWEEN)

    def tell(self, done: Int[Array, ""]) -> None:
        """Calls the function where `done`, one of the marks, is not 0."""

        def told(done: Any) -> None:
            self.progress(int(done), self.total)

        jax.lax.cond(done > 0, lambda: jax.debug.callback(told, done), lambda: None)


def portions(meter: Meter | None, *sizes: int) -> list[Any]:
    """The meters of the parts of a computation, one after the other.

    Args:
        meter: of all of them; None stays None.
        sizes: of the parts, in any unit.
    """
    if meter is None:
        return [None] * len(sizes)
    ends = [sum(sizes[:i]) * (meter.stop - meter.start) // sum(sizes) for i in range(len(sizes))]
    ends = [meter.start + end for end in ends] + [meter.stop]
    return [meter._replace(start=i, stop=j) for i, j in itertools.pairwise(ends)]


def tell_all(meter: Meter | None) -> None:
    """Tells that a part is done that has no steps to go through.

    Args:
        meter: of the part, or None.
    """
    if meter is not None:
        meter.tell(jnp.asarray(meter.marks(1)[0]))


def check_progress(progress: Any) -> None:
    """A function, or None."""
    if progress is not None and not callable(progress):
        raise ValueError(f"progress: expected a function or None, but got {shown(progress)}.")
