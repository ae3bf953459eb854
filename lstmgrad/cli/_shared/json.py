"""Results as strict JSON, which has no NaN and no infinity: those become strings."""

import json
import math
from typing import Any

import jax
import numpy as np

import lstmgrad as lg

FORMAT_VERSION = 1
NONFINITE = "numbers that are not finite are the strings 'nan', 'inf' and '-inf'"


def header(command: str) -> dict[str, Any]:
    """Returns the entries that the files of a command begin with.

    Args:
        command: its name.
    """
    return {
        "format": f"lstmgrad {command}",
        "format_version": FORMAT_VERSION,
        "versions": {"lstmgrad": lg.__version__, "jax": jax.__version__},
    }


def json_text(value: Any, indent: int | None = None) -> str:
    """Returns the value as JSON.

    Args:
        value: dicts, lists, numbers, strings and None.
        indent: spaces per level; None puts everything on one line.
    """
    return json.dumps(_strict(value), indent=indent, allow_nan=False)


def json_file(value: Any) -> bytes:
    """Returns the value as the content of a JSON file.

    Args:
        value: dicts, lists, numbers, strings and None.
    """
    return (json_text(value, indent=2) + "\n").encode()


def floats(values: Any) -> list[float]:
    """Returns an array as a list of Python floats.

    Args:
        values: (n,), of any dtype.
    """
    return np.asarray(values, np.float64).tolist()


def _strict(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _strict(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_strict(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
