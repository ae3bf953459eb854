"""The border between user and compiler: public functions are compiled where they are called."""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

import equinox as eqx
import jax
import jax.tree_util as jtu
import numpy as np

from lstmgrad._calls import check_call
from lstmgrad._leaves import leaf_name, shown, unregistered

P = ParamSpec("P")
R = TypeVar("R")


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Returns the function compiled: arrays are data, everything else is static.

    A scalar array given as an option becomes the Python number it holds; as an array it would be
    traced, and an option has to be known at trace time.

    Args:
        function: any public function of the library.
    """
    jitted = eqx.filter_jit(function)

    @functools.wraps(function)
    def call(*data: P.args, **options: P.kwargs) -> R:
        plain: dict[str, Any] = {name: _number(value) for name, value in options.items()}
        try:
            return jitted(*data, **plain)
        except (TypeError, ValueError, AttributeError) as error:
            # Only after a failure: checking every leaf in every call would cost more than it helps.
            check_call(function, data, options, error)
            _check_leaves(inspect.signature(function).bind(*data, **options).arguments)
            raise

    return call


def plain_options(function: Callable[P, R]) -> Callable[P, R]:
    """Returns the function with plain numbers for options that are scalar arrays, as `compiled`.

    For a public function that calls a compiled one. The option `length` stays an array, so that no
    length of a padded sequence is compiled anew.

    Args:
        function: any public function of the library.
    """

    @functools.wraps(function)
    def call(*data: P.args, **options: P.kwargs) -> R:
        plain: dict[str, Any] = {
            name: value if name == "length" and isinstance(value, jax.Array) else _number(value)
            for name, value in options.items()
        }
        try:
            return function(*data, **plain)
        except (TypeError, ValueError) as error:
            check_call(function, data, options, error)
            raise

    return call


def _number(value: Any) -> Any:
    """The Python number in a scalar array; everything else, traced scalars included, as it is."""
    if isinstance(value, np.generic | jax.Array) and np.ndim(value) == 0:
        try:
            return value.item()
        except jax.errors.ConcretizationTypeError:
            return value
    return value


def _check_leaves(arguments: Mapping[str, Any]) -> None:
    """Every leaf is an array, or can be part of a key of the compilation cache."""
    for argument, tree in arguments.items():
        for path, leaf in jtu.tree_leaves_with_path(tree):
            try:
                hash(leaf if not hasattr(leaf, "dtype") else None)
            except TypeError:
                raise ValueError(
                    f"{argument}: expected arrays, or what can be hashed, but leaf "
                    f"{leaf_name(path)} is {shown(leaf)}.{unregistered(leaf)}"
                ) from None
