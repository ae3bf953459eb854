"""The named map between a state pytree and one flat real vector.

Jacobians need vectors, people need names. The vector concatenates the raveled floating-point and
complex leaves in pytree order, complex ones as (real parts, imaginary parts), so that a Jacobian
is always a real matrix. Integer and boolean leaves have no derivative: they travel with the state
and take no place in the vector. A part is a top-level field, dict key or position, and its block
is one contiguous slice of the vector.
"""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
from jaxtyping import Array, Float

from lstmgrad._checks import check_part, check_state
from lstmgrad._types import PartName, State


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where each part of the state lies in the flat vector; hashable, so it can be static.

    Attributes:
        size: n, the length of the flat vector.
        dtype: the real dtype of the vector.
        parts: the names that `of` and `wrt` accept, in order.
        starts: the offset of each part, and n at the end.
        shapes: the shape of every leaf, differentiable or not, in pytree order.
        inexact_shapes: the shape of every differentiable leaf.
    """

    size: int
    dtype: Any
    parts: tuple[PartName, ...]
    starts: tuple[int, ...]
    shapes: tuple[tuple[int, ...], ...]
    inexact_shapes: tuple[tuple[int, ...], ...]

    def block(self, name: PartName | None, argument: str) -> slice:
        """The slice of the flat vector that holds the part; the whole vector for None."""
        if name is None:
            return slice(0, self.size)
        check_part(name, self.parts, argument)
        index = self.parts.index(name)
        return slice(self.starts[index], self.starts[index + 1])

    def block_size(self, name: PartName | None, argument: str) -> int:
        """The number of flat coordinates in the part."""
        block = self.block(name, argument)
        return block.stop - block.start


def layout_of(state: State) -> Layout:
    """The layout of a state, or of its abstract value (`jax.eval_shape`)."""
    check_state(state)
    sizes: dict[PartName, int] = {}
    real_dtype, inexact_shapes = None, []
    for path, leaf in jtu.tree_leaves_with_path(state):
        dtype = jnp.result_type(leaf)
        if jnp.issubdtype(dtype, jnp.inexact):
            real = 2 if jnp.issubdtype(dtype, jnp.complexfloating) else 1
            name = _part_name(path)
            sizes[name] = sizes.get(name, 0) + real * math.prod(jnp.shape(leaf))
            real_dtype = jnp.finfo(dtype).dtype
            inexact_shapes.append(tuple(jnp.shape(leaf)))
    starts = [0]
    for size in sizes.values():
        starts.append(starts[-1] + size)
    shapes = tuple(tuple(jnp.shape(leaf)) for leaf in jax.tree.leaves(state))
    parts, starts = tuple(sizes), tuple(starts)
    return Layout(starts[-1], real_dtype, parts, starts, shapes, tuple(inexact_shapes))


def ravel(state: State) -> Float[Array, " n"]:
    """The flat real vector of a state."""
    pieces = []
    for leaf in jax.tree.leaves(state):
        leaf = leaf if hasattr(leaf, "dtype") else jnp.asarray(leaf)  # a step may return 1.0
        if jnp.issubdtype(leaf.dtype, jnp.complexfloating):
            pieces += [leaf.real.reshape(-1), leaf.imag.reshape(-1)]
        elif jnp.issubdtype(leaf.dtype, jnp.inexact):
            pieces.append(leaf.reshape(-1))
    return jnp.concatenate(pieces)


def unravel(vector: Float[Array, " n"], state: State) -> State:
    """The state with its differentiable leaves taken from the flat vector."""
    leaves, treedef = jax.tree.flatten(state)
    start = 0

    def take(leaf: Array) -> Array:
        nonlocal start
        piece = vector[start : start + leaf.size].reshape(leaf.shape)
        start += leaf.size
        return piece

    filled = []
    for leaf in leaves:
        if jnp.issubdtype(leaf.dtype, jnp.complexfloating):
            real, imag = take(leaf), take(leaf)
            filled.append(jax.lax.complex(real, imag))
        elif jnp.issubdtype(leaf.dtype, jnp.inexact):
            filled.append(take(leaf))
        else:
            filled.append(leaf)
    return jax.tree.unflatten(treedef, filled)


def _part_name(path: tuple) -> PartName:
    """The name of the top-level child that a leaf belongs to; a bare array is part 0."""
    if not path:
        return 0
    match path[0]:
        case jtu.GetAttrKey(name):
            return name
        case jtu.DictKey(key) | jtu.FlattenedIndexKey(key):
            return key if isinstance(key, str | int) else str(key)
        case jtu.SequenceKey(index):
            return index
        case other:
            return str(other)
