"""What each word adds to the gradient, in many networks of each kind, before and after training."""

import functools
import textwrap
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import lstmgrad as lg
from lstmgrad.cli._shared.command import Plan
from lstmgrad.cli._shared.compiler import jit_quickly
from lstmgrad.cli._shared.console import entry, log10, visible
from lstmgrad.cli._shared.networks import DEFAULT_CELLS, draw_networks, label_of, title_of
from lstmgrad.cli._shared.sequences import Sequence, indexed
from lstmgrad.cli._shared.side_by_side import Report, by_cell, side_by_side
from lstmgrad.cli._shared.training import stage_titles
from lstmgrad.cli.words._options import SHORT, Options
from lstmgrad.cli.words._task import as_written, first_word, reading_model
from lstmgrad.tasks._task import Examples, Task
from lstmgrad.training._readout import part_vector

BATCH = 16
"""Texts in a training step."""

ASKED = 100
"""First words that a network is asked for."""

LEARNED = 0.95
"""The share of right answers from which a network recalls the first word."""

QUANTILES = (0.1, 0.5, 0.9)
"""Of the draws: the edges of the band, and the median."""

_SCORES = 2**31 + 1
"""What random numbers are for; the networks have the numbers below."""


class Stage(NamedTuple):
    """What the networks of one kind made of the words, with the draws of the weights on axis 0.

    Attributes:
        contributions: of every word.
        losses: (draws,), -ln p(first word) after the last word of the text, in nats.
        scores: (draws,), the share of right answers, whatever the first word is.
    """

    contributions: lg.Contributions
    losses: np.ndarray
    scores: np.ndarray

    @property
    def shares(self) -> np.ndarray:
        """(draws, T), of each word in the gradient, ⟨g_t, g⟩/‖g‖²."""
        return np.asarray(self.contributions.shares, np.float64)

    @property
    def log10_norms(self) -> np.ndarray:
        """(draws, T), log₁₀ ‖g_t‖."""
        return log10(self.contributions.log_norms)

    @property
    def log10_ratios(self) -> np.ndarray:
        """(draws, T), log₁₀ of ‖g_t‖ over that of the last word; NaN where both are zero."""
        logs = self.log10_norms
        with np.errstate(invalid="ignore"):
            return logs - logs[:, -1:]

    @property
    def learned(self) -> int:
        """How many of the networks recall the first word."""
        return int((self.scores >= LEARNED).sum())


class Networks(NamedTuple):
    """Networks of one kind.

    Attributes:
        name: a cell, perhaps with ``+chrono`` behind it.
        title: its name in tables and sentences.
        label: its name in the figure.
        stages: what they made of the words, by stage.
    """

    name: str
    title: str
    label: str
    stages: dict[str, Stage]


class Study(NamedTuple):
    """Everything that was measured.

    Attributes:
        words: all of them; the first one is to be recalled.
        networks: of each kind.
        stages: what each stage is called in a sentence.
        draws: networks of each kind.
        settings: what was asked for, for the files.
    """

    words: tuple[str, ...]
    networks: tuple[Networks, ...]
    stages: dict[str, str]
    draws: int
    settings: dict[str, Any]

    @property
    def vocabulary(self) -> int:
        """How many different words there are."""
        return len(set(self.words))


def plan(options: Options) -> Plan:
    """Returns the run that the options ask for."""
    sequence = indexed(list(options.words), options.source, "word")
    stages = stage_titles(options.train)
    settings = {
        "data": f"{sequence.source}: {sequence.summary}",
        "draws": options.draws,
        "hidden": options.hidden,
        "training_steps": options.train,
        "seed": options.seed,
        "dtype": options.dtype,
    }

    def measure() -> Study:
        task = first_word(sequence.rows, sequence.width, jnp.dtype(options.dtype))

        def measure_cell(names: list[str], report: Report) -> dict[str, Networks]:
            return {
                name: measure_kind(name, task, sequence, options, report=report) for name in names
            }

        groups = by_cell(DEFAULT_CELLS)
        found = side_by_side([functools.partial(measure_cell, names) for names in groups])
        networks = tuple(each[name] for name in DEFAULT_CELLS for each in found if name in each)
        return Study(options.words, networks, stages, options.draws, settings)

    titles = ", ".join(title_of(name) for name in DEFAULT_CELLS)
    networks = f"{titles}; {options.draws} of each, hidden size {options.hidden}, {options.dtype}"
    training = f"{options.train} steps of Adam on recalling the first word, {BATCH} texts each"
    lines = [
        *entry("data", f"{visible(sequence.source)}: {sequence.summary}"),
        *entry("networks", *textwrap.wrap(networks, 69)),
        *entry("training", training if options.train else options.untrained),
        *entry("seed", str(options.seed)),
    ]
    return Plan(lines, measure)


def measure_kind(
    name: str,
    task: Task,
    sequence: Sequence,
    options: Options,
    *,
    report: Report | None = None,
) -> Networks:
    """Returns what the networks of one kind made of the words, before and after training.

    Args:
        name: a cell, perhaps with ``+chrono`` behind it.
        task: recall of the first word.
        sequence: the words.
        options: what the user asked for.
        report: as `lg.training.fit` takes it.
    """
    length, dtype = len(sequence.rows), jnp.dtype(options.dtype)
    cell, params, keys = draw_networks(
        name,
        sequence.width,
        length,
        count=options.draws,
        hidden=options.hidden,
        seed=options.seed,
        dtype=options.dtype,
    )
    model = reading_model(cell, params, sequence.width, dtype)
    text, asked = as_written(sequence.rows, dtype), asked_for(task, options)
    read = _read_short if length <= SHORT else _read_long
    stages = {}
    for stage, steps in zip(stage_titles(options.train), (0, options.train), strict=False):
        fit = lg.training.fit(
            model,
            task,
            keys,
            delay=length - 1,
            steps=steps,
            batch_size=BATCH,
            title=title_of(name) if steps else None,
            report=report,
        )
        networks = (fit.model.params, fit.readout)
        found = read(networks, model.state, text, asked, step=model.step, task=task)
        losses, scores, parts = jax.device_get(found)
        stages[stage] = Stage(parts, losses, scores)
    return Networks(name, title_of(name), label_of(name, params), stages)


def asked_for(task: Task, options: Options) -> Examples:
    """Returns the texts whose first words every network is asked for.

    Args:
        task: recall of the first word.
        options: what the user asked for.
    """
    key = jax.random.fold_in(jax.random.key(options.seed), _SCORES)
    return task.batch(key, ASKED, task.least_delay)


def _read(
    networks: tuple[Any, lg.training.Readout],
    state: Any,
    text: Examples,
    asked: Examples,
    *,
    step: Any,
    task: Task,
) -> tuple[jax.Array, jax.Array, lg.Contributions]:
    """The loss at the end of the text, the score, and what each word adds, for each draw."""

    def of_draw(params: Any, readout: lg.training.Readout) -> tuple:
        def measure(how: Any, last: Any, examples: Examples) -> jax.Array:
            answer = readout(part_vector(last, "h"))
            return how(answer[None], examples.targets[-1:], examples.weights[-1:])

        def loss(states: Any) -> jax.Array:
            return measure(task.loss, jax.tree.map(lambda leaf: leaf[-1], states), text)

        def score(examples: Examples) -> jax.Array:
            # The last state alone: all states of a long text in every network would be too many.
            def read(state: Any, position: jax.Array) -> tuple[Any, None]:
                return step(params, state, position), None

            return measure(task.score, jax.lax.scan(read, state, examples.inputs)[0], examples)

        chain = lg.chain(lg.Model(step, params, state), text.inputs)
        parts = lg.contributions(chain, lg.loss_cotangents(loss, chain.trajectory))
        scores = jax.vmap(score)(asked)
        return loss(chain.trajectory.states), jnp.mean(scores), _norms(parts)

    return jax.vmap(of_draw)(*networks)


_read_long = eqx.filter_jit(_read)
_read_short = jit_quickly(_read)


def _norms(parts: lg.Contributions) -> lg.Contributions:
    """Without the gradients, which nobody asks for: they take longer to compile than the rest."""
    return lg.Contributions(
        leaf_log_norms=None,
        log_norms=parts.log_norms,
        shares=parts.shares,
        cosines=parts.cosines,
        residuals=parts.residuals,
        input_log_norms=None,
        gradient=None,
        input_gradients=None,
    )
