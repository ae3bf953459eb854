"""Tokens that a network reads through an embedding: from a text with its vocabulary, or numbers."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from lstmgrad.cli._shared.error import CommandError
from lstmgrad.cli._shared.sequences import TEXT, Embedding, Sequence, read_numbers
from lstmgrad.cli._shared.tables import Reading
from lstmgrad.cli._shared.text_files import read_text
from lstmgrad.cli._shared.weights import SORTED, Loaded, Weights
from lstmgrad.interop._weights import to_numpy

UNKNOWN = "<unk>"
END = "<eos>"


def read_inputs(path: Path, reading: Reading, source: Weights, loaded: Loaded) -> Sequence:
    """Returns the numbers in a file as they are, or tokens with their embedding.

    A text is one of tokens, and so is a single column where the network reads more than one number
    and the file of its weights has an embedding.

    Args:
        path: a text or a table.
        reading: which columns of a table, and what closes gaps.
        source: the options on the network.
        loaded: the network.

    Raises:
        CommandError: as `read_numbers`; there is no embedding, or one of several; a text comes
            without its vocabulary, or with another one; numbers are not those of tokens.
    """
    text = path.suffix.lower() == TEXT and not path.is_dir()
    embedding = _embedding(source, loaded, needed=text)
    if text and embedding is not None:
        return _of_text(path, source, embedding)
    sequence = read_numbers(path, reading)
    asked = source.embedding is not None or source.vocabulary is not None
    if embedding is None or not (asked or sequence.width == 1 < loaded.input_size):
        return sequence
    if source.vocabulary is not None:
        raise CommandError(f"--vocabulary: expected a text, but {path} is a table of numbers")
    return _of_numbers(sequence, embedding)


def _embedding(source: Weights, loaded: Loaded, *, needed: bool) -> Embedding | None:
    """The embedding that is named, or the only one; None where there is none to be found.

    Args:
        source: the options on the network.
        loaded: the network.
        needed: whether the input is one of tokens for certain.
    """
    width, file = loaded.input_size, source.weights
    found = {
        name: tensor for name, tensor in loaded.tensors.items() if _may_embed(name, loaded, width)
    }
    names = ", ".join(map(repr, found)) or "no tensor"
    fits = f"{names} of {file} has {width} columns, what the network reads, and no bias"
    if source.embedding is not None:
        for name in (source.embedding, f"{source.embedding}.weight"):
            tensor = loaded.tensors.get(name)
            if tensor is not None and len(np.shape(tensor)) == 2 and tensor.shape[1] == width:
                return Embedding(name, to_numpy(tensor, name))
        raise CommandError(
            f"--embedding: expected the name of an embedding ({fits}), but got {source.embedding!r}"
        )
    asked = needed or source.vocabulary is not None
    if len(found) > 1 and asked:
        raise CommandError(
            f"--embedding: expected one of {names}, because all of them fit what the network "
            "reads, but it was left out"
        )
    if not found and source.vocabulary is not None:
        raise CommandError(f"--vocabulary: expected an embedding of tokens, but {fits}")
    if len(found) != 1:
        return None
    ((name, tensor),) = found.items()
    return Embedding(name, to_numpy(tensor, name))


def _may_embed(name: str, loaded: Loaded, width: int) -> bool:
    """A matrix with a column for each number that is read, and, unlike a linear layer, no bias."""
    shape = np.shape(loaded.tensors[name])
    own = loaded.holds(name)
    biased = f"{name.removesuffix('weight')}bias" in loaded.tensors
    return name.endswith("weight") and len(shape) == 2 and shape[1] == width and not (own or biased)


def _of_text(path: Path, source: Weights, embedding: Embedding) -> Sequence:
    """The tokens of a text by their numbers."""
    text, size = read_text(path), len(embedding.vectors)
    known = _vocabulary(path, text, source, embedding)
    words = any(len(token) > 1 and not re.fullmatch(r"<.*>|\[.*\]", token) for token in known)
    unit, tokens = ("word", _words(text, END in known)) if words else ("character", list(text))
    missing = [place for place, token in enumerate(tokens) if token not in known]
    if missing and UNKNOWN not in known:
        token = tokens[missing[0]]
        raise CommandError(
            f"{path}: expected {unit}s of {source.vocabulary}, which has no {UNKNOWN}, but "
            f"{unit} {missing[0] + 1} is {token!r}"
        )
    if len(tokens) < 2:
        raise CommandError(f"{path}: expected at least 2 {unit}s, but it has {len(tokens)}")
    rows = np.array([known.get(token, known.get(UNKNOWN, 0)) for token in tokens], np.int32)
    notes = (f"{len(missing)} of them unknown, read as {UNKNOWN}",) if missing else ()
    summary = f"{len(rows)} {unit}s through {embedding.name}"
    return Sequence(str(path), rows, size, summary, unit, notes, embedding)


def _words(text: str, ends: bool) -> list[str]:
    """Words between blanks, each line with an end where the vocabulary has one."""
    return [word for line in text.splitlines() for word in [*line.split(), *[END] * ends]]


def _vocabulary(path: Path, text: str, source: Weights, embedding: Embedding) -> dict[str, int]:
    """The number of every token, which is its row in the embedding."""
    size = len(embedding.vectors)
    if source.vocabulary is None:
        raise CommandError(
            f"--vocabulary: expected a file of the tokens in the order of the {size} rows of "
            f"{embedding.name}, because {path} is a text, but it was left out; "
            f'"--vocabulary {SORTED}" numbers the characters of the text in their sorted order'
        )
    if source.vocabulary == SORTED:
        tokens: Any = sorted(set(text))
        if len(tokens) != size:
            raise CommandError(
                f"--vocabulary {SORTED}: expected a text of {size} different characters, as "
                f"{embedding.name} has rows, but {path} has {len(tokens)}; give a file instead"
            )
    else:
        tokens = _tokens_in(Path(source.vocabulary))
    known = tokens if isinstance(tokens, dict) else {each: i for i, each in enumerate(tokens)}
    if not known or max(known.values()) >= size or min(known.values()) < 0:
        raise CommandError(
            f"{source.vocabulary}: expected tokens for the rows of {embedding.name}, from 0 to "
            f"{size - 1}, but got {len(known)} tokens up to number {max(known.values(), default=0)}"
        )
    return known


def _tokens_in(path: Path) -> dict[str, int] | list[str]:
    """Tokens in the order of their numbers, or with them."""
    text = read_text(path)
    if path.suffix.lower() != ".json":
        return text.removesuffix("\n").split("\n")
    try:
        tokens = json.loads(text)
    except ValueError:
        tokens = None
    if isinstance(tokens, list) and all(type(token) is str for token in tokens):
        return tokens
    if isinstance(tokens, dict) and all(type(number) is int for number in tokens.values()):
        return tokens
    raise CommandError(
        f"{path}: expected a JSON list of tokens, or an object with the number of every token"
    )


def _of_numbers(sequence: Sequence, embedding: Embedding) -> Sequence:
    """The tokens of a single column of their numbers."""
    size, values = len(embedding.vectors), sequence.rows
    if sequence.width != 1:
        raise CommandError(
            f"{sequence.source}: expected one column of tokens, because they go through "
            f"{embedding.name}, but it has {sequence.width}"
        )
    wrong = np.flatnonzero((values != np.round(values)) | (values < 0) | (values >= size))
    if wrong.size:
        row = int(wrong[0])
        raise CommandError(
            f"{sequence.source}: expected the numbers of tokens, from 0 to {size - 1}, the rows of "
            f"{embedding.name}, but got {values[row, 0]:g} in row {row + 1}"
        )
    rows = values[:, 0].astype(np.int32)
    summary = f"{len(rows)} tokens through {embedding.name}"
    return Sequence(sequence.source, rows, size, summary, "token", sequence.notes, embedding)
