"""The story in four panels: what the gradient brings back, and what a network recalls."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from lstmgrad._calls import public
from lstmgrad._norms.records import NormProfile
from lstmgrad.plot._comparison import PATH, draw_path
from lstmgrad.plot._curves import Curve, draw_curve
from lstmgrad.plot._norms import norms
from lstmgrad.plot._page import default_style
from lstmgrad.plot._style import COLORS, DASHES
from lstmgrad.plot._training import training_curve
from lstmgrad.plot._values import by_lag
from lstmgrad.training import TrainingCurve

MARKS = ("o", "s", "^", "D", "v")
"""The markers of paths and scores, which go with the colors."""

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
    """

    label: str
    norms: Mapping[str, NormProfile]
    paths: Mapping[str, NormProfile]
    forget_bias: float | None
    curve: TrainingCurve | None
    scores: Mapping[int, np.ndarray]


@public
def memory(kinds: Sequence[Memory], *, baseline: float, delay: int) -> Figure:
    """Returns a figure of what networks recall, beside the gradient that comes back to them.

    A panel of norms by lag for every stage, the additive path of a cell beside its norm in the same
    color, with markers; the score during training; the score against the delay. Lines are medians
    over the networks, in bands from the 10 % to the 90 % quantile.

    Args:
        kinds: the kinds of networks, in the order of their colors.
        baseline: the score without a memory, a faint line.
        delay: the delay that was trained at, a faint line.

    Returns:
        A `Figure` outside of pyplot and of any GUI; `encode` makes a file of it. The style is
        matplotlib's default whatever the user's own is.

    Raises:
        ValueError: there are no kinds.

    Example:
        ``python -m lstmgrad recall`` draws one.
    """
    if not kinds:
        raise ValueError("kinds: expected at least one kind of networks, but got none.")
    stages = list(kinds[0].norms)
    trained = all(kind.curve is not None for kind in kinds)
    with default_style():
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
            ax.set_title(f"({letter}) {ax.get_title(loc='left')}", fontsize=7.5, loc="left")
            ax.grid(visible=True, color="0.93", linewidth=0.6)
            ax.set_axisbelow(True)
        _legend(figure, kinds)
    return figure


def _style(index: int) -> dict[str, Any]:
    return {
        "color": COLORS[index % len(COLORS)],
        "linestyle": DASHES[index % len(DASHES)],
        "linewidth": 1.5,
    }


def _norm_panel(ax: Axes, kinds: Sequence[Memory], stage: str) -> None:
    for index, kind in enumerate(kinds):
        style = _style(index)
        norms(kind.norms[stage], ax=ax, **style)
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
    for index, kind in enumerate(kinds):
        assert kind.curve is not None
        training_curve(kind.curve, ax=ax, **_style(index))
    ax.set_title("recall during training", loc="left")
    ax.set_ylabel("share of right answers")
    ax.set_ylim(-0.03, 1.06)


def _delay_panel(ax: Axes, kinds: Sequence[Memory], baseline: float, delay: int) -> None:
    ax.axhline(baseline, color="0.6", linewidth=0.8, zorder=1)
    ax.axvline(delay, color="0.6", linewidth=0.8, linestyle=(0, (2, 2)), zorder=1)
    for index, kind in enumerate(kinds):
        delays = np.array(list(kind.scores))
        scores = np.stack(list(kind.scores.values()), axis=1)
        mark = {"marker": MARKS[index % len(MARKS)], "markersize": 4, "markerfacecolor": "white"}
        draw_curve(ax, delays, scores, None, {**_style(index), **mark})
    ax.set(xscale="log", ylim=(-0.03, 1.06))
    ax.set_title("recall by delay", loc="left")
    ax.set_xlabel(f"delay (steps; trained at {delay})")
    ax.set_ylabel("share of right answers")


def _legend(figure: Figure, kinds: Sequence[Memory]) -> None:
    handles = [Line2D([], [], **_style(index)) for index in range(len(kinds))]
    labels = [kind.label for kind in kinds]
    if any(kind.paths for kind in kinds):
        handles.append(Line2D([], [], color="0.3", **PATH))
        labels.append("its additive path alone, same color")
    biases = sorted({kind.forget_bias for kind in kinds if kind.forget_bias is not None})
    if biases:
        handles.append(Line2D([], [], color="0.45", linewidth=0.8, linestyle=(0, (2, 1))))
        labels.append(", ".join(rf"$\sigma({bias:g})^{{lag}}$" for bias in biases))
    handles.append(Line2D([], [], color="0.6", linewidth=0.8))
    labels.append("without a memory")
    figure.legend(
        handles, labels, loc="outside upper center", ncols=2, frameon=False, columnspacing=1.5
    )
