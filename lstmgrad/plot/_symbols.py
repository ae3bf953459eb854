"""The symbols in labels and legends, as math text."""

import math
import re
from typing import Any

SYMBOL = r"$\log_{10}\,\Vert\partial "
"""How the math text of every `symbol` begins."""


def power(log_value: Any) -> str:
    """A number as a power of ten, in math text without the dollar signs; 0 as such.

    Args:
        log_value: its natural logarithm.
    """
    exponent = float(log_value) / math.log(10)
    if not math.isfinite(exponent):
        return {-math.inf: "0", math.inf: r"\infty"}.get(exponent, r"\mathrm{NaN}")
    return f"10^{{{exponent:.1f}}}"


def symbol(result: Any, upper: str, lower: str) -> str:
    """log₁₀ ‖∂of_t/∂wrt_k‖₂ as math text; s for the whole state, and for no result at all.

    Args:
        result: a record with the names of the parts, or None.
        upper: the time of the effect, "t" or "T".
        lower: the time of the cause, "k" or "0".
    """
    of, wrt = (None, None) if result is None else (result.of, result.wrt)
    return rf"{SYMBOL}{part(of, upper)}/\partial {part(wrt, lower)}\Vert_2$"


def fraction(result: Any, upper: str, lower: str) -> str:
    """∂of_t/∂wrt_k as math text.

    Args:
        result: as for `symbol`, like the rest.
        upper: the time of the effect.
        lower: the time of the cause.
    """
    return rf"$\partial {part(result.of, upper)}/\partial {part(result.wrt, lower)}$"


def part(name: str | int | None, time: str) -> str:
    """The symbol of a part at a time: a letter, a word, or s with the position as superscript.

    Args:
        name: of the part; None for the whole state.
        time: "t", "T", "k" or "0".
    """
    if name is None:
        return f"s_{{{time}}}"
    if isinstance(name, int):
        return f"s_{{{time}}}^{{({name})}}"
    if len(name) == 1 and name.isalpha():
        return f"{name}_{{{time}}}"
    word = re.sub(r"\W+", " ", name).strip().replace("_", r"\_").replace(" ", r"\ ")
    return rf"\mathrm{{{word or 's'}}}_{{{time}}}"


def letters(label: str) -> int:
    """About how many letters wide a label with math text is."""
    return len(re.sub(r"\\[a-zA-Z]+|\\.", "x", label).translate(str.maketrans("", "", "${}_^")))
