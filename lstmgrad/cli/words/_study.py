"""What each word adds to the gradient: one text through an RNN, a GRU and an LSTM."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import lstmgrad as lg
from lstmgrad.cli._shared.command import Plan
from lstmgrad.cli._shared.console import entry, log10, visible
from lstmgrad.cli._shared.kinds import CELLS, Kind
from lstmgrad.cli._shared.sequences import Sequence, indexed
from lstmgrad.cli._shared.training import build, chain_of, initial, stage_titles, summary_of, train
from lstmgrad.cli.words._options import Options


class Read(NamedTuple):
    """What one cell made of the words.

    Attributes:
        loss: -ln p(last word), in nats.
        contributions: of every word before the last.
    """

    loss: float
    contributions: lg.Contributions

    @property
    def log10_norms(self) -> np.ndarray:
        """log₁₀ ‖g_t‖ of every word before the last."""
        return log10(self.contributions.log_norms)


class Study(NamedTuple):
    """Everything that was measured.

    Attributes:
        words: all words; the last one is predicted.
        cells: what each cell made of them, by name.
        stage: when that was, in words.
        settings: what was asked for, for the files.
    """

    words: tuple[str, ...]
    cells: dict[str, Read]
    stage: str
    settings: dict[str, Any]


def plan(options: Options) -> Plan:
    """Returns the run that the options ask for."""
    sequence = indexed(list(options.words), options.source, "word")
    settings = {
        "data": f"{sequence.source}: {sequence.summary}",
        "hidden": options.hidden,
        "training_steps": options.train,
        "seed": options.seed,
        "dtype": options.dtype,
    }

    def measure() -> Study:
        stage = list(stage_titles(options.train).values())[-1]
        found = {name: read_words(kind, sequence, options) for name, kind in CELLS.items()}
        return Study(options.words, found, stage, settings)

    data = entry("data", f"{visible(sequence.source)}: {sequence.summary}")
    return Plan([*data, *summary_of(CELLS.values(), sequence, options, options.dtype)], measure)


def read_words(kind: Kind, sequence: Sequence, options: Options) -> Read:
    """Returns the loss of the last word, and what each word before it adds to the gradient.

    Args:
        kind: which cell.
        sequence: the words.
        options: what the user asked for.
    """
    model = build(kind, sequence, options.hidden, jnp.dtype(options.dtype))
    params, key = initial(model, options.seed)
    if options.train:
        params = train(model, params, key, options.train)

    @jax.jit
    def analyze(params, rows):
        def loss(states):
            predicted = params.weight @ states.h[-1] + params.bias
            return optax.softmax_cross_entropy_with_integer_labels(predicted, rows[-1])

        chain = chain_of(model, params, rows[:-1])
        cotangents = lg.loss_cotangents(loss, chain.trajectory)
        return loss(chain.trajectory.states), lg.contributions(chain, cotangents)

    loss, parts = jax.device_get(analyze(params, model.rows))
    return Read(float(loss), parts)
