"""Singular values against the lag."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from lstmgrad._spectra.records import SingularSpectrum
from lstmgrad.plot._curves import band_of, draw_family
from lstmgrad.plot._headline import headline
from lstmgrad.plot._palette import drawing
from lstmgrad.plot._style import axes_of, check_result
from lstmgrad.plot._symbols import lag_label, singular_symbol, times
from lstmgrad.plot._values import log10, members, shared


@drawing
def singular_spectrum(result: SingularSpectrum, *, ax: Axes | None = None, **artist: Any) -> Axes:
    """Draws log₁₀ of all singular values of ∂s_t/∂s_k against the lag.

    Args:
        result: from `forward_singular_spectrum` or `backward_singular_spectrum`. Of a batch medians
            are drawn, and up to four of them in bands from the 10 % to the 90 % quantile.
        ax: where to draw; None makes a figure.
        **artist: properties of the lines (`linewidth`, ...), see `Axes.plot`.

    Returns:
        The Axes. Where the arithmetic does not resolve a value, its line is dotted and faint. Up to
        four values have dash patterns and a legend; more have a color bar.

    Raises:
        ValueError: the result is not a `SingularSpectrum`, or `ax` is not an Axes.

    Notes:
        Exact zeros (-inf) have no place on the axis: a line ends where its value becomes zero.

    Example:
        ```python
        lg.plot.singular_spectrum(lg.forward_singular_spectrum(chain, of="c", wrt="c"))
        ```

        >>> ax = lg.plot.singular_spectrum(lg.backward_singular_spectrum(chain))
        >>> ax.get_xlabel()
        'lag $T - k$ (steps)'
    """
    makers = "forward_singular_spectrum or backward_singular_spectrum"
    check_result(result, SingularSpectrum, "result", makers)
    lags, values = shared(result.lags, "lags"), members(log10(result.log_values), 2)
    ax = axes_of(ax)
    unresolved = members(~np.asarray(result.resolved), 2) > 0
    draw_family(
        ax,
        lags,
        values,
        r"$\sigma_{}$",
        "value $i$",
        artist,
        unresolved=unresolved & np.isfinite(values),
    )
    (_, middle, _), _ = band_of(values, unresolved & np.isfinite(values))
    near = int((middle[-1] >= middle[-1, 0] - 3).sum())
    if np.isfinite(middle[-1, 0]):
        count = f"{near} of {values.shape[-1]}"
        headline(ax, rf"At lag {lags[-1]}: {count} above $\sigma_1/1000$")
    ax.set_xlabel(lag_label(result.fixed))
    ax.set_ylabel(singular_symbol(result, *times(result.fixed)))
    return ax
