"""How a training went: loss and score by step, as a record."""

from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float, Int

from lstmgrad._labeled import Axes
from lstmgrad._result import Result
from lstmgrad._writing import chosen, number


class TrainingCurve(Result):
    """Loss and score during a training.

    Attributes:
        steps: (R,), the number of training steps behind each report.
        losses: (R,), the mean loss over the batches since the report before.
        scores: (R,), the mean score over the same batches.
        task: the name of the task.
        delay: the delay that was trained at.
        baseline_loss: the loss without a memory.
        baseline_score: the score without a memory.

    Example:
        >>> task = lg.tasks.delayed_recall()
        >>> unit = lg.cells.rnn(task.input_size, 4)
        >>> short = unit.model(unit.init(jax.random.key(0)))
        >>> fit = lg.training.fit(short, task, jax.random.key(1), delay=3, steps=2, every=1)
        >>> fit.curve.steps.tolist()
        [1, 2]
    """

    steps: Int[Array, "*batch R"]
    losses: Float[Array, "*batch R"]
    scores: Float[Array, "*batch R"]
    task: str = eqx.field(static=True)
    delay: int = eqx.field(static=True)
    baseline_loss: float = eqx.field(static=True)
    baseline_score: float = eqx.field(static=True)

    _main = ("losses", 1)
    _axes = Axes({"losses": "step", "scores": "step"}, step="steps")

    def _subject(self) -> str:
        return f"{self.task}, delay {self.delay}"

    def _headline(self) -> str:
        return (
            f"loss {number(self.losses[-1])} and score {number(self.scores[-1])} after "
            f"{self.steps[-1]} steps"
        )

    def _table(self) -> tuple[list[str], list[list[str]]]:
        rows = [
            [str(self.steps[i]), number(self.losses[i]), number(self.scores[i])]
            for i in chosen(len(self.steps))
        ]
        return ["step", "loss", "score"], rows

    def _numbers(self) -> dict[str, Any]:
        return {
            "steps": self.steps[-1],
            "loss": self.losses[-1],
            "score": self.scores[-1],
            "best_score": np.max(self.scores),
            "baseline_loss": self.baseline_loss,
            "baseline_score": self.baseline_score,
        }
