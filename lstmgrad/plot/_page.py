"""Figures for a page: panels below each other in the style of lstmgrad, and their files."""

import io
from collections.abc import Callable, Sequence
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lstmgrad._calls import public
from lstmgrad._leaves import shown
from lstmgrad.plot._palette import COLUMN, style

# What a file says of the time at which it was made.
_DATES = {"png": (), "svg": ("Date",), "pdf": ("CreationDate",)}


@public
def page(
    panels: Sequence[Callable[[Axes], Any]], *, width: float = COLUMN, height: float = 2.6
) -> Figure:
    """Returns a figure of panels below each other, each drawn by a function of its Axes.

    Args:
        panels: the functions that draw the panels, from the top down.
        width: the width of the figure, in inches; the default is that of a journal's column.
        height: the height of each panel, in inches.

    Returns:
        A `Figure` outside of pyplot and of any GUI; `encode` makes a file of it. It is in
        the `style` of lstmgrad, whatever your own is.

    Raises:
        ValueError: there is no panel.

    Example:
        ```python
        figure = lg.plot.page([lambda ax: lg.plot.norms(profile, ax=ax)])
        ```

        >>> profile = lg.backward_norms(chain)
        >>> len(lg.plot.page([lambda ax: lg.plot.norms(profile, ax=ax)] * 2).axes)
        2
    """
    if not panels:
        raise ValueError("panels: expected at least one function of an Axes, but got none.")
    with style():
        figure = Figure(figsize=(width, height * len(panels)), layout="constrained")
        for ax, draw in zip(figure.subplots(len(panels), squeeze=False)[:, 0], panels, strict=True):
            draw(ax)
    return figure


@public
def encode(figure: Figure, format: Literal["png", "svg", "pdf"]) -> bytes:
    """Returns a figure as a file, the same bytes for the same data.

    Args:
        figure: from `comparison` or `page`, or that of any Axes, ``ax.figure``.
        format: "png" (300 dots per inch), "svg" or "pdf".

    Returns:
        The content of the file.

    Raises:
        ValueError: the format is not one of the three.

    Example:
        ```python
        Path("norms.svg").write_bytes(lg.plot.encode(figure, "svg"))
        ```

        >>> lg.plot.encode(lg.plot.norms(lg.backward_norms(chain)).figure, "png")[1:4]
        b'PNG'
    """
    if format not in _DATES:
        raise ValueError(f'format: expected "png", "svg" or "pdf", but got {shown(format)}.')
    buffer = io.BytesIO()
    metadata = dict.fromkeys(_DATES[format])
    with style():
        figure.savefig(buffer, format=format, dpi=300, metadata=metadata)
    return buffer.getvalue()
