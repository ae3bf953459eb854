"""Norms against the lag."""

from typing import Any

from matplotlib.axes import Axes

from lstmgrad._norms.records import NormProfile
from lstmgrad.plot._curves import band_of, draw_curve
from lstmgrad.plot._headline import headline, left_after
from lstmgrad.plot._palette import drawing
from lstmgrad.plot._style import axes_of, check_result, label_once
from lstmgrad.plot._symbols import lag_label, symbol, times
from lstmgrad.plot._values import by_lag


@drawing
def norms(
    result: NormProfile, *, ax: Axes | None = None, label: str | None = None, **artist: Any
) -> Axes:
    """Draws log₁₀ ‖∂s_t/∂s_k‖₂ against the lag t-k and returns the Axes.

    Args:
        result: from `backward_norms`, `forward_norms` or `input_norms`. A batch, with leading axes
            from `jax.vmap`, is drawn as its median inside the band from the 10 % to the 90 %
            quantile, at each lag over the sequences that have it; the label says how many there
            are.
        ax: where to draw; None makes a figure. A further call on the same Axes takes the next
            color and dash pattern.
        label: the curve's name in the legend. Drawing the legend is left to the caller.
        **artist: properties of the line (`color`, `linewidth`, ...), see `Axes.plot`.

    Returns:
        The Axes, with both axes labeled by symbol and unit. Curves of different parts on the same
        Axes share a label with s, the state.

    Raises:
        ValueError: the result is not a `NormProfile`, the lags differ within its batch, or `ax` is
            not an Axes.

    Notes:
        Where the arithmetic does not resolve a norm, its value is the level below which nothing is
        seen: the line is dotted and faint there, and the legend says "not resolved". A quantile of
        a batch is resolved where it does not depend on how small the unresolved norms are.

        A norm that is exactly zero (-inf) or not finite has no place on the axis: the line breaks
        there, and a cross marks the last point before an exact zero. Quantiles are order
        statistics without interpolation, because a number and -inf have no mean.

    Example:
        ```python
        ax = lg.plot.norms(lg.backward_norms(chain, of="h", wrt="h"), label="h")
        lg.plot.norms(lg.backward_norms(chain, of="c", wrt="c"), ax=ax, label="c").legend()
        ```

        >>> ax = lg.plot.norms(lg.backward_norms(chain))
        >>> ax.get_xlabel()
        'lag $T - k$ (steps)'
    """
    check_result(result, NormProfile, "result", "backward_norms, forward_norms or input_norms")
    lags, batch, unresolved = by_lag(result)
    ax = axes_of(ax, batch=len(batch))
    draw_curve(ax, lags, batch, label, artist, unresolved=unresolved)
    (_, middle, _), (_, resolved, _) = band_of(batch, unresolved)
    headline(ax, left_after(lags, middle, resolved))
    later, earlier = times(result.fixed)
    label_once(ax, symbol(result, later, earlier), symbol(None, later, earlier))
    if not ax.get_xlabel():
        ax.set_xlabel(lag_label(result.fixed))
    return ax
