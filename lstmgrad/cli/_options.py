"""The options of the command line and what each may be."""

import argparse
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

from lstmgrad import __version__
from lstmgrad.cli._error import CommandError
from lstmgrad.cli._models import CELLS

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
"""


class Options(NamedTuple):
    """What the user asked for.

    Attributes:
        input: the file to read; None is the built-in text.
        cells: names from `CELLS`, in the order of the rows.
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


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise CommandError(f"{message}; see --help")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="lstmgrad",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
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
        help=f"cells to compare, separated by commas (default: {','.join(CELLS)})",
    )
    option(
        "--hidden",
        type=_whole(1),
        metavar="UNITS",
        default=64,
        help="hidden units of each cell (default: 64)",
    )
    option(
        "--length",
        type=_whole(1),
        metavar="STEPS",
        help="analyze the first STEPS steps, from the zero state "
        f"(default: {DEFAULT_LENGTH}, or the whole input if that is shorter)",
    )
    option(
        "--train",
        type=_whole(0),
        metavar="STEPS",
        default=300,
        help="training steps; 0 for none (default: 300)",
    )
    option(
        "--seed",
        type=_whole(0, 2**32 - 1),
        metavar="N",
        default=0,
        help="of parameters and training windows; the same seed gives the same files (default: 0)",
    )
    option(
        "--lags",
        type=_lags,
        metavar="LAGS",
        help="lags to print, separated by commas (default: 1,10,50,100,... up to the length)",
    )
    option(
        "--dtype",
        choices=("float32", "float64"),
        default="float32",
        help="precision of model and analysis (default: float32)",
    )
    option(
        "--out",
        type=Path,
        metavar="DIR",
        default=Path("lstmgrad-out"),
        help="directory for the results, made if missing (default: lstmgrad-out)",
    )
    option("--version", action="version", version=f"lstmgrad {__version__}")
    return parser


def _whole(least: int, most: int | None = None) -> Callable[[str], int]:
    wanted = f"a whole number, {least} or more" + ("" if most is None else f", {most} at most")

    def convert(text: str) -> int:
        # int() would take "1_000", too, and refuses more than 4300 digits in its own words.
        number = int(text) if re.fullmatch(r"[+-]?[0-9]{1,18}", text.strip()) else None
        if number is None or number < least or (most is not None and number > most):
            raise argparse.ArgumentTypeError(f"expected {wanted}, but came {text!r}")
        return number

    return convert


def _cells(text: str) -> tuple[str, ...]:
    names = tuple(name.strip().lower() for name in text.split(","))
    for position, name in enumerate(names):
        if name not in CELLS:
            known = ", ".join(CELLS)
            raise argparse.ArgumentTypeError(f"unknown cell {name!r}; the known ones are {known}")
        if name in names[:position]:
            raise argparse.ArgumentTypeError(f"cell {name!r} is named twice")
    return names


def _lags(text: str) -> tuple[int, ...]:
    convert = _whole(0)
    return tuple(sorted({convert(item) for item in text.split(",")}))
