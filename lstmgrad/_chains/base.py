"""The one noun: a chain of step Jacobians J_t = ds_t/ds_{t-1}, t = 1..T.

``chain[k:t]`` is the chain J_{k+1}, ..., J_t, and its product, latest factor on the left, *is*
ds_t/ds_k = J_t ··· J_{k+1}; the empty chain is the identity. A chain pushes tangents through one
factor at a time (v ↦ J_t v, forward mode), and one that is stored also pulls cotangents back
(u ↦ u J_t, reverse mode). Everything else in the toolkit is a scan of these two. Both take a block
of m flat vectors as the rows of an (m, n) array, which is the fast layout in either direction.

    Chain                    pushes
    ├── StreamedChain        keeps the inputs alone and runs the model while it is pushed
    └── StoredChain          keeps its factors: pulls, too
        ├── ImplicitChain    the trajectory and the step; a push is a jvp and a pull is a vjp
        ├── DiagonalChain    the diagonals of a recurrence that has nothing else
        ├── OneSidedChain    what multiplies the matrices of the state from the right
        ├── DenseChain       (T, n, n) matrices
        ├── InputChain       a chain with the input of each step as one more part of the state
        └── RouteChain       one route of an implicit chain (in the wing `_routes`)

`Chain` and `StoredChain` are abstract, all others final.
"""

import abc
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lstmgrad._chains.layout import Layout
from lstmgrad._chains.run import BoundStep, Run
from lstmgrad._chains.slices import check_slice
from lstmgrad._chains.trajectory import Trajectory
from lstmgrad._checks import check_count, check_kind
from lstmgrad._model import Model
from lstmgrad._types import Inputs, PartName, State


class Walk(NamedTuple):
    """How a forward sweep meets the factors one after the other.

    Attributes:
        entries: a pytree with T on axis 0, what is scanned over.
        memory: what the sweep carries besides its block.
        meet: ``meet(memory, entry) -> (memory, factor)``.
    """

    entries: Any
    memory: Any
    meet: Callable[[Any, Any], tuple[Any, Any]]


class Copies(NamedTuple):
    """Smaller chains that a chain consists of, with nothing between them.

    Attributes:
        chains: a batch of them, on one axis in front of the time axis: read them under `jax.vmap`.
        multiplicity: how often each of them stands there.
    """

    chains: "StoredChain"
    multiplicity: int


class Chain(eqx.Module):
    """The factors J_1, ..., J_T along one trajectory.

    Attributes:
        layout: the named map between the state and the flat vector of size n.

    Example:
        >>> isinstance(chain, lg.Chain), len(chain[2:5])
        (True, 3)
    """

    layout: eqx.AbstractVar[Layout]

    @abc.abstractmethod
    def push(self, factor: Any, rows: Float[Array, "m n"]) -> Float[Array, "m n"]:
        """J_t v for every row v, forward mode.

        Args:
            factor: what `walk` meets at that step.
            rows: (m, n), tangents.

        Example:
            >>> last = jax.tree.map(lambda leaf: leaf[-1], chain.factors)
            >>> pushed = chain.push(last, jnp.eye(6))
            >>> bool(jnp.allclose(pushed.T, lg.jacobian(chain[5:]), atol=1e-6))
            True
        """

    @abc.abstractmethod
    def walk(self) -> Walk:
        """The factors in order of time, for a forward sweep.

        Example:
            >>> walk = chain.walk()
            >>> {len(leaf) for leaf in jax.tree.leaves(walk.entries)}  # T
            {6}
        """

    @abc.abstractmethod
    def cut(self, bounds: slice) -> "Chain":
        """The chain of the factors within bounds that were checked; `chain[k:t]` checks them.

        Args:
            bounds: 0 <= k <= t <= T.

        Example:
            >>> len(chain.cut(slice(2, 5)))
            3
        """

    @abc.abstractmethod
    def restricted(self, parts: Sequence[PartName]) -> "Chain":
        """The chain of the blocks of every factor between some of the parts, the others held.

        Args:
            parts: their names, in the order of the state.

        Example:
            >>> chain.restricted(("c",)).layout.size
            3
        """

    @property
    @abc.abstractmethod
    def run(self) -> Run | None:
        """The model and the states that it visited, where the chain keeps them."""

    @property
    @abc.abstractmethod
    def batch_shape(self) -> tuple[int, ...]:
        """The axes in front of the time axis, left by a `jax.vmap` around `linearize`."""

    @property
    def steps_along(self) -> tuple[BoundStep, tuple[State, Inputs]] | None:
        """The model's step, and all (s_{t-1}, x_t), where the chain keeps them."""
        return None if self.run is None else (self.run.step, self.run.factors)

    def log_gains(self) -> Float[Array, "T n"] | None:
        """Ln |a_t| by flat coordinate where every J_t is known to be diag(a_t), else None.

        Example:
            >>> print(chain.log_gains())
            None
        """
        return None

    def copies(self) -> list[Copies] | None:
        """Smaller chains whose singular values are those of this one, if it is known to have any.

        Up to a change of coordinates that keeps all norms, every J_t is block-diagonal, with the
        factors of these chains as its blocks.

        Example:
            >>> print(chain.copies())
            None
        """
        return None

    @property
    def model(self) -> Model:
        """The model, from the start of this stretch: ``lg.unroll(*chain.model, inputs)``.

        Raises:
            ValueError: a chain that knows no model, of matrices or of a stream.

        Example:
            >>> again = lg.unroll(*chain[2:].model, inputs[2:])
            >>> bool(jnp.allclose(again.states.c, chain.trajectory.states.c[2:]))
            True
        """
        start = jax.tree.map(
            lambda leaf: jnp.take(leaf, 0, axis=len(self.batch_shape)), self.trajectory.states
        )
        return Model(*known_run(self).step.parts(), start)

    @property
    def trajectory(self) -> Trajectory:
        """The inputs and the states of this stretch, the first and the last state included.

        Raises:
            ValueError: a chain that knows no states, of matrices or of a stream.

        Example:
            >>> stretch = chain[2:5].trajectory
            >>> stretch.inputs.shape, stretch.states.c.shape
            ((3, 2), (4, 3))
        """
        run = known_run(self)
        return Trajectory(run.inputs, run.states(axis=len(self.batch_shape)))

    def __len__(self) -> int:
        """T, the number of factors."""
        check_single(self)
        return jax.tree.leaves(self.walk().entries)[0].shape[0]

    def __getitem__(self, key: slice) -> "Chain":
        """`chain[k:t]`, the chain of J_{k+1}, ..., J_t, whose product is ds_t/ds_k."""
        return self.cut(check_slice(key, len(self)))


class StoredChain(Chain):
    """A chain that keeps its factors, so that cotangents can be pulled back through it.

    Attributes:
        factors: a pytree with T on axis 0; entry t-1 is all that J_t needs.
    """

    factors: eqx.AbstractVar[Any]

    @abc.abstractmethod
    def pull(self, factor: Any, rows: Float[Array, "m n"]) -> Float[Array, "m n"]:
        """U J_t for every row u, reverse mode.

        Args:
            factor: one entry of `factors`.
            rows: (m, n), cotangents.

        Example:
            >>> last = jax.tree.map(lambda leaf: leaf[-1], chain.factors)
            >>> pulled = chain.pull(last, jnp.eye(6))
            >>> bool(jnp.allclose(pulled, lg.jacobian(chain[5:]), atol=1e-6))
            True
        """

    def walk(self) -> Walk:
        """The factors in order of time, for a forward sweep."""
        return Walk(self.factors, None, lambda memory, factor: (memory, factor))


def cut_leaves(tree: Any, bounds: slice) -> Any:
    """Every leaf of a pytree between two times on axis 0.

    Args:
        tree: arrays with time on axis 0.
        bounds: k:t.
    """
    return jax.tree.map(lambda leaf: leaf[bounds], tree)


def identity_rows(chain: Chain) -> Float[Array, "n n"]:
    """The unit vectors of the chain's flat state.

    Args:
        chain: of any kind.
    """
    return jnp.eye(chain.layout.size, dtype=chain.layout.dtype)


def check_chain(chain: Any) -> None:
    """A chain along one trajectory."""
    check_kind(chain, Chain, "chain")
    check_single(chain)


def check_stored(chain: Any) -> StoredChain:
    """A chain along one trajectory that keeps its factors; returns it."""
    check_chain(chain)
    if not isinstance(chain, StoredChain):
        raise ValueError(
            "chain: expected one that keeps its states, because factors at different times are "
            f"needed at once or from the last to the first, but got a {type(chain).__name__}. Push "
            "instead (forward_norms, push_forward, product), or keep the states: "
            "chain(model, inputs)."
        )
    return chain


def check_spacing(every: Any, chain: Chain) -> int:
    """The spacing of readings, from 1 to T, or 1 without a step; returns it as a Python int."""
    if len(chain) == 0:
        return check_count(every, "every", most=1, why="because the chain has no step")
    return check_count(every, "every", most=len(chain), limit="T")


def check_single(chain: Chain) -> None:
    """One trajectory, not a batch of them."""
    if chain.batch_shape:
        raise ValueError(
            f"chain: expected one trajectory, but got a batch of {chain.batch_shape} in front of "
            "the time axis. Wrap the call: jax.vmap(lambda chain: ...)(chain)."
        )


def known_run(chain: Chain) -> Run:
    """The model and the states of a chain that keeps them.

    Args:
        chain: of any kind.
    """
    if chain.run is None:
        raise ValueError(
            "chain: expected one that knows its model and states, from chain(model, inputs) or "
            "linearize, or a slice of such a chain, but got a "
            f"{type(chain).__name__}."
        )
    return chain.run
