"""The symbols in labels and legends, as math text."""

import math
import re
from typing import Any

from lstmgrad._types import Fixed

SYMBOL = r"$\log_{10}\,\Vert\partial "
"""How the math text of every `symbol` begins."""


def power(log_value: Any) -> str:
    """Writes a number as a power of ten, in math text without the dollar signs; zero is 0.

    Args:
        log_value: its natural logarithm.
    """
    exponent = float(log_value) / math.log(10)
    if not math.isfinite(exponent):
        return {-math.inf: "0", math.inf: r"\infty"}.get(exponent, r"\mathrm{NaN}")
    return f"10^{{{exponent:.1f}}}"


def symbol(result: Any, upper: str, lower: str) -> str:
    """Writes log₁₀ ‖∂of_t/∂wrt_k‖₂ as math text.

    Args:
        result: a record with the names of the parts; None stands for the whole state, s.
        upper: the time of the effect, "t" or "T".
        lower: the time of the cause, "k" or "0".
    """
    of, wrt = (None, None) if result is None else (result.of, result.wrt)
    return rf"{SYMBOL}{part(of, upper)}/\partial {part(wrt, lower)}\Vert_2$"


def singular_symbol(result: Any, upper: str, lower: str) -> str:
    """Writes log₁₀ σ_i(∂of_t/∂wrt_k) as math text.

    Args:
        result: a record with the names of the parts.
        upper: the time of the effect.
        lower: the time of the cause.
    """
    of, wrt = part(result.of, upper), part(result.wrt, lower)
    return rf"$\log_{{10}}\,\sigma_i(\partial {of}/\partial {wrt})$"


def fraction(result: Any, upper: str, lower: str) -> str:
    """Writes ∂of_t/∂wrt_k as math text.

    Args:
        result: a record with the names of the parts.
        upper: the time of the effect.
        lower: the time of the cause.
    """
    return rf"$\partial {part(result.of, upper)}/\partial {part(result.wrt, lower)}$"


def part(name: str | int | None, time: str) -> str:
    """Writes a part at a time: as a letter, a word, or s with the position as a superscript.

    Args:
        name: the name of the part; None for the whole state.
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


def times(fixed: Fixed) -> tuple[str, str]:
    """Returns the symbols of the later and the earlier time of a result by lag.

    Args:
        fixed: the end that all its lags share.
    """
    return ("T", "k") if fixed == "end" else ("t", "0")


def lag_label(fixed: Fixed) -> str:
    """Returns the label of an axis of lags.

    Args:
        fixed: the end that all lags share.
    """
    return r"lag $T - k$ (steps)" if fixed == "end" else r"lag $t$ (steps)"


def letters(label: str) -> int:
    """Estimates how many letters wide a label with math text is.

    Args:
        label: the label.
    """
    return len(re.sub(r"\\[a-zA-Z]+|\\.", "x", label).translate(str.maketrans("", "", "${}_^")))
