"""What all plots share: checks, the Axes to draw on, colors, and a legend that hides no data."""

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.ticker import MaxNLocator

from lstmgrad.plot._symbols import SYMBOL, letters

# Ordered so that neighbors differ in luminance; five colors and four dashes repeat after twenty.
COLORS = ("#000000", "#e69f00", "#0072b2", "#d55e00", "#56b4e9")
"""Of lines."""

DASHES = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (6, 1.5, 1, 1.5)))
"""Of lines, in step with the colors."""

FILLS = ("#0072b2", "#f0e442", "#d55e00", "#56b4e9", "#4b0055")
"""Of areas, which touch each other."""

HATCHES = ("", "///", "...", "xxx")
"""Of areas, one for each turn of the colors."""


def check_result(value: Any, kind: type, argument: str, makers: str) -> None:
    """A result record of the kind that the plot draws."""
    if not isinstance(value, kind):
        raise ValueError(
            f"{argument}: expected a {kind.__name__}, as {makers} returns it, but got "
            f"{type(value).__name__}."
        )


def check_single(array: Any, axes: tuple[str, ...], argument: str) -> None:
    """A record of one sequence, not of a batch."""
    if np.ndim(array) != len(axes):
        raise ValueError(
            f"{argument}: expected that of one sequence, ({', '.join(axes)}), but got a batch of "
            f"shape {np.shape(array)}. Draw one at a time: "
            f"jax.tree.map(lambda leaf: leaf[0], {argument})."
        )


def axes_of(ax: Any) -> Axes:
    """The Axes to draw on; those of a new figure for None."""
    if ax is None:
        import matplotlib.pyplot as plt

        return plt.subplots(layout="constrained")[1]
    if not isinstance(ax, Axes):
        raise ValueError(f"ax: expected a matplotlib Axes or None, but got {type(ax).__name__}.")
    return ax


def figure_of(ax: Axes) -> Figure:
    """The figure, at the root of all subfigures, that the Axes belong to."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    return figure


def label_once(ax: Axes, own: str, shared: str) -> None:
    """Labels the vertical axis, with the shared symbol if an earlier curve had another one."""
    before = ax.get_ylabel()
    if not before:
        ax.set_ylabel(own)
    elif before != own and before.startswith(SYMBOL):
        ax.set_ylabel(shared)


def area_style(index: int) -> dict[str, Any]:
    """Color and hatch of the area with this number."""
    return {
        "facecolor": FILLS[index % len(FILLS)],
        "hatch": HATCHES[index // len(FILLS) % len(HATCHES)],
        "edgecolor": "0.5",
        "linewidth": 0.0,
    }


def number_steps(ax: Axes) -> None:
    """Whole numbers on the horizontal axis, at round distances."""
    ax.xaxis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 5, 10]))


def legend_over_data(
    ax: Axes, handles: list[Any], low: float, high: float, *, others: tuple[Axes, ...] = ()
) -> None:
    """Sets the vertical range so that a legend has room of its own above the data, and draws it.

    Inside of the Axes it meets neither data nor a title that the caller may set.

    Args:
        ax: the Axes.
        handles: artists with labels.
        low: the bottom of the data.
        high: the top of the data.
        others: twins of the Axes, whose data leave the same room.
    """
    size = FontProperties(size="small").get_size_in_points()
    box = ax.get_window_extent()
    width, height = (72 / figure_of(ax).dpi * length for length in (box.width, box.height))
    widths = [size * (4 + 0.55 * letters(str(handle.get_label()))) for handle in handles]
    columns = len(handles)
    while columns > 1 and sum(map(max, np.array_split(widths, columns))) > 0.95 * width:
        columns -= 1
    rows = math.ceil(len(handles) / max(columns, 1))
    # The layout may still take a fifth of the height for labels.
    room = min(0.6, (1.5 * rows + 0.5) * size / (0.8 * height)) if handles else 0.05
    ranges = [(low, high), *(twin.get_ylim() for twin in others)]
    for each, (bottom, top) in zip((ax, *others), ranges, strict=True):
        span = top - bottom if top > bottom else 1.0
        each.set_ylim(bottom - 0.03 * span, bottom + 1.03 * span / (1 - room))
        each.yaxis.set_major_locator(_Below(top + 1e-3 * span))
    if handles:
        ax.legend(
            handles=handles,
            loc="upper center",
            ncols=columns,
            fontsize="small",
            frameon=False,
            borderaxespad=0.3,
            handlelength=1.8,
            columnspacing=1.2,
        )


class _Below(MaxNLocator):
    """Ticks for the data, and none beside the legend above."""

    def __init__(self, top: float):
        super().__init__(nbins="auto", steps=[1, 2, 2.5, 5, 10])
        self.top = top

    def tick_values(self, vmin: float, vmax: float) -> list[float]:
        ticks = super().tick_values(vmin, max(vmin, min(vmax, self.top)))
        return [tick for tick in ticks if tick <= self.top]
