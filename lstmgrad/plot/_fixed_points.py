"""Fixed points: the eigenvalues of the step there, in the complex plane."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Circle

from lstmgrad._spectra.fixed_points import FixedPoints
from lstmgrad.plot._curves import named_legend
from lstmgrad.plot._palette import drawing
from lstmgrad.plot._style import axes_of, check_result
from lstmgrad.plot._values import members

KINDS = {
    "stable": ("C0", "o", True),
    "unstable": ("C3", "s", True),
    "slow point": ("0.5", "D", False),
}
"""Kinds of points: the color, the marker, and whether the residual is that of a fixed point."""


@drawing
def fixed_points(result: FixedPoints, *, ax: Axes | None = None, **artist: Any) -> Axes:
    """Draws the eigenvalues of the step at every distinct point, with the unit circle.

    Args:
        result: from `fixed_points`. Of a batch, with leading axes from `jax.vmap`, the points of
            all members are drawn.
        ax: where to draw; None makes a figure.
        **artist: properties of the markers (`markersize`, `alpha`, ...), see `Axes.plot`.

    Returns:
        The Axes, with equal scales and a legend. Stable points have all their eigenvalues within
        the circle; those of slow points, whose residual is above the tolerance, are hollow.

    Raises:
        ValueError: the result is not a `FixedPoints`, or `ax` is not an Axes.

    Example:
        ```python
        lg.plot.fixed_points(lg.fixed_points(model, x, starts))
        ```

        >>> found = lg.fixed_points(model, inputs[0], chain.trajectory.states)
        >>> lg.plot.fixed_points(found).get_xlabel()
        'real part'
    """
    check_result(result, FixedPoints, "result", "fixed_points")
    values = np.asarray(result.eigenvalues)
    values = values.reshape(-1, values.shape[-1])
    distinct, converged, stable = (
        members(found, 1).reshape(-1) > 0
        for found in (result.distinct, result.converged, result.stable)
    )
    chosen = {
        "stable": distinct & converged & stable,
        "unstable": distinct & converged & ~stable,
        "slow point": distinct & ~converged,
    }
    ax = axes_of(ax)
    ax.add_patch(Circle((0.0, 0.0), 1.0, fill=False, color="0.5", linewidth=0.9, zorder=1))
    for name, (color, marker, filled) in KINDS.items():
        points = values[chosen[name]].reshape(-1)
        if len(points):
            style = {"color": color, "markersize": 4, "linestyle": "none", "label": name}
            style |= {} if filled else {"markerfacecolor": "white"}
            ax.plot(np.real(points), np.imag(points), marker, **{**style, **artist})
    named_legend(ax)
    ax.set_aspect("equal", adjustable="datalim")
    ax.autoscale_view()
    ax.set_xlabel("real part")
    ax.set_ylabel("imaginary part")
    return ax
