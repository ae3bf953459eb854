"""What a verification says: scores, readings and predictions of every seed, side by side."""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from lstmgrad._html import as_html
from lstmgrad._labeled import frame_of
from lstmgrad._writing import number
from lstmgrad.diagnosis._findings import strict
from lstmgrad.diagnosis._records import Prediction
from lstmgrad.diagnosis._statistics import mean_with_error


class Reading(NamedTuple):
    """A reading that a remedy is predicted to change.

    Attributes:
        name: of the evidence.
        before: its value in the network as it is.
        prediction: what it was predicted to be.
        after: its value with the remedy, before any training.

    Example:
        >>> predicted = lg.diagnosis.Prediction("half-life", 13.5, 12.0, 15.0, "-ln 2/ln σ(b)")
        >>> lg.diagnosis.Reading("half-life", 1.0, predicted, 13.9).holds
        True
    """

    name: str
    before: float
    prediction: Prediction
    after: float

    @property
    def holds(self) -> bool:
        """Whether it lies in the interval that was predicted."""
        return self.prediction.holds(self.after)


class Trial(NamedTuple):
    """One network with one remedy.

    Attributes:
        remedy: its name.
        seed: the place of the network.
        score_before: after the training without the remedy.
        score_after: after the same training with it.
        readings: what was predicted, and what was read.

    Example:
        >>> lg.diagnosis.Trial("forget-bias", 0, 0.25, 0.75, ()).gain
        0.5
    """

    remedy: str
    seed: int
    score_before: float
    score_after: float
    readings: tuple[Reading, ...]

    @property
    def gain(self) -> float:
        """By how much the score rises; inf where only the training with the remedy stays finite."""
        before, after = (not math.isfinite(s) for s in (self.score_before, self.score_after))
        if before or after:
            return 0.0 if before and after else math.inf if before else -math.inf
        return self.score_after - self.score_before


@dataclass(frozen=True, repr=False)
class Verification:
    """What remedies did to a training.

    Attributes:
        trials: by remedy and seed.
        task: the name of the task, or of the loss.
        delay: its delay; None for a loss of your own.
        steps: of the trainings.
        chance: the score without a memory; NaN for a loss of your own.
        kept: by remedy, what was trained, with all seeds on axis 0, of those that help alone: a
            `Fit`, or for a loss of your own the parameters.

    Example:
        >>> trials = [lg.diagnosis.Trial("forget-bias", i, 0.25, 0.7, ()) for i in range(3)]
        >>> found = lg.diagnosis.Verification(tuple(trials), "delayed_recall", 99, 400, 0.25, {})
        >>> found.remedies, found.helps("forget-bias")
        (('forget-bias',), True)
    """

    trials: tuple[Trial, ...]
    task: str
    delay: int | None
    steps: int
    chance: float
    kept: dict[str, Any]

    def gain(self, remedy: str) -> tuple[float, float]:
        """Returns by how much the score rises, and half the width of its 95 % interval.

        A training that ends in inf or NaN without the remedy counts as one that rises by as much
        as the best of the other seeds, and as inf where there is no other; with the remedy, as
        -inf.

        Args:
            remedy: its name.

        Example:
            >>> value, error = found.gain("forget-bias")
            >>> print(f"{value:.2f} ± {error:.2f}")
            0.45 ± 0.00
        """
        gains = np.array([trial.gain for trial in self.trials if trial.remedy == remedy])
        if np.isneginf(gains).any():
            return -math.inf, math.inf
        finite = gains[np.isfinite(gains)]
        best = max(finite.max(), 0.0) if len(finite) else math.inf
        return mean_with_error(np.where(np.isfinite(gains), gains, best))

    def helps(self, remedy: str) -> bool:
        """Returns whether the score rises by more than the seeds differ.

        Args:
            remedy: its name.

        Example:
            >>> found.helps("forget-bias")
            True
        """
        value, error = self.gain(remedy)
        return value - error > 0

    @property
    def remedies(self) -> tuple[str, ...]:
        """The names of the remedies, in order."""
        return tuple(dict.fromkeys(trial.remedy for trial in self.trials))

    def to_dataframe(self) -> Any:
        """Returns the verification as a `pandas.DataFrame`, a row for each remedy and seed.

        Returns:
            Columns are the scores before and after and the gain.

        Raises:
            ImportError: pandas is not installed.

        Example:
            >>> found.to_dataframe().index.names
            FrozenList(['remedy', 'seed'])
        """
        rows = [
            {
                "remedy": trial.remedy,
                "seed": trial.seed,
                "score_before": trial.score_before,
                "score_after": trial.score_after,
                "gain": trial.gain,
            }
            for trial in self.trials
        ]
        return frame_of(rows, ["remedy", "seed"])

    def _repr_html_(self) -> str:
        """The line, and a row for each remedy, for a notebook."""
        rows = []
        for name in self.remedies:
            value, error = self.gain(name)
            verdict = "helps" if self.helps(name) else "does not help"
            rows.append([name, verdict, f"{number(value, 2)} ± {number(error, 2)}"])
        return as_html(repr(self), (["remedy", "verdict", "gain of the score"], rows))

    def plain(self) -> dict[str, Any]:
        """Returns all numbers as dicts, lists, strings and numbers, for a JSON file.

        Returns:
            Numbers that are not finite are the strings "nan", "inf" and "-inf".

        Example:
            >>> found.plain()["remedies"]["forget-bias"]["helps"]
            True
        """
        return strict(
            {
                "format": "lstmgrad verification",
                "format_version": 1,
                "task": self.task,
                "delay": self.delay,
                "steps": self.steps,
                "chance": self.chance,
                "remedies": {
                    name: {
                        "helps": self.helps(name),
                        "gain": self.gain(name)[0],
                        "error": self.gain(name)[1],
                        "trials": [_plain(t) for t in self.trials if t.remedy == name],
                    }
                    for name in self.remedies
                },
            }
        )

    def __repr__(self) -> str:
        """One line: which remedies help."""
        helps = [name for name in self.remedies if self.helps(name)] or ["nothing"]
        delay = "" if self.delay is None else f", delay {self.delay}"
        return f"Verification({self.task}{delay}, helps: {', '.join(helps)})"

    def __str__(self) -> str:
        """Scores and readings of every seed, side by side."""
        lines = [repr(self)]
        if not math.isnan(self.chance):
            lines.append(f"score without a memory {number(self.chance, 3)}")
        for name in self.remedies:
            value, error = self.gain(name)
            verdict = "helps" if self.helps(name) else "does not help: nothing of it is kept"
            lines.append(
                f"{name} {verdict}; the score rises by {number(value, 2)} ± {number(error, 2)}"
            )
            for trial in (trial for trial in self.trials if trial.remedy == name):
                scores = f"{number(trial.score_before, 3)} -> {number(trial.score_after, 3)}"
                lines.append(f"  seed {trial.seed}: score {scores}{_readings(trial)}")
        return "\n".join(lines)


def _readings(trial: Trial) -> str:
    parts = [
        f"; {r.name} {number(r.before, 3)} -> {number(r.after, 3)} (predicted "
        f"{number(r.prediction.low, 3)} to {number(r.prediction.high, 3)})"
        for r in trial.readings
    ]
    return "".join(parts)


def _plain(trial: Trial) -> dict[str, Any]:
    readings = [
        {
            "name": r.name,
            "before": r.before,
            "predicted": [r.prediction.low, r.prediction.value, r.prediction.high],
            "after": r.after,
            "holds": r.holds,
        }
        for r in trial.readings
    ]
    return {**trial._asdict(), "readings": readings}
