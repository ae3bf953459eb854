"""What the terminal gets."""

import math
import sys
import unicodedata


def say(*lines: str) -> None:
    """Prints the lines; characters that the terminal's encoding lacks are escaped.

    Args:
        *lines: text of any characters.
    """
    text = "\n".join(lines)
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)


def visible(text: str) -> str:
    """The text with all that is no visible character escaped, so that it cannot move the cursor.

    Args:
        text: of any characters.
    """
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def fitted(text: str, columns: int) -> str:
    """The text cut or filled up to a number of columns on the terminal.

    Args:
        text: visible characters.
        columns: how many.
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
    """One, one and two, or one, two and three.

    Args:
        names: at least one.
    """
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def power(log10: float) -> str:
    """A positive number as a power of ten; 0, inf and nan by name.

    Args:
        log10: its decimal logarithm.
    """
    return f"10^{rounded(log10, 1)}" if math.isfinite(log10) else _by_name(log10)


def scientific(log10: float) -> str:
    """A positive number of any size as 1.234e-567; 0, inf and nan by name.

    Args:
        log10: its decimal logarithm.
    """
    if not math.isfinite(log10):
        return _by_name(log10)
    exponent = math.floor(log10)
    mantissa = f"{10 ** (log10 - exponent):.3f}"
    if mantissa == "10.000":
        mantissa, exponent = "1.000", exponent + 1
    return f"{mantissa}e{exponent:+03d}"


def rounded(number: float, places: int) -> str:
    """A number with so many decimal places, without a minus in front of zero.

    Args:
        number: may be infinite or NaN.
        places: after the point.
    """
    return f"{round(number, places) + 0.0:.{places}f}"


def _by_name(log10: float) -> str:
    return "0" if log10 == -math.inf else str(log10)


def _columns(character: str) -> int:
    """East Asian characters may take two columns, accents of their own none."""
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
