"""Singular values against the lag."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from lstmgrad._calls import public
from lstmgrad._spectra.singular import SingularSpectrum
from lstmgrad.plot._curves import draw_family
from lstmgrad.plot._style import axes_of, check_result, check_single
from lstmgrad.plot._symbols import lag_label, singular_symbol, times
from lstmgrad.plot._values import log10


@public
def singular_spectrum(result: SingularSpectrum, *, ax: Axes | None = None, **artist: Any) -> Axes:
    """Draws log₁₀ of all singular values of ∂s_t/∂s_k against the lag.

    Args:
        result: from `forward_singular_spectrum` or `backward_singular_spectrum`, for one sequence.
        ax: where to draw; None makes a figure.
        **artist: properties of the lines (`linewidth`, ...), see `Axes.plot`.

    Returns:
        The Axes. Where the arithmetic does not resolve a value, its line is dotted and faint. Up to
        four values have dash patterns and a legend; more have a color bar.

    Raises:
        ValueError: the result is not a `SingularSpectrum` or is a batch, or `ax` is not an Axes.

    Notes:
        Exact zeros (-inf) have no place on the axis: a line ends where its value becomes zero.

    Example:
        ```python
        lg.plot.singular_spectrum(lg.forward_singular_spectrum(chain, of="c", wrt="c"))
        ```
    """
    makers = "forward_singular_spectrum or backward_singular_spectrum"
    check_result(result, SingularSpectrum, "result", makers)
    check_single(result.log_values, ("L", "m"), "result")
    ax = axes_of(ax)
    values, resolved = log10(result.log_values), np.asarray(result.resolved)
    draw_family(ax, np.asarray(result.lags), values, resolved, r"$\sigma_{}$", "value $i$", artist)
    ax.set_xlabel(lag_label(result.fixed))
    ax.set_ylabel(singular_symbol(result, *times(result.fixed)))
    return ax
