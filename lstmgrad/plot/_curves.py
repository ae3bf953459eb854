"""Curves told apart in gray, with gaps and marks where there is no logarithm.

Whatever the arithmetic does not resolve is drawn dotted and faint: such a value is the level below
which nothing is seen, not a measured one. A cross marks an exact zero and nothing else.
"""

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
"""The quantiles at the edges of a batch's band."""

FAINT: dict[str, Any] = {"linestyle": (0, (1, 3)), "alpha": 0.6}
"""The style of a line where its values are not resolved: sparser dots than in any of `DASHES`."""

NOT_RESOLVED = "not resolved"
"""The label of such lines, on the first of them; the others have it with an underscore."""

_FEW = 4
"""Up to so many curves differ in dash pattern; more differ in luminance, with a color bar."""


class Curve(Line2D):
    """A curve drawn by `draw_curve`; later calls count the earlier ones by this class.

    Attributes:
        whole: (L,), all its values, with those that are not resolved and drawn apart.
    """

    whole: np.ndarray


def draw_curve(
    ax: Axes,
    x: np.ndarray,
    batch: np.ndarray,
    label: str | None,
    artist: dict[str, Any],
    *,
    unresolved: np.ndarray | None = None,
    **defaults: Any,
) -> Curve:
    """Adds a curve, or the median of a batch inside its band, in the next color and dash pattern.

    The line breaks where the value is not finite; a cross marks the last point before -inf.

    Args:
        ax: the Axes.
        x: (L,).
        batch: (B, L), one curve per row.
        label: the name in the legend.
        artist: the caller's properties of the line.
        unresolved: (B, L), where a value is only an upper bound; None is nowhere.
        **defaults: properties that apply unless the caller's say otherwise.
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
    (low, middle, high), resolved = _quantiles(batch, unresolved)
    line = Curve(x, gapped(np.where(resolved[1], middle, np.nan)), **style)
    line.whole = gapped(middle)
    ax.add_line(line)
    color = line.get_color()
    if len(batch) > 1:
        band = {"color": color, "linewidth": 0}
        both = resolved[0] & resolved[2]
        sure = np.where(both, low, np.nan)
        ax.fill_between(x, gapped(sure), gapped(high), alpha=0.2, **band)
        if not both.all():
            vague = np.where(_with_neighbors(~both), low, np.nan)
            ax.fill_between(x, gapped(vague), gapped(high), alpha=0.08, **band)
    draw_unresolved(ax, x, middle, resolved[1], style)
    ends = np.isfinite(middle[:-1]) & np.isneginf(middle[1:])
    if ends.any():
        ax.plot(x[:-1][ends], middle[:-1][ends], "x", color=color, label="_exact zero beyond")
    ax.autoscale_view()
    return line


def draw_unresolved(
    ax: Axes, x: np.ndarray, values: np.ndarray, resolved: np.ndarray, style: dict[str, Any]
) -> bool:
    """Draws the stretches of a curve that are not resolved, joined to the points beside them.

    Args:
        ax: the Axes.
        x: (L,).
        values: (L,).
        resolved: (L,).
        style: the properties of the curve.

    Returns:
        Whether there is any such stretch.
    """
    if not (~resolved & np.isfinite(values)).any():
        return False
    first = all(line.get_label() != NOT_RESOLVED for line in ax.lines)
    faint = {**style, **FAINT, "label": NOT_RESOLVED if first else f"_{NOT_RESOLVED}"}
    stretch = gapped(np.where(_with_neighbors(~resolved), values, np.nan))
    ax.plot(x, stretch, **faint)
    return True


def draw_family(
    ax: Axes,
    x: np.ndarray,
    values: np.ndarray,
    resolved: np.ndarray,
    name: str,
    what: str,
    artist: dict[str, Any],
) -> list[Line2D]:
    """Draws the columns of a matrix as lines that are told apart, with a legend or a color bar.

    Args:
        ax: the Axes.
        x: (L,).
        values: (L, m).
        resolved: (L, m).
        name: the symbol of a curve, with ``{}`` for its number, where the curves are few.
        what: the label of the color bar, where they are many.
        artist: the caller's properties of the lines.

    Returns:
        The m lines.
    """
    count = values.shape[1]
    few = count <= _FEW
    # Without the yellow end, which is as bright as the paper.
    colors = colormaps["viridis"](np.linspace(0.0, 0.85, count))
    lines, styles = [], []
    for index in range(count):
        style = {
            "color": COLORS[index] if few else colors[index],
            "linestyle": DASHES[index] if few else "-",
            "linewidth": 1.3 if count <= 20 else 0.8,
            **normalize_kwargs(artist, Line2D),
        }
        if few:
            style["label"] = name.replace("{}", f"{{{index + 1}}}")
        styles.append(style)
        lines += ax.plot(x, gapped(np.where(resolved[:, index], values[:, index], np.nan)), **style)
    dotted = False
    for column, good, style in zip(values.T, resolved.T, styles, strict=True):
        dotted |= draw_unresolved(ax, x, column, good, style)
    if few:
        named_legend(ax)
    else:
        shades = ScalarMappable(Normalize(0.5, count + 0.5), ListedColormap(colors))
        bar = figure_of(ax).colorbar(shades, ax=ax)
        bar.ax.invert_yaxis()  # the first on top, as its curve
        bar.set_label(what + (f" (dotted: {NOT_RESOLVED})" if dotted else ""))
    return lines


def named_legend(ax: Axes) -> None:
    """Draws a legend of all that has a name, each name once, spectra before what belongs to them.

    Args:
        ax: the Axes; without names on it there is no legend.
    """
    handles, labels = ax.get_legend_handles_labels()
    order = sorted(range(len(labels)), key=lambda index: handles[index] not in ax.containers)
    named = {labels[index]: handles[index] for index in reversed(order)}
    if named:
        ax.legend(list(named.values())[::-1], list(named)[::-1], fontsize="small", frameon=False)


def _quantiles(batch: np.ndarray, unresolved: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """The lower edge, the median and the upper edge, (3, L), and which of them are resolved.

    An unresolved norm lies anywhere between zero and its value. A quantile is resolved where it
    comes out the same at both ends.
    """
    levels = (BAND[0], 0.5, BAND[1])
    at_most = np.quantile(batch, levels, axis=0, method="inverted_cdf")
    if unresolved is None or not unresolved.any():
        return at_most, np.ones_like(at_most, bool)
    lowest = np.where(unresolved, -np.inf, batch)
    at_least = np.quantile(lowest, levels, axis=0, method="inverted_cdf")
    return at_most, (at_most == at_least) | np.isnan(at_most)


def _with_neighbors(chosen: np.ndarray) -> np.ndarray:
    """The chosen points of a curve and those beside them, so that no gap is left between."""
    wide = chosen.copy()
    wide[1:] |= chosen[:-1]
    wide[:-1] |= chosen[1:]
    return wide
