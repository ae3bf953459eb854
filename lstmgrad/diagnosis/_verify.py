"""Whether a remedy helps: trained before and after on a task, over several seeds."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import PRNGKeyArray

from lstmgrad._calls import public
from lstmgrad._checks import check_count, check_kind, check_positive
from lstmgrad._model import Model
from lstmgrad.diagnosis._applied import Options, applied, check_remedies
from lstmgrad.diagnosis._on_task import part_to_read, read_on_examples
from lstmgrad.diagnosis._records import Remedy
from lstmgrad.diagnosis._verification import Trial, Verification
from lstmgrad.tasks import Task
from lstmgrad.training import Fit, evaluate, fit
from lstmgrad.training._fit import CLIP

MakeModel = Callable[[PRNGKeyArray], Model]
"""``make(key) -> Model``: a network of its own for every seed."""


@public
def verify(
    model: Model | MakeModel,
    task: Task,
    remedies: Remedy | Sequence[Remedy],
    *,
    delay: int,
    seeds: int = 3,
    steps: int = 400,
    batch_size: int = 32,
    optimizer: optax.GradientTransformation | None = None,
    truncation: int | None = None,
    clip: float | None = None,
    sequences: int = 8,
    size: int = 200,
    key: PRNGKeyArray | None = None,
    title: str | None = None,
) -> Verification:
    """Returns what remedies do to a training on a task: scores, readings and predictions by seed.

    Every network is trained as it is and with each of the remedies, by `training.fit`, on the same
    batches and from the same readout. A remedy changes the parameters that the training starts
    from, or an option of the training.

    Args:
        model: the network, from where it is; or ``make(key) -> Model``, a new one for every seed.
        task: from `lg.tasks`, or one of your own. For a loss of your own there is `verify_loss`.
        remedies: from the findings of `diagnose`.
        delay: of the task, and the lag of the readings.
        seeds: how many trainings of each kind, 2 or more.
        steps: of every training.
        batch_size: sequences in a batch.
        optimizer: as for `training.fit`.
        truncation: of the training as it is: the steps that back-propagation goes back, in chunks,
            as for `training.fit`; None is all.
        clip: of the training as it is, as for `training.fit`: None is 1 for the default optimizer
            and none for another one.
        sequences: that the readings are of.
        size: fresh sequences that every score is the mean of.
        key: random key; None is that of 0.
        title: of a progress bar; None is no bar.

    Returns:
        `Verification`. A remedy helps where the score rises by more than twice the standard error
        over the seeds, as Student's distribution has it for so few; of one that does not, nothing
        is kept.

    Raises:
        ValueError: no remedy, two of one name, or one seed; an option out of its range.

    Notes:
        All networks are trained at once, (1 + remedies) × seeds of them.

    Example:
        ```python
        found = lg.diagnose(chains, cotangents, lag=100, truncation=20)
        print(lg.diagnosis.verify(model, task, found["forget-gates"].remedies, delay=100))
        cut = found["truncation"].remedies
        print(lg.diagnosis.verify(model, task, cut, delay=100, truncation=20))
        ```

        >>> task = lg.tasks.delayed_recall()
        >>> unit = lg.cells.rnn(task.input_size, 4)
        >>> short = unit.model(unit.init(jax.random.key(0)))
        >>> def clip(options):
        ...     return options | {"clip": 0.5}
        >>> remedy = lg.diagnosis.Remedy("clip", "training", "Some gradients are large.", clip)
        >>> few = {"seeds": 2, "steps": 2, "batch_size": 2, "sequences": 2, "size": 2}
        >>> found = lg.diagnosis.verify(short, task, remedy, delay=3, **few)
        >>> [(trial.remedy, trial.seed) for trial in found.trials]
        [('clip', 0), ('clip', 1)]
    """
    check_kind(task, Task, "task")
    seeds, remedies = check_count(seeds, "seeds", 2), check_remedies(remedies)
    count = check_count(sequences, "sequences")
    key = jax.random.key(0) if key is None else key
    keys = jax.random.split(key, seeds)
    models = [_model_of(model, one) for one in keys]
    examples = task.batch(jax.random.fold_in(key, 1), count, delay)
    options = _options(truncation, clip, optimizer, length=examples.weights.shape[1])

    def read(network: Model, options: Options, seed: int) -> Any:
        return read_on_examples(
            network,
            task=task,
            examples=examples,
            key=keys[seed],
            lag=delay,
            batch_size=batch_size,
            **options,
        )

    before = [read(one, options, seed) for seed, one in enumerate(models)]
    stacked, limits, readings = list(models), [options] * seeds, []
    for remedy in remedies:
        for seed, network in enumerate(models):
            params, changed, compare = applied(remedy, before[seed], network.params, options)
            stacked.append(network._replace(params=params))
            limits.append(changed)
            readings.append(compare(functools.partial(read, stacked[-1], changed, seed)))
    params = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(one.params for one in stacked))
    trained = fit(
        models[0]._replace(params=params),
        task,
        jnp.concatenate([keys] * (1 + len(remedies))),
        delay=delay,
        steps=steps,
        batch_size=batch_size,
        read=part_to_read(models[0]),
        optimizer=optimizer,
        title=title,
        **_of_each(limits, optimizer, length=examples.weights.shape[1]),
    )
    scores = evaluate(trained, task, jax.random.fold_in(key, 2), delay=delay, size=size).score
    table = np.asarray(scores, np.float64).reshape(1 + len(remedies), seeds)
    names = [remedy.name for remedy in remedies]
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


def _options(truncation: Any, clip: Any, optimizer: Any, *, length: int) -> Options:
    """The options of the training as it is, as `diagnose` takes them."""
    if truncation is not None:
        truncation = min(check_count(truncation, "truncation"), length)
    if clip is None and optimizer is None:
        clip = CLIP
    if clip is not None:
        clip = check_positive(clip, "clip")
    return {"truncation": truncation, "clip": clip}


def _of_each(limits: list[Options], optimizer: Any, *, length: int) -> Options:
    """The limits of every network, as `fit` takes them; nothing of what none of them has."""
    nothing = {"truncation": length, "clip": CLIP if optimizer is None else math.inf}
    each = {}
    for name, none in nothing.items():
        values = [none if one[name] is None else one[name] for one in limits]
        if any(value != none for value in values):
            each[name] = values
    return each


def _part(trained: Fit, rows: slice) -> Fit:
    """Some of the networks of a fit."""
    params, readout, curve = jax.tree.map(
        lambda leaf: leaf[rows], (trained.model.params, trained.readout, trained.curve)
    )
    return Fit(trained.model._replace(params=params), readout, curve, trained.read)
