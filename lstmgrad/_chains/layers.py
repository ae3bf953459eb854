"""Layers of a stack, by the names of the parts of its state: h0, c0, h1, c1, ... from the lowest.

A single cell is layer 0, whose parts are h and c.
"""

import re
from collections.abc import Iterable

from lstmgrad._types import PartName


def parts_by_layer(parts: Iterable[PartName], letter: str) -> dict[int, str]:
    """Returns the parts of one kind by layer, from the lowest to the highest.

    Args:
        parts: of the state.
        letter: what the part is called in a single cell.
    """
    named = [part for part in parts if isinstance(part, str)]
    if letter in named:
        return {0: letter}
    found = {int(part[1:]): part for part in named if re.fullmatch(rf"{letter}\d+", part)}
    return dict(sorted(found.items()))


def top_part(parts: Iterable[PartName], letter: str) -> str | None:
    """Returns the part of one kind in the highest layer; None where no layer has it.

    Args:
        parts: of the state.
        letter: what the part is called in a single cell.
    """
    found = list(parts_by_layer(parts, letter).values())
    return found[-1] if found else None
