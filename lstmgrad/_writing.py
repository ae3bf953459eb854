"""How results write themselves: numbers, the names of blocks, and tables of a few lines."""

import math
from typing import Any

import numpy as np

from lstmgrad._types import PartName

ROWS = 8
"""Rows of a printed table, at most."""

WIDTH = 100
"""Letters in a line, at most."""


def block_name(of: PartName | None, wrt: PartName | None, late: str, early: str) -> str:
    """Writes ∂of_t/∂wrt_k in plain text: dc_T/dc_k; s is the whole state.

    Args:
        of: the part that is differentiated.
        wrt: the part that is varied.
        late: the time of `of`.
        early: the time of `wrt`.
    """
    parts = ("s" if p is None else f"s[{p}]" if isinstance(p, int) else p for p in (of, wrt))
    return "/".join(f"d{part}_{time}" for part, time in zip(parts, (late, early), strict=True))


def number(value: Any, digits: int = 4) -> str:
    """Writes a number in a few significant digits.

    Args:
        value: a number.
        digits: how many.
    """
    value = float(value)
    if math.isfinite(value) and value == round(value) and abs(value) < 10**6:
        return str(round(value))
    return f"{value:.{digits}g}"


def seen(value: Any, error: Any) -> Any:
    """The value; NaN where it is only the level below which the arithmetic sees nothing.

    Args:
        value: a logarithm.
        error: its estimated error, inf for such a level.
    """
    return np.nan if np.isposinf(error) else value


def reading(value: Any, error: Any) -> str:
    """Writes a logarithm for a table; a question mark where the arithmetic sees nothing of it.

    Args:
        value: the logarithm.
        error: its estimated error.
    """
    return "?" if np.isposinf(error) else number(value)


def chosen(count: int) -> np.ndarray:
    """The rows of a longer table that are shown: the first and the last, and some between them.

    Args:
        count: of all rows.
    """
    return np.unique(np.linspace(0, count - 1, min(count, ROWS)).round().astype(int))


def aligned(heads: list[str], rows: list[list[str]]) -> list[str]:
    """The lines of a table; the columns before the last one that find no room are left out."""
    columns = [list(column) for column in zip(heads, *rows, strict=True)]
    widths = [max(map(len, column)) for column in columns]
    while len(columns) > 3 and sum(widths) + 2 * len(widths) - 2 > WIDTH:
        if columns[-2][0] == "…":
            del columns[-3], widths[-3]
        else:
            columns[-2], widths[-2] = ["…"] * len(columns[0]), 1
    return [
        "  ".join(f"{entry:>{width}}" for entry, width in zip(row, widths, strict=True))
        for row in zip(*columns, strict=True)
    ]
