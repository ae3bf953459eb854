"""A training: the score by step."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from lstmgrad.plot._curves import band_of, draw_curve
from lstmgrad.plot._headline import headline
from lstmgrad.plot._palette import REFERENCE, drawing
from lstmgrad.plot._style import axes_of, check_result, number_steps
from lstmgrad.plot._values import members
from lstmgrad.training import TrainingCurve


@drawing
def training_curve(
    result: TrainingCurve, *, ax: Axes | None = None, label: str | None = None, **artist: Any
) -> Axes:
    """Draws the score during a training against the step and returns the Axes.

    Args:
        result: from `lg.training.fit`, its `curve`. Several networks are drawn as their median
            inside the band from the 10 % to the 90 % quantile.
        ax: where to draw; None makes a figure. A further call on the same Axes takes the next
            color and dash pattern.
        label: the curve's name in the legend. Drawing the legend is left to the caller.
        **artist: properties of the line (`color`, `linewidth`, ...), see `Axes.plot`.

    Returns:
        The Axes. A faint line is the score without a memory.

    Raises:
        ValueError: the result is not a `TrainingCurve`, or `ax` is not an Axes.

    Example:
        ``lg.plot.training_curve(lg.training.fit(model, task, key, delay=99).curve)``

        >>> task = lg.tasks.delayed_recall()
        >>> unit = lg.cells.rnn(task.input_size, 4)
        >>> short = unit.model(unit.init(jax.random.key(0)))
        >>> fit = lg.training.fit(short, task, jax.random.key(1), delay=3, steps=2, every=1)
        >>> lg.plot.training_curve(fit.curve).get_xlabel()
        'training step'
    """
    check_result(result, TrainingCurve, "result", "lg.training.fit(...).curve")
    steps, scores = np.asarray(result.steps), members(result.scores, 1)
    ax = axes_of(ax, batch=len(scores))
    if not ax.lines:
        ax.axhline(result.baseline_score, **REFERENCE)
    draw_curve(ax, steps.reshape(-1, steps.shape[-1])[0], scores, label, artist)
    last, alone = float(band_of(scores)[0][1][-1]), result.baseline_score
    headline(ax, f"{last:.2f} at the end, {alone:.2f} without a memory")
    if not ax.get_xlabel():
        ax.set_xlabel("training step")
    if not ax.get_ylabel():
        ax.set_ylabel("score")
    number_steps(ax)
    return ax
