"""Recurrences with a matrix state that each step multiplies from the right: S' = S A(x) + ...

DeltaNet, RWKV-7, mLSTM and their like. The step acts on every row of S alike, so that its Jacobian
on the d_v d_k numbers of S is I ⊗ A with A (d_k, d_k). The product of T steps is I ⊗ A_1 ··· A_T:
its norm is that of the product of the A, and each of its singular values stands there d_v times.
So what is read of S is read of one row of it, in O(T d_k²) numbers instead of O(T (d_v d_k)²).

Axes in front of the last two are heads, which each have an A of their own.
"""

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lstmgrad._calls import public
from lstmgrad._chains.base import Copies, StoredChain, cut_leaves
from lstmgrad._chains.elsewhere import current_step_along
from lstmgrad._chains.factors import flat_step, pull_rows, push_rows
from lstmgrad._chains.implicit import run_of
from lstmgrad._chains.layout import Layout, layout_of
from lstmgrad._chains.run import BoundStep, Run
from lstmgrad._chains.sides import is_carried_matrix, sides_of
from lstmgrad._chains.trajectory import Trajectory
from lstmgrad._compile import compiled
from lstmgrad._types import Params, PartName, State, StepFn


class OneSidedChain(StoredChain):
    """A chain that knows what its step multiplies the matrices of the state by.

    Where these alone are left of the state (``of="s", wrt="s"``) they are multiplied, and read row
    by row; other parts are pushed and pulled through the step.

    Attributes:
        factors: A_t at index t-1, (T, ..., d_k, d_k), of each matrix; and s_{t-1} and x_t, ()
            for matrices without a model.
        matrices: the parts that are such matrices.
        layout: the named map between the state and the flat vector.
        step: the step with its parameters; None without a model.
        last: s_T; None without a model.

    Example:
        >>> unit = lg.cells.delta_net(2, 3)
        >>> network = unit.model(unit.init(jax.random.key(0)))
        >>> one_sided = lg.chain(network, inputs, linearize=lg.linearize_one_sided)
        >>> isinstance(one_sided, lg.OneSidedChain)
        True
    """

    factors: tuple[list[Array], Any]
    matrices: tuple[PartName, ...] = eqx.field(static=True)
    layout: Layout = eqx.field(static=True)
    step: BoundStep | None = None
    last: State | None = None

    def push(self, factor: Any, rows: Float[Array, "m n"]) -> Float[Array, "m n"]:
        """J_t v for every row v: V A for a matrix V."""
        sides, where = factor
        if self._alone:
            return self._multiply(sides, rows)
        return push_rows(*flat_step(self._bound, self.layout, where), rows)

    def pull(self, factor: Any, rows: Float[Array, "m n"]) -> Float[Array, "m n"]:
        """U J_t for every row u: U Aᵀ for a matrix U."""
        sides, where = factor
        if self._alone:
            return self._multiply([jnp.matrix_transpose(side) for side in sides], rows)
        return pull_rows(*flat_step(self._bound, self.layout, where), rows)

    def cut(self, bounds: slice) -> "OneSidedChain":
        """The chain along a stretch of time."""
        run = None if self.run is None else self.run.cut(bounds)
        return dataclasses.replace(
            self,
            factors=(cut_leaves(self.factors[0], bounds), () if run is None else run.factors),
            last=None if run is None else run.last,
        )

    def restricted(self, parts: Sequence[PartName]) -> "OneSidedChain":
        """The chain of some of the parts, the others held."""
        sides, where = self.factors
        pairs = zip(self.matrices, sides, strict=True)
        kept = {part: side for part, side in pairs if part in parts}
        return dataclasses.replace(
            self,
            factors=(list(kept.values()), where),
            matrices=tuple(kept),
            layout=self.layout.restricted(parts),
        )

    @property
    def run(self) -> Run | None:
        """The model and the states that it visited."""
        if self.step is None:
            return None
        before, inputs = self.factors[1]
        return Run(self.step, before, inputs, self.last)

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """The axes in front of the time axis."""
        if self.last is None:
            side, shape = self.factors[0][0], self._shape(self.matrices[0])
            return side.shape[: side.ndim - 1 - len(shape)]
        leaf = jax.tree.leaves(self.last)[0]
        return leaf.shape[: leaf.ndim - len(self.layout.shapes[0])]

    def copies(self) -> list[Copies] | None:
        """The chain of one row of each head, which stands there as often as there are rows."""
        shapes = [self._shape(part) for part in self.matrices]
        if not self._alone or [shape[:-1] for shape in shapes] == [(1,)]:
            return None
        pairs = zip(self.matrices, shapes, strict=True)
        return [Copies(self._heads(part, 1), shape[-2]) for part, shape in pairs]

    def heads(self, part: PartName | None = None) -> "OneSidedChain":
        """Returns the chains of the heads of one matrix, as a batch: read them under `jax.vmap`.

        Args:
            part: a matrix of the state; None is the only one.

        Returns:
            A chain with the heads on an axis in front, one where the matrix has two axes. Its
            state is one matrix (d_v, d_k), and it knows no model.

        Raises:
            ValueError: there is no such matrix, or None and several of them.

        Example:
            ``jax.vmap(lg.backward_norms)(chain.heads("s"))`` has a curve for each head.

            >>> one_sided.heads("s").batch_shape  # this cell has one
            (1,)
        """
        if part is None and len(self.matrices) == 1:
            part = self.matrices[0]
        if part is None or part not in self.matrices:
            known = ", ".join(map(repr, self.matrices))
            raise ValueError(
                f"part: expected one of the matrices of the state, {known}, but got {part!r}."
            )
        return self._heads(part, self._shape(part)[-2])

    def _heads(self, part: PartName, rows: int) -> "OneSidedChain":
        """Chains of so many rows of every head."""
        side, shape = self.factors[0][self.matrices.index(part)], self._shape(part)
        keys = shape[-1]
        side = side.reshape(len(side), math.prod(shape[:-2]), keys, keys)
        state = {part: jax.ShapeDtypeStruct((rows, keys), side.dtype)}
        factors = [jnp.moveaxis(side, 1, 0)], ()
        return OneSidedChain(factors=factors, matrices=(part,), layout=layout_of(state))

    @property
    def _alone(self) -> bool:
        """Whether nothing but matrices is left of the state, and none depends on another."""
        mixed = any(
            found and i != j
            for i, row in enumerate(self.layout.dependence)
            for j, found in enumerate(row)
        )
        return self.layout.parts == self.matrices and not mixed

    @property
    def _bound(self) -> BoundStep:
        assert self.step is not None, "parts that are no matrices come from a model"
        return self.step

    def _shape(self, part: PartName) -> tuple[int, ...]:
        return self.layout.shapes[self.layout.owners.index(part)]

    def _multiply(self, sides: list[Array], rows: Float[Array, "m n"]) -> Float[Array, "m n"]:
        pieces, start = [], 0
        for part, side in zip(self.matrices, sides, strict=True):
            shape = self._shape(part)
            size = math.prod(shape)
            piece = rows[:, start : start + size].reshape(-1, *shape)
            moved = jnp.matmul(piece, side[None].astype(rows.dtype), precision="highest")
            pieces.append(moved.reshape(-1, size))
            start += size
        return jnp.concatenate(pieces, axis=1)


@public
def linearize_one_sided(step: StepFn, params: Params, trajectory: Trajectory) -> OneSidedChain:
    """Returns the chain of step Jacobians of a recurrence that multiplies matrices on one side.

    Args:
        step: a step in which every part of the state with two axes or more, (..., d_v, d_k),
            becomes S A + B, with A (d_k, d_k) for each head, and A and B free of S. Other parts,
            and what the matrices owe to them, may be anything.
        params: its parameters.
        trajectory: as for `linearize`.

    Returns:
        A `OneSidedChain`, the same chain as `linearize` gives. Norms, singular values and
        exponents of such a matrix by itself, ``of="s", wrt="s"``, are those of one row of it, at
        1/d_v of the work of the matrix or less; ``chain.heads("s")`` has the heads one by one.

    Raises:
        ValueError: as `linearize`; no part of the state is a real matrix that goes on from step to
            step.
        RuntimeError: the declaration is wrong: a probe found that rows, heads or entries mix
            otherwise, beyond the square root of the dtype's epsilon relative to the largest entry
            of A.

    Notes:
        ⌈d_k/d_v⌉ + 1 jvps per step and matrix, batched over all steps; T heads d_k² numbers.

    Example:
        For the mLSTM A = f I, and ``backward_norms(chain, of="c", wrt="c")`` gives Σ ln f.

        >>> unit = lg.cells.delta_net(2, 3)
        >>> network = unit.model(unit.init(jax.random.key(0)))
        >>> one_sided = lg.chain(network, inputs, linearize=lg.linearize_one_sided)
        >>> dense = lg.jacobian(lg.chain(network, inputs)[2:3])
        >>> bool(jnp.allclose(lg.jacobian(one_sided[2:3]), dense, atol=1e-6))
        True
    """
    step = current_step_along(step, params, trajectory)
    return _linearize_one_sided(step, params, trajectory)


@compiled
def _linearize_one_sided(step: StepFn, params: Params, trajectory: Trajectory) -> OneSidedChain:
    run, layout = run_of(step, params, trajectory)
    matrices = tuple(part for part in layout.parts if is_carried_matrix(layout, part))
    if not matrices:
        raise ValueError(
            "step: expected a state with a real matrix that goes on from step to step, as "
            f"linearize_one_sided declares, but got shapes {list(layout.shapes)}. Use linearize."
        )
    places = [layout.owners.index(part) for part in matrices]
    sides, wrong = jax.vmap(functools.partial(sides_of, run.step, places))(*run.factors)
    message = (
        "step: expected every matrix of the state to be multiplied from the right by one that does "
        "not depend on it, as linearize_one_sided declares, but rows, heads or entries mix "
        "otherwise. Use linearize."
    )
    sides = eqx.error_if(sides, jnp.any(wrong), message)
    return OneSidedChain(
        factors=(sides, run.factors),
        matrices=matrices,
        layout=layout,
        step=run.step,
        last=run.last,
    )
