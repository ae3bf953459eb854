"""Singular values by lag."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from lstmgrad._spectra.singular import SingularSpectrum
from lstmgrad.plot._curves import draw_family
from lstmgrad.plot._style import (
    axes_of,
    check_result,
    check_single,
)
from lstmgrad.plot._symbols import symbol
from lstmgrad.plot._values import log10


def singular_spectrum(result: SingularSpectrum, *, ax: Axes | None = None, **artist: Any) -> Axes:
    """Draws log₁₀ of all singular values of ∂s_t/∂s_k against the lag.

    Args:
        result: from `forward_singular_spectrum` or `backward_singular_spectrum`, of one sequence.
        ax: where to draw; None makes a figure.
        **artist: properties of the lines (`linewidth`, ...), see `Axes.plot`.

    Returns:
        The Axes. Where the arithmetic does not resolve a value, its line is dotted and faint. Up to
        four values have dash patterns and a legend, more a color bar.

    Raises:
        ValueError: the result is no `SingularSpectrum`, or of a batch, or `ax` is no Axes.

    Notes:
        Exact zeros (-inf) have no place on the axis: lines end where a value becomes zero.

    Example:
        ```python
        lg.plot.singular_spectrum(lg.forward_singular_spectrum(chain, of="c", wrt="c"))
        ```
    """
    check_result(
        result,
        SingularSpectrum,
        "result",
        "forward_singular_spectrum or backward_singular_spectrum",
    )
    check_single(result.log_values, ("L", "m"), "result")
    ax = axes_of(ax)
    values, resolved = log10(result.log_values), np.asarray(result.resolved)
    draw_family(ax, np.asarray(result.lags), values, resolved, r"$\sigma_{}$", "value $i$", artist)
    at_end = result.fixed == "end"
    ax.set_xlabel(r"lag $T - k$ (steps)" if at_end else r"lag $t$ (steps)")
    whole = symbol(result, *(("T", "k") if at_end else ("t", "0")))
    ax.set_ylabel(whole.replace(r"\Vert\partial", r"\sigma_i(\partial").replace(r"\Vert_2", ")"))
    return ax
