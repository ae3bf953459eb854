"""Results as strict JSON, which has no NaN and no infinity: those become strings."""

import json
import math
from typing import Any

import jax

import lstmgrad as lg

FORMAT_VERSION = 1
NONFINITE = "numbers that are not finite are the strings 'nan', 'inf' and '-inf'"


def header(name: str) -> dict[str, Any]:
    """The entries that every file begins with.

    Args:
        name: what the file is.
    """
    return {
        "format": name,
        "format_version": FORMAT_VERSION,
        "versions": {"lstmgrad": lg.__version__, "jax": jax.__version__},
    }


def json_text(value: Any, indent: int | None = None) -> str:
    """The value as JSON.

    Args:
        value: dicts, lists, numbers and strings.
        indent: spaces a level; None is one line.
    """
    return json.dumps(_strict(value), indent=indent, allow_nan=False)


def json_file(value: Any) -> bytes:
    """The value as the content of a JSON file.

    Args:
        value: dicts, lists, numbers and strings.
    """
    return (json_text(value, indent=2) + "\n").encode()


def _strict(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _strict(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_strict(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
