"""What each word adds to the gradient, in networks of several kinds, before and after training."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend_handler import HandlerTuple
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from lstmgrad._calls import public
from lstmgrad._gradients.contributions import Contributions
from lstmgrad._quantiles import BAND
from lstmgrad.plot._curves import draw_curve
from lstmgrad.plot._palette import COLORS, MARKS, REFERENCE, line_style, style, turns_of
from lstmgrad.plot._style import check_result
from lstmgrad.plot._values import gapped, log10

ENDS = 8
"""How many words are drawn from the beginning and from the end of a long text."""

_LETTERS = 14
"""Letters of a word that are written below its step."""


@public
def words(stages: Mapping[str, Mapping[str, Contributions]], *, words: Sequence[str]) -> Figure:
    """Returns a figure of what each word adds to the gradient, kind by kind and stage by stage.

    For every stage, bars with the share of each word, ⟨g_t, g⟩/‖g‖², one for each kind, and below
    them log₁₀ of ‖g_t‖ over that of the last word. Bars and lines are medians over a batch; the
    whiskers and the bands go from its 10 % to its 90 % quantile.

    Args:
        stages: by the title of the stage and by the label of the kind, from `contributions`; a
            batch has one leading axis, from `jax.vmap`. All stages have the same kinds.
        words: T words. Of more than 17, the first and the last 8 are drawn, with a gap between.

    Returns:
        A `Figure` outside of pyplot and of any GUI; `encode` makes a file of it. It is in the
        `style` of lstmgrad whatever your own is.

    Raises:
        ValueError: there is no stage or no kind; a value is not a `Contributions`; there are more
            or fewer words than steps.

    Notes:
        A norm of exactly zero has no place on the axis: the line breaks there, and a cross marks
        the last point before. Where all of the gradient is zero, there are no shares and no bars.

    Example:
        ``lg.plot.words({"at initialization": {"RNN": rnn, "LSTM": lstm}}, words=text.split())``

        >>> found = lg.contributions(chain, cotangents)
        >>> stages = {"at initialization": {"LSTM": found}}
        >>> figure = lg.plot.words(stages, words="a b c d e f".split())
        >>> len(figure.axes)  # shares, and norms below them
        2
    """
    kinds = list(next(iter(stages.values()), {}))
    if not kinds:
        raise ValueError("stages: expected at least one stage with one kind, but got none.")
    for found in stages.values():
        for each in found.values():
            check_result(each, Contributions, "stages", "contributions")
            _check_words(words, each)
    steps, names = _shown(words)
    turns = turns_of(kinds)
    with style():
        width = 5.6 if len(stages) > 1 else max(3.4, min(5.6, 1.3 + 0.3 * len(names)))
        figure = Figure(figsize=(width, 4.6), layout="constrained")
        grid = figure.subplots(2, len(stages), squeeze=False, sharex=True, sharey="row")
        for (upper, lower), (title, found) in zip(grid.T, stages.items(), strict=True):
            upper.set_title(title, loc="left")
            _share_panel(upper, [_batch(each.shares) for each in found.values()], turns, steps)
            _norm_panel(lower, [_batch(each.log_norms) for each in found.values()], turns, steps)
            _name_words(lower, names)
        grid[0, 0].set_ylabel("share of the gradient (%)")
        grid[1, 0].set_ylabel(r"$\log_{10}\ \Vert g_t\Vert\,/\,\Vert g_T\Vert$" + ", to last word")
        handles = [_handle(turn) for turn in turns]
        columns = min(len(kinds), 4 if width > 5 else 2)
        beside = {tuple: HandlerTuple(ndivide=None)}
        figure.legend(
            handles,
            kinds,
            loc="outside upper center",
            ncols=columns,
            handler_map=beside,
            handlelength=3.2,
        )
    return figure


def _check_words(words: Sequence[str], result: Contributions) -> None:
    length = np.shape(result.shares)[-1]
    if len(words) != length:
        raise ValueError(
            f"words: expected one word for each of the {length} steps, but got {len(words)}."
        )


def _batch(values: Any) -> np.ndarray:
    """(B, T), of a batch or of one sequence."""
    array = np.asarray(values, np.float64)
    return array.reshape(-1, array.shape[-1])


def _shown(words: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    """The steps that are drawn, -1 for the gap between them, and the words below them."""
    # A dollar sign would begin mathematics.
    names = [str(word)[:_LETTERS].replace("$", r"\$") for word in words]
    if len(words) <= 2 * ENDS + 1:
        return np.arange(len(words)), names
    steps = [*range(ENDS), -1, *range(len(words) - ENDS, len(words))]
    return np.array(steps), [*names[:ENDS], "...", *names[-ENDS:]]


def _at(values: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """The values of the steps that are drawn, NaN in the gap."""
    return np.where(steps < 0, np.nan, values[:, steps])


def _share_panel(ax: Axes, kinds: list[np.ndarray], turns: list[int], steps: np.ndarray) -> None:
    width = 0.84 / len(kinds)
    for index, (shares, turn) in enumerate(zip(kinds, turns, strict=True)):
        places = np.arange(len(steps)) + (index - (len(kinds) - 1) / 2) * width
        values = 100 * _at(shares, steps)
        low, middle, high = np.quantile(
            values, (BAND[0], 0.5, BAND[1]), axis=0, method="inverted_cdf"
        )
        ax.bar(places, gapped(middle), width=0.9 * width, **_bar(turn))
        if len(shares) > 1:
            ax.vlines(places, gapped(low), gapped(high), color="0.45", linewidth=0.6, zorder=3)
    ax.axhline(0.0, color="black", linewidth=0.6)
    _grid(ax)


def _norm_panel(ax: Axes, kinds: list[np.ndarray], turns: list[int], steps: np.ndarray) -> None:
    ax.axhline(0.0, **REFERENCE)
    for norms, turn in zip(kinds, turns, strict=True):
        with np.errstate(invalid="ignore"):
            ratios = log10(norms - norms[:, -1:])
        draw_curve(ax, np.arange(len(steps)), _at(ratios, steps), None, _line(turn))
    _grid(ax)


def _name_words(ax: Axes, names: list[str]) -> None:
    ax.set_xlim(-0.6, len(names) - 0.4)
    ax.set_xticks(
        range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor", fontsize=7
    )


def _grid(ax: Axes) -> None:
    ax.yaxis.set_major_locator(MaxNLocator(6))
    ax.grid(visible=False, axis="x")


def _bar(turn: int) -> dict[str, Any]:
    """Every fourth kind is hollow: in gray its color is much like that of the first."""
    color, hollow = COLORS[turn % len(COLORS)], turn % 4 == 3
    return {
        "facecolor": "white" if hollow else color,
        "edgecolor": color,
        "linewidth": 0.9 if hollow else 0.0,
    }


def _line(turn: int) -> dict[str, Any]:
    style = line_style(turn)
    face = "white" if turn % 4 == 3 else style["color"]
    return {**style, "marker": MARKS[turn % len(MARKS)], "markerfacecolor": face}


def _handle(turn: int) -> Any:
    """A bar and a line beside each other, which the types of matplotlib do not know."""
    return Patch(**_bar(turn)), Line2D([], [], **_line(turn))
