"""Heat maps over pairs of times."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cbook import normalize_kwargs
from matplotlib.image import AxesImage

from lstmgrad._gradients.maps import ContributionMap
from lstmgrad._norms.maps import NormMap
from lstmgrad.plot._style import axes_of, check_result, check_single, figure_of
from lstmgrad.plot._symbols import symbol
from lstmgrad.plot._values import log10


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
    check_result(result, NormMap, "result", "norm_map")
    check_single(result.log_norms, ("G", "G"), "result")
    ax = axes_of(ax)
    times = np.asarray(result.times)
    _heat_map(ax, times, times, result.log_norms, symbol(result, "t", "k"), artist)
    ax.set_xlabel("time of the cause $k$ (steps)")
    ax.set_ylabel("time of the effect $t$ (steps)")
    return ax


def contribution_map(result: ContributionMap, *, ax: Axes | None = None, **artist: Any) -> Axes:
    """Draws log₁₀ of what step k adds to the gradient of the loss at t, as a heat map.

    Args:
        result: from `contribution_map`, of one sequence.
        ax: where to draw; None makes a figure.
        **artist: properties of the image (`cmap`, `vmin`, `vmax`, ...), see `Axes.imshow`.

    Returns:
        The Axes: k, the step that adds, runs to the right and t, the time of the loss, runs
        downward. Pairs with k > t are left blank; a color bar is added.

    Raises:
        ValueError: the result is no `ContributionMap`, or it has a batch, or `ax` is no Axes.

    Notes:
        Exact zeros (-inf) take the color below the color bar's range, and the bar shows an arrow.

    Example:
        ```python
        table = lg.contribution_map(cell.step, params, trajectory, cotangents, every=4)
        lg.plot.contribution_map(table, vmin=-12)
        ```
    """
    check_result(result, ContributionMap, "result", "contribution_map")
    check_single(result.log_norms, ("G", "T"), "result")
    ax = axes_of(ax)
    times, steps = np.asarray(result.times), np.asarray(result.steps)
    artist = {"aspect": "equal" if len(times) > 1 else "auto", **artist}
    label = r"$\log_{10}\,\Vert$ what step $k$ adds to $dL_t/d\theta\,\Vert$"
    _heat_map(ax, steps, times, result.log_norms, label, artist)
    ax.set_xlabel("contributing step $k$")
    ax.set_ylabel("time of the loss $t$ (steps)")
    return ax


def _heat_map(
    ax: Axes,
    columns: np.ndarray,
    rows: np.ndarray,
    log_norms: Any,
    label: str,
    artist: dict[str, Any],
) -> None:
    """Draws log₁₀ of norms as an image with a color bar, on evenly spaced times."""
    values = log10(log_norms)
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
    bar.set_label(label)


def _edges(times: np.ndarray) -> tuple[float, float]:
    """Where the image begins and ends, half a cell outside the first and the last time."""
    half = (times[1] - times[0]) / 2 if len(times) > 1 else 0.5
    return float(times[0] - half), float(times[-1] + half)
