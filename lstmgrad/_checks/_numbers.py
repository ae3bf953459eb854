"""Options: numbers in their range, dtypes and functions."""

import math
import numbers
import operator
from typing import Any

import jax.numpy as jnp


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
        raise ValueError(f"{argument}: expected a whole number{span}{reason}, but got {value!r}.")
    return number


def check_positive(value: Any, argument: str) -> float:
    """Returns a number above zero as a Python float."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not float(value) > 0:
        raise ValueError(f"{argument}: expected a number above zero, but got {value!r}.")
    return float(value)


def check_number(value: Any, argument: str, least: float, most: float = math.inf) -> float:
    """Returns a number in [least, most] as a Python float."""
    known = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not known or not least <= float(value) <= most:
        span = f", {least:g} or above" if most == math.inf else f" from {least:g} to {most:g}"
        raise ValueError(f"{argument}: expected a number{span}, but got {value!r}.")
    return float(value)


def check_tolerance(value: Any) -> None:
    """A relative error: zero, or a number above it."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not float(value) >= 0:
        raise ValueError(f"rtol: expected a number, 0 or above, but got {value!r}.")


def check_every(value: Any, length: int) -> int:
    """A spacing of 1 <= every <= T; returns it as a Python int."""
    number = check_count(value, "every")
    if number > max(length, 1):
        raise ValueError(f"every: expected at most T = {length}, but got {value!r}.")
    return number


def check_num_values(value: Any, most: int) -> int:
    """How many singular values to keep, 1 to min(n_of, n_wrt); all for None."""
    if value is None:
        return most
    number = check_count(value, "num_values")
    if number > most:
        raise ValueError(
            f"num_values: expected at most {most}, all that the block has, but got {value!r}."
        )
    return number


def check_length(value: Any, argument: str, length: int) -> int:
    """A number of steps from 1 to T; None is T."""
    number = length if value is None else check_count(value, argument)
    if number > length:
        raise ValueError(f"{argument}: expected at most T = {length}, but got {value!r}.")
    return number


def check_lags(values: Any, length: int) -> tuple[int, ...]:
    """Increasing lags in 0..T; returns them as Python ints."""
    try:
        lags = tuple(operator.index(value) for value in values)
    except TypeError:
        lags = ()
    if not lags or list(lags) != sorted(set(lags)) or lags[0] < 0 or lags[-1] > length:
        raise ValueError(
            f"lags: expected increasing whole numbers from 0 to T = {length}, but got {values!r}."
        )
    return lags


def check_burn_in(value: Any, length: int) -> int:
    """Steps that are not counted, and leave at least one that is; returns them as a Python int."""
    number = check_count(value, "burn_in", least=0)
    if number >= length:
        raise ValueError(
            f"burn_in: expected less than T = {length}, so that a step is left to count, but got "
            f"{value!r}."
        )
    return number


def check_ends(value: Any, length: int) -> int:
    """Steps at either end, with at least one between them; returns them as a Python int."""
    number = check_count(value, "burn_in", least=0)
    if 2 * number >= length:
        raise ValueError(
            f"burn_in: expected less than half of T = {length}, because as many steps are left out "
            f"at the end as at the beginning, but got {value!r}."
        )
    return number


def check_exponent_count(value: Any, size: int) -> int:
    """From 1 exponent to as many as the state has dimensions; returns it as a Python int."""
    number = check_count(value, "num_exponents")
    if number > size:
        raise ValueError(
            f"num_exponents: expected at most n = {size}, the flat size of the state, but got "
            f"{value!r}."
        )
    return number


def check_full_float(dtype: Any, argument: str) -> None:
    """A real dtype that has complex numbers and linear algebra."""
    kind = jnp.zeros((), dtype).dtype
    if kind not in (jnp.float32, jnp.float64):
        raise ValueError(
            f"{argument}: expected float32 or float64, because complex numbers and linear systems "
            f"need one of them, but got {kind}."
        )


def check_hashable(value: Any, argument: str) -> None:
    """A function that can be a key of the compilation cache."""
    if not callable(value):
        raise ValueError(f"{argument}: expected a function of an array, but got {value!r}.")
    try:
        hash(value)
    except TypeError:
        raise ValueError(
            f"{argument}: expected a function that can be hashed, so that the step is compiled "
            f"once, but got {value!r}. Define it once at module level."
        ) from None
