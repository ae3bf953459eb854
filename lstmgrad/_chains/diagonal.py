"""Recurrences whose state Jacobian is diagonal: LRU, S5, RG-LRU, minGRU and their like.

s_t = a_t ⊙ s_{t-1} + ..., where a_t may depend on the input but not on the state. The product of T
factors is diagonal too, so norms are read off sums of logarithms, entry by entry, in O(n T):

    ln ‖∂s_T/∂s_k‖₂ = max_i Σ_{j=k+1}^{T} ln |a_{j,i}|

A complex entry acts on (re, im) as |a| times a rotation, and has the norm |a|.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lstmgrad._calls import public
from lstmgrad._chains.base import StoredChain, cut_leaves
from lstmgrad._chains.elsewhere import current_step_along
from lstmgrad._chains.factors import in_single
from lstmgrad._chains.implicit import run_of
from lstmgrad._chains.layout import Layout
from lstmgrad._chains.modes import push_block
from lstmgrad._chains.probes import differs, inexact_leaves, noise, with_inexact
from lstmgrad._chains.run import Run
from lstmgrad._chains.trajectory import Trajectory
from lstmgrad._compile import compiled
from lstmgrad._numeric.scaled import log_of, widen
from lstmgrad._types import Params, PartName, State, StepFn


class DiagonalChain(StoredChain):
    """A chain of diagonal step Jacobians.

    Attributes:
        factors: the diagonals, one array per differentiable leaf of the state, in its shape and
            dtype with T in front; a_t at index t-1.
        layout: the named map between the state and the flat vector.
        along: the model and the states that it visited; None for diagonals from elsewhere.

    Example:
        >>> unit = lg.cells.min_gru(2, 3)
        >>> network = unit.model(unit.init(jax.random.key(0)))
        >>> isinstance(lg.chain(network, inputs, linearize=lg.linearize_diagonal), lg.DiagonalChain)
        True
    """

    factors: list[Array]
    layout: Layout = eqx.field(static=True)
    along: Run | None = None

    def push(self, factor: list[Array], rows: Float[Array, "m n"]) -> Float[Array, "m n"]:
        """J_t v for every row v."""
        return _multiply(factor, rows)

    def pull(self, factor: list[Array], rows: Float[Array, "m n"]) -> Float[Array, "m n"]:
        """U J_t for every row u: the transpose of a complex factor is its conjugate."""
        return _multiply([jnp.conj(leaf) for leaf in factor], rows)

    def cut(self, bounds: slice) -> "DiagonalChain":
        """The chain along a stretch of time."""
        return DiagonalChain(
            factors=cut_leaves(self.factors, bounds),
            layout=self.layout,
            along=None if self.along is None else self.along.cut(bounds),
        )

    def restricted(self, parts: Sequence[PartName]) -> "DiagonalChain":
        """The chain of some of the parts."""
        owners = [owner for owner in self.layout.owners if owner is not None]
        pairs = zip(self.factors, owners, strict=True)
        factors = [factor for factor, owner in pairs if owner in parts]
        return DiagonalChain(
            factors=factors, layout=self.layout.restricted(parts), along=self.along
        )

    @property
    def run(self) -> Run | None:
        """The model and the states that it visited."""
        return self.along

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """The axes in front of the time axis."""
        leaf, shape = self.factors[0], self.layout.inexact_shapes[0]
        return leaf.shape[: leaf.ndim - 1 - len(shape)]

    def log_gains(self) -> Float[Array, "T n"]:
        """Ln |a_t| by flat coordinate; -inf where a factor is exactly zero."""
        pieces = []
        for leaf in self.factors:
            # The size in numbers: of no steps, reshape cannot tell it.
            flat = widen(jnp.abs(leaf)).astype(self.layout.dtype)
            flat = flat.reshape(leaf.shape[0], math.prod(leaf.shape[1:]))
            pieces += [flat, flat] if jnp.iscomplexobj(leaf) else [flat]
        return log_of(jnp.concatenate(pieces, axis=1), jnp.zeros((), jnp.int32))


@public
def linearize_diagonal(step: StepFn, params: Params, trajectory: Trajectory) -> DiagonalChain:
    """Returns the chain of step Jacobians of a recurrence declared to be diagonal.

    Args:
        step: a step in which every entry of the new state depends on the same entry of the old
            state alone (a complex entry holomorphically).
        params: its parameters.
        trajectory: as for `linearize`.

    Returns:
        A `DiagonalChain`, the same chain as `linearize` gives, with norms in O(n T).

    Raises:
        ValueError: as `linearize`.
        RuntimeError: the declaration is wrong: a probe found entries that depend on others, beyond
            the square root of the dtype's epsilon relative to the largest entry of the step.

    Notes:
        Two jvps per step, batched over all steps: O(n T) time and memory.

    Example:
        For s' = a ⊙ s + x, ``backward_norms`` gives lag · max_i ln |a_i|.

        >>> def step(a, s, x):
        ...     return a * s + x
        >>> a = jnp.array([0.5, 0.9])
        >>> trajectory = lg.unroll(step, a, jnp.zeros(2), inputs)
        >>> norms = lg.backward_norms(lg.linearize_diagonal(step, a, trajectory)).log_norms
        >>> bool(jnp.allclose(norms, jnp.arange(7) * jnp.log(0.9), atol=1e-5))
        True
    """
    step = current_step_along(step, params, trajectory)
    return _linearize_diagonal(step, params, trajectory)


@compiled
def _linearize_diagonal(step: StepFn, params: Params, trajectory: Trajectory) -> DiagonalChain:
    run, layout = run_of(step, params, trajectory)
    function, weights = run.step.parts()
    first = jax.tree.map(lambda leaf: leaf[0], run.factors)
    _, state, _ = in_single(function, weights, *first)
    generator = np.random.default_rng(0)
    one, probe = (
        [jnp.asarray(values(leaf), leaf.dtype) for leaf in inexact_leaves(state)]
        for values in (lambda leaf: np.ones(leaf.shape), lambda leaf: noise(leaf, generator))
    )
    rows = jax.tree.map(lambda *pair: jnp.stack(pair), one, probe)

    def derivatives(state: State, x: Any) -> tuple[list[Array], Array]:
        params, state, x = in_single(function, weights, state, x)

        def inexact(leaves: list[Array]) -> list[Array]:
            after = inexact_leaves(function(params, with_inexact(state, leaves), x))
            return [new.astype(old.dtype) for new, old in zip(after, leaves, strict=True)]

        with jax.default_matmul_precision("highest"):
            after, pushed = push_block(inexact, inexact_leaves(state), rows)
            broken = jnp.any(jnp.stack([jnp.any(jnp.isnan(leaf)) for leaf in after]))
            diagonals, seen = ([leaf[row] for leaf in pushed] for row in (0, 1))
        wrong = jnp.zeros((), bool)
        for diagonal, one_seen, one_probe in zip(diagonals, seen, probe, strict=True):
            wrong |= differs(one_seen, diagonal * one_probe, diagonal)
        # As in `ImplicitChain`: what led to NaN has no derivative.
        return [jnp.where(broken, jnp.nan, leaf) for leaf in diagonals], wrong

    factors, wrong = jax.vmap(derivatives)(*run.factors)
    message = (
        "step: expected every entry of the new state to depend on the same entry of the old state "
        "alone, as linearize_diagonal declares, but some depend on others. Use linearize."
    )
    factors = eqx.error_if(factors, jnp.any(wrong), message)
    count = range(len(layout.parts))
    alone = tuple(tuple(i == j for j in count) for i in count)
    layout = dataclasses.replace(layout, dependence=alone)
    return DiagonalChain(factors=factors, layout=layout, along=run)


def _multiply(factor: list[Array], rows: Float[Array, "m n"]) -> Float[Array, "m n"]:
    """Every row times the diagonal, complex entries as (re, im)."""
    pieces, start = [], 0
    for leaf in factor:
        kind = np.result_type(rows.dtype, np.complex64) if jnp.iscomplexobj(leaf) else rows.dtype
        flat = leaf.reshape(-1).astype(kind)
        size = flat.shape[0]
        if jnp.iscomplexobj(leaf):
            re, im = rows[:, start : start + size], rows[:, start + size : start + 2 * size]
            a, b = flat.real[None], flat.imag[None]
            pieces += [a * re - b * im, a * im + b * re]
            start += 2 * size
        else:
            pieces.append(flat[None] * rows[:, start : start + size])
            start += size
    return jnp.concatenate(pieces, axis=1)
