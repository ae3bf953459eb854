"""The comparison: cells over one sequence, before and after training; or a network of a file."""

import textwrap
from collections.abc import Iterable

import jax
import jax.numpy as jnp

import lstmgrad as lg
from lstmgrad.cli._shared.console import say
from lstmgrad.cli._shared.error import CommandError
from lstmgrad.cli._shared.outputs import output_directory, write_whole
from lstmgrad.cli._shared.sequences import Sequence, read_sequence
from lstmgrad.cli._shared.training import BATCH, KINDS, build, evaluator, train, window_size
from lstmgrad.cli.compare._files import curves_file, table_file
from lstmgrad.cli.compare._options import DEFAULT_LENGTH, Options
from lstmgrad.cli.compare._report import loss_table, norm_table, reading
from lstmgrad.cli.compare._study import INITIAL, THRESHOLD, TRAINED, Curve, Study, stage_title
from lstmgrad.cli.compare._weights import Trained, read_trained

DRAWN = 20
"""Curves in a panel: as many as colors and dashes can tell apart."""

FIGURES = ("norms.png", "norms.svg")
FILES = (*FIGURES, "norms.npz", "table.json")


def compare(options: Options) -> None:
    """Runs the comparison, prints its tables and writes its files.

    Args:
        options: what the user asked for.

    Raises:
        CommandError: the input, the lengths or the output directory will not do; nothing is
            written then.
    """
    trained = None
    if options.weights is not None:
        trained = read_trained(options, options.weights)
        options = options._replace(cells=(trained.kind,), hidden=trained.units)
    sequence = read_sequence(options.input) if trained is None else trained.sequence
    length = _length(options, sequence)
    lags = _lags(options, length)
    parts = {name: KINDS[name].parts(options.hidden) for name in options.cells}
    with output_directory(options.out, FILES):
        say(*_preamble(options, sequence, length, trained))
        dtype = jnp.dtype(options.dtype)
        curves, losses, steps = [], {}, None
        if trained is not None:
            curves = _measure_trained(trained, length)
        else:
            steps = options.train
            for name in options.cells:
                of_cell, losses[name] = _measure(
                    name, parts[name], sequence, length, options, dtype
                )
                curves += of_cell
        study = Study(tuple(curves), losses, lags, length, steps, sequence)
        say(
            *(loss_table(study) if losses else ()),
            *norm_table(study),
            textwrap.fill(reading(study), 79),
            "",
        )
        # Nothing is written before everything is computed and drawn.
        contents = {
            **_figures(study),
            "norms.npz": curves_file(study, options),
            "table.json": table_file(study, options),
        }
        write_whole(options.out, contents)
        if (count := len({(curve.cell, curve.part, curve.wrt) for curve in curves})) > DRAWN:
            say(f"The figure shows the first {DRAWN} of {count} curves; norms.npz has them all.")
        say(f"Wrote {', '.join(FILES)} into {options.out}")


def _measure(
    name: str,
    parts: tuple[str, ...],
    sequence: Sequence,
    length: int,
    options: Options,
    dtype: jnp.dtype,
) -> tuple[list[Curve], dict[str, float]]:
    """The norm profiles and the loss of one cell, by stage."""
    kind = KINDS[name]
    model = build(kind, sequence, options.hidden, dtype)
    rows = jnp.asarray(sequence.rows, jnp.int32 if sequence.symbolic else dtype)
    key = jax.random.fold_in(jax.random.key(options.seed), kind.number)
    init_key, train_key = jax.random.split(key)
    loss_of = evaluator(model, rows)

    @jax.jit
    def analyze(params, rows):
        inputs = model.encode(rows)
        trajectory = lg.unroll(model.cell.step, params, model.cell.initial_state(), inputs)
        chain = kind.linearize(model.cell.step, params, trajectory)
        return _profiles(chain, zip(parts, parts, strict=True))

    def measured(stage: str, params) -> list[Curve]:
        found = jax.device_get(analyze(params.cell, rows[:length]))
        return [
            Curve(name, part, stage, profile, float(rate), float(horizon))
            for part, (profile, rate, horizon) in zip(parts, found, strict=True)
        ]

    params = jax.jit(model.init)(init_key)
    curves, losses = measured(INITIAL, params), {INITIAL: float(loss_of(params))}
    if options.train:
        params = train(model, params, rows, train_key, options.train, kind.title)
        curves += measured(TRAINED, params)
        losses[TRAINED] = float(loss_of(params))
    curves.sort(key=lambda curve: parts.index(curve.part))
    return curves, losses


def _measure_trained(trained: Trained, length: int) -> list[Curve]:
    """The norm profiles of a trained network."""
    model, blocks = trained.model, trained.blocks
    inputs = jnp.asarray(trained.sequence.rows[:length], model.state[0].dtype)

    @jax.jit
    def analyze(params, inputs):
        trajectory = lg.unroll(model.step, params, model.state, inputs)
        return _profiles(lg.linearize(model.step, params, trajectory), blocks)

    found = jax.device_get(analyze(model.params, inputs))
    return [
        Curve(trained.kind, part, TRAINED, profile, float(rate), float(horizon))
        for (part, _), (profile, rate, horizon) in zip(blocks, found, strict=True)
    ]


def _profiles(
    chain: lg.Chain, blocks: Iterable[tuple[str, str]]
) -> list[tuple[lg.NormProfile, jax.Array, jax.Array]]:
    """Of each block, a part by a part, its profile, decay rate and horizon."""
    profiles = [lg.backward_norms(chain, of=of, wrt=wrt) for of, wrt in blocks]
    return [(p, lg.decay_rate(p), lg.horizon(p, THRESHOLD)) for p in profiles]


def _length(options: Options, sequence: Sequence) -> int:
    available = len(sequence.rows)
    if options.length is None:
        return min(DEFAULT_LENGTH, available)
    if options.length > available:
        raise CommandError(
            f"--length: expected {available} at most, because {sequence.source} has {available} "
            f"{sequence.unit}s, but got {options.length}"
        )
    return options.length


def _lags(options: Options, length: int) -> tuple[int, ...]:
    if options.lags is None:
        round_lags = (1, 10, 50, 100) if length < 1000 else (1, 10, 100, 1000, 10**4)
        # A round lag just short of the last one would tell nothing new.
        return (*(lag for lag in round_lags if 1.3 * lag < length), length)
    if options.lags[-1] > length:
        raise CommandError(
            f"--lags: expected lags from 0 to {length}, the length, but got {options.lags[-1]}"
        )
    return options.lags


def _preamble(
    options: Options, sequence: Sequence, length: int, trained: Trained | None
) -> list[str]:
    titles = ", ".join(KINDS[name].title for name in options.cells)
    window, unit = window_size(len(sequence.rows)), sequence.unit
    training = f"{options.train} steps of Adam on the next {unit}, {BATCH} windows of {window} each"
    made = f"hidden size {options.hidden}, {options.dtype}, seed {options.seed}"
    if trained is not None:
        made, training = trained.summary, f"as it is in {options.weights}"
    elif not options.train:
        training = "none"
    model = textwrap.wrap(f"{titles}; {made}", 69)
    return [
        f"data      {sequence.source}",
        f"          {sequence.summary}",
        f"model     {model[0]}",
        *(f"          {line}" for line in model[1:]),
        f"training  {training}",
        f"analysis  first {length} steps from the zero state",
        "",
    ]


def _figures(study: Study) -> dict[str, bytes]:
    # Not before it is needed: importing matplotlib takes longer than refusing a bad option.
    from lstmgrad import plot

    panels: dict[str, list[tuple[str, lg.NormProfile]]] = {}
    for curve in study.curves:
        named = panels.setdefault(stage_title(curve.stage, study.steps), [])
        label = f"${curve.part}$" if curve.wrt == curve.part else f"${curve.part}$ by ${curve.wrt}$"
        if study.steps is not None:  # one of several cells
            label = f"{KINDS[curve.cell].title} {label}"
        named.append((label, curve.profile))
    drawn = {title: named[:DRAWN] for title, named in panels.items()}
    figure = plot.comparison(drawn, threshold=THRESHOLD)
    return {name: plot.encode(figure, name.rpartition(".")[2]) for name in FIGURES}
