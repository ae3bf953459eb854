"""The style sheet, and who has which color: the same one for the same network in every figure.

The sheet is a file beside this one, `paper.mplstyle`. Its cycle holds the colors and dash patterns
by turn, and `turn_of` says which turn belongs to a kind of network:

    0 LSTM (of two parts, its c)   1 GRU   2 RNN   3 LSTM with chrono biases   4 h of an LSTM

The routes and gates of an LSTM have theirs, too: cell, candidate, forget, input, output. The cell
comes first, in the color of the LSTM.

The additive path of a cell has the color of its network, thin and with hollow circles (`PATH`).
"""

import re
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import matplotlib
import matplotlib.style

from lstmgrad._calls import public

P = ParamSpec("P")
R = TypeVar("R")

_FILE = Path(__file__).with_name("paper.mplstyle")
_SHEET: dict[str, Any] = {**matplotlib.rc_params_from_file(_FILE, use_default_template=False)}
_CYCLE = _SHEET["axes.prop_cycle"].by_key()

COLORS: tuple[str, ...] = tuple("#" + color.lstrip("#") for color in _CYCLE["color"])
"""The colors by turn, of lines and of areas."""

DASHES: tuple[Any, ...] = tuple(_CYCLE["linestyle"])
"""The dash patterns of lines. They move on by one after each turn of the colors."""

MARKS = ("o", "s", "^", "D", "v")
"""The markers, which go with the colors."""

HATCHES = ("", "///", "...", "xxx")
"""The hatches of areas, one for each turn of the colors."""

ACCENT = COLORS[3]
"""The color of a threshold or of a setting that the reader chose."""

REFERENCE: dict[str, Any] = {"color": "0.55", "linewidth": 0.8, "zorder": 1}
"""A line to compare with: zero, a threshold, a score without memory."""

PATH: dict[str, Any] = {
    "linestyle": "-",
    "linewidth": 0.9,
    "marker": "o",
    "markersize": 3.5,
    "markerfacecolor": "white",
}
"""The style of an additive path, which has the color of the curve that it stands beside."""

COLUMN, PAGE = 3.3, 6.9
"""The widths of figures, in inches: of a journal's column, and of two columns and their gap."""

_KINDS = {"lstm": 0, "gru": 1, "rnn": 2}
_CHRONO, _HIDDEN = 3, 4
_ROUTES = {"cell": 0, "candidate": 1, "forget": 2, "input": 3, "output": 4}


@public
def style() -> AbstractContextManager[None]:
    """Sets the style of lstmgrad's figures and restores your own on exit.

    Figures that lstmgrad makes are in it already. On Axes of yours `lg.plot` keeps to your style,
    and this sets it there, too.

    Returns:
        A context manager. It starts from matplotlib's default, so that the figure is the same
        whatever your own style is. As a style sheet it is ``"lstmgrad.plot.paper"``.

    Example:
        ```python
        with lg.plot.style():
            figure, ax = plt.subplots()
            lg.plot.norms(profile, ax=ax, label="LSTM").legend()
        ```

        >>> import matplotlib.pyplot as plt
        >>> with lg.plot.style():
        ...     figure, ax = plt.subplots()
        >>> lg.plot.norms(lg.backward_norms(chain), ax=ax) is ax
        True
    """
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None:
        # Loads the backend, which in a notebook turns interactive drawing on: the context would
        # undo that on exit, and no later figure would be shown.
        pyplot.draw_if_interactive()
    return matplotlib.style.context(["default", _SHEET])


def drawing(function: Callable[P, R]) -> Callable[P, R]:
    """Returns a public function that is in the house style where it makes the figure itself.

    Args:
        function: takes Axes as `ax`, None for those of a new figure.
    """

    @wraps(function)
    def draw(*data: P.args, **options: P.kwargs) -> R:
        if options.get("ax") is not None:
            return function(*data, **options)
        # What makes the figure; before `style`, which looks whether it is there.
        import matplotlib.pyplot  # noqa: F401

        with style():
            return function(*data, **options)

    return public(draw)


def line_style(turn: int) -> dict[str, Any]:
    """Returns the color and the dash pattern of a line; twenty-five differ.

    Args:
        turn: the number of the line, or that of its kind of network.
    """
    index = turn % len(COLORS)
    return {
        "color": COLORS[index],
        "linestyle": DASHES[(turn // len(COLORS) + index) % len(DASHES)],
    }


def area_style(turn: int) -> dict[str, Any]:
    """Returns the properties of an area, its color and hatch among them.

    Args:
        turn: the number of the area.
    """
    return {
        "facecolor": COLORS[turn % len(COLORS)],
        "hatch": HATCHES[turn // len(COLORS) % len(HATCHES)],
        "edgecolor": "white",
        "linewidth": 0.0,
    }


def turn_of(label: str | None) -> int | None:
    """Returns the turn that belongs to a kind of network or to a route, by its label.

    Args:
        label: such as "RNN", "LSTM $h$", "LSTM, chrono biases" or "forget"; None for no label.

    Returns:
        None for any other label.
    """
    if label in _ROUTES:
        return _ROUTES[label]
    found = re.match(r"(lstm|gru|rnn)(?![\w-])", (label or "").lower())
    if found is None:
        return None
    rest = (label or "")[found.end() :]
    if found[1] == "lstm" and "chrono" in rest.lower():
        return _CHRONO
    if found[1] == "lstm" and re.match(r"\W*h\W*(,|$)", rest):
        return _HIDDEN
    return _KINDS[found[1]]


def turns_of(labels: Sequence[str]) -> list[int]:
    """Returns a turn for each label: that of its kind where it has one, and the next free ones.

    Args:
        labels: in the order of drawing.
    """
    chosen: dict[int, int] = {}
    for place, label in enumerate(labels):
        if (own := turn_of(label)) is not None and own not in chosen.values():
            chosen[place] = own
    for place in range(len(labels)):
        if place not in chosen:
            chosen[place] = next_turn(list(chosen.values()), None)
    return [chosen[place] for place in range(len(labels))]


def next_turn(taken: Sequence[int], label: str | None) -> int:
    """Returns the turn of one more line.

    Args:
        taken: the turns of the lines before it.
        label: its label, whose kind of network may have a turn of its own.
    """
    own = turn_of(label)
    if own is not None and own not in taken:
        return own
    return next(turn for turn in range(len(taken) + 1) if turn not in taken)
