"""What the cells run over: characters of a text, or rows of numbers, from a file or built in.

A file that cannot be used is refused in one sentence that names the file and, where there is one,
the line and column, counted from 1.
"""

import codecs
import contextlib
import importlib
import io
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lstmgrad.cli._shared.error import CommandError
from lstmgrad.cli._shared.several import read_several, spread
from lstmgrad.cli._shared.table_files import READERS
from lstmgrad.cli._shared.tables import NUMBERS, Reading, numbers_of
from lstmgrad.cli._shared.text_files import content_of, read_text

TEXT = ".txt"
"""The ending of a text of characters."""


class Embedding(NamedTuple):
    """The vectors that a network reads in place of tokens.

    Attributes:
        name: of the tensor in its file.
        vectors: (V, d), a row for each token.
    """

    name: str
    vectors: np.ndarray


class Sequence(NamedTuple):
    """A sequence of characters, words or rows of numbers.

    Attributes:
        source: where it came from.
        rows: (N,) int32 positions in the alphabet, or (N, d) float64.
        width: d, the input features of a cell: the alphabet's size, or the number of columns.
        summary: what it is, for the output.
        unit: what one step reads, in the singular.
        notes: what was left out of the file and filled in.
        embedding: what stands for the symbols; None is a one-hot code.
        pieces: how many sequences of one length the rows are, one after the other.
    """

    source: str
    rows: np.ndarray
    width: int
    summary: str
    unit: str = "row"
    notes: tuple[str, ...] = ()
    embedding: Embedding | None = None
    pieces: int = 1

    @property
    def steps(self) -> int:
        """T, the rows of each of its pieces."""
        return len(self.rows) // self.pieces

    def stretches(self, length: int, most: int) -> np.ndarray:
        """(N, length, ...), the first rows of its pieces, or stretches of the only one.

        Args:
            length: steps of each.
            most: how many at most.
        """
        if self.pieces > 1:
            pieces = self.rows.reshape(self.pieces, self.steps, *self.rows.shape[1:])
            return pieces[:most, :length]
        places = spread(self.steps, length, most)
        return np.stack([self.rows[place] for place in places])

    @property
    def symbolic(self) -> bool:
        """Whether the rows are symbols, to be encoded, rather than numbers."""
        return self.rows.ndim == 1


def read_sequence(path: Path | None, reading: Reading = NUMBERS) -> Sequence:
    """Returns the sequence in a file, or the Zen of Python, ready for training.

    Columns of numbers are standardized.

    Args:
        path: a .txt file or one of a table; None for the built-in text.
        reading: which columns of a table, and what closes its gaps.

    Raises:
        CommandError: the file is missing, a directory, of another kind, empty, malformed or too
            short, or it has a number that is not finite; a text is read as if it were a table.
    """
    if path is not None and (path.is_dir() or path.suffix.lower() != TEXT):
        return _standardized(_read(path, reading, (TEXT, *READERS)))
    for option, given in reading._asdict().items():
        if given is not None:
            raise CommandError(f"--{option}: expected a table in --input, not a text")
    if path is None:
        return _from_text(_zen(), "the Zen of Python")
    return _from_text(read_text(path), str(path))


def read_numbers(path: Path, reading: Reading = NUMBERS) -> Sequence:
    """Returns the numbers in a file as they are.

    Args:
        path: a file of a table.
        reading: which columns, and what closes gaps.

    Raises:
        CommandError: as for `read_sequence`, or the file is a text.
    """
    return _read(path, reading, tuple(READERS))


def _read(path: Path, reading: Reading, known: tuple[str, ...]) -> Sequence:
    """The numbers of a table; `known` are the endings that the message lists."""
    if (several := read_several(path, reading)) is not None:
        count, steps, width = several.shape
        summary = f"{count} sequences of {steps} rows of {width} column{'s' * (width > 1)}"
        return Sequence(str(path), several.reshape(-1, width), width, summary, pieces=count)
    reader = READERS.get(path.suffix.lower())
    if reader is None and not path.is_dir():
        raise CommandError(
            f"{path}: expected a file that ends in {', '.join(known)}, "
            f"but it ends in {path.suffix!r}"
        )
    content = content_of(path)
    assert reader is not None
    values, notes = numbers_of(reader(path, content), reading)
    count, width = values.shape
    summary = f"{count} rows of {width} column{'s' * (width > 1)}"
    return Sequence(str(path), values, width, summary, notes=notes)


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


def _zen() -> str:
    # The module prints the text when it is imported, and keeps it only in rot13.
    with contextlib.redirect_stdout(io.StringIO()):
        this = importlib.import_module("this")
    return codecs.decode(this.s, "rot13")


def _from_text(text: str, source: str) -> Sequence:
    if len(text) < 2:
        raise CommandError(f"{source}: expected at least 2 characters, but it has {len(text)}")
    return indexed(text, source, "character")


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
