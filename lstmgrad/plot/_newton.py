"""Newton's method over all times: the corrections, iteration by iteration."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from lstmgrad._spectra.parallel import NewtonRun
from lstmgrad.plot._curves import draw_curve
from lstmgrad.plot._palette import drawing
from lstmgrad.plot._style import axes_of, check_result, number_steps
from lstmgrad.plot._values import members


@drawing
def newton_unroll(
    result: NewtonRun, *, ax: Axes | None = None, label: str | None = None, **artist: Any
) -> Axes:
    """Draws log₁₀ of the largest correction in each iteration of Newton's method.

    Args:
        result: from `newton_unroll`. A batch, with leading axes from `jax.vmap`, is drawn as its
            median inside the band from the 10 % to the 90 % quantile, over the sequences that are
            still corrected.
        ax: where to draw; None makes a figure. A further call on the same Axes takes the next color
            and dash pattern.
        label: the curve's name in the legend. Drawing the legend is left to the caller.
        **artist: properties of the line (`color`, `linewidth`, ...), see `Axes.plot`.

    Returns:
        The Axes. A cross marks the last correction before one that is exactly zero.

    Raises:
        ValueError: the result is not a `NewtonRun`, or `ax` is not an Axes.

    Example:
        ```python
        lg.plot.newton_unroll(lg.newton_unroll(model, inputs))
        ```

        >>> lg.plot.newton_unroll(lg.newton_unroll(model, inputs)).get_xlabel()
        'iteration'
    """
    check_result(result, NewtonRun, "result", "newton_unroll")
    changes = members(np.where(result._there(), result.changes, np.nan), 1)
    last = max(int(np.max(np.asarray(result.num_iterations))), 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        values = np.log10(changes[:, :last])
    ax = axes_of(ax, batch=len(values))
    draw_curve(ax, np.arange(1, last + 1), values, label, artist)
    number_steps(ax)
    ax.set_xlabel("iteration")
    ax.set_ylabel(r"$\log_{10}$ of the largest correction")
    return ax
