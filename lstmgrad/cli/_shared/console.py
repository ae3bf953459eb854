"""Text for the terminal: summaries, shortened tables, numbers in words."""

import math
import os
import sys
import unicodedata
from typing import Any

import numpy as np

from lstmgrad.cli._shared.error import CommandError

ENDS = 12
"""How many rows of a long table are shown from the beginning and from the end."""


def say(*lines: str) -> None:
    """Prints the lines; characters that the terminal's encoding lacks are escaped.

    Args:
        *lines: text with any characters.

    Raises:
        BrokenPipeError: nobody reads any more.
        CommandError: the output cannot be written, as to a full disk.
    """
    text = "\n".join(lines)
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        hush()
        raise CommandError(f"cannot write to the standard output: {error.strerror}") from error


def hush() -> None:
    """Sends what is left of the standard output nowhere, where it would fail again on exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def entry(name: str, *lines: str) -> list[str]:
    """Returns lines of a summary, the first of them behind a name.

    Args:
        name: what they are about.
        *lines: at least one.
    """
    heads = [name, *[""] * (len(lines) - 1)]
    return [f"{head:10}{line}" for head, line in zip(heads, lines, strict=True)]


def ends(rows: list[str], note: str) -> list[str]:
    """Returns all rows of a table, or the first and last `ENDS` of many.

    Args:
        rows: one line each.
        note: stands for the others, with ``{}`` for their number.
    """
    left_out = len(rows) - 2 * ENDS
    return rows if left_out <= 1 else [*rows[:ENDS], note.format(left_out), *rows[-ENDS:]]


def visible(text: str) -> str:
    """Returns the text with all invisible characters escaped, so that it cannot move the cursor.

    Args:
        text: any characters.
    """
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def fitted(text: str, columns: int) -> str:
    """Returns the text cut or filled up to a number of columns on the terminal.

    Args:
        text: visible characters.
        columns: how many columns.
    """
    if sum(map(_columns, text)) > columns:
        kept, width = "", 2
        for character in text:
            width += _columns(character)
            if width > columns:
                break
            kept += character
        text = kept + ".."
    return text + " " * (columns - sum(map(_columns, text)))


def listed(names: list[str]) -> str:
    """Returns "one", "one and two", or "one, two and three".

    Args:
        names: at least one.
    """
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def log10(logs: Any) -> np.ndarray:
    """Returns natural logarithms as decimal ones, in double precision.

    Args:
        logs: an array of any shape.
    """
    return np.asarray(np.asarray(logs, np.float64) / math.log(10))


def power(exponent: float) -> str:
    """Returns a positive number as a power of ten; 0, inf and nan by name.

    Args:
        exponent: its decimal logarithm.
    """
    return f"10^{rounded(exponent, 1)}" if math.isfinite(exponent) else _by_name(exponent)


def scientific(exponent: float) -> str:
    """Returns a positive number of any size as 1.234e-567; 0, inf and nan by name.

    Args:
        exponent: its decimal logarithm.
    """
    if not math.isfinite(exponent):
        return _by_name(exponent)
    whole = math.floor(exponent)
    mantissa = f"{10 ** (exponent - whole):.3f}"
    if mantissa == "10.000":
        mantissa, whole = "1.000", whole + 1
    return f"{mantissa}e{whole:+03d}"


def rounded(number: float, places: int) -> str:
    """Returns a number rounded to some decimal places, without a minus sign in front of zero.

    Args:
        number: may be infinite or NaN.
        places: how many digits follow the point.
    """
    return f"{round(number, places) + 0.0:.{places}f}"


def _by_name(exponent: float) -> str:
    return "0" if exponent == -math.inf else str(exponent)


def _columns(character: str) -> int:
    """East Asian characters may take two columns; combining accents take none."""
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
