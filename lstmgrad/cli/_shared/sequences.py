"""What the cells run over: characters of a text, or rows of numbers, from a file or built in.

A file that cannot be used is refused in one sentence that names the file and, where there is one,
the line and column, counted from 1.
"""

import codecs
import contextlib
import csv
import importlib
import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lstmgrad.cli._shared.error import CommandError


class Sequence(NamedTuple):
    """A sequence of characters, words or rows of numbers.

    Attributes:
        source: where it came from.
        rows: (N,) int32 positions in the alphabet, or (N, d) float64.
        width: d, the input features of a cell: the alphabet's size, or the number of columns.
        summary: what it is, for the output.
        unit: what one step reads, in the singular.
    """

    source: str
    rows: np.ndarray
    width: int
    summary: str
    unit: str = "row"

    @property
    def symbolic(self) -> bool:
        """Whether the rows are symbols, to be encoded one-hot, rather than numbers."""
        return self.rows.ndim == 1


def read_sequence(path: Path | None) -> Sequence:
    """Returns the sequence in a file, or the Zen of Python, ready for training.

    Columns of numbers are standardized.

    Args:
        path: a .txt, .csv or .npy file; None for the built-in text.

    Raises:
        CommandError: the file is missing, a directory, of another kind, empty, malformed or too
            short, or it has a number that is not finite.
    """
    if path is None:
        return _from_text(_zen(), "the Zen of Python")
    sequence = _read(path, {".txt": _read_text} | _NUMBERS)
    return sequence if sequence.symbolic else _standardized(sequence)


def read_numbers(path: Path) -> Sequence:
    """Returns the numbers in a file as they are.

    Args:
        path: a .csv or .npy file.

    Raises:
        CommandError: as for `read_sequence`, or the file is a text.
    """
    return _read(path, _NUMBERS)


def _read(path: Path, readers: dict[str, Callable[[Path, bytes], Sequence]]) -> Sequence:
    _refuse_directory(path)
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise CommandError(
            f"{path}: expected a file that ends in {', '.join(readers)}, "
            f"but it ends in {path.suffix!r}"
        )
    return reader(path, _content(path))


def read_text(path: Path) -> str:
    """Returns the text in a file in UTF-8, whatever its ending.

    Args:
        path: the file.

    Raises:
        CommandError: the file is missing, a directory, empty, or not UTF-8.
    """
    _refuse_directory(path)
    return _decode(path, _content(path))


def indexed(items: str | list[str], source: str, unit: str) -> Sequence:
    """Returns symbols as positions in their own sorted alphabet.

    Args:
        items: the symbols, at least one.
        source: where they came from.
        unit: what one of them is, in the singular.
    """
    alphabet = sorted(set(items))
    positions = {item: position for position, item in enumerate(alphabet)}
    rows = np.fromiter((positions[item] for item in items), np.int32, len(items))
    summary = f"{len(items)} {unit}s, {len(alphabet)} different, one-hot"
    return Sequence(source, rows, len(alphabet), summary, unit)


def _refuse_directory(path: Path) -> None:
    if path.is_dir():
        raise CommandError(f"{path}: expected a file, but it is a directory")


def _content(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise CommandError(f"{path}: there is no such file") from None
    except OSError as error:
        raise CommandError(f"{path}: cannot be read: {error.strerror}") from error
    if not content:
        raise CommandError(f"{path}: the file is empty")
    return content


def _zen() -> str:
    # The module prints the text when it is imported, and keeps it only in rot13.
    with contextlib.redirect_stdout(io.StringIO()):
        this = importlib.import_module("this")
    return codecs.decode(this.s, "rot13")


def _decode(path: Path, content: bytes) -> str:
    """The text of UTF-8 with or without a byte order mark, with any kind of line ends."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # The codec counts from behind the byte order mark.
        body = content.removeprefix(codecs.BOM_UTF8)
        before = _plain_line_ends(body[: error.start].decode("utf-8"))
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        raise CommandError(
            f"{path}, line {line}, column {column}: byte 0x{body[error.start]:02x} is not UTF-8"
        ) from None
    return _plain_line_ends(text)


def _plain_line_ends(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _read_text(path: Path, content: bytes) -> Sequence:
    return _from_text(_decode(path, content), str(path))


def _from_text(text: str, source: str) -> Sequence:
    if len(text) < 2:
        raise CommandError(f"{source}: expected at least 2 characters, but it has {len(text)}")
    return indexed(text, source, "character")


def _read_csv(path: Path, content: bytes) -> Sequence:
    reader = csv.reader(io.StringIO(_decode(path, content), newline=""), strict=True)
    lines: list[tuple[int, list[str]]] = []
    try:
        for cells in reader:
            lines.append((reader.line_num, cells))
    except csv.Error as error:
        raise CommandError(f"{path}, line {reader.line_num}: {error}") from None
    while lines and not any(cell.strip() for cell in lines[-1][1]):
        lines.pop()
    if lines and all(_number(cell) is None for cell in lines[0][1]):
        lines.pop(0)
    if not lines:
        raise CommandError(f"{path}: expected rows of numbers, but there are none")
    first, width = lines[0][0], len(lines[0][1])
    values = np.empty((len(lines), width))
    for row, (line, cells) in enumerate(lines):
        if len(cells) != width:
            raise CommandError(
                f"{path}, line {line}: expected {width} columns, as in line {first}, "
                f"but it has {len(cells)}"
            )
        for column, cell in enumerate(cells):
            number = _number(cell)
            if number is None:
                raise CommandError(
                    f"{path}, line {line}, column {column + 1}: {cell!r} is not a number"
                )
            if not math.isfinite(number):
                raise CommandError(
                    f"{path}, line {line}, column {column + 1}: {cell.strip()} is not finite"
                )
            values[row, column] = number
    return _from_numbers(values, str(path))


def _number(cell: str) -> float | None:
    """The number in a cell; None for anything else, such as Python's own 1_000."""
    try:
        return None if "_" in cell else float(cell)
    except ValueError:
        return None


def _read_npy(path: Path, content: bytes) -> Sequence:
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
    bad = np.argwhere(~np.isfinite(values))
    if bad.size:
        row, column = bad[0]
        raise CommandError(
            f"{path}, row {row + 1}, column {column + 1}: {values[row, column]} is not finite"
        )
    return _from_numbers(values, str(path))


def _from_numbers(values: np.ndarray, source: str) -> Sequence:
    count, width = values.shape
    if count < 2 or width < 1:
        raise CommandError(
            f"{source}: expected at least 2 rows of 1 or more numbers, but it has {count} x {width}"
        )
    summary = f"{count} rows of {width} column{'s' * (width > 1)}"
    return Sequence(source, values, width, summary)


_NUMBERS = {".csv": _read_csv, ".npy": _read_npy}


def _standardized(sequence: Sequence) -> Sequence:
    """Columns of mean 0 and standard deviation 1; constant columns become 0."""
    values = sequence.rows
    varies = values.max(axis=0) > values.min(axis=0)
    # Scaled first, because the square of 1e200 is not a float. Exactly constant columns would
    # otherwise be blown-up rounding.
    scale = np.where(varies, np.abs(values).max(axis=0), 1.0)
    scaled = np.where(varies, values / scale, 0.0)
    centered = scaled - scaled.mean(axis=0)
    deviation = np.sqrt(np.mean(centered**2, axis=0))
    deviation = np.where(varies & (deviation > 0), deviation, 1.0)
    constant = int(np.sum(~varies))
    note = f" ({constant} constant, only centered)" if constant else ""
    summary = f"{sequence.summary}, standardized{note}"
    return sequence._replace(rows=centered / deviation, summary=summary)
