"""The options that say what is read of a table, and the help on the files."""

import argparse
import csv

from lstmgrad.cli._shared.parser import Parser
from lstmgrad.cli._shared.tables import FILLS

TABLES = """\
  .csv   rows of numbers, one row per step, with or without a line of names,
  .tsv   between blanks, commas, semicolons or tabs; decimal commas are detected
  .npy   an array of shape (T, d) or (T,)
  .parquet, .xlsx (the first sheet), by pandas: pip install "lstmgrad[tables]"
         Columns of dates and words are left out; --columns chooses, and --fill
         closes gaps."""


def add_reading(parser: Parser) -> None:
    """Adds ``--columns`` and ``--fill``.

    Args:
        parser: where to add them.
    """
    parser.add_argument(
        "--columns",
        type=_names,
        metavar="NAMES",
        help="columns of a table in --input, by name or number, separated by commas (default: all "
        "that hold numbers)",
    )
    parser.add_argument(
        "--fill",
        choices=tuple(FILLS),
        help="what closes gaps in --input: the number before them, or a line between their "
        "neighbors (default: gaps are refused)",
    )


def _names(text: str) -> tuple[str, ...]:
    """Names between commas; those with a comma in them stand between quotes."""
    try:
        rows = list(csv.reader([text], skipinitialspace=True, strict=True))
    except csv.Error:
        rows = []
    names = tuple(name.strip() for row in rows for name in row)
    if not all(names) or not names:
        raise argparse.ArgumentTypeError(
            f"expected names of columns, separated by commas, but got {text!r}"
        )
    return names
