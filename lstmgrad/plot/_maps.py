"""Heat maps over pairs of times, and over time and the features of an input."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cbook import normalize_kwargs
from matplotlib.image import AxesImage
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.ticker import MaxNLocator

from lstmgrad._gradients.maps import ContributionMap
from lstmgrad._gradients.saliency import Saliency
from lstmgrad._norms.maps import NormMap
from lstmgrad.plot._contributions import name_steps
from lstmgrad.plot._curves import NOT_RESOLVED, band_of, median_label
from lstmgrad.plot._headline import decimal, headline
from lstmgrad.plot._palette import drawing
from lstmgrad.plot._style import axes_of, check_result, figure_of
from lstmgrad.plot._symbols import symbol
from lstmgrad.plot._values import log10, members, shared, unresolved


@drawing
def norm_map(result: NormMap, *, ax: Axes | None = None, **artist: Any) -> Axes:
    """Draws log₁₀ ‖∂s_t/∂s_k‖₂ for every pair of times as a heat map and returns the Axes.

    Args:
        result: from `norm_map`. Of a batch the median is drawn, pair by pair.
        ax: where to draw; None makes a figure.
        **artist: properties of the image (`cmap`, `vmin`, `vmax`, ...), see `Axes.imshow`.

    Returns:
        The Axes, with a color bar. k, the time of the cause, runs to the right and t, the time of
        the effect, runs downward, as in a matrix. Pairs with k > t are left blank.

    Raises:
        ValueError: the result is not a `NormMap`, or `ax` is not an Axes.

    Notes:
        Norms that the arithmetic does not resolve are hatched, as the color bar's label then says.
        Exact zeros (-inf) have the color below the color bar's range, an arrow at its end.

    Example:
        ```python
        lg.plot.norm_map(lg.norm_map(chain, of="c", wrt="c", every=4), cmap="magma")
        ```

        >>> ax = lg.plot.norm_map(lg.norm_map(chain))
        >>> ax.get_xlabel()
        'time of the cause $k$ (steps)'
    """
    check_result(result, NormMap, "result", "norm_map")
    ax, times = axes_of(ax), shared(result.times, "times")
    logs, bounds = members(log10(result.log_norms), 2), members(unresolved(result), 2) > 0
    (_, middle, _), resolved = band_of(logs, bounds)
    hidden = ~resolved[1] & np.isfinite(middle)
    values = np.where(hidden, np.nan, middle)
    label = symbol(result, "t", "k") + (f" (hatched: {NOT_RESOLVED})" if hidden.any() else "")
    label = median_label(label, len(logs))
    _draw_heat_map(ax, times, times, values, label, artist)
    _hatch(ax, times, times, hidden)
    if np.isfinite(middle[-1, 0]):
        less = "" if resolved[1][-1, 0] else "less than "
        left = f"{less}{decimal(middle[-1, 0])} is left from {times[0]} to {times[-1]}"
        headline(ax, left.capitalize())
    ax.set_xlabel("time of the cause $k$ (steps)")
    ax.set_ylabel("time of the effect $t$ (steps)")
    return ax


@drawing
def contribution_map(result: ContributionMap, *, ax: Axes | None = None, **artist: Any) -> Axes:
    """Draws log₁₀ of what step k adds to the gradient of the loss at t, as a heat map.

    Args:
        result: from `contribution_map`. Of a batch the median is drawn, pair by pair.
        ax: where to draw; None makes a figure.
        **artist: properties of the image (`cmap`, `vmin`, `vmax`, ...), see `Axes.imshow`.

    Returns:
        The Axes, with a color bar. k, the step that adds, runs to the right and t, the time of the
        loss, runs downward. Pairs with k > t are left blank.

    Raises:
        ValueError: the result is not a `ContributionMap`, or `ax` is not an Axes.

    Notes:
        Exact zeros (-inf) have the color below the color bar's range, an arrow at its end.

    Example:
        ```python
        table = lg.contribution_map(chain, cotangents, every=4)
        lg.plot.contribution_map(table, vmin=-12)
        ```

        >>> ax = lg.plot.contribution_map(lg.contribution_map(chain, cotangents))
        >>> ax.get_xlabel()
        'contributing step $k$'
    """
    check_result(result, ContributionMap, "result", "contribution_map")
    ax = axes_of(ax)
    times, steps = shared(result.times, "times"), shared(result.steps, "steps")
    logs = members(log10(result.log_norms), 2)
    (_, middle, _), _ = band_of(logs)
    artist = {"aspect": "equal" if len(times) > 1 else "auto", **artist}
    label = r"$\log_{10}\,\Vert$ what step $k$ adds to $dL_t/d\theta\,\Vert$"
    label = median_label(label, len(logs))
    _draw_heat_map(ax, steps, times, middle, label, artist)
    ax.set_xlabel("contributing step $k$")
    ax.set_ylabel("time of the loss $t$ (steps)")
    return ax


@drawing
def saliency(
    result: Saliency,
    *,
    labels: Sequence[str] | None = None,
    features: Sequence[str] | None = None,
    ax: Axes | None = None,
    **artist: Any,
) -> Axes:
    """Draws log₁₀ |dL/dx_t|, feature by feature against the time step, as a heat map.

    Args:
        result: from `saliency`. Of a batch the median is drawn, number by number.
        labels: T labels to write below the steps instead of their numbers, such as the words that
            the network reads.
        features: d names to write beside the rows instead of their numbers, which count from 0.
        ax: where to draw; None makes a figure.
        **artist: properties of the image (`cmap`, `vmin`, `vmax`, ...), see `Axes.imshow`.

    Returns:
        The Axes, with a color bar. Time runs to the right and features downward.

    Raises:
        ValueError: the result is not a `Saliency`, there are more or fewer labels
            than steps or names than features, or `ax` is not an Axes.

    Notes:
        Numbers that the arithmetic does not resolve are hatched, as the color bar's label then
        says. Exact zeros (-inf) have the color below the color bar's range, an arrow at its end.

    Example:
        ```python
        lg.plot.saliency(lg.saliency(chain, cotangents), features=["price", "volume"], vmin=-8)
        ```

        >>> ax = lg.plot.saliency(lg.saliency(chain, cotangents))
        >>> ax.get_xlabel()
        'time step $t$'
    """
    check_result(result, Saliency, "result", "saliency")
    logs = members(log10(result.log_abs), 2)
    bounds = (members(~np.asarray(result.resolved), 2) > 0) & np.isfinite(logs)
    (_, values, _), (_, resolved, _) = band_of(logs, bounds)
    values, resolved = values.T, resolved.T
    steps, rows = np.arange(1, values.shape[1] + 1), np.arange(values.shape[0])
    if features is not None and len(features) != len(rows):
        raise ValueError(
            f"features: expected one name for each of the {len(rows)} features, but got "
            f"{len(features)}."
        )
    ax = axes_of(ax)
    hidden = ~resolved & np.isfinite(values)
    label = r"$\log_{10}\,|dL/dx_t|$" + (f" (hatched: {NOT_RESOLVED})" if hidden.any() else "")
    label = median_label(label, len(logs))
    artist = {"aspect": "auto", **artist}
    _draw_heat_map(ax, steps, rows, np.where(hidden, np.nan, values), label, artist)
    _hatch(ax, steps, rows, hidden)
    if np.isfinite(values).any():
        place = int(np.argmax(np.nan_to_num(values, nan=-np.inf)))
        row, step = divmod(place, len(steps))
        name = f"feature {row}" if features is None else str(features[row])
        headline(ax, f"Largest at step {step + 1}, {name}")
    name_steps(ax, len(steps), labels)
    if features is None:
        ax.yaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
        ax.set_ylabel("feature of the input")
    else:
        ax.set_yticks(rows, [str(name) for name in features], fontsize="small")
    return ax


def _draw_heat_map(
    ax: Axes,
    columns: np.ndarray,
    rows: np.ndarray,
    values: np.ndarray,
    label: str | None,
    artist: dict[str, Any],
) -> None:
    """Draws decimal logarithms as an image with a color bar, on evenly spaced times."""
    finite = values[np.isfinite(values)]
    below, above = np.isneginf(values), np.isposinf(values)
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
    (left, right), (top, bottom) = _edges(columns), _edges(rows)
    ax.grid(visible=False)
    image = ax.imshow(
        np.ma.masked_invalid(values),
        origin="upper",
        extent=(left, right, bottom, top),
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
    bar = figure_of(ax).colorbar(image, ax=ax, extend=extend[int(below.any()), int(above.any())])
    bar.set_label(label or "")


def _hatch(ax: Axes, columns: np.ndarray, rows: np.ndarray, cells: np.ndarray) -> None:
    """Hatches the chosen cells of a map, as one patch: its rows are runs of cells.

    Args:
        ax: the Axes.
        columns: what the columns stand for, evenly spaced.
        rows: what the rows stand for, likewise.
        cells: (rows, columns), which of them.
    """
    if not cells.any():
        return
    width, height = (columns[0] - _edges(columns)[0], rows[0] - _edges(rows)[0])
    runs = []
    for place, row in zip(rows, cells, strict=True):
        changes = np.flatnonzero(np.diff(np.concatenate([[False], row, [False]])))
        for first, last in zip(changes[::2], changes[1::2] - 1, strict=True):
            left, right = columns[first] - width, columns[last] + width
            low, high = place - height, place + height
            runs.append(Path([(left, low), (right, low), (right, high), (left, high), (left, low)]))
    style = {"facecolor": "0.92", "edgecolor": "0.35", "hatch": "xxxx", "linewidth": 0.0}
    ax.add_patch(PathPatch(Path.make_compound_path(*runs), label=NOT_RESOLVED, **style))


def _edges(times: np.ndarray) -> tuple[float, float]:
    """Where the image begins and ends, half a cell outside the first and the last time."""
    half = (times[1] - times[0]) / 2 if len(times) > 1 else 0.5
    return float(times[0] - half), float(times[-1] + half)
