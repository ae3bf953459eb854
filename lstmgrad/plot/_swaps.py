"""Swapped inputs: how far the states move, over time."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from lstmgrad._calls import public
from lstmgrad._responses.swaps import SwapResponse
from lstmgrad.plot._curves import draw_curve
from lstmgrad.plot._style import axes_of, check_result, check_single, number_steps

NOISE = "what rounding may do"


@public
def swap_response(
    result: SwapResponse, *, ax: Axes | None = None, label: str | None = None, **artist: Any
) -> Axes:
    """Draws log₁₀ of the distance of the states against time and returns the Axes.

    Args:
        result: from `lg.swap_response`. Several replacements are drawn as their median inside the
            band from the 10 % to the 90 % quantile.
        ax: where to draw; None makes a figure.
        label: the curve's name in the legend. Drawing the legend is left to the caller.
        **artist: properties of the line (`color`, `linewidth`, ...), see `Axes.plot`.

    Returns:
        The Axes, from the first state that may move on. A faint line is the noise; a distance
        below it is dotted, and a cross marks the last one before an exact zero.

    Raises:
        ValueError: the result is not a `SwapResponse` or is a batch; `ax` is not an Axes.

    Example:
        ``lg.plot.swap_response(lg.swap_response(model, tokens, at=0, replacements=others))``
    """
    check_result(result, SwapResponse, "result", "lg.swap_response")
    check_single(result.distances, ("R", "T+1"), "result")
    ax = axes_of(ax)
    moving = slice(result.at + 1, None)
    times = np.arange(result.distances.shape[-1])[moving]
    with np.errstate(divide="ignore"):
        distances = np.log10(np.asarray(result.distances, np.float64))[:, moving]
        noise = np.log10(np.asarray(result.noise, np.float64))[moving]
    below = ~np.asarray(result.resolved)[:, moving]
    draw_curve(ax, times, distances, label, artist, unresolved=below & np.isfinite(distances))
    named = any(line.get_label() == NOISE for line in ax.lines)
    name = "_" + NOISE if named else NOISE
    ax.plot(times, noise, color="0.6", linewidth=0.8, zorder=1, label=name)
    if not ax.get_xlabel():
        ax.set_xlabel("t")
    if not ax.get_ylabel():
        ax.set_ylabel(rf"$\log_{{10}}\,\Vert\Delta {result.of or 's'}_t\Vert_2$")
    number_steps(ax)
    return ax
