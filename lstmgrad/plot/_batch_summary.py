"""The medians and bands of a batch summary."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from lstmgrad._batch_summary import BatchSummary
from lstmgrad.plot._curves import add_curve, median_label, next_style
from lstmgrad.plot._headline import headline, left_after
from lstmgrad.plot._palette import drawing
from lstmgrad.plot._style import axes_of, check_result, number_steps
from lstmgrad.plot._values import gapped, log10


@drawing
def batch_summary(
    result: BatchSummary, *, ax: Axes | None = None, label: str | None = None, **artist: Any
) -> Axes:
    """Draws the median of a batch against the lag or step, in its bands.

    Args:
        result: from `lg.batch_summary`, of curves: norms, contributions, truncation biases, ...
        ax: where to draw; None makes a figure. A further call on the same Axes takes the next
            color and dash pattern.
        label: the curve's name in the legend. Drawing the legend is left to the caller.
        **artist: properties of the line (`color`, `linewidth`, ...), see `Axes.plot`.

    Returns:
        The Axes: the median in a band from the 25 % to the 75 % quantile, in a fainter one from the
        10 % to the 90 % quantile. Logarithms are decimal. Where a quantile is not resolved, its
        line is dotted and its band is left out.

    Raises:
        ValueError: the result is not a `BatchSummary`, or one of matrices; `ax` is not an Axes.

    Example:
        ``lg.plot.batch_summary(lg.load("norms.npz"), label="LSTM")``

        >>> batch = jnp.stack([inputs, -inputs, 2 * inputs])
        >>> profiles = jax.vmap(lambda one: lg.backward_norms(lg.chain(model, one)))(batch)
        >>> ax = lg.plot.batch_summary(lg.batch_summary(profiles))
        >>> ax.get_xlabel()
        'lag'
    """
    check_result(result, BatchSummary, "result", "lg.batch_summary")
    if np.ndim(result.values) != 2:
        raise ValueError(
            "result: expected the summary of curves, values of shape (quantiles, L), but got "
            f"{np.shape(result.values)}. Draw a batch of {result.record} by the plot of its own."
        )
    ax = axes_of(ax, batch=result.size)
    logarithms = result.quantity.startswith("log_")
    values = log10(result.values) if logarithms else np.asarray(result.values, np.float64)
    resolved, points = np.asarray(result.resolved), np.asarray(result.points)
    style = next_style(ax, artist, label)
    style["label"] = median_label(label, result.size) or ""
    line = add_curve(ax, points, values[2], resolved[2], style)
    for low, high, alpha in ((0, 4, 0.13), (1, 3, 0.22)):
        known = resolved[low] & resolved[high]
        bottom, top = (gapped(np.where(known, values[i], np.nan)) for i in (low, high))
        ax.fill_between(points, bottom, top, color=line.get_color(), alpha=alpha, linewidth=0)
    ax.autoscale_view()
    number_steps(ax)
    ax.set_xlabel(result.point)
    if logarithms and result.point == "lag":
        headline(ax, left_after(points, values[2], resolved[2]))
    name = result.quantity.removeprefix("log_").replace("_", " ")
    ax.set_ylabel(rf"$\log_{{10}}$ of {name}" if logarithms else name)
    return ax
