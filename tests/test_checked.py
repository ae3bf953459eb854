"""Annotations are checked in the tests, also where one check serves several functions."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import pytest
from checked import checked
from jaxtyping import Array, Float, TypeCheckError, jaxtyped

import lstmgrad as lg


def same_size(function: Callable[[Any], Any], axes: str) -> Callable[..., Any]:
    """The function of x + y, which has to have their shape."""

    @jaxtyped(typechecker=checked)
    def call(x: Float[Array, axes], y: Float[Array, axes]) -> Float[Array, axes]:
        return function(x + y)

    return call


def test_functions_of_one_definition_are_checked_and_stay_apart():
    vector, matrix = jnp.ones(3), jnp.ones((3, 3))
    for factor in (2.0, 3.0):
        scaled = same_size(lambda x, factor=factor: factor * x, "n")
        assert scaled(vector, vector)[0] == 2 * factor
        for wrong in [(vector, jnp.ones(2)), (matrix, matrix)]:
            with pytest.raises(TypeCheckError, match="parameters"):
                scaled(*wrong)
    assert same_size(jnp.tanh, "n n")(matrix, matrix).shape == (3, 3)
    with pytest.raises(TypeCheckError, match="return value"):
        same_size(jnp.sum, "n")(vector, vector)


def test_the_annotations_of_the_library_are_checked():
    with pytest.raises(TypeCheckError):
        lg.DenseChain(jnp.ones((2, 3)))
