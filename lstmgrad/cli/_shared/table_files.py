"""Files of tables: CSV with commas, semicolons or tabs, NumPy's arrays, Excel and Parquet."""

import csv
import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from lstmgrad._checks import require
from lstmgrad.cli._shared.error import CommandError
from lstmgrad.cli._shared.tables import COMMAS, DECIMAL_COMMA, Column, Table
from lstmgrad.cli._shared.text_files import decode

_GAPS = frozenset({"", "nan", "na", "n/a", "null", "none"})
_DELIMITERS = ("\t", ";", ",")
_SAMPLE = 50  # lines by which the delimiter is told


def read_csv(path: Path, content: bytes) -> Table:
    """Returns the table in a text of lines, with commas, semicolons or tabs between its cells.

    Between semicolons or tabs the decimal sign may be a comma. Numbers between blanks alone, as
    `numpy.savetxt` writes them, are read, too.

    Args:
        path: the file.
        content: its bytes.

    Raises:
        CommandError: the text is not UTF-8, not CSV, has no rows, or rows of different lengths.
    """
    text = decode(path, content)
    delimiter = _delimiter(text)
    if delimiter == " ":
        text = "\n".join(" ".join(line.split()) for line in text.split("\n"))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    lines: list[tuple[int, list[str]]] = []
    try:
        for cells in reader:
            lines.append((reader.line_num, cells))
    except csv.Error as error:
        raise CommandError(f"{path}, line {reader.line_num}: {error}") from None
    while lines and not any(cell.strip() for cell in lines[-1][1]):
        lines.pop()
    cells = (cell.strip() for _, row in lines for cell in row)
    comma = delimiter != "," and any(map(DECIMAL_COMMA.fullmatch, cells))
    notes = (COMMAS,) if comma else ()
    return _from_rows(path, lines, _with_comma if comma else number, "line", notes)


def _delimiter(text: str) -> str:
    """What splits most lines behind the first one, which may be a title.

    A blank where nothing else does, and all that it parts are numbers.
    """

    def split(delimiter: str) -> int:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        try:
            sample = [len(cells) for _, cells in zip(range(_SAMPLE), reader, strict=False)]
        except csv.Error:
            return 0
        return sum(count > 1 for count in sample[1:] or sample)

    best = max(_DELIMITERS, key=split)
    if split(best):
        return best
    sample = [line.split() for line in text.split("\n")[:_SAMPLE] if line.strip()]
    rows = sample[1:] or sample
    numbers = all(len(row) > 1 and None not in map(number, row) for row in rows)
    return " " if rows and numbers else ","


def number(cell: Any) -> float | None:
    """Returns the number in a cell, NaN for a gap, and None for text.

    Args:
        cell: text, or an object from a spreadsheet.
    """
    if not isinstance(cell, str):
        known = isinstance(cell, int | float | np.number)
        return float(cell) if known else np.nan if cell is None else None  # pyright: ignore[reportArgumentType]
    try:
        # Python's own 1_000 is no number elsewhere.
        return None if "_" in cell else float(cell)
    except ValueError:
        return np.nan if cell.strip().lower() in _GAPS else None


def _with_comma(cell: str) -> float | None:
    """The same where the decimal sign is a comma; a point is none then."""
    found = number(cell.replace(",", ".")) if "." not in cell else None
    return np.nan if cell.strip().lower() in _GAPS else found


def _from_rows(
    path: Path,
    rows: list[tuple[int, list[Any]]],
    number_in: Callable[[Any], float | None],
    unit: str,
    notes: tuple[str, ...],
) -> Table:
    """A table out of rows of cells, of which the first one may be that of the names.

    Args:
        path: the file.
        rows: the place of each in the file, and its cells.
        number_in: as `number`.
        unit: what the places count.
        notes: of the table.
    """
    names: list[Any] = []
    if rows:
        found = [number_in(cell) for cell in rows[0][1]]
        if all(one is None or np.isnan(one) for one in found) and None in found:
            names = rows.pop(0)[1]
    if not rows:
        raise CommandError(f"{path}: expected rows of numbers, but there are none")
    first, width = rows[0][0], len(rows[0][1])
    for place, cells in rows:
        if len(cells) != width:
            raise CommandError(
                f"{path}, {unit} {place}: expected {width} columns, as in {unit} {first}, "
                f"but it has {len(cells)}"
            )
    titles = (
        [str(name).strip("# ") or None for name in names] if len(names) == width else [None] * width
    )
    columns = [
        _column([cells[index] for _, cells in rows], number_in, titles[index])
        for index in range(width)
    ]
    return Table(path, columns, [place for place, _ in rows], unit, notes)


def _column(cells: list[Any], number_in: Callable[[Any], float | None], name: str | None) -> Column:
    """A column out of its cells; the other arguments are as for `_from_rows`."""
    found = [number_in(cell) for cell in cells]
    values = np.array([np.nan if one is None else one for one in found])
    rows = [
        *(row for row, one in enumerate(found) if one is None),
        *np.flatnonzero(np.isinf(values)),
    ]
    return Column(values, {int(row): str(cells[row]).strip() for row in sorted(rows)}, name)


def read_excel(path: Path, content: bytes) -> Table:
    """Returns the first sheet of an Excel workbook.

    Args:
        path: the file.
        content: its bytes.

    Raises:
        CommandError: pandas is not installed, the file is damaged, or the sheet has no rows.
    """
    pandas = _pandas("openpyxl")
    try:
        with warnings.catch_warnings(action="ignore"):
            book = pandas.ExcelFile(io.BytesIO(content), engine="openpyxl")
            frame = book.parse(0, header=None, dtype=object, na_filter=False)
    except Exception:
        raise CommandError(f"{path}: it is not a complete Excel workbook (.xlsx)") from None
    sheets = book.sheet_names
    notes = (f"sheet {sheets[0]!r}, the first of {len(sheets)}",) if len(sheets) > 1 else ()
    rows = [(place + 1, list(cells)) for place, cells in enumerate(frame.to_numpy())]
    return _from_rows(path, rows, number, "row", notes)


def read_parquet(path: Path, content: bytes) -> Table:
    """Returns the columns of a Parquet file.

    Args:
        path: the file.
        content: its bytes.

    Raises:
        CommandError: pandas is not installed, or the file is damaged.
    """
    pandas = _pandas("pyarrow")
    try:
        frame = pandas.read_parquet(io.BytesIO(content), engine="pyarrow")
    except Exception:
        raise CommandError(f"{path}: it is not a complete Parquet file") from None
    columns = []
    for name, series in frame.items():
        if pandas.api.types.is_numeric_dtype(series.dtype) and series.dtype.kind != "c":
            values = series.to_numpy(np.float64, na_value=np.nan)
            columns.append(Column(values, name=str(name)))
        else:
            cells = series.astype(object).where(series.notna(), None).tolist()
            columns.append(_column(cells, number, str(name)))
    return Table(path, columns, range(1, len(frame) + 1))


def _pandas(engine: str) -> Any:
    """The package pandas, with another one that it reads a kind of file with."""
    try:
        require(engine, "tables")
        return require("pandas", "tables")
    except ImportError as error:
        raise CommandError(str(error).removesuffix(".")) from None


def read_npy(path: Path, content: bytes) -> Table:
    """Returns an array of shape (T, d) or (T,) of NumPy.

    Args:
        path: the file.
        content: its bytes.

    Raises:
        CommandError: the file is damaged or holds objects, which are never made; the array has
            another shape, or is not one of real numbers.
    """
    try:
        array = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
    except Exception as error:
        if "Object arrays" in str(error):
            reason = "an array of Python objects is not read, because loading it could run code"
        else:
            reason = "it is not a complete NumPy array file (numpy.save)"
        raise CommandError(f"{path}: {reason}") from None
    if array.dtype.kind not in "biuf":
        raise CommandError(f"{path}: expected real numbers, but its dtype is {array.dtype}")
    if array.ndim not in (1, 2):
        raise CommandError(
            f"{path}: expected an array of shape (T, d) or (T,), but its shape is {array.shape}"
        )
    with np.errstate(over="ignore"):
        values = array.reshape(len(array), -1 if array.size else array.shape[-1])
        values = values.astype(np.float64)
    return Table(path, [Column(column) for column in values.T], range(1, len(values) + 1))


READERS: dict[str, Callable[[Path, bytes], Table]] = {
    ".csv": read_csv,
    ".tsv": read_csv,
    ".npy": read_npy,
    ".parquet": read_parquet,
    ".xlsx": read_excel,
}
"""Readers by the ending of the file."""
