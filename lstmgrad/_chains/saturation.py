"""Slopes of tanh and the logistic function that are right far in saturation, too.

    tanh′(a) = sech²(a) = 4 e / (1 + e)²,  e = exp(-2 |a|)            σ′(a) = sech²(a / 2) / 4

JAX takes them from the value, 1 - tanh²(a) and σ (1 - σ). Where that is near 1, the difference is
rounding: in float32 it has lost half of its digits at a = 4, and is exactly zero from a = 9 on
(σ: 17). A unit that is deep in saturation would read as dead. So wherever a step is differentiated,
both are taken from the argument instead, which is good to the last digits until the slope itself
leaves the range of the dtype. Values stay as they are, bit for bit in float32 and float64.

Looked for are the primitives `tanh` and `logistic` of real arguments, which are also what silu,
gelu and the like are made of, in compiled functions, scans, loops and branches; a custom derivative
rule is its author's. Other saturating functions are right as they are: JAX has the slopes of
softplus, erf and exp from their arguments.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.extend.core as jex
import jax.numpy as jnp
from jaxtyping import Array, Float

from lstmgrad._chains.half import has_half, in_float32, widened
from lstmgrad._chains.interpret import Reading, bind, run_jaxpr
from lstmgrad._numeric.scaled import widen

_TANH, _LOGISTIC = jex.primitives.tanh_p, jex.primitives.logistic_p


def saturating(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns the same function, with derivatives that hold far in saturation and are float32.

    Args:
        function: of pytrees of arrays.
    """

    def call(*arguments: Any) -> Any:
        closed, shape = jax.make_jaxpr(function, return_shape=True)(*arguments)
        half = has_half(closed.jaxpr)
        if not half and not _saturates(closed.jaxpr):
            return function(*arguments)
        leaves = jax.tree.leaves(arguments)
        if half:
            reading = Reading(in_float32(_at), _concerns, constant=widened)
            values = run_jaxpr(closed, [widened(leaf) for leaf in leaves], reading)
            values = [
                jnp.asarray(value, like.dtype)
                for value, like in zip(values, jax.tree.leaves(shape), strict=True)
            ]
        else:
            values = run_jaxpr(closed, leaves, Reading(_at, _saturates))
        return jax.tree.unflatten(jax.tree.structure(shape), values)

    return call


@jax.custom_jvp
def sech_squared(a: Float[Array, "..."]) -> Float[Array, "..."]:
    """The slope of tanh.

    Args:
        a: where it is taken.
    """
    e = jnp.exp(-2 * jnp.abs(widen(a)))
    return (4 * e / jnp.square(1 + e)).astype(a.dtype)


@sech_squared.defjvp
def _(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (a,), (moved,) = primals, tangents
    slope = sech_squared(a)
    # tanh with its own slope from here, so that every further derivative holds as well.
    return slope, -2 * saturating(jnp.tanh)(a) * slope * moved


def _with_slope(equation: jex.JaxprEqn) -> Callable[[Array], Array]:
    """A tanh or logistic function with the slope that is taken from the argument."""

    @jax.custom_jvp
    def value(a: Array) -> Array:
        return bind(equation, [a])[0]

    @value.defjvp
    def _(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
        (a,), (moved,) = primals, tangents
        slope = sech_squared(a) if equation.primitive is _TANH else sech_squared(a / 2) / 4
        return value(a), slope * moved

    return value


def _at(equation: jex.JaxprEqn, values: list[Any]) -> Sequence[Any]:
    real = all(not jnp.iscomplexobj(value) for value in values)
    if equation.primitive in (_TANH, _LOGISTIC) and real:
        return [_with_slope(equation)(*values)]
    return bind(equation, values)


def _saturates(jaxpr: jex.Jaxpr) -> bool:
    return any(
        equation.primitive in (_TANH, _LOGISTIC)
        or any(_saturates(inner) for inner in jex.jaxprs_in_params(equation.params))
        for equation in jaxpr.eqns
    )


def _concerns(jaxpr: jex.Jaxpr) -> bool:
    return has_half(jaxpr) or _saturates(jaxpr)
