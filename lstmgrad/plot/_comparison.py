"""Panels of norms below each other, one per stage of training, for a page."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend_handler import HandlerTuple
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from lstmgrad._calls import public
from lstmgrad._leaves import shown
from lstmgrad._norms.records import NormProfile
from lstmgrad._result import up_to_length
from lstmgrad.plot._curves import FAINT, NOT_RESOLVED, Curve, band_of
from lstmgrad.plot._norms import norms
from lstmgrad.plot._palette import COLUMN, PATH, REFERENCE, line_style, style, turns_of
from lstmgrad.plot._style import BAND_NAME, legend_above
from lstmgrad.plot._symbols import letters
from lstmgrad.plot._values import by_lag, gapped


@public
def comparison(
    panels: Mapping[str, Sequence[tuple[str, NormProfile]]],
    *,
    paths: Mapping[str, Mapping[str, NormProfile]] | None = None,
    threshold: float = 1e-3,
    title: str = "",
) -> Figure:
    """Returns a figure as wide as a journal's column, with one panel of named curves per stage.

    The panels are stacked and share both axes and one legend. They reach down to the end of the
    curve that lasts longest, and at least to the threshold's fourth power where others go lower, so
    that one curve at 1e-300 does not flatten the rest: where a curve leaves its panel, a triangle
    marks the lag. A cross marks the last lag before an exact zero; a stretch that the arithmetic
    does not resolve is dotted and faint. Up to twenty curves have a color and dashes of their own;
    with more than six the panels are taller, and the page grows with its legend.

    Args:
        panels: the curves of each panel as (label, profile), by the panel's title; the curves are
            in the same order in all panels. A batch is drawn as its median in its band.
        paths: by the panel's title and a curve's label, the norms through the additive path of the
            cell alone, drawn thin and with markers in the color of that curve.
        threshold: the norm below which a gradient counts as lost, drawn as a faint line.
        title: what the figure says, above its legend, wrapped to its width.

    Returns:
        A `Figure` outside of pyplot and of any GUI; `encode` makes a file of it. It is in the
        `style` of lstmgrad whatever your own is, because the layout depends on it.

    Raises:
        ValueError: there is no panel, or a panel has no curve.

    Example:
        ```python
        figure = lg.plot.comparison({"at initialization": [("h", h_profile), ("c", c_profile)]})
        ```

        >>> profile = lg.backward_norms(chain)
        >>> figure = lg.plot.comparison({"at initialization": [("LSTM", profile)]})
        >>> len(figure.axes)
        1
    """
    if not isinstance(panels, Mapping):
        raise ValueError(
            "panels: expected a dict of curves, (label, profile), by the panel's title, but got "
            f"{shown(panels)}."
        )
    if not panels or not all(panels.values()):
        raise ValueError(
            "panels: expected at least one panel and at least one curve in each, but got none."
        )
    limit = math.log10(threshold)
    with style():
        most = max(map(len, panels.values()))
        height = 0.95 + (1.65 if most <= 6 else 2.5) * len(panels)
        figure = Figure(figsize=(COLUMN, height), layout="constrained")
        grid = figure.subplots(len(panels), sharex=True, sharey=True, squeeze=False)[:, 0]
        read = [by_lag(profile) for named in panels.values() for _, profile in named]
        curves = [band_of(logs, hidden)[0][1] for _, logs, hidden in read]
        count = max(len(logs) for _, logs, _ in read)
        bottom, top = vertical_range(curves, limit)
        paths, alone = paths or {}, False
        marks: set[str] = set()
        for ax, (name, named) in zip(grid, panels.items(), strict=True):
            turns = turns_of([label for label, _ in named])
            for (label, profile), turn in zip(named, turns, strict=True):
                norms(profile, ax=ax, label=label, **line_style(turn))
                marks |= _mark_exit(ax, bottom, top)
                line = [line for line in ax.lines if isinstance(line, Curve)][-1]
                line.set_label(label)  # the title says how many members there are
                marks |= {NOT_RESOLVED} if by_lag(profile)[2].any() else set()
                if path := paths.get(name, {}).get(label):
                    draw_path(ax, path, line)
                    alone = True
            ax.axhline(limit, **REFERENCE)
            lost = [label for label, profile in named if _broken(profile)]
            name += f"; medians of {count}, {BAND_NAME} bands" if count > 1 else ""
            note = f"\nnot a number: {', '.join(lost)}" if lost else ""
            ax.set_title(name + note, loc="left")
            ax.label_outer()
        last = max(float(np.max(p.lags)) for named in panels.values() for _, p in named)
        grid[0].set_xlim(-0.02 * last, 1.02 * last)
        grid[0].set_ylim(bottom, top)
        grid[0].xaxis.set_major_locator(MaxNLocator(5, integer=True))
        grid[0].yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 3, 5, 10], integer=True))
        _legend(figure, grid[0], limit, marks, path=alone, title=title)
    return figure


def _broken(profile: NormProfile) -> bool:
    """Whether a norm that there is is not a number."""
    there = up_to_length(profile.lags, profile.length)
    return bool((np.isnan(profile.log_norms) & there).any())


def draw_path(ax: Axes, path: NormProfile, beside: Line2D) -> None:
    """Draws the norms through the additive path alone, beside those of all paths.

    Args:
        ax: the Axes.
        path: norms of one sequence or of a batch, whose median is drawn.
        beside: the curve of all paths, which has the color.
    """
    lags, logs, unresolved = by_lag(path)
    (_, middle, _), _ = band_of(logs, unresolved)
    middle = gapped(middle)
    place = max(1, len(lags) // 8)
    ax.plot(lags, middle, color=beside.get_color(), markevery=place, label="_path", **PATH)


def vertical_range(curves: Sequence[np.ndarray], threshold: float) -> tuple[float, float]:
    """Returns the bottom and top of an axis on which curves of very different depth can be read.

    The axis holds the threshold and the whole of the tamest curve; it does not follow the others
    beyond the threshold's fourth power.

    Args:
        curves: log₁₀ of the norms.
        threshold: log₁₀ of the threshold.
    """
    ends = [_ends(curve) for curve in curves]
    lows, highs = [low for low, _ in ends], [high for _, high in ends]
    depth = max(4 * abs(threshold), 4.0)
    bottom = max(min(*lows, 1.3 * threshold, -1.0), min(-depth, 1.1 * max(lows)))
    top = min(max(*highs, 0.0), max(depth, 1.1 * min(highs)))
    margin = 0.04 * (top - bottom)
    return bottom - margin, top + margin


def _ends(curve: np.ndarray) -> tuple[float, float]:
    """Returns the lowest and the highest finite value; a curve without any takes no room."""
    values = curve[np.isfinite(curve)]
    return (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)


def _mark_exit(ax: Axes, bottom: float, top: float) -> set[str]:
    """Marks where the newest curve leaves the panel for good; returns all markers that it has."""
    line = [line for line in ax.lines if isinstance(line, Curve)][-1]
    markers = {str(mark.get_marker()) for mark in ax.lines[ax.lines.index(line) + 1 :]}
    lags, values = np.asarray(line.get_xdata()), line.whole
    lags, values = lags[np.isfinite(values)], values[np.isfinite(values)]
    for marker, edge, outside in (("v", bottom, values < bottom), ("^", top, values > top)):
        if outside.size and outside[-1]:
            inside = np.flatnonzero(~outside)
            lag = lags[inside[-1]] if inside.size else lags[0]
            style = {"color": line.get_color(), "markersize": 4, "clip_on": False, "zorder": 3}
            ax.plot([lag], [edge], marker, scalex=False, scaley=False, **style)
            markers.add(marker)
    return markers


def _legend(
    figure: Figure, ax: Axes, limit: float, marks: set[str], *, path: bool, title: str
) -> None:
    """Draws one legend above all panels, where it hides no data.

    Args:
        figure: the figure.
        ax: the first panel, whose curves stand for those of all panels.
        limit: log₁₀ of the threshold.
        marks: the markers in any of the panels, and `NOT_RESOLVED` where anything is not.
        path: whether there is an additive path in any of the panels.
        title: what the figure says.
    """
    curves = [line for line in ax.lines if isinstance(line, Curve)]
    handles: list[Any] = list(curves)
    labels = [str(curve.get_label()) for curve in curves]
    longest = max(map(letters, labels))
    if path:
        handles.append(Line2D([], [], color="0.3", **PATH))
        labels.append("path alone")
    handles.append(Line2D([], [], **REFERENCE))
    labels.append(f"threshold $10^{{{limit:.3g}}}$")
    style = {"color": "0.3", "markersize": 4, "linestyle": ""}
    if NOT_RESOLVED in marks:
        handles.append(Line2D([], [], color="0.3", linewidth=1.3, **FAINT))
        labels.append(NOT_RESOLVED)
    for markers, meaning in (
        (marks & {"v", "^"}, "leaves panel"),
        (marks & {"x"}, "then exactly 0"),
    ):
        if markers:
            handles.append(tuple(Line2D([], [], marker=m, **style) for m in sorted(markers)))
            labels.append(meaning)
    columns = min(len(handles), 3 if longest <= 10 else 2 if longest <= 20 else 1)
    rows = -(-len(handles) // columns)
    figure.set_figheight(figure.get_figheight() + 0.16 * max(0, rows - 3))
    legend_above(
        figure,
        _by_rows(handles, columns),
        _by_rows(labels, columns),
        title,
        ncols=columns,
        handler_map={tuple: HandlerTuple(ndivide=None)},
    )


def _by_rows(items: list, columns: int) -> list:
    """Reorders for a legend, which fills by columns, so that it reads by rows."""
    return list(itertools.chain.from_iterable(items[start::columns] for start in range(columns)))
