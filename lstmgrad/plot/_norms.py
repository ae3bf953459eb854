"""Norms against the lag."""

from typing import Any

from matplotlib.axes import Axes

from lstmgrad._norms.profiles import NormProfile
from lstmgrad.plot._curves import draw_curve
from lstmgrad.plot._style import axes_of, check_result, label_once
from lstmgrad.plot._symbols import symbol
from lstmgrad.plot._values import by_lag


def norms(
    result: NormProfile, *, ax: Axes | None = None, label: str | None = None, **artist: Any
) -> Axes:
    """Draws log₁₀ ‖∂s_t/∂s_k‖₂ against the lag t-k and returns the Axes.

    Args:
        result: from `backward_norms` or `forward_norms`. One with leading axes, from `jax.vmap`,
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
    check_result(result, NormProfile, "result", "backward_norms or forward_norms")
    lags, batch = by_lag(result)
    ax = axes_of(ax)
    draw_curve(ax, lags, batch, label, artist)
    times = ("T", "k") if result.fixed == "end" else ("t", "0")
    label_once(ax, symbol(result, *times), symbol(None, *times))
    if not ax.get_xlabel():
        ax.set_xlabel(r"lag $T - k$ (steps)" if result.fixed == "end" else r"lag $t$ (steps)")
    return ax
