"""The options of the comparison and what each may be."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from lstmgrad import __version__
from lstmgrad.cli._models import CELLS, KINDS
from lstmgrad.cli._parser import Parser, add_common, add_whole, whole

DEFAULT_LENGTH = 200

_DESCRIPTION = """\
How far does the gradient reach in an RNN, a GRU and an LSTM?

Runs each cell over a sequence, at initialization and after a short training,
and measures the spectral norm of ds_T/ds_k exactly, for every lag T - k up to
--length: for the hidden state h of each cell, and for the cell state c of the
LSTM. Prints a table; writes norms.png and norms.svg (the figure), norms.npz
(the curves) and table.json into the --out directory.
"""

_EPILOG = """\
input files:
  .txt   text in UTF-8; one-hot characters, trained to predict the next one
  .csv   rows of numbers, one step a row, with or without a line of names;
  .npy   an array of shape (T, d) or (T,); trained to predict the next row.
         Columns are standardized to mean 0 and standard deviation 1; a
         constant column is only centered.

examples:
  python -m lstmgrad
      the whole comparison on the Zen of Python, in under a minute
  python -m lstmgrad --input weather.csv --length 500 --lags 1,24,168,500
      a time series of your own, read at the lags of an hour, a day, a week
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
    return Options(**vars(_parser().parse_args(argv)))


def _parser() -> Parser:
    parser = Parser("lstmgrad", _DESCRIPTION, _EPILOG)
    option = parser.add_argument
    option(
        "--input",
        type=Path,
        metavar="FILE",
        help="a .txt, .csv or .npy file (default: the Zen of Python, from the standard library)",
    )
    option(
        "--cells",
        type=_cells,
        metavar="NAMES",
        default=tuple(CELLS),
        help=f"cells to compare, separated by commas (default: {','.join(CELLS)}), of "
        f"{', '.join(KINDS)}",
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
    for position, name in enumerate(names):
        if name not in KINDS:
            known = ", ".join(KINDS)
            raise argparse.ArgumentTypeError(f"unknown cell {name!r}; the known ones are {known}")
        if name in names[:position]:
            raise argparse.ArgumentTypeError(f"cell {name!r} is named twice")
    return names


def _lags(text: str) -> tuple[int, ...]:
    convert = whole(0)
    return tuple(sorted({convert(item) for item in text.split(",")}))
