"""Sequences and targets from files: several at once, or stretches of a longer one."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lstmgrad.cli._shared.error import CommandError
from lstmgrad.cli._shared.parser import check_whole
from lstmgrad.cli._shared.sequences import Embedding, Sequence, read_numbers, read_sequence
from lstmgrad.cli._shared.several import NPY, read_array, read_several, spread
from lstmgrad.cli._shared.tables import NUMBERS, Reading

DEFAULT_LENGTH = 200


class Batch(NamedTuple):
    """Sequences of one length.

    Attributes:
        rows: (N, T, d) numbers, or (N, T) positions in an alphabet.
        width: d, or the size of the alphabet.
        after: (N, d) or (N,), the row behind each sequence; None where there is none.
        total: the sequences in the file, of which these are the first.
        stretches: the places in the one sequence that they were cut out of; None for several.
        summary: what they are.
        unit: what one step reads, in the singular.
        embedding: what stands for positions; None is a one-hot code.
    """

    rows: np.ndarray
    width: int
    after: np.ndarray | None
    total: int
    stretches: list[slice] | None
    summary: str
    unit: str = "row"
    embedding: Embedding | None = None


def read_batch(
    path: Path,
    reading: Reading = NUMBERS,
    *,
    length: int | None,
    most: int,
    read: Callable[[Path, Reading], Sequence] = read_sequence,
) -> Batch:
    """Returns the sequences in a file.

    Args:
        path: the file.
        reading: which columns of a table, and what closes its gaps.
        length: steps of a stretch; None is `DEFAULT_LENGTH`, or all there are.
        most: sequences to read at most.
        read: what reads a file of one long sequence.

    Raises:
        CommandError: the file cannot be used, or is shorter than what was asked for.
    """
    several = read_several(path, reading)
    if several is not None:
        count, steps, width = several.shape
        why = f"because {path} has sequences of {steps} steps"
        used = steps if length is None else check_whole(length, "--length", 2, most=steps, why=why)
        rows = several[:most, :used]
        after = several[:most, used] if used < steps else None
        summary = f"{path}: {len(rows)} of {count} sequences, {used} steps of {width} numbers"
        return Batch(rows, width, after, count, None, summary)
    return _cut(read(path, reading), length, most)


def _cut(sequence: Sequence, length: int | None, most: int) -> Batch:
    """Stretches of one sequence, spread evenly, each with the row behind it where there is one."""
    available = len(sequence.rows)
    if length is None:
        used = min(DEFAULT_LENGTH, available)
    else:
        why = f"because {sequence.source} has {available} {sequence.unit}s"
        used = check_whole(length, "--length", 2, most=available, why=why)
    stretches = spread(available, used, most)
    count = len(stretches)
    rows = np.stack([sequence.rows[piece] for piece in stretches])
    fits = all(piece.stop < available for piece in stretches)
    after = np.stack([sequence.rows[piece.stop] for piece in stretches]) if fits else None
    what = f"{count} stretches of {used} steps" if count > 1 else f"{used} steps"
    summary = "; ".join([f"{sequence.source}: {sequence.summary}", *sequence.notes, what])
    about = summary, sequence.unit, sequence.embedding
    return Batch(rows, sequence.width, after, count, stretches, *about)


def read_targets(path: Path, batch: Batch) -> np.ndarray:
    """Returns what should be said: (N,) at the last step, or (N, T); int64 for classes.

    Args:
        path: a .npy or .csv file.
        batch: the sequences.

    Raises:
        CommandError: the file cannot be used, or does not fit the sequences.
    """
    values = read_array(path) if path.suffix.lower() == NPY else None
    if values is None:
        values = read_numbers(path).rows
    values = np.squeeze(values, -1) if values.ndim > 1 and values.shape[-1] == 1 else values
    count, length = batch.rows.shape[:2]
    if batch.stretches is not None and values.ndim == 1 and len(values) != count:
        longest = max(piece.stop for piece in batch.stretches)
        if len(values) < longest:
            raise _misfit(path, values.shape, f"({longest},) or longer, one for each step")
        values = np.stack([values[piece] for piece in batch.stretches])
    elif values.ndim not in (1, 2) or len(values) != batch.total:
        raise _misfit(path, values.shape, f"({batch.total},) or ({batch.total}, {length})")
    elif values.ndim == 2 and values.shape[1] < length:
        raise _misfit(path, values.shape, f"({batch.total}, {length})")
    else:
        values = values[(slice(count), slice(length))[: values.ndim]]
    if not np.isfinite(values).all():
        raise CommandError(f"{path}: expected finite targets, but some are not")
    if (values == np.round(values)).all():
        if values.min() < 0:
            raise CommandError(f"{path}: expected classes from 0 on, but got {values.min():g}")
        return values.astype(np.int64)
    return values.astype(np.float64)


def _misfit(path: Path, shape: tuple[int, ...], wanted: str) -> CommandError:
    return CommandError(f"{path}: expected targets of shape {wanted}, but got {shape}")
