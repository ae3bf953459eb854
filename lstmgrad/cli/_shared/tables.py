"""Tables of numbers in files: which columns hold numbers, which of them are read, and their gaps.

A column is one of numbers if there is a number in it; dates and words are left out, and a note says
so. What is no number in a column of numbers is a gap, which `Reading.fill` closes, or text, which
is refused in a sentence that names the line and the column, counted from 1.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal, NamedTuple

import numpy as np

from lstmgrad.cli._shared.console import listed
from lstmgrad.cli._shared.error import CommandError

Fill = Literal["previous", "linear"]
FILLS: dict[Fill, str] = {
    "previous": "the number before them",
    "linear": "a line between their neighbors",
}
"""What gaps are filled with, in words."""

DECIMAL_COMMA = re.compile(r"[+-]?(\d+,\d*|,\d+)([eE][+-]?\d+)?")
"""A number as it is written where the decimal sign is a comma."""


COMMAS = "decimal commas"
"""A note on a file."""


class Reading(NamedTuple):
    """What is read of a table.

    Attributes:
        columns: names, or numbers from 1; None is all that hold numbers.
        fill: what closes gaps; None refuses them.
    """

    columns: tuple[str, ...] | None = None
    fill: Fill | None = None


NUMBERS = Reading()
"""All columns that hold numbers, without gaps."""


class Column(NamedTuple):
    """A column of a table.

    Attributes:
        values: (N,) float64, NaN where there is no number.
        texts: by row, what is neither a finite number nor a gap.
        name: from the line of names, if there is one.
    """

    values: np.ndarray
    texts: Mapping[int, str] = MappingProxyType({})
    name: str | None = None

    @property
    def numeric(self) -> bool:
        """Whether there is a number in it."""
        return not np.isnan(self.values).all()


class Table(NamedTuple):
    """What a file holds.

    Attributes:
        source: the file.
        columns: all of them, with the same number of rows.
        places: of every row in the file, from 1.
        unit: what these places count, "line" or "row".
        notes: what was found out about the file.
    """

    source: Path
    columns: list[Column]
    places: range | list[int]
    unit: str = "row"
    notes: tuple[str, ...] = ()

    def called(self, index: int) -> str:
        """Returns "column 2", with its name if it has one.

        Args:
            index: of the column, from 0.
        """
        name = self.columns[index].name
        return f"column {index + 1}" + (f" ({name!r})" if name else "")


def numbers_of(table: Table, reading: Reading) -> tuple[np.ndarray, tuple[str, ...]]:
    """Returns the numbers that are read, (N, d), and notes on what was left out and filled in.

    Args:
        table: from one of the readers of `table_files`.
        reading: which columns, and what is done with gaps.

    Raises:
        CommandError: there are no numbers, or no such columns; a column has text among its numbers,
            infinities, or gaps that nothing fills.
    """
    count, width = len(table.places), len(table.columns)
    if count < 2 or width < 1:
        raise CommandError(
            f"{table.source}: expected at least 2 rows of 1 or more numbers, but it has {count} x "
            f"{width}"
        )
    chosen, notes = _chosen(table, reading.columns), table.notes
    if reading.columns is None:
        notes += tuple(_left_out(table, index) for index in _without_numbers(table))
    columns = [table.columns[index] for index in chosen]
    _check_numbers(table, chosen, reading.fill)
    values = np.stack([column.values for column in columns], axis=-1)
    if (gaps := int(np.isnan(values).sum())) and reading.fill is not None:
        values = np.stack([_filled(column.values, reading.fill) for column in columns], axis=-1)
        notes += (f"{gaps} gap{'s' * (gaps > 1)} filled with {FILLS[reading.fill]}",)
    return values, notes


def _chosen(table: Table, wanted: tuple[str, ...] | None) -> list[int]:
    """The indices of the columns that are read."""
    if wanted is None:
        found = [index for index, column in enumerate(table.columns) if column.numeric]
        if table.columns and not found:
            raise CommandError(
                f"{table.source}: expected rows of numbers, but there is no number in "
                f"{listed([table.called(index) for index in range(len(table.columns))][:8])}"
            )
        return found
    names = [column.name for column in table.columns]
    chosen = []
    for name in wanted:
        count = names.count(name)
        number = int(name) if re.fullmatch(r"[0-9]{1,9}", name) else 0
        if count > 1 or (count == 0 and not 1 <= number <= len(names)):
            known = ", ".join(repr(each) for each in names if each) or "none has a name"
            why = f"{count} columns have that name" if count else known
            raise CommandError(
                f"--columns: expected names of columns of {table.source} or their numbers, from 1 "
                f"to {len(names)} ({why}), but got {name!r}"
            )
        index = names.index(name) if count else number - 1
        if index in chosen:
            raise CommandError(f"--columns: {table.called(index)} is named twice")
        if not table.columns[index].numeric:
            raise CommandError(
                f"--columns: expected columns of numbers, but there is no number in "
                f"{table.called(index)} of {table.source}"
            )
        chosen.append(index)
    return chosen


def _without_numbers(table: Table) -> list[int]:
    return [index for index, column in enumerate(table.columns) if not column.numeric]


def _left_out(table: Table, index: int) -> str:
    texts = table.columns[index].texts
    what = f"no number in it ({next(iter(texts.values()))!r})" if texts else "it is empty"
    return f"without {table.called(index)}: {what}"


def _check_numbers(table: Table, chosen: list[int], fill: Fill | None) -> None:
    """The first place that holds something else than a finite number is named."""
    wrong: list[tuple[int, int, str]] = []
    for index in chosen:
        values, texts, _ = table.columns[index]
        for row in [row for row in sorted(texts) if np.isnan(values[row])][:1]:
            why = ""
            if COMMAS in table.notes and "." in texts[row]:
                why = ", because others in the file have decimal commas"
            elif DECIMAL_COMMA.fullmatch(texts[row]):
                why = "; decimal commas are read between semicolons or tabs"
            wrong.append((row, index, f"{texts[row]!r} is not a number{why}"))
        for row in np.flatnonzero(np.isinf(values))[:1]:
            wrong.append((int(row), index, f"{texts.get(int(row), values[row])} is not finite"))
        if fill is None:
            gaps = (int(row) for row in np.flatnonzero(np.isnan(values)) if row not in texts)
            for row in gaps:
                what = "there is no number; --fill previous or --fill linear closes such gaps"
                wrong.append((row, index, what))
                break
    if wrong:
        row, index, what = min(wrong)
        place = f"{table.unit} {table.places[row]}, {table.called(index)}"
        raise CommandError(f"{table.source}, {place}: {what}")


def _filled(values: np.ndarray, fill: Fill) -> np.ndarray:
    """A column without gaps; those before the first and behind the last number repeat it."""
    known = np.flatnonzero(~np.isnan(values))
    steps = np.arange(len(values))
    if fill == "linear":
        return np.interp(steps, known, values[known])
    before = np.searchsorted(known, steps, side="right") - 1
    return values[known[np.maximum(before, 0)]]
