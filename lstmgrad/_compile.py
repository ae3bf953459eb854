"""The border between user and compiler: public functions are compiled where they are called."""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import equinox as eqx
import numpy as np

P = ParamSpec("P")
R = TypeVar("R")


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Returns the function compiled: positional arguments are data, keyword options are static.

    A NumPy scalar given as an option becomes the Python number it holds; as an array it would be
    traced, and an option has to be known at trace time.

    Args:
        function: any public function of the library.
    """
    jitted = eqx.filter_jit(function)

    @functools.wraps(function)
    def call(*data: P.args, **options: P.kwargs) -> R:
        plain: dict[str, Any] = {
            name: value.item() if isinstance(value, np.generic) else value
            for name, value in options.items()
        }
        return jitted(*data, **plain)

    return call
