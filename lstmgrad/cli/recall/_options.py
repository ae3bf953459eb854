"""The options of ``recall``, and what each may be."""

import argparse
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax

import lstmgrad as lg
from lstmgrad.cli._shared.error import CommandError
from lstmgrad.cli._shared.kinds import KINDS
from lstmgrad.cli._shared.networks import CHRONO, DEFAULT_CELLS
from lstmgrad.cli._shared.parser import (
    FIGURES,
    OUT,
    Parser,
    add_common,
    add_seed,
    add_whole,
    check_whole,
)

_DESCRIPTION = """\
Why does a plain RNN forget the first word, how does the LSTM keep it, and when
does the LSTM forget, too?

Trains each kind of network to recall the first symbol of a sequence after
nothing but noise, from several seeds, and measures before and after: the
gradient that comes back over the delay, how much of it comes through the
additive path of the cell alone, what is recalled at which delay, and how far
the state moves when the first symbol is another one. Prints two tables and
what they say; writes recall.png and recall.svg (the figure), recall.npz (the
curves) and recall.json (all numbers) into the --out directory.
"""

_EPILOG = """\
cells:
@CELLS@
  and any of them that has a forget gate with +chrono behind it: its biases
  start spread over time constants from 1 to T (Tallec & Ollivier 2018).

tasks:
@TASKS@

examples:
  python -m lstmgrad
      the whole story, in about a minute
  python -m lstmgrad --delay 300 --train 1000 --seeds 5
      a longer delay
  python -m lstmgrad --task copy --delay 50 --cells gru,gru+chrono
      another task, and another cell that forgets

other commands, each with its own --help (this one is also called recall):
  python -m lstmgrad diagnose --weights model.safetensors --input data.npy
      what is wrong with a network of your own, and what helps
  python -m lstmgrad compare --input book.txt
      how far the gradient reaches on a text or on numbers of your own
  python -m lstmgrad words "ten words of your own"
      what each word adds to the gradient
  python -m lstmgrad depth --layers 10
      the gradient through a stack of layers, factor by factor
"""


class Options(NamedTuple):
    """What the user asked for.

    Attributes:
        task: a name from `lg.tasks.registry()`.
        delay: the delay that is trained at.
        cells: names from `KINDS`, some with `CHRONO` behind them.
        seeds: networks of each kind.
        hidden: hidden units of each network.
        train: training steps.
        longest: the longest delay at which the score is measured.
        seed: of everything that is drawn.
        dtype: "float32" or "float64".
        out: the directory for the results.
        figures: the endings of the files of the figure.
    """

    task: str = "delayed_recall"
    delay: int = 99
    cells: tuple[str, ...] = DEFAULT_CELLS
    seeds: int = 3
    hidden: int = 32
    train: int = 350
    longest: int = 10_000
    seed: int = 0
    dtype: str = "float32"
    out: Path = OUT
    figures: tuple[str, ...] = FIGURES


def parse(argv: Sequence[str]) -> Options:
    """Returns the options that the arguments ask for.

    Args:
        argv: the arguments after the command.

    Raises:
        CommandError: an argument is unknown, or its value is not one it may have.
        SystemExit: after ``--help`` and ``--version``.
    """
    options = Options(**vars(_parser().parse_args(argv)))
    least = _task(options.task).least_delay
    check_whole(options.delay, "--delay", least)
    if "longest" in options._fields and options.longest < options.delay:
        raise CommandError(
            f"--longest: expected a whole number, {options.delay} or more, because that is the "
            f"delay that is trained at, but got {options.longest}"
        )
    return options


def _task(name: str) -> lg.tasks.Task:
    try:
        return lg.tasks.registry()[name]()
    except ImportError as error:
        raise CommandError(f"--task: {error}".removesuffix(".")) from None


def _parser() -> Parser:
    names = [
        textwrap.fill(", ".join(each), 76, initial_indent="  ", subsequent_indent="  ")
        for each in (KINDS, lg.tasks.registry())
    ]
    epilog = _EPILOG.replace("@CELLS@", names[0]).replace("@TASKS@", names[1])
    parser = Parser("lstmgrad", _DESCRIPTION, epilog)
    option, defaults = parser.add_argument, Options._field_defaults
    option(
        "--task",
        choices=tuple(lg.tasks.registry()),
        metavar="NAME",
        help="what is to be remembered; the names are below (default: delayed_recall)",
    )
    delay = "steps over which it has to be remembered"
    add_whole(parser, "--delay", 1, defaults["delay"], "STEPS", delay)
    option(
        "--cells",
        type=_cells,
        metavar="NAMES",
        help="kinds of networks, separated by commas; the names are below "
        f"(default: {','.join(DEFAULT_CELLS)})",
    )
    add_whole(parser, "--seeds", 1, defaults["seeds"], "COUNT", "networks of each kind")
    add_whole(parser, "--hidden", 1, defaults["hidden"], "UNITS", "hidden units of each network")
    add_whole(parser, "--train", 0, defaults["train"], "STEPS", "training steps; 0 for none")
    longest = "the longest delay at which recall is measured"
    add_whole(parser, "--longest", 1, defaults["longest"], "STEPS", longest)
    add_seed(parser, "the first network of each kind and of all sequences")
    add_common(parser)
    option("--version", action="version", version=f"lstmgrad {lg.__version__}")
    return parser


def _cells(text: str) -> tuple[str, ...]:
    names = tuple(name.strip().lower() for name in text.split(","))
    for position, name in enumerate(names):
        kind = name.removesuffix(CHRONO)
        if kind not in KINDS:
            raise argparse.ArgumentTypeError(
                f"unknown cell {kind!r}; the known ones are {', '.join(KINDS)}"
            )
        if name != kind and not _forgets(kind):
            raise argparse.ArgumentTypeError(
                f"expected a cell with a forget gate in front of {CHRONO}, but {kind} has none"
            )
        if name in names[:position]:
            raise argparse.ArgumentTypeError(f"cell {name!r} is named twice")
    return names


def _forgets(kind: str) -> bool:
    params = jax.eval_shape(KINDS[kind].make(1, 1).init, jax.random.key(0))
    return hasattr(type(params), "forget_gate")
