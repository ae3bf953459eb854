"""Result records to Axes: the only file that knows matplotlib.

Nothing is computed here but a logarithm's base, and, for a batch, its median and a quantile band.
The vertical axis is linear in log₁₀ of the norm, because norms go down to 1e-3000. Successive
curves on one Axes differ in dash pattern and in luminance as well as in hue, so that they can be
told apart in gray. No rcParams are set and nothing is shown; pyplot is imported only where a
figure has to be made.
"""

import io
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cbook import normalize_kwargs
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.legend_handler import HandlerTuple
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from lstmgrad._drawing import SYMBOL, by_lag, gapped, log10, symbol, vertical_range
from lstmgrad._norm_map import NormMap
from lstmgrad._norms import NormProfile

BAND = (0.1, 0.9)
"""The quantiles between which the band of a batch lies."""

# Ordered so that neighbors differ in luminance; five colors and four dashes repeat after twenty.
_COLORS = ("#000000", "#e69f00", "#0072b2", "#d55e00", "#56b4e9")
_DASHES = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (6, 1.5, 1, 1.5)))


def norms(
    profile: NormProfile, *, ax: Axes | None = None, label: str | None = None, **artist: Any
) -> Axes:
    """Draws log₁₀ ‖∂s_t/∂s_k‖₂ against the lag t-k and returns the Axes.

    Args:
        profile: from `backward_norms` or `forward_norms`. One with leading axes, from `jax.vmap`,
            is drawn as the median over the batch inside the band from the 10 % to the 90 %
            quantile.
        ax: where to draw; None makes a figure. A further call on the same Axes takes the next
            color and dash pattern.
        label: the curve's name in the legend, which is the caller's to draw.
        **artist: properties of the line (`color`, `linewidth`, ...), see `Axes.plot`.

    Returns:
        The Axes, with both axes labeled by symbol and unit. Curves of different parts on one Axes
        share the label with s, the state.

    Raises:
        ValueError: the profile is no `NormProfile`, its batch mixes lags, or `ax` is no Axes.

    Notes:
        A norm that is exactly zero (-inf) or not finite has no place on the axis: the line breaks
        there, and a cross marks the last point before an exact zero. Quantiles are order
        statistics, without interpolation, because there is no mean of a number and -inf.

    Example:
        ```python
        ax = lg.plot.norms(lg.backward_norms(chain, of="h", wrt="h"), label="h")
        lg.plot.norms(lg.backward_norms(chain, of="c", wrt="c"), ax=ax, label="c").legend()
        ```
    """
    _check_result(profile, NormProfile, "profile", "backward_norms or forward_norms")
    lags, batch = by_lag(profile)
    ax = _axes(ax)
    style = normalize_kwargs(artist, Line2D)
    index = sum(isinstance(line, _NormLine) for line in ax.lines)
    style = {
        "color": _COLORS[index % len(_COLORS)],
        "linestyle": _DASHES[index % len(_DASHES)],
        **style,
    }
    if label is not None:
        style["label"] = label
    low, middle, high = np.quantile(batch, (BAND[0], 0.5, BAND[1]), axis=0, method="inverted_cdf")
    line = _NormLine(lags, gapped(middle), **style)
    ax.add_line(line)
    color = line.get_color()
    if len(batch) > 1:
        low, high = gapped(low), gapped(high)
        ax.fill_between(lags, low, high, color=color, alpha=0.2, linewidth=0)
    ends = np.isfinite(middle[:-1]) & np.isneginf(middle[1:])
    if ends.any():
        ax.plot(lags[:-1][ends], middle[:-1][ends], "x", color=color, label="_exact zero beyond")
    ax.autoscale_view()
    times = ("T", "k") if profile.fixed == "end" else ("t", "0")
    _label_once(ax, symbol(profile, *times), symbol(None, *times))
    if not ax.get_xlabel():
        ax.set_xlabel(r"lag $T - k$ (steps)" if profile.fixed == "end" else r"lag $t$ (steps)")
    return ax


def norm_map(result: NormMap, *, ax: Axes | None = None, **artist: Any) -> Axes:
    """Draws log₁₀ ‖∂s_t/∂s_k‖₂ for every pair of times as a heat map and returns the Axes.

    Args:
        result: from `norm_map`, of one sequence.
        ax: where to draw; None makes a figure.
        **artist: properties of the image (`cmap`, `vmin`, `vmax`, ...), see `Axes.imshow`.

    Returns:
        The Axes: k, the time of the cause, runs to the right and t, the time of the effect, runs
        downward, as in a matrix. Pairs with k > t are left blank; a color bar is added.

    Raises:
        ValueError: the result is no `NormMap`, or it has a batch, or `ax` is no Axes.

    Notes:
        Exact zeros (-inf) take the color below the color bar's range, and the bar shows an arrow.

    Example:
        ```python
        lg.plot.norm_map(lg.norm_map(chain, of="c", wrt="c", every=4), cmap="magma")
        ```
    """
    _check_result(result, NormMap, "result", "norm_map")
    if np.ndim(result.log_norms) != 2:
        raise ValueError(
            "result: expected the map of one sequence, (G, G), but came a batch of shape "
            f"{np.shape(result.log_norms)}. Draw one at a time: "
            "jax.tree.map(lambda leaf: leaf[0], result)."
        )
    ax = _axes(ax)
    times = np.asarray(result.times)
    values = log10(result.log_norms)
    finite = values[np.isfinite(values)]
    below, above = np.isneginf(values), np.isposinf(values)
    half = (times[1] - times[0]) / 2 if len(times) > 1 else 0.5
    edges = (times[0] - half, times[-1] + half)
    style = {
        "cmap": "viridis",
        "vmin": float(finite.min()) if finite.size else -1.0,
        "vmax": float(finite.max()) if finite.size else 0.0,
        "interpolation": "nearest",
        "aspect": "equal",
        **normalize_kwargs(artist, AxesImage),
    }
    if "norm" in style:
        del style["vmin"], style["vmax"]
    image = ax.imshow(
        np.ma.masked_invalid(values),
        origin="upper",
        extent=(*edges, *edges[::-1]),
        **style,
    )
    if below.any() or above.any():
        # An image leaves out infinities as it does NaN: far outside the color range, they show.
        low, high = image.get_clim()
        far = 1e3 * (1.0 + high - low)
        values = np.where(below, low - far, np.where(above, high + far, values))
        image.set_data(np.ma.masked_invalid(values))
        image.set_cmap(image.get_cmap().with_extremes(under="black", over="red"))
    extend = {(0, 0): "neither", (1, 0): "min", (0, 1): "max", (1, 1): "both"}
    figure = ax.get_figure(root=True)
    assert figure is not None
    bar = figure.colorbar(image, ax=ax, extend=extend[int(below.any()), int(above.any())])
    bar.set_label(symbol(result, "t", "k"))
    ax.set_xlabel("time of the cause $k$ (steps)")
    ax.set_ylabel("time of the effect $t$ (steps)")
    return ax


def comparison(
    panels: Mapping[str, Sequence[tuple[str, NormProfile]]], *, threshold: float = 1e-3
) -> Figure:
    """Returns a figure of a journal column's width, one panel of named curves a stage.

    The panels are stacked and share both axes and one legend. They reach down to the end of the
    curve that lasts longest, and as far as the threshold's fourth power where others go lower, so
    that one curve at 1e-300 does not flatten the rest: where a curve leaves its panel, a triangle
    marks the lag. A cross marks the last lag before an exact zero.

    Args:
        panels: for each panel's title, its curves as (label, profile), in the same order.
        threshold: the norm below which a gradient counts as lost, drawn as a faint line.

    Returns:
        A `Figure` that belongs to no GUI and to no pyplot; `encode` makes a file of it. The
        style is matplotlib's default, whatever the user's own, since the layout depends on it.

    Raises:
        ValueError: there is no panel, or a panel without a curve.

    Example:
        ```python
        figure = lg.plot.comparison({"at initialization": [("h", h_profile), ("c", c_profile)]})
        ```
    """
    if not panels or not all(panels.values()):
        raise ValueError("panels: expected at least one panel, and a curve in each, but came none.")
    limit = math.log10(threshold)
    with _default_style():
        figure = Figure(figsize=(3.4, 0.95 + 1.65 * len(panels)), layout="constrained")
        grid = figure.subplots(len(panels), sharex=True, sharey=True, squeeze=False)[:, 0]
        curves = [by_lag(profile)[1] for named in panels.values() for _, profile in named]
        bottom, top = vertical_range(curves, limit)
        exits: set[str] = set()
        for ax, (title, named) in zip(grid, panels.items(), strict=True):
            for label, profile in named:
                norms(profile, ax=ax, label=label, linewidth=1.3)
                exits |= _mark_exit(ax, bottom, top)
            ax.axhline(limit, color="0.6", linewidth=0.7, zorder=1)  # above the grid
            lost = [label for label, profile in named if np.isnan(profile.log_norms).any()]
            note = f"\nnot a number: {', '.join(lost)}" if lost else ""
            ax.set_title(title + note, fontsize=8, loc="left")
            ax.label_outer()
            ax.grid(visible=True, axis="x", color="0.92", linewidth=0.6)
            ax.set_axisbelow(True)
        last = max(float(np.max(p.lags)) for named in panels.values() for _, p in named)
        grid[0].set_xlim(-0.02 * last, 1.02 * last)
        grid[0].set_ylim(bottom, top)
        grid[0].xaxis.set_major_locator(MaxNLocator(5, integer=True))
        grid[0].yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 3, 5, 10], integer=True))
        _legend(figure, grid[0], limit, exits)
    return figure


def encode(figure: Figure, format: str) -> bytes:
    """Returns a figure of `comparison` as the content of a file, the same bytes for the same data.

    Args:
        figure: the figure.
        format: "png" (300 dots per inch) or "svg".

    Returns:
        The file's content.

    Raises:
        ValueError: matplotlib does not know the format.

    Example:
        ```python
        Path("norms.svg").write_bytes(lg.plot.encode(figure, "svg"))
        ```
    """
    buffer = io.BytesIO()
    metadata = {"Date": None} if format == "svg" else None
    with _default_style():
        figure.savefig(buffer, format=format, dpi=300, metadata=metadata)
    return buffer.getvalue()


class _NormLine(Line2D):
    """A curve drawn by `norms`; the class is how later calls count the earlier ones."""


def _default_style():
    """Restores rcParams on exit; the salt makes the identifiers inside an SVG reproducible."""
    own = {"font.size": 7.5, "legend.fontsize": 7.5, "svg.hashsalt": "lstmgrad"}
    return matplotlib.style.context(["default", own])


def _mark_exit(ax: Axes, bottom: float, top: float) -> set[str]:
    """Marks where the newest curve leaves the panel for good; returns all markers it now has."""
    line = [line for line in ax.lines if isinstance(line, _NormLine)][-1]
    markers = {str(mark.get_marker()) for mark in ax.lines[ax.lines.index(line) + 1 :]}
    lags, values = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
    lags, values = lags[np.isfinite(values)], values[np.isfinite(values)]
    for marker, edge, outside in (("v", bottom, values < bottom), ("^", top, values > top)):
        if outside.size and outside[-1]:
            inside = np.flatnonzero(~outside)
            lag = lags[inside[-1]] if inside.size else lags[0]
            style = {"color": line.get_color(), "markersize": 4, "clip_on": False, "zorder": 3}
            ax.plot([lag], [edge], marker, scalex=False, scaley=False, **style)
            markers.add(marker)
    return markers


def _legend(figure: Figure, ax: Axes, limit: float, exits: set[str]) -> None:
    """One legend above all panels, where it hides no data."""
    handles: list[Any]
    handles, labels = ax.get_legend_handles_labels()
    handles.append(Line2D([], [], color="0.6", linewidth=0.7))
    labels.append(f"threshold $10^{{{limit:.3g}}}$")
    style = {"color": "0.3", "markersize": 4, "linestyle": ""}
    for markers, meaning in (
        (exits & {"v", "^"}, "leaves panel"),
        (exits & {"x"}, "then exactly 0"),
    ):
        if markers:
            handles.append(tuple(Line2D([], [], marker=m, **style) for m in sorted(markers)))
            labels.append(meaning)
    columns = min(3, len(handles))
    figure.legend(
        _by_rows(handles, columns),
        _by_rows(labels, columns),
        loc="outside upper center",
        ncols=columns,
        columnspacing=1.2,
        frameon=False,
        handler_map={tuple: HandlerTuple(ndivide=None)},
    )


def _by_rows(items: list, columns: int) -> list:
    """Reorders for a legend, which fills by columns, so that it reads by rows."""
    return list(itertools.chain.from_iterable(items[start::columns] for start in range(columns)))


def _check_result(value: Any, kind: type, argument: str, makers: str) -> None:
    if not isinstance(value, kind):
        raise ValueError(
            f"{argument}: expected a {kind.__name__}, as {makers} returns it, but came "
            f"{type(value).__name__}."
        )


def _axes(ax: Any) -> Axes:
    if ax is None:
        import matplotlib.pyplot as plt

        return plt.subplots(layout="constrained")[1]
    if not isinstance(ax, Axes):
        raise ValueError(f"ax: expected a matplotlib Axes or None, but came {type(ax).__name__}.")
    return ax


def _label_once(ax: Axes, own: str, shared: str) -> None:
    """Labels the vertical axis, with the shared symbol if an earlier curve had another one."""
    before = ax.get_ylabel()
    if not before:
        ax.set_ylabel(own)
    elif before != own and before.startswith(SYMBOL):
        ax.set_ylabel(shared)
