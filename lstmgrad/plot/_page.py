"""Figures for a page: panels below each other in matplotlib's default style, and their files."""

import io
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure


def page(
    panels: Sequence[Callable[[Axes], Any]], *, width: float = 3.4, height: float = 2.6
) -> Figure:
    """Returns a figure of panels below each other, each drawn by a function of its Axes.

    Args:
        panels: what to draw, from the top down.
        width: of the figure, in inches; the default is a journal's column.
        height: of each panel, in inches.

    Returns:
        A `Figure` that belongs to no GUI and to no pyplot; `encode` makes a file of it. The
        style is matplotlib's default, whatever the user's own.

    Raises:
        ValueError: there is no panel.

    Example:
        ```python
        figure = lg.plot.page([lambda ax: lg.plot.norms(profile, ax=ax)])
        ```
    """
    if not panels:
        raise ValueError("panels: expected at least one function of an Axes, but got none.")
    with default_style():
        figure = Figure(figsize=(width, height * len(panels)), layout="constrained")
        for ax, draw in zip(figure.subplots(len(panels), squeeze=False)[:, 0], panels, strict=True):
            draw(ax)
    return figure


def encode(figure: Figure, format: str) -> bytes:
    """Returns a figure of `comparison` or `page` as a file, the same bytes for the same data.

    Args:
        figure: the figure.
        format: "png" (300 dots per inch) or "svg".

    Returns:
        The file's content.

    Raises:
        ValueError: matplotlib does not know the format.

    Example:
        ```python
        Path("norms.svg").write_bytes(lg.plot.encode(figure, "svg"))
        ```
    """
    buffer = io.BytesIO()
    metadata = {"Date": None} if format == "svg" else None
    with default_style():
        figure.savefig(buffer, format=format, dpi=300, metadata=metadata)
    return buffer.getvalue()


def default_style():
    """Restores rcParams on exit; the salt makes the identifiers inside an SVG reproducible."""
    own = {"font.size": 7.5, "legend.fontsize": 7.5, "svg.hashsalt": "lstmgrad"}
    return matplotlib.style.context(["default", own])
