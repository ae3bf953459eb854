"""What is trained and measured, as the record that all output is made from."""

import functools
import textwrap
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np

import lstmgrad as lg
from lstmgrad._chains.declared import linearize_as_declared
from lstmgrad.cli._shared.command import Plan
from lstmgrad.cli._shared.console import entry
from lstmgrad.cli._shared.networks import forget_bias_of, label_of, title_of
from lstmgrad.cli._shared.side_by_side import Report, by_cell, side_by_side
from lstmgrad.cli._shared.training import stage_titles
from lstmgrad.cli.recall._lasting import Lasting, lasting_reader
from lstmgrad.cli.recall._networks import (
    Reading,
    Swaps,
    length_of,
    make_networks,
    measure_swaps,
    norm_reader,
    part_of,
    score_key,
    sequences,
    size_at,
)
from lstmgrad.cli.recall._options import Options

LEARNED = 0.95
"""The score from which a task counts as learned, where 1 is perfect."""

NEAR = 0.06
"""How near to the baseline a score counts as no better, unless its own error is larger."""

BATCH = 20


class Networks(NamedTuple):
    """Networks of one kind, one from each seed, before and after training.

    Attributes:
        name: as in the options.
        title: its name in tables and sentences.
        label: its name in the figure.
        part: the part of the state that is measured: "c" where there is one, "h" otherwise.
        forget_bias: the bias of all forget gates at the start, where that is one number.
        readings: norms and additive paths by stage.
        swaps: what another first input does, by stage; None where the task has no other.
        curve: of the training, networks first; None without training.
        scores: (networks,) by delay; only that of the training where it is at the baseline.
        lasting: far beyond the delay, for networks that have learned the task; None for others.
    """

    name: str
    title: str
    label: str
    part: str
    forget_bias: float | None
    readings: dict[str, Reading]
    swaps: dict[str, Swaps | None]
    curve: lg.training.TrainingCurve | None
    scores: dict[int, np.ndarray]
    lasting: Lasting | None


class Study(NamedTuple):
    """Everything that was measured.

    Attributes:
        networks: of each kind, in the order of the options.
        stages: what each stage is called in a sentence.
        options: what was asked for.
        baseline: the score without memory at the delay that was trained at.
        sizes: the sequences behind a score, by delay.
        length: T, the steps of a sequence at that delay.
    """

    networks: tuple[Networks, ...]
    stages: dict[str, str]
    options: Options
    baseline: lg.tasks.Performance
    sizes: dict[int, int]
    length: int

    @property
    def lag(self) -> int:
        """T - 1, the lag from the state after the first input to the last state."""
        return self.length - 1

    def near(self, delay: int) -> float:
        """How far from the baseline a score is no better than it."""
        return near_baseline(self.baseline, self.sizes[delay])


def plan(options: Options) -> Plan:
    """Returns the run that the options ask for."""
    task = lg.tasks.registry()[options.task]()
    parts = {name: part_of(name, options) for name in options.cells}
    length = length_of(task, options.delay)
    sizes = {delay: size_at(delay) for delay in delays(options)}
    stages = stage_titles(options.train)

    def measure() -> Study:
        def train(names: list[str], report: Report) -> dict[str, _Trained]:
            each = (_trained(name, task, parts[name], options, sizes, report) for name in names)
            return dict(zip(names, each, strict=True))

        def prepare(names: list[str], _: Report) -> dict[str, _ReadNorms]:
            return dict.fromkeys(names, _norm_reader(names[0], task, parts[names[0]], options))

        # The readers, which need no training, fill the time of the thread that is done first.
        groups = by_cell(parts)
        tasks = [functools.partial(what, names) for what in (train, prepare) for names in groups]
        done = side_by_side(tasks)
        trained, readers = (_merged(each) for each in (done[: len(groups)], done[len(groups) :]))
        found = tuple(
            _measured(name, task, parts[name], trained[name], readers[name], options)
            for name in parts
        )
        return Study(found, stages, options, task.baseline(options.delay), sizes, length)

    titles = ", ".join(title_of(name) for name in parts)
    networks = f"{titles}; {options.seeds} of each, hidden size {options.hidden}, {options.dtype}"
    training = f"{options.train} steps of Adam, batches of {BATCH} sequences of {length} steps"
    return Plan(
        [
            *entry("task", f"{options.task.replace('_', ' ')}, delay {options.delay}"),
            *entry("networks", *textwrap.wrap(networks, 69)),
            *entry("training", training if options.train else "none"),
            *entry("seed", str(options.seed)),
        ],
        measure,
    )


def delays(options: Options) -> list[int]:
    """Returns the delays at which the score is measured: that of training, and powers of ten.

    Args:
        options: what the user asked for.
    """
    # A round delay next to that of the training would tell nothing new.
    powers = [10**power for power in range(1, 10) if 10**power > 1.3 * options.delay]
    return sorted({*(d for d in powers if d < options.longest), options.delay, options.longest})


def near_baseline(baseline: lg.tasks.Performance, size: int) -> float:
    """Returns how far from the baseline a score is no better: 0.06, or three of its errors.

    Args:
        baseline: without a memory.
        size: how many sequences the score is the mean of.
    """
    p = float(baseline.score)
    return max(NEAR, 3 * (p * (1 - p) / size) ** 0.5)


class _Trained(NamedTuple):
    """Networks of one kind after training, and what is to be read off them.

    Attributes:
        models: by stage.
        curve: of the training.
        scores: (networks,) by delay.
        swaps: by stage.
        read_lasting: compiled; None where nothing lasts.
    """

    models: dict[str, lg.Model]
    curve: lg.training.TrainingCurve
    scores: dict[int, np.ndarray]
    swaps: dict[str, Swaps | None]
    read_lasting: Callable[[], Lasting] | None


_ReadNorms = Callable[[lg.Model, jax.Array], Reading]


def _merged(results: list[dict[str, Any]]) -> dict[str, Any]:
    return {name: each for result in results for name, each in result.items()}


def _norm_reader(name: str, task: lg.tasks.Task, part: str, options: Options) -> _ReadNorms:
    """What reads norms, compiled before there are networks: their shapes are enough."""
    cell, model, _ = eqx.filter_eval_shape(make_networks, name, task, options)
    inputs = jax.eval_shape(lambda: sequences(task, options)[: options.seeds])
    params, state, inputs = jax.tree.map(
        lambda leaf: jax.device_put(np.zeros(leaf.shape, leaf.dtype)),
        (model.params, model.state, inputs),
    )
    return norm_reader(
        lg.Model(model.step, params, state), inputs, part, linearize_as_declared(cell)
    )


def _trained(
    name: str,
    task: lg.tasks.Task,
    part: str,
    options: Options,
    sizes: dict[int, int],
    report: Report,
) -> _Trained:
    """Everything that two threads may do at a time: compiled, but with no norm read yet."""
    _, model, keys = make_networks(name, task, options)
    fit = lg.training.fit(
        model,
        task,
        keys,
        delay=options.delay,
        steps=options.train,
        batch_size=BATCH,
        title=title_of(name),
        report=report,
    )
    baseline = task.baseline(options.delay)
    near = near_baseline(baseline, sizes[options.delay])
    scores: dict[int, np.ndarray] = {}
    for delay in sorted(sizes, key=lambda delay: (delay != options.delay, delay)):
        score = lg.training.evaluate(fit, task, score_key(options), delay=delay, size=sizes[delay])
        scores[delay] = np.asarray(score.score)
        report(0)
        if delay == options.delay and (np.abs(scores[delay] - baseline.score) <= near).all():
            break  # what is not recalled at this delay is not asked for at longer ones
    inputs = sequences(task, options)
    models = dict(zip(stage_titles(options.train), (model, fit.model), strict=False))
    swaps = {stage: measure_swaps(at, inputs) for stage, at in models.items()}
    learned = part == "c" and np.median(scores[options.delay]) >= LEARNED
    lasting = lasting_reader(fit.model, task, part, options) if learned else None
    return _Trained(models, fit.curve, scores, swaps, lasting)


def _measured(
    name: str,
    task: lg.tasks.Task,
    part: str,
    trained: _Trained,
    read_norms: _ReadNorms,
    options: Options,
) -> Networks:
    inputs = sequences(task, options)[: options.seeds]
    readings = {stage: read_norms(at, inputs) for stage, at in trained.models.items()}
    first = next(iter(readings))
    lasting = None
    if trained.read_lasting is not None and readings[first].path is not None:
        lasting = trained.read_lasting()
    params = trained.models[first].params
    return Networks(
        name,
        title_of(name),
        label_of(name, params),
        part,
        forget_bias_of(params),
        readings,
        trained.swaps,
        trained.curve if options.train else None,
        trained.scores,
        lasting,
    )
