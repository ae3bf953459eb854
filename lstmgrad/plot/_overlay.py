"""Several results in one pair of Axes, under their names."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from matplotlib.axes import Axes

from lstmgrad.plot._curves import named_legend
from lstmgrad.plot._palette import drawing
from lstmgrad.plot._style import axes_of


@drawing
def overlay(
    draw: Callable[..., Axes], results: Mapping[str, Any], *, ax: Axes | None = None, **artist: Any
) -> Axes:
    """Draws several results over one another, as of the same network before and after a training.

    Args:
        draw: the function that draws one of them, such as `norms`, and takes `label`.
        results: by the label in the legend, in the order of drawing.
        ax: where to draw; None makes a figure.
        **artist: properties of the artists, see `draw`.

    Returns:
        The Axes, with a legend.

    Raises:
        ValueError: there is no result, or the function draws one result alone, such as a map; those
            stand below each other in a `page`.

    Example:
        ```python
        runs = {name: lg.load(f"{name}.npz") for name in ("before", "after")}
        lg.plot.overlay(lg.plot.norms, runs)
        ```

        >>> profile = lg.backward_norms(chain)
        >>> path = lg.backward_norms(chain, of="c", wrt="c")
        >>> ax = lg.plot.overlay(lg.plot.norms, {"all": profile, "c": path})
        >>> len(ax.get_legend().get_texts())
        2
    """
    if not callable(draw) or "label" not in inspect.signature(draw).parameters:
        raise ValueError(
            "draw: expected a function that takes label, such as lg.plot.norms, but got "
            f"{getattr(draw, '__name__', draw)}. What fills its Axes stands below another one: "
            "lg.plot.page([lambda ax: draw(first, ax=ax), lambda ax: draw(second, ax=ax)])."
        )
    if not isinstance(results, Mapping) or not results:
        raise ValueError(
            'results: expected results by label, {"before": a, "after": b}, but got '
            f"{type(results).__name__} of {len(results) if hasattr(results, '__len__') else 1}."
        )
    ax = axes_of(ax)
    for label, result in results.items():
        draw(result, ax=ax, label=label, **artist)
    named_legend(ax)
    return ax
