"""What one step adds to the gradient of a weight, as the outer product that it mostly is.

A matrix W that a step uses in W z gets δ ⊗ z from it, with δ the cotangent of W z: as many numbers
as W has, made of few. Its norm is ‖δ‖ ‖z‖, and sums over steps are products of matrices. So the
backward pass of a step runs with its outer products left as pairs of factors for as long as what
is done to them, such as a transposition, can be done to the factors. Whatever else happens to one
multiplies it out: the numbers are those of the backward pass for any step.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.extend.core as jex
import jax.numpy as jnp
from jaxtyping import Array, Inexact

from lstmgrad._chains.interpret import CALLS, Reading, bind, run_jaxpr


class Outer(eqx.Module):
    """An array as the outer product of two others.

    Attributes:
        left: any shape.
        right: any shape.
        axes: axis i of the array is axis ``axes[i]`` of those of left and right in this order.
        dtype: of the array; the factors may be more precise.
    """

    left: Inexact[Array, "..."]
    right: Inexact[Array, "..."]
    axes: tuple[int, ...] = eqx.field(static=True)
    dtype: Any = eqx.field(static=True)

    @staticmethod
    def of(array: Any) -> "Outer":
        """Any array, as its own outer product with 1; one that is an outer product as it is."""
        if isinstance(array, Outer):
            return array
        array = jnp.asarray(array)
        one = jnp.ones((), array.dtype)
        return Outer(array, one, tuple(range(array.ndim)), array.dtype)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the array."""
        shape = self.left.shape + self.right.shape
        return tuple(shape[axis] for axis in self.axes)

    def to_array(self) -> Inexact[Array, "..."]:
        """The array, multiplied out."""
        return self.unflatten(jnp.outer(self.left, self.right))

    def unflatten(self, matrix: Inexact[Array, "left right"]) -> Inexact[Array, "..."]:
        """A matrix of left by right as an array of this shape and dtype."""
        array = matrix.reshape(self.left.shape + self.right.shape).transpose(self.axes)
        return array.astype(self.dtype)

    def each(self, function: Callable[[Array], Array]) -> "Outer":
        """The product with the left factor changed by a linear function that keeps its shape."""
        return dataclasses.replace(self, left=function(self.left))


def is_outer(value: Any) -> bool:
    """Whether a value is an `Outer`.

    Args:
        value: anything.
    """
    return isinstance(value, Outer)


def outer_pullback(pull: Callable[[Any], Any], row: Any) -> Any:
    """What a pullback returns, with arrays that are outer products as `Outer`.

    Args:
        pull: from a cotangent to a pytree of cotangents.
        row: the cotangent.
    """
    closed, shape = jax.make_jaxpr(pull, return_shape=True)(row)
    reading = Reading(_at, concerns=lambda jaxpr: True, looked_into=CALLS)
    values = run_jaxpr(closed, jax.tree.leaves(row), reading)
    return jax.tree.unflatten(jax.tree.structure(shape), values)


def _at(equation: jex.JaxprEqn, values: list[Any]) -> Sequence[Any]:
    """The outputs of a primitive, as outer products where that is known."""
    name = equation.primitive.name
    if any(isinstance(value, Outer) for value in values):
        found = _RULES[name](equation, values) if name in _RULES else None
    else:
        found = _product(equation, values) if name == "dot_general" else None
    if found is not None:
        return found if isinstance(found, list) else [found]
    return bind(equation, [_dense(value) for value in values])


def _dense(value: Any) -> Any:
    return value.to_array() if isinstance(value, Outer) else value


def _result(equation: jex.JaxprEqn) -> Any:
    """The abstract array that a primitive returns."""
    return equation.outvars[0].aval


def _product(equation: jex.JaxprEqn, values: list[Any]) -> Outer | None:
    """A product in which nothing is summed."""
    (contracted, batched) = equation.params["dimension_numbers"]
    factors = []
    for value, summed, shared in zip(values, contracted, batched, strict=True):
        if math.prod(value.shape[axis] for axis in (*summed, *shared)) != 1:
            return None
        kept = [value.shape[axis] for axis in range(value.ndim) if axis not in (*summed, *shared)]
        # An axis of length 1 for each that is shared comes first, from the left factor.
        kept = [1] * (len(shared) if not factors else 0) + kept
        factors.append(value.reshape(kept))
    left, right = factors
    if left.size * right.size <= 2 * (left.size + right.size):  # nothing is gained
        return None
    dtype = _result(equation).dtype
    left, right = (factor.astype(dtype) for factor in factors)
    return Outer(left, right, tuple(range(left.ndim + right.ndim)), dtype)


def _transpose(equation: jex.JaxprEqn, values: list[Any]) -> Outer:
    (value,) = values
    axes = tuple(value.axes[axis] for axis in equation.params["permutation"])
    return dataclasses.replace(value, axes=axes)


def _convert(equation: jex.JaxprEqn, values: list[Any]) -> Outer | None:
    """Another precision, of which rounding to fewer digits is left out."""
    (value,), dtype = values, equation.params["new_dtype"]
    if jnp.issubdtype(dtype, jnp.complexfloating) != jnp.issubdtype(
        value.dtype, jnp.complexfloating
    ):
        return None
    if not jnp.issubdtype(dtype, jnp.inexact):
        return None
    wide = max(dtype, value.left.dtype, key=lambda kind: jnp.finfo(kind).bits)
    return Outer(value.left.astype(wide), value.right.astype(wide), value.axes, dtype)


def _reshape(equation: jex.JaxprEqn, values: list[Any]) -> Outer | None:
    """A reshape that leaves the axes of left and right apart."""
    (value, *_), shape = values, _result(equation).shape
    count, rank = value.left.ndim, len(value.axes)
    in_order = value.axes == tuple(range(rank))
    swapped = value.axes == (*range(count, rank), *range(count))
    if not in_order and not swapped:
        return None
    first, second = (value.left, value.right) if in_order else (value.right, value.left)
    for cut in range(len(shape) + 1):
        if math.prod(shape[:cut]) == first.size and math.prod(shape[cut:]) == second.size:
            first, second = first.reshape(shape[:cut]), second.reshape(shape[cut:])
            return Outer(first, second, tuple(range(len(shape))), value.dtype)
    return None


def _negate(_: jex.JaxprEqn, values: list[Any]) -> Outer:
    return values[0].each(jnp.negative)


def _multiply(_: jex.JaxprEqn, values: list[Any]) -> Outer | None:
    """A product with one number."""
    one, other = values if isinstance(values[0], Outer) else values[::-1]
    if isinstance(other, Outer) or jnp.ndim(other):
        return None
    return one.each(lambda left: left * other.astype(left.dtype))


def _add(_: jex.JaxprEqn, values: list[Any]) -> Outer | None:
    """The sum of two that share a factor, as what the gates of one matrix get."""
    if not all(isinstance(value, Outer) for value in values):
        return None
    one, other = values
    if one.axes != other.axes or one.left.shape != other.left.shape:
        return None
    if one.right is other.right:
        return one.each(lambda left: left + other.left)
    if one.left is other.left:
        return dataclasses.replace(one, right=one.right + other.right)
    return None


def _pad(equation: jex.JaxprEqn, values: list[Any]) -> Outer | None:
    """Zeros around it."""
    value, padding = values
    literal = equation.invars[1]
    if not isinstance(value, Outer) or not isinstance(literal, jex.Literal) or literal.val != 0:
        return None

    def padded(factor: Array, config: list[Any]) -> Array:
        # The same object where nothing is put around it: sums look for a factor that is shared.
        if not any(any(each) for each in config):
            return factor
        return jax.lax.pad(factor, padding.astype(factor.dtype), config)

    return _by_factor(value, equation.params["padding_config"], padded)


def _slice(equation: jex.JaxprEqn, values: list[Any]) -> Outer:
    """A part of it."""
    (value,), params = values, equation.params
    strides = params["strides"] or (1,) * len(value.axes)
    bounds = zip(params["start_indices"], params["limit_indices"], strides, strict=True)
    return _cut(value, list(bounds))


def _split(equation: jex.JaxprEqn, values: list[Any]) -> list[Outer]:
    """Parts of it."""
    (value,), axis, stop, parts = values, equation.params["axis"], 0, []
    for size in equation.params["sizes"]:
        bounds = [(0, size, 1) for size in value.shape]
        start, stop = stop, stop + size
        bounds[axis] = (start, stop, 1)
        parts.append(_cut(value, bounds))
    return parts


def _cut(value: Outer, bounds: list[tuple]) -> Outer:
    """A part of it, from start to stop by steps along every axis."""

    def cut(factor: Array, bounds: list[Any]) -> Array:
        whole = [(0, size, 1) for size in factor.shape]
        return factor if bounds == whole else factor[tuple(slice(*each) for each in bounds)]

    return _by_factor(value, bounds, cut)


def _concatenate(equation: jex.JaxprEqn, values: list[Any]) -> Outer | None:
    """Several that share a factor, along an axis of the other one: what gates get."""
    if not all(isinstance(value, Outer) and value.axes == values[0].axes for value in values):
        return None
    axis = values[0].axes[equation.params["dimension"]]
    count = values[0].left.ndim
    if any(value.left.ndim != count for value in values):
        return None
    left, right = ([getattr(value, name) for value in values] for name in ("left", "right"))
    if axis < count and all(factor is right[0] for factor in right):
        return dataclasses.replace(values[0], left=jnp.concatenate(left, axis))
    if axis >= count and all(factor is left[0] for factor in left):
        return dataclasses.replace(values[0], right=jnp.concatenate(right, axis - count))
    return None


def _by_factor(
    value: Outer, entries: Sequence[Any], change: Callable[[Array, list], Array]
) -> Outer:
    """Something done along every axis, done to the factors.

    Args:
        value: the product.
        entries: what is done, one entry for each axis of the array.
        change: ``change(factor, entries) -> factor``, with those of the axes of the factor.
    """
    own = dict(zip(value.axes, entries, strict=True))
    count, rank = value.left.ndim, len(value.axes)
    left = change(value.left, [own[axis] for axis in range(count)])
    right = change(value.right, [own[axis] for axis in range(count, rank)])
    return dataclasses.replace(value, left=left, right=right)


_RULES: dict[str, Callable[[jex.JaxprEqn, list[Any]], Outer | list[Outer] | None]] = {
    "transpose": _transpose,
    "convert_element_type": _convert,
    "reshape": _reshape,
    "squeeze": _reshape,
    "neg": _negate,
    "mul": _multiply,
    "add_any": _add,
    "add": _add,
    "pad": _pad,
    "slice": _slice,
    "split": _split,
    "concatenate": _concatenate,
    "copy": lambda _, values: values[0],
}
