"""Whether a remedy helps: trained before and after on a task, over several seeds."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from lstmgrad._checks import check_count, check_kind
from lstmgrad._model import Model
from lstmgrad.diagnosis._findings import Diagnosis
from lstmgrad.diagnosis._on_task import read_on_examples
from lstmgrad.diagnosis._records import Remedy
from lstmgrad.diagnosis._verification import Reading, Trial, Verification
from lstmgrad.tasks import Task
from lstmgrad.training import Fit, evaluate, fit

MakeModel = Callable[[PRNGKeyArray], Model]
"""``make(key) -> Model``: a network of its own for every seed."""


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
    reader = functools.partial(read_on_examples, task=task, examples=examples, lag=delay)
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
