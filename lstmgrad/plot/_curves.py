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

from lstmgrad._quantiles import BAND, quantiles
from lstmgrad.plot._palette import line_style, next_turn
from lstmgrad.plot._style import figure_of
from lstmgrad.plot._values import gapped

FAINT: dict[str, Any] = {"linestyle": (0, (1, 3)), "alpha": 0.6}
"""The style of a line where its values are not resolved; no dash pattern is dotted."""

NOT_RESOLVED = "not resolved"
"""The label of such lines, on the first of them; the others have it with an underscore."""

_FEW = 4
"""Up to so many curves differ in dash pattern; more differ in luminance, with a color bar."""


class Curve(Line2D):
    """A curve drawn by `draw_curve`; later calls count the earlier ones by this class.

    Attributes:
        whole: (L,), all its values, with those that are not resolved and drawn apart.
        turn: of its color and its dash pattern.
    """

    whole: np.ndarray
    turn: int


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

    The line breaks where the value is not finite; a cross marks the last point before -inf. The
    label of a median says of how many members it is.

    Args:
        ax: the Axes.
        x: (L,).
        batch: (B, L), one curve per row.
        label: the name in the legend.
        artist: the caller's properties of the line.
        unresolved: (B, L), where a value is only an upper bound; None is nowhere.
        **defaults: properties that apply unless the caller's say otherwise.
    """
    style = next_style(ax, {**defaults, **normalize_kwargs(artist, Line2D)}, label)
    if (named := median_label(label, len(batch))) is not None:
        style["label"] = named
    (low, middle, high), resolved = band_of(batch, unresolved)
    line = add_curve(ax, x, middle, resolved[1], style)
    color = line.get_color()
    if len(batch) > 1:
        band = {"color": color, "linewidth": 0}
        both = resolved[0] & resolved[2]
        sure = np.where(both, low, np.nan)
        ax.fill_between(x, gapped(sure), gapped(high), alpha=0.2, **band)
        if not both.all():
            vague = np.where(_with_neighbors(~both), low, np.nan)
            ax.fill_between(x, gapped(vague), gapped(high), alpha=0.08, **band)
    ax.autoscale_view()
    return line


def next_style(ax: Axes, artist: dict[str, Any], label: str | None = None) -> dict[str, Any]:
    """The color and the dash pattern of the next curve, where the caller's properties say nothing.

    Args:
        ax: the Axes, with the curves before it.
        artist: properties of a line.
        label: the name of the curve: a kind of network has the same color in every figure.
    """
    taken = [line.turn for line in ax.lines if isinstance(line, Curve)]
    turn = next_turn(taken, label)
    return {**line_style(turn), "turn": turn, **normalize_kwargs(artist, Line2D)}


def add_curve(
    ax: Axes, x: np.ndarray, values: np.ndarray, resolved: np.ndarray, style: dict[str, Any]
) -> Curve:
    """Adds a line, with what is not resolved drawn apart, and a cross before each exact zero.

    Args:
        ax: the Axes.
        x: (L,).
        values: (L,).
        resolved: (L,).
        style: its properties.
    """
    style = dict(style)
    turn = style.pop("turn", 0)
    line = Curve(x, gapped(np.where(resolved, values, np.nan)), **style)
    line.whole, line.turn = gapped(values), turn
    ax.add_line(line)
    draw_unresolved(ax, x, values, resolved, style)
    ends = np.isfinite(values[:-1]) & np.isneginf(values[1:])
    if ends.any():
        color = line.get_color()
        ax.plot(x[:-1][ends], values[:-1][ends], "x", color=color, label="_exact zero beyond")
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
    batch: np.ndarray,
    name: str,
    what: str,
    artist: dict[str, Any],
    *,
    unresolved: np.ndarray,
) -> list[Line2D]:
    """Draws the columns of a matrix as lines that are told apart, with a legend or a color bar.

    Of a batch the medians, in bands where the lines are few.

    Args:
        ax: the Axes.
        x: (L,).
        batch: (B, L, m).
        name: the symbol of a curve, with ``{}`` for its number, where the curves are few.
        what: the label of the color bar, where they are many.
        artist: the caller's properties of the lines.
        unresolved: (B, L, m), where a value is only an upper bound.

    Returns:
        The m lines.
    """
    members, count = len(batch), batch.shape[-1]
    (low, values, high), (_, resolved, _) = band_of(batch, unresolved)
    few = count <= _FEW
    # Without the yellow end, which is as bright as the paper.
    colors = colormaps["viridis"](np.linspace(0.0, 0.85, count))
    lines, styles = [], []
    for index in range(count):
        style = {
            **(line_style(index) if few else {"color": colors[index], "linestyle": "-"}),
            "linewidth": 1.3 if count <= 20 else 0.8,
            **normalize_kwargs(artist, Line2D),
        }
        if few:
            style["label"] = name.replace("{}", f"{{{index + 1}}}")
        styles.append(style)
        lines += ax.plot(x, gapped(np.where(resolved[:, index], values[:, index], np.nan)), **style)
        if few and members > 1:
            band = {"color": lines[-1].get_color(), "linewidth": 0, "alpha": 0.15}
            ax.fill_between(x, gapped(low[:, index]), gapped(high[:, index]), **band)
    dotted = False
    for column, good, style in zip(values.T, resolved.T, styles, strict=True):
        dotted |= draw_unresolved(ax, x, column, good, style)
    if few:
        named_legend(ax, median_label(None, members))
    else:
        shades = ScalarMappable(Normalize(0.5, count + 0.5), ListedColormap(colors))
        bar = figure_of(ax).colorbar(shades, ax=ax)
        bar.ax.invert_yaxis()  # the first on top, as its curve
        label = median_label(what, members) or what
        bar.set_label(label + (f" (dotted: {NOT_RESOLVED})" if dotted else ""))
    return lines


def named_legend(ax: Axes, title: str | None = None) -> None:
    """Draws a legend of all that has a name, each name once, spectra before what belongs to them.

    Args:
        ax: the Axes; without names on it there is no legend.
        title: of the legend.
    """
    handles, labels = ax.get_legend_handles_labels()
    order = sorted(range(len(labels)), key=lambda index: handles[index] not in ax.containers)
    named = {labels[index]: handles[index] for index in reversed(order)}
    if named:
        style = {"fontsize": "small", "title_fontsize": "small", "frameon": False}
        ax.legend(list(named.values())[::-1], list(named)[::-1], title=title, **style)


def note(text: str) -> Line2D:
    """An entry of a legend that is text alone.

    Args:
        text: what it says.
    """
    return Line2D([], [], linestyle="none", label=text)


def median_label(label: str | None, count: int) -> str | None:
    """The name of a curve in the legend, which says of how many members a median is.

    Args:
        label: the caller's; None without one.
        count: of the members.
    """
    if count < 2:
        return label
    return f"median of {count}" if label is None else f"{label}, median of {count}"


def band_of(
    batch: np.ndarray, unresolved: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The lower edge, the median and the upper edge, (3, ...), and which of them are resolved.

    An unresolved value lies anywhere below it. A quantile is resolved where it comes out the same
    wherever they lie. Members that are NaN are left out. A single curve is all three.

    Args:
        batch: (B, ...).
        unresolved: (B, ...), where a value is only an upper bound; None is nowhere.
    """
    lows = batch if unresolved is None else np.where(unresolved, -np.inf, batch)
    found, known = quantiles(lows, batch, (BAND[0], 0.5, BAND[1]))
    return found, known | np.isnan(found)


def _with_neighbors(chosen: np.ndarray) -> np.ndarray:
    """The chosen points of a curve and those beside them, so that no gap is left between."""
    wide = chosen.copy()
    wide[1:] |= chosen[:-1]
    wide[:-1] |= chosen[1:]
    return wide
