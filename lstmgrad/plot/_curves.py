"""Curves of logarithms: told apart in gray, with gaps and marks where there is no logarithm."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cbook import normalize_kwargs
from matplotlib.lines import Line2D

from lstmgrad.plot._drawing import gapped
from lstmgrad.plot._style import COLORS, DASHES

BAND = (0.1, 0.9)
"""The quantiles between which the band of a batch lies."""


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
