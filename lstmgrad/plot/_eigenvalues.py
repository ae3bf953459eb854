"""Eigenvalues of single steps in the complex plane."""

from typing import Any

import numpy as np
from jaxtyping import Array
from matplotlib.axes import Axes
from matplotlib.cbook import normalize_kwargs
from matplotlib.collections import PathCollection
from matplotlib.patches import Circle

from lstmgrad._calls import public
from lstmgrad.plot._style import (
    axes_of,
    figure_of,
)


@public
def step_eigenvalues(result: Array | np.ndarray, *, ax: Axes | None = None, **artist: Any) -> Axes:
    """Draws the eigenvalues of steps in the complex plane, with the unit circle.

    Args:
        result: from `step_eigenvalues`, (T, n), or (n,) for a single step.
        ax: where to draw; None makes a figure.
        **artist: properties of the points (`s`, `alpha`, `cmap`, ...), see `Axes.scatter`.

    Returns:
        The Axes, with equal scales. The eigenvalues of several steps are colored by step, with a
        color bar.

    Raises:
        ValueError: the result has more than two axes or none, or `ax` is not an Axes.

    Example:
        ```python
        lg.plot.step_eigenvalues(lg.step_eigenvalues(chain))
        ```
    """
    values = np.asarray(result)
    if values.ndim not in (1, 2):
        raise ValueError(
            "result: expected the eigenvalues of one sequence, (T, n) or (n,), but got shape "
            f"{values.shape}."
        )
    ax = axes_of(ax)
    ax.add_patch(Circle((0.0, 0.0), 1.0, fill=False, color="0.5", linewidth=0.9, zorder=1))
    style: dict[str, Any] = {"s": 12 if values.size <= 500 else 4, "linewidths": 0}
    many = values.ndim == 2 and len(values) > 1
    if many:
        style |= {"c": np.repeat(np.arange(1, len(values) + 1), values.shape[1])}
    else:
        style |= {"color": "black"}
    style |= normalize_kwargs(artist, PathCollection)
    if "color" in style:
        style.pop("c", None)
    points = ax.scatter(np.real(values).ravel(), np.imag(values).ravel(), **style)
    if many and points.get_array() is not None:
        figure_of(ax).colorbar(points, ax=ax).set_label("time step $t$")
    ax.set_aspect("equal", adjustable="datalim")
    ax.autoscale_view()
    ax.set_xlabel("real part")
    ax.set_ylabel("imaginary part")
    return ax
