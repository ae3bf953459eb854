"""The options of ``compare``, and what each may be."""

import argparse
import textwrap
from collections.abc import Sequence as Arguments
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lstmgrad import __version__
from lstmgrad.cli._shared.error import CommandError
from lstmgrad.cli._shared.kinds import CELLS, KINDS
from lstmgrad.cli._shared.parser import (
    FIGURES,
    OUT,
    Parser,
    add_common,
    add_seed,
    add_whole,
    check_whole,
    whole,
)
from lstmgrad.cli._shared.reading import TABLES, add_reading
from lstmgrad.cli._shared.sequences import Sequence
from lstmgrad.cli._shared.tables import Reading
from lstmgrad.cli._shared.weights import Weights, add_weights

DEFAULT_LENGTH = 200
DEFAULT_SEQUENCES = 8

_DESCRIPTION = """\
How far does the gradient reach in an RNN, a GRU and an LSTM, or in a trained
network of your own?

Runs each cell over a sequence, at initialization and after a short training,
and measures the spectral norm of ds_T/ds_k exactly, for every lag T - k up to
--length: for each part s of a cell's state, such as the hidden state h and the
cell state c of the LSTM, and for the additive path of c alone. Prints a table;
writes compare.png and compare.svg (the figure), compare.npz (the curves) and
compare.json (the table) into the --out directory.

With --weights, measures the network in that file instead of the cells, as it
is, on the numbers of --input: every part of its state and, in a stack, the top
layer with respect to the lowest.
"""

_EPILOG = """\
input files:
  .txt   text in UTF-8; one-hot characters, trained to predict the next one
@TABLES@
  .npy   of shape (N, T, d): N sequences, analyzed one by one; the numbers and
         curves are then medians over them, in bands
         Cells are trained to predict the next row. Columns are standardized to
         mean 0 and standard deviation 1, constant ones only centered; with
         --weights they stay as they are, because the weights expect the scale
         they were trained on.

cells (all of them at 64 units take about two minutes of two cores):
@CELLS@

examples:
  python -m lstmgrad compare
      the whole comparison on the Zen of Python, in under a minute
  python -m lstmgrad compare --input weather.csv --length 500 --lags 1,24,168
      a time series of your own, read at the lags of an hour, a day, a week
  python -m lstmgrad compare --input weather.csv --sequences 16
      the same over 16 stretches of it: medians and bands
  python -m lstmgrad compare --weights model.safetensors --input data.npy
      a network that was trained in PyTorch, on the numbers that it reads
  python -m lstmgrad compare --cells lstm --train 0 --dtype float64
      one cell at initialization, in double precision

What the gradient reaches can be learned; what a network remembers is shown by
  python -m lstmgrad recall
"""


class Cells(NamedTuple):
    """Cells that are made and trained here.

    Attributes:
        cells: names from `KINDS`, in the order of the rows.
        hidden: hidden units of each cell.
        train: training steps.
        seed: of the parameters and the training windows.
    """

    cells: tuple[str, ...] = tuple(CELLS)
    hidden: int = 64
    train: int = 300
    seed: int = 0


class Options(NamedTuple):
    """What the user asked for.

    Attributes:
        source: where the model comes from.
        input: the file to read; None is the built-in text.
        reading: which columns of a table in it, and what closes gaps.
        length: steps to analyze; None is `DEFAULT_LENGTH` or all there are, if fewer.
        sequences: how many are analyzed at most; None is `DEFAULT_SEQUENCES` of a file that holds
            several, and otherwise one.
        lags: the table's columns; None chooses them by the length.
        dtype: "float32" or "float64".
        out: the directory for the results.
        figures: the endings of the files of the figure.
    """

    source: Cells | Weights
    input: Path | None = None
    reading: Reading = Reading()
    length: int | None = None
    sequences: int | None = None
    lags: tuple[int, ...] | None = None
    dtype: str = "float32"
    out: Path = OUT
    figures: tuple[str, ...] = FIGURES


def parse(argv: Arguments[str]) -> Options:
    """Returns the options that the arguments ask for.

    Args:
        argv: the arguments after the command.

    Raises:
        CommandError: an argument is unknown, or its value is not one it may have.
        SystemExit: after ``--help`` and ``--version``.
    """
    given = vars(_parser().parse_args(argv))
    cells, weights = _taken(given, Cells), _taken(given, Weights)
    given["reading"] = Reading(**_taken(given, Reading))
    if "weights" not in weights:
        if weights:
            raise CommandError(f"--{min(weights)}: expected --weights, the file that it is about")
        return Options(Cells(**cells), **given)
    if cells:
        raise CommandError(f"--{min(cells)}: expected no such option beside --weights")
    return Options(Weights(**weights), **given)


def span(options: Options, sequence: Sequence) -> tuple[int, tuple[int, ...]]:
    """Returns the steps to analyze, and the lags to print.

    Args:
        options: from `parse`.
        sequence: what is analyzed.

    Raises:
        CommandError: the sequence is shorter than what was asked for.
    """
    length = min(DEFAULT_LENGTH, available := sequence.steps)
    if options.length is not None:
        why = f"because {sequence.source} has {available} {sequence.unit}s"
        length = check_whole(options.length, "--length", 1, most=available, why=why)
    if options.lags is not None:
        check_whole(options.lags[-1], "--lags", 0, most=length, why="the length")
        return length, options.lags
    round_lags = (1, 10, 50, 100) if length < 1000 else (1, 10, 100, 1000, 10**4)
    # A round lag just short of the last one would tell nothing new.
    return length, (*(lag for lag in round_lags if 1.3 * lag < length), length)


def analyzed(options: Options, sequence: Sequence, length: int) -> np.ndarray:
    """Returns (N, length, ...), what is analyzed: one stretch, several of them, or sequences.

    Args:
        options: from `parse`.
        sequence: what was read.
        length: from `span`.
    """
    most = options.sequences or (DEFAULT_SEQUENCES if sequence.pieces > 1 else 1)
    return sequence.stretches(length, most)


def _taken(
    given: dict[str, Any], record: type[Cells] | type[Weights] | type[Reading]
) -> dict[str, Any]:
    """Moves the options of one record out of those that were given."""
    return {name: given.pop(name) for name in record._fields if name in given}


def _parser() -> Parser:
    names = textwrap.fill(", ".join(KINDS), 76, initial_indent="  ", subsequent_indent="  ")
    parser = Parser(
        "lstmgrad compare",
        _DESCRIPTION,
        _EPILOG.replace("@CELLS@", names).replace("@TABLES@", TABLES),
    )
    option, defaults = parser.add_argument, Cells._field_defaults
    option(
        "--input",
        type=Path,
        metavar="FILE",
        help="a text or a table of numbers (default: the Zen of Python, from the standard library)",
    )
    add_reading(parser)
    add_weights(parser, "analyzed instead of --cells on the numbers of --input as they are")
    option(
        "--cells",
        type=_cells,
        metavar="NAMES",
        help="cells to compare, separated by commas, or all; the names are below "
        f"(default: {','.join(CELLS)})",
    )
    add_whole(parser, "--hidden", 1, defaults["hidden"], "UNITS", "hidden units of each cell")
    what = "analyze the first STEPS steps, from the zero state"
    length = f"{DEFAULT_LENGTH}, or the whole input if that is shorter"
    add_whole(parser, "--length", 1, length, "STEPS", what)
    what = "sequences to analyze at most: stretches of one that is longer, spread evenly"
    several = f"1, or {DEFAULT_SEQUENCES} of a file that holds several"
    add_whole(parser, "--sequences", 1, several, "N", what)
    add_whole(parser, "--train", 0, defaults["train"], "STEPS", "training steps; 0 for none")
    option(
        "--lags",
        type=_lags,
        metavar="LAGS",
        help="lags to print, separated by commas (default: 1,10,50,100,... up to the length)",
    )
    add_seed(parser, "parameters and training windows")
    add_common(parser)
    option("--version", action="version", version=f"lstmgrad {__version__}")
    return parser


def _cells(text: str) -> tuple[str, ...]:
    names = tuple(name.strip().lower() for name in text.split(","))
    if names == ("all",):
        return tuple(KINDS)
    for position, name in enumerate(names):
        if name not in KINDS:
            known = ", ".join(KINDS)
            raise argparse.ArgumentTypeError(
                f"unknown cell {name!r}; the known ones are {known}, or all for all of them"
            )
        if name in names[:position]:
            raise argparse.ArgumentTypeError(f"cell {name!r} is named twice")
    return names


def _lags(text: str) -> tuple[int, ...]:
    convert = whole("--lags", 0)
    return tuple(sorted({convert(item) for item in text.split(",")}))
