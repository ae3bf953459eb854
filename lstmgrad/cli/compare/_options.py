"""The options of the comparison and what each may be."""

import argparse
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from lstmgrad import __version__
from lstmgrad.cli._shared.error import CommandError
from lstmgrad.cli._shared.parser import Parser, add_common, add_whole, whole
from lstmgrad.cli._shared.training import CELLS, KINDS

DEFAULT_LENGTH = 200
_OF_CELLS = {"--cells", "--hidden", "--train", "--seed"}
_OF_WEIGHTS = {"--prefix", "--layer", "--direction", "--activation"}

_DESCRIPTION = """\
How far does the gradient reach in an RNN, a GRU and an LSTM, or in a trained
network of your own?

Runs each cell over a sequence, at initialization and after a short training,
and measures the spectral norm of ds_T/ds_k exactly, for every lag T - k up to
--length: for each part s of a cell's state, such as the hidden state h and the
cell state c of the LSTM. Prints a table; writes norms.png and norms.svg (the
figure), norms.npz (the curves) and table.json into the --out directory.

With --weights, measures the network in the file in place of the cells, as it
is, on the numbers of --input: every part of its state, and the top layer by
the lowest.
"""

_EPILOG = """\
input files:
  .txt   text in UTF-8; one-hot characters, trained to predict the next one
  .csv   rows of numbers, one step a row, with or without a line of names;
  .npy   an array of shape (T, d) or (T,); trained to predict the next row.
         Columns are standardized to mean 0 and standard deviation 1; a
         constant column is only centered. With --weights they stay as they
         are, because the weights expect the scale they were trained on.

cells (all of them at 64 units take several minutes):
@CELLS@

examples:
  python -m lstmgrad
      the whole comparison on the Zen of Python, in under a minute
  python -m lstmgrad --input weather.csv --length 500 --lags 1,24,168,500
      a time series of your own, read at the lags of an hour, a day, a week
  python -m lstmgrad --weights model.safetensors --input data.npy
      a network that was trained in PyTorch, on the numbers that it reads
  python -m lstmgrad --cells lstm --train 0 --dtype float64 --out at-init
      one cell at initialization, in double precision

other commands, each with its own --help (this one is also called compare):
  python -m lstmgrad words "ten words of your own"
      what each word adds to the gradient
  python -m lstmgrad depth --layers 10
      the gradient through a stack of layers, factor by factor
"""


class Options(NamedTuple):
    """What the user asked for.

    Attributes:
        input: the file to read; None is the built-in text.
        weights: a file of a trained network; None is to train the cells.
        prefix: which network of that file.
        layer: which of its layers; None is all.
        direction: of a bidirectional one.
        activation: of a plain one, "tanh" or "relu".
        cells: names from `KINDS`, in the order of the rows.
        hidden: hidden units of each cell.
        length: steps to analyze; None is `DEFAULT_LENGTH` or all there are, if fewer.
        train: training steps.
        seed: of the parameters and the training windows.
        lags: the table's columns; None chooses them by the length.
        dtype: "float32" or "float64".
        out: the directory for the results.
    """

    input: Path | None
    weights: Path | None
    prefix: str | None
    layer: int | None
    direction: str | None
    activation: str | None
    cells: tuple[str, ...]
    hidden: int
    length: int | None
    train: int
    seed: int
    lags: tuple[int, ...] | None
    dtype: str
    out: Path


def parse(argv: Sequence[str]) -> Options:
    """Returns the options that the arguments ask for.

    Args:
        argv: the arguments after the program's name.

    Raises:
        CommandError: an argument is unknown, or its value is not one it may have.
        SystemExit: after ``--help`` and ``--version``.
    """
    options = Options(**vars(_parser().parse_args(argv)))
    given = {word.partition("=")[0] for word in argv}
    if options.weights is None and (unused := sorted(given & _OF_WEIGHTS)):
        raise CommandError(f"{unused[0]}: expected a --weights file that it is about")
    if options.weights is not None and (unused := sorted(given & _OF_CELLS)):
        raise CommandError(f"{unused[0]}: expected no such option beside --weights")
    return options


def _parser() -> Parser:
    names = textwrap.fill(", ".join(KINDS), 76, initial_indent="  ", subsequent_indent="  ")
    parser = Parser("lstmgrad", _DESCRIPTION, _EPILOG.replace("@CELLS@", names))
    option = parser.add_argument
    option(
        "--input",
        type=Path,
        metavar="FILE",
        help="a .txt, .csv or .npy file (default: the Zen of Python, from the standard library)",
    )
    option(
        "--weights",
        type=Path,
        metavar="FILE",
        help="a .safetensors or .pt file of a trained LSTM, GRU or RNN of PyTorch, analyzed on the "
        "numbers of --input as they are, in place of --cells; no code in it is run",
    )
    option("--prefix", metavar="NAME", help="which network of --weights, if there are several")
    option("--layer", type=whole(0), metavar="N", help="one layer of --weights (default: all)")
    option("--direction", choices=("forward", "reverse"), help="of a bidirectional --weights")
    option("--activation", choices=("tanh", "relu"), help="of an RNN in --weights")
    option(
        "--cells",
        type=_cells,
        metavar="NAMES",
        default=tuple(CELLS),
        help="cells to compare, separated by commas, or all; the names are below "
        f"(default: {','.join(CELLS)})",
    )
    add_whole(parser, "--hidden", 1, 64, "UNITS", "hidden units of each cell")
    option(
        "--length",
        type=whole(1),
        metavar="STEPS",
        help="analyze the first STEPS steps, from the zero state "
        f"(default: {DEFAULT_LENGTH}, or the whole input if that is shorter)",
    )
    add_whole(parser, "--train", 0, 300, "STEPS", "training steps; 0 for none")
    option(
        "--lags",
        type=_lags,
        metavar="LAGS",
        help="lags to print, separated by commas (default: 1,10,50,100,... up to the length)",
    )
    add_common(parser, "parameters and training windows")
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
                f"unknown cell {name!r}; the known ones are {known}, or all of them by the name all"
            )
        if name in names[:position]:
            raise argparse.ArgumentTypeError(f"cell {name!r} is named twice")
    return names


def _lags(text: str) -> tuple[int, ...]:
    convert = whole(0)
    return tuple(sorted({convert(item) for item in text.split(",")}))
