"""Curves of logarithms: told apart in gray, with gaps and marks where there is no logarithm."""

from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cbook import normalize_kwargs
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.lines import Line2D

from lstmgrad.plot._style import COLORS, DASHES, figure_of
from lstmgrad.plot._values import gapped

BAND = (0.1, 0.9)
"""The quantiles between which the band of a batch lies."""

_FEW = 4
"""Curves that differ in dash pattern; more are told apart by the luminance of a color map."""


class Curve(Line2D):
    """A curve drawn by `draw_curve`; the class is how later calls count the earlier ones."""


def draw_curve(
    ax: Axes,
    x: np.ndarray,
    batch: np.ndarray,
    label: str | None,
    artist: dict[str, Any],
    **defaults: Any,
) -> Curve:
    """Adds a curve, or the median of a batch inside its band, in the next color and dash pattern.

    The line breaks where the value is not finite; a cross marks the last point before -inf.

    Args:
        ax: the Axes.
        x: (L,).
        batch: (B, L), one curve a row.
        label: the name in the legend.
        artist: the caller's properties of the line.
        **defaults: properties that the caller's come before.
    """
    index = sum(isinstance(line, Curve) for line in ax.lines)
    style = {
        "color": COLORS[index % len(COLORS)],
        "linestyle": DASHES[index % len(DASHES)],
        **defaults,
        **normalize_kwargs(artist, Line2D),
    }
    if label is not None:
        style["label"] = label
    low, middle, high = np.quantile(batch, (BAND[0], 0.5, BAND[1]), axis=0, method="inverted_cdf")
    line = Curve(x, gapped(middle), **style)
    ax.add_line(line)
    color = line.get_color()
    if len(batch) > 1:
        ax.fill_between(x, gapped(low), gapped(high), color=color, alpha=0.2, linewidth=0)
    ends = np.isfinite(middle[:-1]) & np.isneginf(middle[1:])
    if ends.any():
        ax.plot(x[:-1][ends], middle[:-1][ends], "x", color=color, label="_exact zero beyond")
    ax.autoscale_view()
    return line


def draw_family(
    ax: Axes,
    x: np.ndarray,
    values: np.ndarray,
    resolved: np.ndarray,
    name: str,
    what: str,
    artist: dict[str, Any],
) -> list[Line2D]:
    """Draws the columns of (L, m) as lines that are told apart, dotted where not resolved."""
    count = values.shape[1]
    few = count <= _FEW
    # Without the yellow end, which is as bright as the paper.
    colors = colormaps["viridis"](np.linspace(0.0, 0.85, count))
    lines, unresolved = [], False
    for index in range(count):
        style = {
            "color": COLORS[index] if few else colors[index],
            "linestyle": DASHES[index] if few else "-",
            "linewidth": 1.3 if count <= 20 else 0.8,
            **normalize_kwargs(artist, Line2D),
        }
        if few:
            style["label"] = name.replace("{}", f"{{{index + 1}}}")
        good = np.where(resolved[:, index], values[:, index], np.nan)
        lines += ax.plot(x, gapped(good), **style)
        # With the last good point, so that no gap is left between the two.
        bad = ~resolved[:, index]
        bad[:-1] |= bad[1:]
        if (bad & np.isfinite(values[:, index])).any():
            faint = {"linestyle": ":", "alpha": 0.6, "label": "not resolved" if few else None}
            ax.plot(x, gapped(np.where(bad, values[:, index], np.nan)), **style | faint)
            unresolved = True
    if few:
        named_legend(ax)
    else:
        shades = ScalarMappable(Normalize(0.5, count + 0.5), ListedColormap(colors))
        bar = figure_of(ax).colorbar(shades, ax=ax)
        bar.ax.invert_yaxis()  # as the curves lie, the first on top
        bar.set_label(what + (" (dotted: not resolved)" if unresolved else ""))
    return lines


def named_legend(ax: Axes) -> None:
    """A legend of what has a name, each name once, spectra before what goes with them."""
    handles, labels = ax.get_legend_handles_labels()
    order = sorted(range(len(labels)), key=lambda index: handles[index] not in ax.containers)
    named = {labels[index]: handles[index] for index in reversed(order)}
    if named:
        ax.legend(list(named.values())[::-1], list(named)[::-1], fontsize="small", frameon=False)
