"""Half precision inside of a step, held in float32 while the step is differentiated.

A cast to bfloat16 rounds the tangent that passes through it to eight bits, at every step anew. So
numbers of a step that are in half precision, whether it was given them or casts to them itself, are
float32 where derivatives are taken; what the step casts is rounded, as it is, and its tangent is
not. Custom derivative rules and what else has an inside of its own
get and give numbers of the kind that they were traced for.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.extend.core as jex
import jax.numpy as jnp
from jaxtyping import Array

from lstmgrad._chains.interpret import bind


def is_half(dtype: Any) -> bool:
    """Whether a dtype is float16 or bfloat16.

    Args:
        dtype: any, or None.
    """
    return dtype in (jnp.float16, jnp.bfloat16)


def widened(value: Any) -> Any:
    """An array in half precision as float32, everything else as it is.

    Args:
        value: any leaf of a pytree.
    """
    return jnp.asarray(value, jnp.float32) if is_half(getattr(value, "dtype", None)) else value


def has_half(jaxpr: jex.Jaxpr) -> bool:
    """Whether a jaxpr has numbers in half precision, inside of what it calls, too.

    Args:
        jaxpr: of a step.
    """
    return any(
        any(_is_half_atom(atom) for atom in (*equation.invars, *equation.outvars))
        or any(has_half(inner) for inner in jex.jaxprs_in_params(equation.params))
        for equation in jaxpr.eqns
    )


def in_float32(at: Callable[[jex.JaxprEqn, list[Any]], Sequence[Any]]) -> Callable[..., Any]:
    """What is done at a primitive of a jaxpr in which half precision is held in float32.

    Args:
        at: what is done at all others.
    """

    def wide_at(equation: jex.JaxprEqn, values: list[Any]) -> Sequence[Any]:
        if not any(_is_half_atom(atom) for atom in (*equation.invars, *equation.outvars)):
            return at(equation, values)
        if any(True for _ in jex.jaxprs_in_params(equation.params)):
            pairs = zip(values, equation.invars, strict=True)
            narrow = [
                value.astype(_dtype_of(atom)) if _is_half_atom(atom) else value
                for value, atom in pairs
            ]
            return [widened(output) for output in bind(equation, narrow)]
        if equation.primitive is jex.primitives.convert_element_type_p:
            (value,) = values
            kind = equation.params["new_dtype"]
            return [_rounded(value, kind)] if is_half(kind) else [value.astype(kind)]
        params = {
            name: jnp.dtype(jnp.float32) if _is_half_param(value) else value
            for name, value in equation.params.items()
        }
        return at(equation.replace(params=params), values)

    return wide_at


def _rounded(value: Array, kind: Any) -> Array:
    """The value as the step has it, rounded, and a tangent that is not."""

    @jax.custom_jvp
    def cast(value: Array) -> Array:
        return value.astype(kind).astype(jnp.float32)

    @cast.defjvp
    def _(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
        return cast(*primals), tangents[0].astype(jnp.float32)

    if jnp.issubdtype(value.dtype, jnp.inexact):
        return cast(value)
    return value.astype(kind).astype(jnp.float32)


def _is_half_atom(atom: Any) -> bool:
    return is_half(_dtype_of(atom))


def _dtype_of(atom: Any) -> Any:
    return getattr(atom.aval, "dtype", None)  # a token has none


def _is_half_param(value: Any) -> bool:
    return isinstance(value, jnp.dtype) and is_half(value)
