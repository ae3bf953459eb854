"""Eigenvalues of single steps in the complex plane."""

from typing import Any

import numpy as np
from jaxtyping import Array
from matplotlib.axes import Axes
from matplotlib.cbook import normalize_kwargs
from matplotlib.collections import PathCollection
from matplotlib.patches import Circle

from lstmgrad.plot._headline import headline
from lstmgrad.plot._palette import COLORS, REFERENCE, drawing
from lstmgrad.plot._style import (
    axes_of,
    figure_of,
)


@drawing
def step_eigenvalues(result: Array | np.ndarray, *, ax: Axes | None = None, **artist: Any) -> Axes:
    """Draws the eigenvalues of steps in the complex plane, with the unit circle.

    Args:
        result: from `step_eigenvalues`, (T, n), or (n,) for a single step; of a batch, with leading
            axes from `jax.vmap`, all members are drawn: points in a plane have no median.
        ax: where to draw; None makes a figure.
        **artist: properties of the points (`s`, `alpha`, `cmap`, ...), see `Axes.scatter`.

    Returns:
        The Axes, with equal scales. The eigenvalues of several steps are colored by step, with a
        color bar, whose label says how many sequences there are.

    Raises:
        ValueError: the result has no axes, or `ax` is not an Axes.

    Example:
        ```python
        lg.plot.step_eigenvalues(lg.step_eigenvalues(chain))
        ```

        >>> ax = lg.plot.step_eigenvalues(lg.step_eigenvalues(chain))
        >>> ax.get_xlabel()
        'real part'
    """
    values = np.asarray(result)
    if values.ndim == 0:
        raise ValueError(
            "result: expected eigenvalues, (T, n) or (n,), with axes of a batch in front, but got "
            "a single number."
        )
    ax = axes_of(ax)
    values = np.atleast_2d(values)
    values = values.reshape(-1, *values.shape[-2:])
    count, length, size = values.shape
    ax.add_patch(Circle((0.0, 0.0), 1.0, fill=False, **REFERENCE))
    style: dict[str, Any] = {"s": 12 if values.size <= 500 else 4, "linewidths": 0}
    many = length > 1
    if many:
        style |= {"c": np.tile(np.repeat(np.arange(1, length + 1), size), count)}
    else:
        style |= {"color": COLORS[0]}
    style |= normalize_kwargs(artist, PathCollection)
    if "color" in style:
        style.pop("c", None)
    points = ax.scatter(np.real(values).ravel(), np.imag(values).ravel(), **style)
    if many and points.get_array() is not None:
        figure_of(ax).colorbar(points, ax=ax).set_label(
            "time step $t$" + (f", {count} sequences" if count > 1 else "")
        )
    sizes = np.abs(values[np.isfinite(values)])
    if sizes.size:
        outside = 100 * float(np.mean(sizes > 1))
        headline(ax, f"Largest size {sizes.max():.3g}; {outside:.2g} % outside the circle")
    ax.set_aspect("equal", adjustable="datalim")
    ax.autoscale_view()
    ax.set_xlabel("real part")
    ax.set_ylabel("imaginary part")
    return ax
