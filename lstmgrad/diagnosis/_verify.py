"""Whether a remedy helps: trained before and after on a task, over several seeds."""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from lstmgrad._chains.implicit import chain
from lstmgrad._checks import check_count, check_kind
from lstmgrad._gradients.adjoint import loss_cotangents
from lstmgrad._model import Model
from lstmgrad._result import number
from lstmgrad.diagnosis._diagnose import diagnose
from lstmgrad.diagnosis._records import Diagnosis, Prediction, Remedy
from lstmgrad.diagnosis._statistics import mean_with_error
from lstmgrad.tasks import Examples, Task
from lstmgrad.training import Fit, Readout, evaluate, fit
from lstmgrad.training._readout import init_readout, part_vector

MakeModel = Callable[[PRNGKeyArray], Model]
"""``make(key) -> Model``: a network of its own for every seed."""


class Reading(NamedTuple):
    """A reading that a remedy is predicted to change.

    Attributes:
        name: of the evidence.
        before: its value in the network as it is.
        prediction: what it was predicted to be.
        after: its value with the remedy, before any training.
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
    """

    remedy: str
    seed: int
    score_before: float
    score_after: float
    readings: tuple[Reading, ...]


@dataclass(frozen=True, repr=False)
class Verification:
    """What remedies did to a training.

    Attributes:
        trials: by remedy and seed.
        task: the name of the task.
        delay: its delay.
        steps: of the trainings.
        chance: the score without a memory.
        kept: by remedy, the trained networks with all seeds on axis 0; of those that help alone.
    """

    trials: tuple[Trial, ...]
    task: str
    delay: int
    steps: int
    chance: float
    kept: dict[str, Fit]

    def gain(self, remedy: str) -> tuple[float, float]:
        """Returns by how much the score rises, and half the width of its 95 % interval.

        Args:
            remedy: its name.
        """
        gains = [t.score_after - t.score_before for t in self.trials if t.remedy == remedy]
        return mean_with_error(gains)

    def helps(self, remedy: str) -> bool:
        """Returns whether the score rises by more than the seeds differ.

        Args:
            remedy: its name.
        """
        value, error = self.gain(remedy)
        return value - error > 0

    @property
    def remedies(self) -> tuple[str, ...]:
        """The names of the remedies, in order."""
        return tuple(dict.fromkeys(trial.remedy for trial in self.trials))

    def plain(self) -> dict[str, Any]:
        """Returns all numbers as dicts, lists, strings and numbers, for a JSON file."""
        return {
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

    def __repr__(self) -> str:
        """One line: which remedies help."""
        helps = [name for name in self.remedies if self.helps(name)] or ["nothing"]
        return f"Verification({self.task}, delay {self.delay}, helps: {', '.join(helps)})"

    def __str__(self) -> str:
        """Scores and readings of every seed, side by side."""
        lines = [repr(self), f"score without a memory {number(self.chance, 3)}"]
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


def verify(
    model: Model | MakeModel,
    task: Task,
    remedies: Sequence[Remedy],
    *,
    delay: int,
    seeds: int = 3,
    steps: int = 400,
    batch_size: int = 32,
    sequences: int = 8,
    size: int = 200,
    key: PRNGKeyArray | None = None,
    title: str | None = None,
) -> Verification:
    """Returns what remedies do to a training on a task: scores, readings and predictions by seed.

    Every network is trained as it is and with each of the remedies, by `training.fit`, on the same
    batches and from the same readout.

    Args:
        model: the network, from where it is; or ``make(key) -> Model``, a new one for every seed.
        task: from `lg.tasks`, or one of your own.
        remedies: of parameters, from the findings of `diagnose`.
        delay: of the task, and the lag of the readings.
        seeds: how many trainings of each kind, 2 or more.
        steps: of every training.
        batch_size: sequences in a batch.
        sequences: that the readings are of.
        size: fresh sequences that every score is the mean of.
        key: random key; None is that of 0.
        title: of a progress bar; None is no bar.

    Returns:
        `Verification`. A remedy helps where the score rises by more than twice the standard error
        over the seeds, as Student's distribution has it for so few; of one that does not, nothing
        is kept.

    Raises:
        ValueError: no remedy, one of the training's options, two of one name, or one seed.

    Notes:
        All networks are trained at once, (1 + remedies) × seeds of them.

    Example:
        ```python
        found = lg.diagnose(chains, cotangents, lag=100)
        print(lg.diagnosis.verify(model, task, found["forget-gates"].remedies, delay=100))
        ```
    """
    check_kind(task, Task, "task")
    seeds, remedies = check_count(seeds, "seeds", 2), _check_remedies(remedies)
    count = check_count(sequences, "sequences")
    key = jax.random.key(0) if key is None else key
    keys = jax.random.split(key, seeds)
    models = [_model_of(model, one) for one in keys]
    examples = task.batch(jax.random.fold_in(key, 1), count, delay)
    reader = functools.partial(_read, task=task, examples=examples, lag=delay)
    readers = [functools.partial(reader, key=one) for one in keys]
    before = [read(one) for read, one in zip(readers, models, strict=True)]
    names = [remedy.name for remedy in remedies]
    stacked, readings = list(models), []
    for remedy in remedies:
        for network, read, found in zip(models, readers, before, strict=True):
            own = _own(remedy, found)
            changed = network._replace(params=own.apply(network.params))
            stacked.append(changed)
            readings.append(_compared(own, found, read(changed)))
    params = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(one.params for one in stacked))
    trained = fit(
        models[0]._replace(params=params),
        task,
        jnp.concatenate([keys] * (1 + len(remedies))),
        delay=delay,
        steps=steps,
        batch_size=batch_size,
        title=title,
    )
    scores = evaluate(trained, task, jax.random.fold_in(key, 2), delay=delay, size=size).score
    table = np.asarray(scores, np.float64).reshape(1 + len(remedies), seeds)
    trials = tuple(
        Trial(name, seed, float(table[0, seed]), float(row[seed]), readings[place * seeds + seed])
        for place, (name, row) in enumerate(zip(names, table[1:], strict=True))
        for seed in range(seeds)
    )
    verified = Verification(
        trials, task.name, delay, steps, float(task.baseline(delay).score), kept={}
    )
    for place, name in enumerate(names):
        if verified.helps(name):
            rows = slice((1 + place) * seeds, (2 + place) * seeds)
            verified.kept[name] = _part(trained, rows)
    return verified


def _model_of(model: Any, key: PRNGKeyArray) -> Model:
    made = model if isinstance(model, Model) else model(key)
    check_kind(made, Model, "model")
    return made


def on_task(
    model: Model,
    task: Task,
    key: PRNGKeyArray,
    *,
    delay: int,
    sequences: int = 8,
    readout: Readout | None = None,
    **options: Any,
) -> Diagnosis:
    """Returns the diagnosis of a model on a task, with the loss that training would have.

    Args:
        model: the network.
        task: its sequences, and the loss that is differentiated.
        key: random key of readout and sequences.
        delay: of the task, and the lag where `options` has none.
        sequences: N, what the intervals come from.
        readout: of h, of a trained `Fit` for example; None is drawn as `training.fit` draws it.
        **options: of `diagnose`.

    Returns:
        `Diagnosis`, as ``diagnose(chains, cotangents, lag=delay)`` gives it.

    Raises:
        ValueError: as `diagnose`; a number out of its range.

    Example:
        ``print(lg.diagnosis.on_task(model, lg.tasks.adding(), key, delay=100))``
    """
    check_kind(task, Task, "task")
    first, second = jax.random.split(key)
    if readout is None:
        readout = init_readout(first, model.state, "h", task.output_size)
    examples = task.batch(second, check_count(sequences, "sequences"), delay)
    return _on_examples(model, task, examples, readout, **{"lag": delay, **options})


def _read(
    model: Model, *, task: Task, examples: Examples, key: PRNGKeyArray, lag: int
) -> Diagnosis:
    """The diagnosis on the task, through the readout that the training starts from."""
    first, _ = jax.random.split(key)
    readout = init_readout(first, model.state, "h", task.output_size)
    return _on_examples(model, task, examples, readout, lag=lag)


def _on_examples(
    model: Model, task: Task, examples: Examples, readout: Readout, **options: Any
) -> Diagnosis:
    inputs, targets, weights = examples
    length = inputs.shape[1]
    # Where the task's delay is its whole length.
    options["lag"] = min(options["lag"], length - 1)

    def cotangents(chain: Any, targets: Any, weights: Any) -> Any:
        def loss(states: Any) -> Any:
            outputs = jax.vmap(lambda state: readout(part_vector(state, "h")))(states)[1:]
            return task.loss(outputs, targets, weights)

        return loss_cotangents(loss, chain.trajectory)

    chains = jax.vmap(lambda one: chain(model, one))(inputs)
    found = jax.vmap(cotangents)(chains, targets, weights)
    return diagnose(chains, found, **options)


def _own(remedy: Remedy, found: Diagnosis) -> Remedy:
    """The remedy of that name with the predictions for this network."""
    for finding in found:
        for one in finding.remedies:
            if one.name == remedy.name:
                return one
    return remedy._replace(predicted=())


def _compared(remedy: Remedy, before: Diagnosis, after: Diagnosis) -> tuple[Reading, ...]:
    def value(diagnosis: Diagnosis, name: str) -> float:
        values = (f.evidence[name].value for f in diagnosis if name in f.evidence)
        return next(values, math.nan)

    return tuple(
        Reading(
            prediction.reading,
            value(before, prediction.reading),
            prediction,
            value(after, prediction.reading),
        )
        for prediction in remedy.predicted
    )


def _part(trained: Fit, rows: slice) -> Fit:
    """Some of the networks of a fit."""
    params, readout, curve = jax.tree.map(
        lambda leaf: leaf[rows], (trained.model.params, trained.readout, trained.curve)
    )
    return Fit(trained.model._replace(params=params), readout, curve, trained.read)


def _check_remedies(remedies: Any) -> list[Remedy]:
    """At least one, of parameters, each once."""
    chosen = [remedies] if isinstance(remedies, Remedy) else list(remedies)
    if not chosen or not all(isinstance(one, Remedy) for one in chosen):
        what = ", ".join(type(one).__name__ for one in chosen) or "none"
        raise ValueError(
            "remedies: expected those of a finding, such as diagnose(...)['forget-gates'].remedies,"
            f" but got {what}."
        )
    for one in chosen:
        if one.kind != "parameters":
            raise ValueError(
                f"remedies: expected those that change parameters, but got {one.name!r}, which "
                "changes an option of the training. Set it in your own training."
            )
    names = [one.name for one in chosen]
    if len(set(names)) < len(names):
        raise ValueError(f"remedies: expected each of them once, but got {', '.join(names)}.")
    return chosen


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
