"""The named map between a state pytree and one flat real vector.

Jacobians need vectors, people need names. The vector concatenates the raveled floating-point and
complex leaves in pytree order, complex ones as (real parts, imaginary parts), so that a Jacobian
is always a real matrix. It has the widest precision of them, and float32 at least: leaves in half
precision are widened, which is exact. Integer and boolean leaves have no derivative: they travel
with the state and take no place in the vector. A part is a top-level field, dict key or position,
and its block is one contiguous slice of the vector.

A layout also knows which part of the new state depends on which part of the old one, and can be
restricted to some of the parts: the vector then holds these alone.
"""

import dataclasses
import itertools
import math
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
from jaxtyping import Array, Float

from lstmgrad._checks import check_state
from lstmgrad._leaves import shown
from lstmgrad._types import PartName, State

Dependence = tuple[tuple[bool, ...], ...]
"""``dependence[i][j]``: whether part i after a step depends on part j before it."""


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where each part of the state lies in the flat vector; hashable, so it can be static.

    Attributes:
        dtype: the real dtype of the vector.
        parts: the names that `of` and `wrt` accept, in order.
        starts: the offset of each part, and n at the end.
        shapes: the shape of every leaf of the state, differentiable or not, in pytree order.
        dtypes: the dtype of every leaf.
        owners: the part that each leaf belongs to; None where it has no place in the vector.
        dependence: which part of the new state depends on which part of the old one.
    """

    dtype: Any
    parts: tuple[PartName, ...]
    starts: tuple[int, ...]
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[Any, ...]
    owners: tuple[PartName | None, ...]
    dependence: Dependence

    @property
    def size(self) -> int:
        """n, the length of the flat vector."""
        return self.starts[-1]

    @property
    def inexact_shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shape of every leaf that has a place in the vector."""
        pairs = zip(self.shapes, self.owners, strict=True)
        return tuple(shape for shape, owner in pairs if owner is not None)

    def block(self, name: PartName | None, argument: str) -> slice:
        """The slice of the flat vector that holds the part; the whole vector for None."""
        if name is None:
            return slice(0, self.size)
        _check_part(name, self.parts, argument)
        index = self.parts.index(name)
        return slice(self.starts[index], self.starts[index + 1])

    def part_sizes(self) -> dict[PartName, int]:
        """The number of flat coordinates in each part."""
        sizes = (after - before for before, after in itertools.pairwise(self.starts))
        return dict(zip(self.parts, sizes, strict=True))

    def coordinates(self, parts: Iterable[PartName]) -> np.ndarray:
        """The places of some of the parts in the flat vector."""
        kept = set(parts)
        return np.flatnonzero(
            np.repeat([part in kept for part in self.parts], list(self.part_sizes().values()))
        )

    def restricted(self, parts: Iterable[PartName]) -> "Layout":
        """The layout of the vector that holds these parts alone, in their old order."""
        sizes, kept = self.part_sizes(), set(parts)
        chosen = tuple(index for index, part in enumerate(self.parts) if part in kept)
        names = tuple(self.parts[index] for index in chosen)
        return dataclasses.replace(
            self,
            parts=names,
            starts=(0, *itertools.accumulate(sizes[name] for name in names)),
            owners=tuple(owner if owner in kept else None for owner in self.owners),
            dependence=tuple(tuple(self.dependence[i][j] for j in chosen) for i in chosen),
        )

    def ravel(self, state: State) -> Float[Array, " n"]:
        """The flat vector of a state."""
        leaves = zip(jax.tree.leaves(state), self.owners, strict=True)
        return ravel([leaf for leaf, owner in leaves if owner is not None], self.dtype)

    def accepts(self, dtype: Any) -> bool:
        """Whether a flat vector may come in a real dtype: its own, or that of a leaf."""
        return dtype == self.dtype or dtype in self.real_dtypes

    @property
    def real_dtypes(self) -> tuple[Any, ...]:
        """The precision of every leaf that has a place in the vector."""
        pairs = zip(self.dtypes, self.owners, strict=True)
        return tuple(jnp.finfo(dtype).dtype for dtype, owner in pairs if owner is not None)

    def unravel(self, vector: Float[Array, " n"], state: State) -> State:
        """The state with the leaves of the layout taken from the flat vector, the rest as it is."""
        leaves, treedef = jax.tree.flatten(state)
        start, filled = 0, []
        for leaf, owner in zip(leaves, self.owners, strict=True):
            if owner is None:
                filled.append(leaf)
                continue
            pieces = []
            for _ in range(2 if jnp.iscomplexobj(leaf) else 1):
                pieces.append(vector[start : start + leaf.size].reshape(leaf.shape))
                start += leaf.size
            narrow = [piece.astype(jnp.finfo(leaf.dtype).dtype) for piece in pieces]
            filled.append(jax.lax.complex(*narrow) if len(narrow) == 2 else narrow[0])
        return jax.tree.unflatten(treedef, filled)


def layout_of(state: State, dependence: Dependence | None = None) -> Layout:
    """The layout of a state, or of its abstract value (`jax.eval_shape`).

    Args:
        state: a pytree of arrays.
        dependence: which part depends on which; None assumes that all depend on all.
    """
    check_state(state)
    sizes: dict[PartName, int] = {}
    owners: list[PartName | None] = []
    widest = jnp.dtype(jnp.float32)
    for path, leaf in jtu.tree_leaves_with_path(state):
        dtype = jnp.result_type(leaf)
        if not jnp.issubdtype(dtype, jnp.inexact):
            owners.append(None)
            continue
        real = 2 if jnp.issubdtype(dtype, jnp.complexfloating) else 1
        name = _part_name(path)
        sizes[name] = sizes.get(name, 0) + real * math.prod(jnp.shape(leaf))
        widest = max(widest, jnp.finfo(dtype).dtype, key=lambda kind: jnp.finfo(kind).bits)
        owners.append(name)
    return Layout(
        dtype=widest,
        parts=tuple(sizes),
        starts=(0, *itertools.accumulate(sizes.values())),
        shapes=tuple(tuple(jnp.shape(leaf)) for leaf in jax.tree.leaves(state)),
        dtypes=tuple(jnp.result_type(leaf) for leaf in jax.tree.leaves(state)),
        owners=tuple(owners),
        dependence=dependence or ((True,) * len(sizes),) * len(sizes),
    )


def ravel(tree: Any, dtype: Any = None) -> Float[Array, " n"]:
    """The flat real vector of all differentiable leaves of a pytree.

    Args:
        tree: a pytree of arrays.
        dtype: of the vector; None is that of the leaves, which is the same for all.
    """
    pieces = []
    for leaf in jax.tree.leaves(tree):
        leaf = leaf if hasattr(leaf, "dtype") else jnp.asarray(leaf)  # a step may return 1.0
        if jnp.issubdtype(leaf.dtype, jnp.complexfloating):
            pieces += [leaf.real.reshape(-1), leaf.imag.reshape(-1)]
        elif jnp.issubdtype(leaf.dtype, jnp.inexact):
            pieces.append(leaf.reshape(-1))
    return jnp.concatenate([piece if dtype is None else piece.astype(dtype) for piece in pieces])


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


def _check_part(name: Any, known: tuple, argument: str) -> None:
    """The part of the state exists."""
    if name not in known or isinstance(name, bool):
        raise ValueError(
            f"{argument}: expected one of the state's parts {', '.join(map(repr, known))} or None "
            f"for the whole state, but got {shown(name)}."
        )


def check_all_differentiable(layout: Layout, why: str, instead: str = "") -> None:
    """Every leaf of the state has a derivative.

    Args:
        layout: of the state.
        why: what needs it, as the end of "because ...".
        instead: a sentence that names another function, if there is one.
    """
    if None in layout.owners:
        dtype = layout.dtypes[layout.owners.index(None)]
        raise ValueError(
            f"state: expected floating-point or complex leaves alone, because {why}, but got one "
            f"of {dtype}. {instead}".rstrip()
        )
