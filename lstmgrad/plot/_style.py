"""What all plots share: checks of the result, the Axes, and a legend beside the data."""

import math
import textwrap
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.ticker import MaxNLocator

from lstmgrad._quantiles import BAND
from lstmgrad.plot._headline import expect_headline
from lstmgrad.plot._palette import style
from lstmgrad.plot._symbols import SYMBOL, letters

BAND_NAME = f"{100 * BAND[0]:.0f}-{100 * BAND[1]:.0f} %"
"""What the band of a batch is called in figures."""

LETTERS_PER_INCH = 14
"""Of a title above a figure, at most."""

LINE = 0.15
"""The height of a line of such a title, in inches."""


def check_result(value: Any, kind: type, argument: str, makers: str) -> None:
    """Refuses anything but a result record of the kind that the plot draws.

    Args:
        value: what was given.
        kind: the kind of record.
        argument: the name of the argument.
        makers: the functions that return such a record, as the message lists them.
    """
    if not isinstance(value, kind):
        raise ValueError(
            f"{argument}: expected a {kind.__name__}, as {makers} returns it, but got "
            f"{type(value).__name__}."
        )


def axes_of(ax: Any, *, batch: int = 1) -> Axes:
    """Returns the Axes to draw on.

    Args:
        ax: Axes, or None for those of a new figure.
        batch: the members of a batch, whose number a new figure says on the right.
    """
    if ax is None:
        import matplotlib.pyplot as plt

        with style():
            made = plt.subplots(layout="constrained")[1]
        expect_headline(made)
        if batch > 1:
            made.set_title(f"median and {BAND_NAME} band of {batch}", fontsize="small", loc="right")
        return made
    if not isinstance(ax, Axes):
        raise ValueError(f"ax: expected a matplotlib Axes or None, but got {type(ax).__name__}.")
    return ax


def figure_of(ax: Axes) -> Figure:
    """Returns the figure, at the root of all subfigures, that the Axes belong to.

    Args:
        ax: the Axes.
    """
    figure = ax.get_figure(root=True)
    assert figure is not None
    return figure


def legend_above(
    figure: Figure, handles: list[Any], labels: list[str], title: str, **options: Any
) -> None:
    """Draws one legend above all panels, where it hides no data, under what the figure says.

    Args:
        figure: grows by the lines of the title.
        handles: artists.
        labels: of the artists.
        title: a sentence, wrapped to the width of the figure; empty for none.
        **options: of `Figure.legend`.
    """
    lines = textwrap.wrap(title, int(figure.get_figwidth() * LETTERS_PER_INCH))
    figure.set_figheight(figure.get_figheight() + LINE * len(lines))
    # As the title of the legend: the layout puts one of the figure on top of it.
    figure.legend(
        handles,
        labels,
        loc="outside upper center",
        title="\n".join(lines) or None,
        title_fontproperties={"size": "medium", "weight": "bold"},
        **options,
    )


def label_once(ax: Axes, own: str, shared: str) -> None:
    """Labels the vertical axis, with the shared symbol if an earlier curve had another one.

    Args:
        ax: the Axes; a label of the caller's own stays.
        own: the symbol of the new curve.
        shared: the symbol that stands for different ones.
    """
    before = ax.get_ylabel()
    if not before:
        ax.set_ylabel(own)
    elif before != own and before.startswith(SYMBOL):
        # What all of them are differentiated by, such as the inputs, stays.
        same = "/" + own.partition("/")[2]
        ax.set_ylabel(shared.partition("/")[0] + same if before.endswith(same) else shared)


def number_steps(ax: Axes) -> None:
    """Puts ticks at whole numbers on the horizontal axis, at round distances.

    Args:
        ax: the Axes.
    """
    ax.xaxis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 5, 10]))


def legend_over_data(
    ax: Axes, handles: list[Any], low: float, high: float, *, others: tuple[Axes, ...] = ()
) -> None:
    """Draws a legend above the data, in room made for it by the vertical range.

    It lies inside the Axes, where it covers neither data nor a title that the caller may set.

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
    """Ticks beside the data, and none beside the legend above them."""

    def __init__(self, top: float):
        super().__init__(nbins="auto", steps=[1, 2, 2.5, 5, 10])
        self.top = top

    def tick_values(self, vmin: float, vmax: float) -> list[float]:
        ticks = super().tick_values(vmin, max(vmin, min(vmax, self.top)))
        return [tick for tick in ticks if tick <= self.top]
