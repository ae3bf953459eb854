"""Options: numbers in their range, dtypes and functions."""

import math
import numbers
import operator
from typing import Any

import jax.numpy as jnp

from lstmgrad._leaves import shown


def check_count(
    value: Any,
    argument: str,
    least: int = 1,
    *,
    most: int | None = None,
    limit: str = "",
    why: str = "",
) -> int:
    """Returns a whole number in its range as a Python int.

    Args:
        value: what was passed.
        argument: its name.
        least: the smallest number allowed.
        most: the largest number allowed; None is any.
        limit: what the largest number is called, ``"T"``.
        why: the reason for the largest number, in words that follow a comma.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    above = number is not None and most is not None and number > most
    if number is None or isinstance(value, bool) or number < least or above:
        name = f"{limit} = {most}" if limit else f"{most}"
        span = f", {least} or more" if most is None else f" from {least} to {name}"
        reason = f", {why}" if why else ""
        raise ValueError(
            f"{argument}: expected a whole number{span}{reason}, but got {shown(value)}."
        )
    return number


def check_positive(value: Any, argument: str) -> float:
    """Returns a number above zero as a Python float."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not float(value) > 0:
        raise ValueError(f"{argument}: expected a number above zero, but got {shown(value)}.")
    return float(value)


def check_number(value: Any, argument: str, least: float, most: float = math.inf) -> float:
    """Returns a number in [least, most] as a Python float.

    Args:
        value: what was given.
        argument: its name.
        least: that it may be.
        most: that it may be.
    """
    known = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not known or not least <= float(value) <= most:
        span = f", {least:g} or above" if most == math.inf else f" from {least:g} to {most:g}"
        raise ValueError(f"{argument}: expected a number{span}, but got {shown(value)}.")
    return float(value)


def resolve_dtype(dtype: Any) -> Any:
    """Returns the dtype asked for, or JAX's default float (float64 where x64 is on)."""
    try:
        kind = jnp.zeros((), dtype).dtype
    except TypeError:
        kind = None
    if kind is None or not jnp.issubdtype(kind, jnp.floating):
        raise ValueError(f"dtype: expected a floating-point dtype or None, but got {shown(dtype)}.")
    return kind


def check_full_float(dtype: Any, argument: str) -> None:
    """A real dtype that has complex numbers and linear algebra."""
    kind = resolve_dtype(dtype)
    if kind not in (jnp.float32, jnp.float64):
        raise ValueError(
            f"{argument}: expected float32 or float64, because complex numbers and linear systems "
            f"need one of them, but got {kind}."
        )


def check_hashable(value: Any, argument: str) -> None:
    """A function that can be a key of the compilation cache."""
    if not callable(value):
        raise ValueError(f"{argument}: expected a function, but got {shown(value)}.")
    try:
        hash(value)
    except TypeError:
        raise ValueError(
            f"{argument}: expected a function that can be hashed, so that the step is compiled "
            f"once, but got {shown(value)}. Define it once at module level."
        ) from None
