"""The one noun: a chain of step Jacobians J_t = ds_t/ds_{t-1}, t = 1..T.

``chain[k:t]`` is the chain J_{k+1}, ..., J_t, and its product, latest factor on the left, *is*
ds_t/ds_k = J_t ··· J_{k+1}; the empty chain is the identity. A chain can do two things with one
factor: push tangents through it (v ↦ J_t v, forward mode) and pull cotangents back through it
(u ↦ u J_t, reverse mode). Everything else in the toolkit is a scan of these two. Both take a block
of m flat vectors as the rows of an (m, n) array, which is the fast layout in either direction.

Representations of the one interface:

* `ImplicitChain` keeps the trajectory and the step; a push is a jvp and a pull is a vjp, so that
  nothing of size n x n is stored and m rows cost one matrix product against the recurrent weights.
* `DenseChain` keeps the (T, n, n) matrices.
* `StreamedChain` (in `_stream`) keeps the inputs alone and runs the model while it is pushed.
* `DiagonalChain` (in `_diagonal`) keeps the diagonals of a recurrence that has nothing else.
"""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact

from lstmgrad._chains.layout import Layout, layout_of, ravel, unravel
from lstmgrad._chains.trajectory import Trajectory
from lstmgrad._checks import check_kind, check_slice, check_step, check_trajectory
from lstmgrad._compile import compiled
from lstmgrad._types import Inputs, Params, State, StepFn


class Chain(eqx.Module):
    """The factors J_1, ..., J_T along one trajectory.

    Attributes:
        factors: a pytree with T on axis 0; entry t-1 is all that J_t needs.
        layout: the named map between the state and the flat vector of size n.
    """

    factors: eqx.AbstractVar[Any]
    layout: eqx.AbstractVar[Layout]

    @abc.abstractmethod
    def push(self, factor: Any, rows: Float[Array, "m n"]) -> Float[Array, "m n"]:
        """J_t v for every row v, forward mode."""

    @abc.abstractmethod
    def pull(self, factor: Any, rows: Float[Array, "m n"]) -> Float[Array, "m n"]:
        """U J_t for every row u, reverse mode."""

    @property
    def reversible(self) -> bool:
        """Whether cotangents can be pulled back through the chain."""
        return True

    def begin(self) -> Any:
        """What a forward sweep carries besides its block; nothing where the factors are stored."""
        return None

    def visit(self, memory: Any, entry: Any) -> tuple[Any, Any]:
        """The factor at an entry of `factors`, and the memory for the next one."""
        return memory, entry

    @property
    @abc.abstractmethod
    def batch_shape(self) -> tuple[int, ...]:
        """The axes in front of the time axis, left by a `jax.vmap` around `linearize`."""

    def __len__(self) -> int:
        """T, the number of factors."""
        if self.batch_shape:
            raise ValueError(
                f"chain: expected one trajectory, but this chain has a batch of {self.batch_shape} "
                "in front of the time axis. Wrap the call: jax.vmap(lambda chain: ...)(chain)."
            )
        return jax.tree.leaves(self.factors)[0].shape[0]

    def __getitem__(self, key: slice) -> "Chain":
        """`chain[k:t]`, the chain of J_{k+1}, ..., J_t, whose product is ds_t/ds_k."""
        bounds = check_slice(key, len(self))
        factors = jax.tree.map(lambda leaf: leaf[bounds], self.factors)
        return eqx.tree_at(lambda chain: chain.factors, self, factors)

    def materialize(self) -> "DenseChain":
        """The same chain with every factor as a matrix: T n² numbers, T pulls of the identity."""
        return _materialize(self)


class DenseChain(Chain):
    """A chain of given matrices, for a linear model or for Jacobians from elsewhere.

    Attributes:
        factors: (T, n, n), J_t at index t-1.
        layout: named blocks; by default the state is one block.
    """

    factors: Float[Array, "*batch_T n n"]
    layout: Layout = eqx.field(static=True)

    def __init__(self, factors: Float[Array | np.ndarray, "T n n"], layout: Layout | None = None):
        """Wraps the matrices.

        Args:
            factors: (T, n, n), J_t at index t-1, latest last.
            layout: where the state's parts lie; None makes one block of size n.

        Raises:
            ValueError: the array is no stack of square floating-point matrices, or its n is not
                the layout's.
        """
        factors = jnp.asarray(factors)
        if factors.ndim != 3 or factors.shape[1] != factors.shape[2]:
            raise ValueError(
                "factors: expected square matrices stacked along time, shape (T, n, n), but got "
                f"{factors.shape}."
            )
        if not jnp.issubdtype(factors.dtype, jnp.floating):
            raise ValueError(
                f"factors: expected a real floating-point dtype, but got {factors.dtype}."
            )
        size = factors.shape[1]
        if layout is None:
            layout = layout_of(jax.ShapeDtypeStruct((size,), factors.dtype))
        if (layout.size, layout.dtype) != (size, factors.dtype):
            raise ValueError(
                f"layout: expected one of size {size} and dtype {factors.dtype}, like the factors, "
                f"but got size {layout.size} and dtype {layout.dtype}."
            )
        self.factors = factors
        self.layout = layout

    def push(self, factor: Float[Array, "n n"], rows: Float[Array, "m n"]):
        """J_t v for every row v."""
        return jnp.matmul(rows, factor.T, precision="highest")

    def pull(self, factor: Float[Array, "n n"], rows: Float[Array, "m n"]):
        """U J_t for every row u."""
        return jnp.matmul(rows, factor, precision="highest")

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """The axes in front of (T, n, n)."""
        return self.factors.shape[:-3]


class ImplicitChain(Chain):
    """A chain of jvps and vjps of the step along a trajectory; nothing n x n is stored.

    Attributes:
        factors: (states, inputs): s_{t-1} and x_t at index t-1.
        model: (step, params), split into arrays and the static rest.
        layout: the named map between the state and the flat vector.
    """

    factors: Any
    model: "Model"
    layout: Layout = eqx.field(static=True)

    def push(self, factor: Any, rows: Float[Array, "m n"]) -> Float[Array, "m n"]:
        """J_t v, one jvp batched over the rows."""
        flat, step = self._flat_step(factor)
        with jax.default_matmul_precision("highest"):
            after, jvp = jax.linearize(step, flat)
            return nan_with(after, jax.vmap(jvp)(rows))

    def pull(self, factor: Any, rows: Float[Array, "m n"]) -> Float[Array, "m n"]:
        """U J_t, one vjp batched over the rows."""
        flat, step = self._flat_step(factor)
        with jax.default_matmul_precision("highest"):
            after, vjp = jax.vjp(step, flat)
            return nan_with(after, jax.vmap(lambda row: vjp(row)[0])(rows))

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """The axes in front of the time axis of the states."""
        states, _ = self.factors
        leaf = jax.tree.leaves(states)[0]
        return leaf.shape[: leaf.ndim - 1 - len(self.layout.shapes[0])]

    def _flat_step(self, factor: Any):
        """The flat state s_{t-1}, and the step as a function of it."""
        state, x = factor
        return ravel(state), lambda flat: ravel(self.model.step(unravel(flat, state), x))


@compiled
def linearize(step: StepFn, params: Params, trajectory: Trajectory) -> Chain:
    """Returns the chain of exact step Jacobians along a trajectory.

    J_t = ∂step(params, s, x_t)/∂s at s = s_{t-1}, as a real matrix on the flat state; parameters
    and inputs are held. This is the only place where Jacobians are taken.

    Args:
        step: the step function of the model.
        params: its parameters.
        trajectory: as `unroll` gives it, or built from a model's own run, T+1 states to T inputs.

    Returns:
        A `Chain` of T factors in the implicit representation. It is a pytree: it goes through
        `jax.jit`, `jax.vmap` and `jax.grad` (with respect to the parameters, too).

    Raises:
        ValueError: the trajectory does not have one state more than inputs, or the step does not
            return a state like the one it is given.

    Notes:
        O(1) time beyond one abstract call of the step: the derivatives are taken when something is
        pushed or pulled through the chain, at the highest matmul precision.

    Example:
        ```python
        chain = lg.linearize(cell.step, params, trajectory)
        lg.jacobian(chain[2:7], of="c", wrt="c")  # dc_7/dc_2
        ```
    """
    check_kind(trajectory, Trajectory, "trajectory")
    state = check_trajectory(trajectory)
    states, inputs = jax.tree.map(jnp.asarray, (trajectory.states, trajectory.inputs))
    layout = layout_of(state)
    check_step(step, params, state, jax.tree.map(lambda leaf: leaf[0], inputs))
    before = jax.tree.map(lambda leaf: leaf[:-1], states)
    model = Model.of(step, params)
    return ImplicitChain(factors=(before, inputs), model=model, layout=layout)


class Model(eqx.Module):
    """(step, params) with arrays as leaves and the rest static, so that a chain may leave jit."""

    arrays: Any
    rest: tuple = eqx.field(static=True)

    @staticmethod
    def of(step: StepFn, params: Params) -> "Model":
        """The model of a step and its parameters, whatever they hold."""
        arrays, rest = eqx.partition((step, params), _is_array)
        leaves, treedef = jax.tree.flatten(rest)
        return Model(arrays, (tuple(leaves), treedef))

    def step(self, state: State, x: Inputs) -> State:
        """One step of the model with its parameters."""
        leaves, treedef = self.rest
        step, params = eqx.combine(self.arrays, jax.tree.unflatten(treedef, leaves))
        return step(params, state, x)


def nan_with(after: Float[Array, "*T n"], block: Inexact[Array, "..."]):
    """The block, or all NaN where the step led to NaN.

    Derivatives of a selection are finite even there: that of relu at NaN is 0, and a broken
    trajectory would read as a vanished gradient.
    """
    return jnp.where(jnp.any(jnp.isnan(after)), jnp.nan, block)


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | np.ndarray | np.generic)


@eqx.filter_jit
def _materialize(chain: Chain) -> DenseChain:
    len(chain)
    identity = jnp.eye(chain.layout.size, dtype=chain.layout.dtype)
    factors = jax.vmap(lambda factor: chain.pull(factor, identity))(chain.factors)
    return DenseChain(factors, chain.layout)
