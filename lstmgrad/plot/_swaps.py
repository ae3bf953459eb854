"""Swapped inputs: how far the states move, over time."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from lstmgrad._responses.swaps import SwapResponse
from lstmgrad.plot._curves import band_of, draw_curve
from lstmgrad.plot._headline import decimal, headline
from lstmgrad.plot._palette import REFERENCE, drawing
from lstmgrad.plot._style import axes_of, check_result, number_steps
from lstmgrad.plot._values import members

NOISE = "what rounding may do"


@drawing
def swap_response(
    result: SwapResponse, *, ax: Axes | None = None, label: str | None = None, **artist: Any
) -> Axes:
    """Draws log₁₀ of the distance of the states against time and returns the Axes.

    Args:
        result: from `lg.swap_response`. Several replacements, in one sequence or in each of a
            batch, are drawn as their median inside the band from the 10 % to the 90 % quantile.
        ax: where to draw; None makes a figure.
        label: the curve's name in the legend. Drawing the legend is left to the caller.
        **artist: properties of the line (`color`, `linewidth`, ...), see `Axes.plot`.

    Returns:
        The Axes, from the first state that may move on. A faint line is the noise; a distance
        below it is dotted, and a cross marks the last one before an exact zero.

    Raises:
        ValueError: the result is not a `SwapResponse`; `ax` is not an Axes.

    Example:
        ``lg.plot.swap_response(lg.swap_response(model, tokens, at=0, replacements=others))``

        >>> response = lg.swap_response(model, inputs, at=0, replacements=-inputs[:1])
        >>> ax = lg.plot.swap_response(response)
        >>> ax.get_xlabel()
        'time step $t$'
    """
    check_result(result, SwapResponse, "result", "lg.swap_response")
    moving = slice(result.at + 1, None)
    times = np.arange(result.distances.shape[-1])[moving]
    with np.errstate(divide="ignore", invalid="ignore"):
        distances = np.log10(members(result.distances, 1))[:, moving]
        noise = np.log10(members(result.noise, 1))[:, moving]
    ax = axes_of(ax, batch=len(distances))
    below = members(~np.asarray(result.resolved), 1)[:, moving] > 0
    draw_curve(ax, times, distances, label, artist, unresolved=below & np.isfinite(distances))
    (_, middle, _), (_, known, _) = band_of(distances, below & np.isfinite(distances))
    if np.isfinite(middle[-1]):
        less = "" if known[-1] else "less than "
        headline(ax, f"The last state moves by {less}{decimal(middle[-1])}")
    (_, noise, _), _ = band_of(noise)
    named = any(line.get_label() == NOISE for line in ax.lines)
    name = "_" + NOISE if named else NOISE
    ax.plot(times, noise, label=name, **REFERENCE)
    if not ax.get_xlabel():
        ax.set_xlabel("time step $t$")
    if not ax.get_ylabel():
        ax.set_ylabel(rf"$\log_{{10}}\,\Vert\Delta {result.of or 's'}_t\Vert_2$")
    number_steps(ax)
    return ax
