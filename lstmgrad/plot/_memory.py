"""The story in four panels: what the gradient brings back, and what a network recalls."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from lstmgrad._calls import public
from lstmgrad._norms.records import NormProfile
from lstmgrad.plot._comparison import draw_path
from lstmgrad.plot._curves import Curve, draw_curve
from lstmgrad.plot._norms import norms
from lstmgrad.plot._palette import MARKS, PATH, REFERENCE, line_style, style, turns_of
from lstmgrad.plot._style import legend_above
from lstmgrad.plot._training import training_curve
from lstmgrad.plot._values import by_lag
from lstmgrad.training import TrainingCurve

DEPTH = -17.0
"""The lowest that the panels of norms reach down to, as log₁₀."""


class Memory(NamedTuple):
    """Networks of one kind in the figure.

    Attributes:
        label: their name.
        norms: norms by lag, networks first, by the title of the panel.
        paths: the same of the additive path alone, where there is one.
        forget_bias: b of σ(b)^lag, to be drawn beside them; None for no such line.
        curve: the training, networks first; None for none.
        scores: (networks,) by delay; longer ones may be left out.

    Example:
        >>> norms = {"at initialization": lg.backward_norms(chain)}
        >>> lstm = lg.plot.Memory("LSTM", norms, {}, 1.0, None, {99: np.array([1.0, 0.9])})
        >>> lstm.label, sorted(lstm.scores)
        ('LSTM', [99])
    """

    label: str
    norms: Mapping[str, NormProfile]
    paths: Mapping[str, NormProfile]
    forget_bias: float | None
    curve: TrainingCurve | None
    scores: Mapping[int, np.ndarray]


@public
def memory(kinds: Sequence[Memory], *, baseline: float, delay: int, title: str = "") -> Figure:
    """Returns a figure of what networks recall, beside the gradient that comes back to them.

    A panel of norms by lag for every stage, the additive path of a cell beside its norm in the same
    color, with markers; the score during training; the score against the delay. Lines are medians
    over the networks, in bands from the 10 % to the 90 % quantile.

    Args:
        kinds: the kinds of networks, in the order of their colors.
        baseline: the score without a memory, a faint line.
        delay: the delay that was trained at, a faint line.
        title: what the figure says, above its legend, wrapped to its width.

    Returns:
        A `Figure` outside of pyplot and of any GUI; `encode` makes a file of it. It is in the
        `style` of lstmgrad whatever your own is.

    Raises:
        ValueError: there are no kinds.

    Example:
        ``python -m lstmgrad recall`` draws one.

        >>> norms = {"at initialization": lg.backward_norms(chain)}
        >>> lstm = lg.plot.Memory("LSTM", norms, {}, 1.0, None, {99: np.array([1.0, 0.9])})
        >>> len(lg.plot.memory([lstm], baseline=0.25, delay=99).axes)
        2
    """
    if not kinds:
        raise ValueError("kinds: expected at least one kind of networks, but got none.")
    stages = list(kinds[0].norms)
    trained = all(kind.curve is not None for kind in kinds)
    with style():
        columns, rows = (2, 2) if trained else (2, 1)
        figure = Figure(figsize=(5.6, 0.75 + 2.0 * rows), layout="constrained")
        grid = list(np.ravel(figure.subplots(rows, columns, squeeze=False)))
        for ax, stage in zip(grid, stages, strict=False):
            _norm_panel(ax, kinds, stage)
        _share_depth(grid[: len(stages)], kinds)
        if trained:
            _training_panel(grid[2], kinds, baseline)
        _delay_panel(grid[-1], kinds, baseline, delay)
        for ax, letter in zip(grid, "abcd", strict=False):
            ax.set_title(f"({letter}) {ax.get_title(loc='left')}", loc="left")
        _legend(figure, kinds, title)
    return figure


def _turns(kinds: Sequence[Memory]) -> list[int]:
    """The turns of the kinds in colors, dash patterns and markers."""
    return turns_of([kind.label for kind in kinds])


def _norm_panel(ax: Axes, kinds: Sequence[Memory], stage: str) -> None:
    for kind, turn in zip(kinds, _turns(kinds), strict=True):
        norms(kind.norms[stage], ax=ax, **line_style(turn))
        if path := kind.paths.get(stage):
            draw_path(ax, path, [line for line in ax.lines if isinstance(line, Curve)][-1])
        if kind.forget_bias is not None:
            lags = by_lag(kind.norms[stage])[0]
            rate = math.log1p(math.exp(-kind.forget_bias)) / math.log(10)
            ax.plot(lags, -rate * lags, color="0.45", linewidth=0.8, linestyle=(0, (2, 1)))
    ax.set_title(f"gradient {stage}", loc="left")
    ax.set_ylabel(r"$\log_{10}$ of what is left")
    ax.set_xlabel("lag $T-k$ (steps back)")
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))


def _share_depth(panels: Sequence[Axes], kinds: Sequence[Memory]) -> None:
    """The same vertical range for all panels of norms."""
    values = [by_lag(p)[1] for kind in kinds for p in (*kind.norms.values(), *kind.paths.values())]
    finite = np.concatenate([np.ravel(v) for v in values])
    finite = finite[np.isfinite(finite)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    low, high = max(low, DEPTH), min(max(high, 0.0), -DEPTH)
    margin = 0.05 * max(high - low, 1.0)
    for ax in panels:
        ax.set_ylim(low - margin, high + margin)
        ax.yaxis.set_major_locator(MaxNLocator(5, integer=True))


def _training_panel(ax: Axes, kinds: Sequence[Memory], baseline: float) -> None:
    for kind, turn in zip(kinds, _turns(kinds), strict=True):
        assert kind.curve is not None
        training_curve(kind.curve, ax=ax, **line_style(turn))
    ax.set_title("recall during training", loc="left")
    ax.set_ylabel("share of right answers")
    ax.set_ylim(-0.03, 1.06)


def _delay_panel(ax: Axes, kinds: Sequence[Memory], baseline: float, delay: int) -> None:
    ax.axhline(baseline, **REFERENCE)
    ax.axvline(delay, linestyle=(0, (2, 2)), **REFERENCE)
    for kind, turn in zip(kinds, _turns(kinds), strict=True):
        delays = np.array(list(kind.scores))
        scores = np.stack(list(kind.scores.values()), axis=1)
        mark = {"marker": MARKS[turn % len(MARKS)], "markersize": 4, "markerfacecolor": "white"}
        draw_curve(ax, delays, scores, None, {**line_style(turn), **mark})
    ax.set(xscale="log", ylim=(-0.03, 1.06))
    ax.set_title("recall by delay", loc="left")
    ax.set_xlabel(f"delay (steps; trained at {delay})")
    ax.set_ylabel("share of right answers")


def _legend(figure: Figure, kinds: Sequence[Memory], title: str) -> None:
    handles = [Line2D([], [], **line_style(turn)) for turn in _turns(kinds)]
    labels = [kind.label for kind in kinds]
    if any(kind.paths for kind in kinds):
        handles.append(Line2D([], [], color="0.3", **PATH))
        labels.append("its additive path alone, same color")
    biases = sorted({kind.forget_bias for kind in kinds if kind.forget_bias is not None})
    if biases:
        handles.append(Line2D([], [], color="0.45", linewidth=0.8, linestyle=(0, (2, 1))))
        labels.append(", ".join(rf"$\sigma({bias:g})^{{lag}}$" for bias in biases))
    handles.append(Line2D([], [], **REFERENCE))
    labels.append("without a memory")
    legend_above(figure, handles, labels, title, ncols=2)
