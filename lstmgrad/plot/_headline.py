"""What a result says, as the title of a figure that was made for it.

Axes of the caller's have titles of the caller's. Where a second result is drawn on Axes that were
made here, the title goes: what the first one says is then half of it.
"""

from weakref import WeakKeyDictionary

import numpy as np
from matplotlib.axes import Axes

_WRITTEN: WeakKeyDictionary[Axes, str | None] = WeakKeyDictionary()
"""The title of each Axes that was made here: empty before the first result, None after a second."""


def expect_headline(ax: Axes) -> None:
    """Remembers that Axes were made here, and have no title of their own.

    Args:
        ax: new Axes.
    """
    _WRITTEN[ax] = ""


def headline(ax: Axes, text: str) -> None:
    """Writes what a result says above Axes that were made here for it alone.

    Args:
        ax: any Axes.
        text: a few words; empty for nothing to say.
    """
    before = _WRITTEN.get(ax)
    if before is None or ax.get_title(loc="left").rstrip() != before:
        return
    written = "" if before else text
    # Where there is another title on the right, ours stands a line above it.
    above = "\n" if written and ax.get_title(loc="right") else ""
    ax.set_title(written + above, loc="left")
    _WRITTEN[ax] = written or None


def decimal(log10_value: float) -> str:
    """Writes a number by its decimal logarithm, as math text with the dollar signs.

    Args:
        log10_value: of a number of any size.
    """
    if -2 < log10_value < 2:
        return f"{10.0**log10_value:.2g}"
    return f"$10^{{{log10_value:.1f}}}$" if np.isfinite(log10_value) else "nothing"


def left_after(points: np.ndarray, log10_norms: np.ndarray, resolved: np.ndarray) -> str:
    """Says how much is left after the last of the steps.

    Args:
        points: (L,), steps.
        log10_norms: (L,).
        resolved: (L,), whether the arithmetic sees the number, or only that it is not larger.
    """
    last = log10_norms[-1]
    if np.isnan(last) or np.isposinf(last):
        return ""
    less = "" if resolved[-1] or np.isneginf(last) else "less than "
    return f"{less}{decimal(last)} is left after {points[-1]:g} steps".capitalize()
