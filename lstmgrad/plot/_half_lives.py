"""The time scales of a layer: half-lives of its units, in order."""

from typing import Any

import numpy as np
from jaxtyping import Array
from matplotlib.axes import Axes

from lstmgrad.plot._curves import draw_curve
from lstmgrad.plot._palette import drawing
from lstmgrad.plot._style import axes_of, number_steps


@drawing
def half_life(
    result: Array | np.ndarray, *, ax: Axes | None = None, label: str | None = None, **artist: Any
) -> Axes:
    """Draws log₁₀ of the half-lives of units, the longest first, and returns the Axes.

    Args:
        result: from `half_life` of the profiles of `unit_norms`, (units,). Of a batch, with leading
            axes from `jax.vmap`, the median at each rank is drawn, inside the band from the 10 % to
            the 90 % quantile.
        ax: where to draw; None makes a figure. A further call on the same Axes takes the next color
            and dash pattern.
        label: the curve's name in the legend. Drawing the legend is left to the caller.
        **artist: properties of the line (`color`, `linewidth`, ...), see `Axes.plot`.

    Returns:
        The Axes. A unit that does not decay, inf, and one that is lost in one step, 0, have no
        place on the axis.

    Raises:
        ValueError: the result has no axis of units, or `ax` is not an Axes.

    Example:
        ```python
        profiles = lg.unit_norms(chain, of="c", wrt="c")
        lg.plot.half_life(lg.half_life(profiles), label="LSTM")
        ```

        >>> lives = lg.half_life(lg.unit_norms(chain, of="c", wrt="c"))
        >>> lg.plot.half_life(lives).get_xlabel()
        'unit, in order'
    """
    values = np.asarray(result, np.float64)
    if values.ndim == 0:
        raise ValueError(
            "result: expected half-lives of several units, (units,), but got a single number. "
            "half_life(unit_norms(chain)) has one for each unit."
        )
    ordered = -np.sort(-values.reshape(-1, values.shape[-1]), axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log10(ordered)
    ax = axes_of(ax, batch=len(logs))
    few = {"marker": "o", "markersize": 3} if logs.shape[-1] <= 64 else {}
    draw_curve(ax, np.arange(1, logs.shape[-1] + 1), logs, label, artist, **few)
    number_steps(ax)
    ax.set_xlabel("unit, in order")
    ax.set_ylabel(r"$\log_{10}$ half-life (steps)")
    return ax
