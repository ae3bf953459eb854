"""The check of annotations for the import hook, made once for each definition.

The hook decorates functions inside of functions, too, and does so in every call of the outer one.
What it hands over differs in identity alone: a function without a body that has the parameters and
annotations of the definition.
"""

from collections.abc import Callable
from typing import Any

from beartype import beartype

_CHECKS: dict[Any, Callable[..., Any]] = {}


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """`beartype.beartype(function)`, or that of an earlier one with equal code and annotations."""
    names = (function.__module__, function.__qualname__)
    definition = (names, function.__code__, tuple(function.__annotations__.items()))
    try:
        return _CHECKS[definition]
    except KeyError:
        return _CHECKS.setdefault(definition, beartype(function))
    except TypeError:  # An annotation that cannot be hashed.
        return beartype(function)
