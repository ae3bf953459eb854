"""What each word adds to the gradient: one sentence through an RNN, a GRU and an LSTM."""

import textwrap
import warnings
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

import lstmgrad as lg
from lstmgrad.cli._shared.console import say, visible
from lstmgrad.cli._shared.outputs import output_directory, write_whole
from lstmgrad.cli._shared.sequences import Sequence, indexed
from lstmgrad.cli._shared.training import BATCH, CELLS, Kind, build, train, window_size
from lstmgrad.cli.words._options import WordsOptions
from lstmgrad.cli.words._report import WordStudy, word_reading, word_table, words_file

FIGURES = ("words.png", "words.svg")
FILES = (*FIGURES, "words.json")


class Read(NamedTuple):
    """What one cell made of the words.

    Attributes:
        loss: -ln p(last word), in nats.
        contributions: of every word before the last.
    """

    loss: jax.Array
    contributions: lg.Contributions


def words(options: WordsOptions) -> None:
    """Measures what each word adds, prints the table and writes the files.

    Args:
        options: what the user asked for.

    Raises:
        CommandError: the output directory will not do; nothing is written then.
    """
    sequence = indexed(list(options.words), options.source, "word")
    with output_directory(options.out, FILES):
        say(*_preamble(options, sequence))
        found = {name: read_words(kind, sequence, options) for name, kind in CELLS.items()}
        losses = {name: float(read.loss) for name, read in found.items()}
        parts = {name: read.contributions for name, read in found.items()}
        study = WordStudy(options.words, losses, parts, options.train)
        say(*word_table(study), textwrap.fill(word_reading(study), 79), "")
        contents = {**_figures(study), "words.json": words_file(study, sequence, options)}
        write_whole(options.out, contents)
        say(f"Wrote {', '.join(FILES)} into {options.out}")


def read_words(kind: Kind, sequence: Sequence, options: WordsOptions) -> Read:
    """The loss of the last word, and what each word before it adds to the gradient.

    Args:
        kind: which cell.
        sequence: the words.
        options: what the user asked for.
    """
    model = build(kind, sequence, options.hidden, jnp.dtype(options.dtype))
    rows = jnp.asarray(sequence.rows)
    key = jax.random.fold_in(jax.random.key(options.seed), kind.number)
    init_key, train_key = jax.random.split(key)
    params = jax.jit(model.init)(init_key)
    if options.train:
        params = train(model, params, rows, train_key, options.train, kind.title)

    @jax.jit
    def analyze(params, rows):
        def loss(states):
            predicted = params.weight @ states.h[-1] + params.bias
            return optax.softmax_cross_entropy_with_integer_labels(predicted, rows[-1])

        inputs = model.encode(rows[:-1])
        trajectory = lg.unroll(model.cell.step, params.cell, model.cell.initial_state(), inputs)
        cotangents = lg.loss_cotangents(loss, trajectory)
        parts = lg.contributions(model.cell.step, params.cell, trajectory, cotangents)
        return Read(loss(trajectory.states), parts)

    return jax.device_get(analyze(params, rows))


def _preamble(options: WordsOptions, sequence: Sequence) -> list[str]:
    titles = ", ".join(kind.title for kind in CELLS.values())
    window = window_size(len(options.words))
    training = f"{options.train} steps of Adam on the next word, {BATCH} windows of {window} each"
    return [
        f"data      {visible(sequence.source)}: {sequence.summary}",
        f"model     {titles}; hidden size {options.hidden}, {options.dtype}, seed {options.seed}",
        f"training  {training if options.train else 'none'}",
        "",
    ]


def _figures(study: WordStudy) -> dict[str, bytes]:
    # Not before it is needed: importing matplotlib takes longer than refusing a bad option.
    from lstmgrad import plot

    # A dollar sign would begin mathematics.
    labels = [visible(word)[:20].replace("$", r"\$") for word in study.words[:-1]]
    thin = {"linewidth": 1.3, "markersize": 3}

    def draw(ax) -> None:
        for name, parts in study.parts.items():
            plot.contributions(parts, labels=labels, label=CELLS[name].title, ax=ax, **thin)
        ax.set_title(study.title, fontsize=8, loc="left")
        ax.legend()

    with warnings.catch_warnings():
        # A script that the font lacks is drawn as boxes; the table has the words.
        warnings.filterwarnings("ignore", message="Glyph ")
        figure = plot.page([draw], width=max(3.4, min(7.0, 1.5 + 0.22 * len(labels))), height=2.8)
        return {name: plot.encode(figure, name.rpartition(".")[2]) for name in FIGURES}
