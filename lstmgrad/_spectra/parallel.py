"""Running a model at all times at once: Newton's method on the whole trajectory.

All states are guessed, the step is linearized at every one of them, and the linear recurrence
d_t = J_t d_{t-1} + r_t for the corrections is solved by an associative scan of affine maps, in
log T time. The first states are right after the first iteration, the first two after the second,
so T iterations are the run itself, up to rounding; where the network forgets, a few do
(`newton_iterations`).
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from lstmgrad._chains.base import StoredChain
from lstmgrad._chains.dense import DenseChain
from lstmgrad._chains.diagonal import DiagonalChain
from lstmgrad._chains.elsewhere import current_step
from lstmgrad._chains.implicit import linearize
from lstmgrad._chains.layout import Layout, check_all_differentiable, layout_of
from lstmgrad._chains.trajectory import Trajectory, check_run
from lstmgrad._checks import check_arrays, check_count, check_kind, check_positive, check_time_axis
from lstmgrad._compile import compiled, plain_options
from lstmgrad._labeled import Axes
from lstmgrad._leaves import shown
from lstmgrad._model import Model
from lstmgrad._result import Result
from lstmgrad._types import Inputs, State
from lstmgrad._writing import chosen, number


class NewtonRun(Result):
    """The states of a run that was evaluated at all times at once.

    Attributes:
        states: a pytree whose leaves have T+1 on axis 0, the start at 0, as those of `unroll`.
        num_iterations: of Newton's method.
        converged: whether the states are those of `unroll` within the tolerance, as far as can be
            seen: the last correction is below it, and so is what rounding makes of it.
        changes: (I,), the largest correction of any number of the states in each iteration; NaN
            behind the last.
        rounding: how far rounding alone may have moved a state; inf where that left the range.
        tolerance: of both.

    Example:
        >>> found = lg.newton_unroll(model, inputs)
        >>> found.states.h.shape, bool(found.converged)
        ((7, 3), True)
    """

    states: State
    num_iterations: Int[Array, "*batch"]
    converged: Bool[Array, "*batch"]
    changes: Float[Array, "*batch I"]
    rounding: Float[Array, "*batch"]
    tolerance: float = eqx.field(static=True)

    _main = ("changes", 1)
    _axes = Axes({"changes": "iteration", "num_iterations": "", "converged": "", "rounding": ""})

    def _there(self) -> np.ndarray:
        iterations = np.arange(1, self.changes.shape[-1] + 1)
        return iterations <= np.asarray(self.num_iterations)[..., None]

    def _points(self) -> tuple[str, Any]:
        return "iteration", np.arange(1, self.changes.shape[-1] + 1)

    def _subject(self) -> str:
        return "all times at once"

    def _headline(self) -> str:
        count = number(self.num_iterations)
        if bool(self.converged):
            return f"converged after {count} iterations"
        if self.rounding > self.tolerance:
            return f"not converged: rounding alone moves states by {number(self.rounding, 2)}"
        return f"not converged within {count} iterations"

    def _table(self) -> tuple[list[str], list[list[str]]]:
        last = max(int(self.num_iterations), 1)
        rows = [[str(i + 1), number(self.changes[i], 3)] for i in chosen(last)]
        return ["iteration", "largest correction"], rows

    def _numbers(self) -> dict[str, Any]:
        return {
            "num_iterations": self.num_iterations,
            "converged": self.converged,
            "rounding": self.rounding,
        }


@plain_options
def newton_unroll(
    model: Model,
    inputs: Inputs,
    *,
    guess: State = None,
    tolerance: float | None = None,
    max_iterations: int | None = None,
    linearize: Callable[..., StoredChain] = linearize,
) -> NewtonRun:
    """Returns the states of a run, all evaluated at once by Newton's method.

    s_t ← s_t + d_t with d_t = J_t d_{t-1} + r_t and r_t = step(s_{t-1}, x_t) - s_t, at every t.

    Args:
        model: a step, its parameters and the starting state, whose leaves are all floating-point or
            complex.
        inputs: a pytree of arrays with T on axis 0.
        guess: the states s_1, ..., s_T to begin with, T on axis 0 of every leaf, such as those of a
            similar sequence; None is the starting state at every time.
        tolerance: the largest correction of any number of the states at which it stops; None is the
            square root of the dtype's epsilon.
        max_iterations: at most so many; None is T.
        linearize: `linearize_diagonal` for a recurrence whose step Jacobian is diagonal: the scan
            is then over n numbers a step, and not over (n, n) matrices.

    Returns:
        `NewtonRun`. Its `converged` says whether the states are those of `unroll`, within the
        tolerance. Where the network is chaotic, they are not: rounding, which differs between the
        two ways to evaluate the same step, is amplified without bound.

    Raises:
        ValueError: as `unroll`; a state with a leaf that has no derivative; a guess of another
            structure or shape; a tolerance that is not above zero; fewer iterations than one.
        RuntimeError: as `linearize_diagonal`, where the declaration is wrong.

    Notes:
        Per iteration T pulls of the identity, batched over time, and an associative scan of T
        affine maps: O(T n³) operations in O(log T) depth, and O(T n²) memory; O(T n) for a
        diagonal chain. On a CPU `unroll` is faster, but for diagonal chains. Under `jax.vmap` all
        sequences go on until the last has converged. A correction that leaves the range of the
        dtype is replaced by one step of the model.

    Example:
        ``newton_unroll(model, inputs).states`` is ``unroll(*model, inputs).states``, and
        `newton_iterations` of the chain predicts in how many iterations.

        >>> found = lg.newton_unroll(model, inputs, tolerance=1e-5)
        >>> bool(jnp.max(jnp.abs(found.states.h - lg.unroll(*model, inputs).states.h)) < 1e-5)
        True

    References:
        Lim, Zhu, Selfridge & Kasim 2024, Parallelizing non-linear sequential models over the
        sequence length (arXiv:2309.12252); Gonzalez, Warrington, Smith & Linderman 2024
        (arXiv:2407.19115). Danieli et al. 2023 (arXiv:2309.16318).
    """
    check_kind(model, Model, "model")
    if not callable(linearize):
        raise ValueError(
            "linearize: expected lg.linearize or lg.linearize_diagonal, but got "
            f"{shown(linearize)}."
        )
    if tolerance is not None:
        tolerance = check_positive(tolerance, "tolerance")
    most = check_time_axis(inputs, "inputs")
    if max_iterations is not None:
        most = check_count(max_iterations, "max_iterations")
    model = model._replace(step=current_step(*model, inputs))
    return _newton_unroll(model, inputs, guess, tolerance=tolerance, most=most, way=linearize)


class _Loop(NamedTuple):
    """What the iterations carry.

    Attributes:
        flat: (T, n), the states s_1, ..., s_T.
        iterations: so far.
        changes: (I,), the largest correction of each.
        rounding: what rounding makes of the last one.
    """

    flat: Float[Array, "T n"]
    iterations: Int[Array, ""]
    changes: Float[Array, " I"]
    rounding: Float[Array, ""]


@compiled
def _newton_unroll(
    model: Model,
    inputs: Inputs,
    guess: State,
    *,
    tolerance: float | None,
    most: int,
    way: Callable[..., StoredChain],
) -> NewtonRun:
    step, params, start = model
    start, inputs = check_run(step, params, start, inputs)
    layout = layout_of(start)
    check_all_differentiable(layout, "Newton's method corrects them all", "Use unroll.")
    steps = jax.tree.leaves(inputs)[0].shape[0]
    eps = float(jnp.finfo(min(layout.real_dtypes, key=lambda dtype: jnp.finfo(dtype).bits)).eps)
    tolerance = math.sqrt(eps) if tolerance is None else tolerance
    first = layout.ravel(start)
    unravel = jax.vmap(lambda flat: layout.unravel(flat, start))
    signs = np.sign(np.random.default_rng(0).standard_normal((steps, layout.size)))

    def states_of(flat: Float[Array, "T n"]) -> State:
        return unravel(jnp.concatenate([first[None], flat]))

    def corrected(loop: _Loop) -> _Loop:
        states = states_of(loop.flat)
        before = jax.tree.map(lambda leaf: leaf[:-1], states)
        after = jax.vmap(lambda state, x: layout.ravel(step(params, state, x)))(before, inputs)
        residuals = after - loop.flat
        rounded = eps * jnp.abs(after) * jnp.asarray(signs, after.dtype)
        chain = way(step, params, Trajectory(inputs, states))
        both = solve_affine(chain, jnp.stack([residuals, rounded], axis=-1))
        moves, probe = both[..., 0], both[..., 1]
        new = loop.flat + jnp.where(jnp.isfinite(moves), moves, residuals)
        new = jnp.where(jnp.isfinite(new), new, jnp.where(jnp.isfinite(after), after, first[None]))
        change = jnp.max(jnp.abs(new - loop.flat))
        change = jnp.where(jnp.any(jnp.isnan(after)), jnp.nan, change)
        worst = jnp.max(jnp.where(jnp.isfinite(probe), jnp.abs(probe), jnp.inf))
        return _Loop(new, loop.iterations + 1, loop.changes.at[loop.iterations].set(change), worst)

    def unfinished(loop: _Loop) -> Bool[Array, ""]:
        last = loop.changes[jnp.maximum(loop.iterations - 1, 0)]
        return (loop.iterations < most) & ((loop.iterations == 0) | ~(last <= tolerance))

    flat = jnp.broadcast_to(first, (steps, layout.size))
    if guess is not None:
        flat = _flat_guess(guess, layout, start, steps)
    changes = jnp.full(most, jnp.nan, flat.dtype)
    loop = _Loop(flat, jnp.zeros((), jnp.int32), changes, jnp.full((), jnp.inf, flat.dtype))
    loop = jax.lax.while_loop(unfinished, corrected, loop)
    last = loop.changes[loop.iterations - 1]
    return NewtonRun(
        states=states_of(loop.flat),
        num_iterations=loop.iterations,
        converged=(last <= tolerance) & (loop.rounding <= tolerance),
        changes=loop.changes,
        rounding=loop.rounding,
        tolerance=tolerance,
    )


def solve_affine(chain: StoredChain, sources: Float[Array, "T n m"]) -> Float[Array, "T n m"]:
    """d_t = J_t d_{t-1} + r_t from d_0 = 0, at all times at once, by an associative scan.

    Args:
        chain: T factors; of a diagonal one the diagonals are scanned.
        sources: r_t, as m columns.
    """

    def after(early: tuple, late: tuple) -> tuple:
        (a, x), (b, y) = early, late
        if isinstance(chain, DiagonalChain):
            return b * a, b * x + y
        times = jax.vmap(lambda one, other: jnp.matmul(one, other, precision="highest"))
        return times(b, a), times(b, x) + y

    if not isinstance(chain, DiagonalChain):
        return jax.lax.associative_scan(after, (DenseChain.of(chain).factors, sources))[1]
    pieces, at = [], 0
    for leaf in chain.factors:
        size, whole = math.prod(leaf.shape[1:]), jnp.iscomplexobj(leaf)
        columns = sources[:, at : at + size]
        gains = leaf.reshape(len(sources), size, 1)
        if whole:
            columns = jax.lax.complex(columns, sources[:, at + size : at + 2 * size])
        gains = jnp.broadcast_to(gains, columns.shape).astype(columns.dtype)
        found = jax.lax.associative_scan(after, (gains, columns))[1]
        pieces += [found.real, found.imag] if whole else [found]
        at += size * (1 + whole)
    return jnp.concatenate(pieces, axis=1)


def _flat_guess(guess: State, layout: Layout, start: State, steps: int) -> Float[Array, "T n"]:
    """The guess as flat vectors."""
    check_arrays(guess, "guess")
    shapes = [jax.tree.map(jnp.shape, tree) for tree in (start, guess)]
    wanted = jax.tree.map(lambda leaf: (steps, *jnp.shape(leaf)), start)
    if shapes[1] != wanted:
        raise ValueError(
            f"guess: expected states of T = {steps} times, of shapes {wanted}, but got {shapes[1]}."
        )
    return jax.vmap(layout.ravel)(jax.tree.map(jnp.asarray, guess))
