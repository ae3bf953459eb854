"""Fixed points of a network under a constant input, and how it moves about them.

A state with step(h, x) = h stays where it is, and one with a small residual, a slow point, stays
long. They are found from many starts at once: by descent on ½‖step(h, x) - h‖², and then by the
damped steps of Levenberg and Marquardt, which are Newton's in the end. The eigenvalues of the step
Jacobian there say which directions are held (modulus 1), forgotten (below) or left (above).
"""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float

from lstmgrad._chains.elsewhere import current_step
from lstmgrad._chains.factors import flat_step
from lstmgrad._chains.layout import check_all_differentiable, layout_of
from lstmgrad._chains.run import BoundStep
from lstmgrad._checks import check_arrays, check_count, check_kind, check_positive, check_step
from lstmgrad._compile import compiled, plain_options
from lstmgrad._labeled import Axes
from lstmgrad._leaves import type_name
from lstmgrad._model import Model
from lstmgrad._numeric import lapack
from lstmgrad._result import Result
from lstmgrad._spectra.roots import descended, distinct, jacobian, polished
from lstmgrad._types import Inputs, State
from lstmgrad._writing import chosen, number


class FixedPoints(Result):
    """Where a network comes to rest under a constant input, one for each start, best first.

    Attributes:
        states: like the state, N on axis 0 of every leaf.
        residuals: (N,), ‖step(h, x) - h‖₂, in order; NaN last.
        converged: (N,), whether the residual is within the tolerance: others are slow points, or
            nothing at all.
        distinct: (N,), whether it is the first at its place: the others are copies of one with a
            smaller residual.
        eigenvalues: (N, n), complex, of the step Jacobian there, the largest in modulus first.
        tolerance: of the residuals.

    Example:
        >>> found = lg.fixed_points(model, inputs[0], chain.trajectory.states)
        >>> found.eigenvalues.shape  # of seven starts, and h and c of three units
        (7, 6)
    """

    states: State
    residuals: Float[Array, "*batch N"]
    converged: Bool[Array, "*batch N"]
    distinct: Bool[Array, "*batch N"]
    eigenvalues: Complex[Array, "*batch N n"]
    tolerance: float = eqx.field(static=True)

    @property
    def stable(self) -> Bool[Array | np.ndarray, "*batch N"]:
        """Whether all directions shrink: every eigenvalue lies within the unit circle."""
        return abs(self.eigenvalues[..., 0]) < 1

    _main = ("residuals", 1)
    _axes = Axes(
        {
            "residuals": "point",
            "converged": "point",
            "distinct": "point",
            "stable": "point",
            "eigenvalues": "point eigenvalue",
        }
    )

    def _points(self) -> tuple[str, Any]:
        return "point", np.arange(1, self.residuals.shape[-1] + 1)

    def _subject(self) -> str:
        return f"from {self.residuals.shape[-1]} starts"

    def _headline(self) -> str:
        found = self._numbers()
        return f"{number(found['num_points'])} fixed points, {number(found['num_stable'])} stable"

    def _table(self) -> tuple[list[str], list[list[str]]]:
        places = np.flatnonzero(self.distinct)
        places = places if len(places) else np.arange(1)
        rows = [
            [
                str(i + 1),
                number(self.residuals[i], 2),
                "yes" if self.converged[i] else "no",
                number(abs(self.eigenvalues[i, 0])),
                number(np.sum(abs(self.eigenvalues[i]) > 1)),
            ]
            for i in places[chosen(len(places))]
        ]
        return ["point", "residual", "converged", "largest |eigenvalue|", "growing"], rows

    def _numbers(self) -> dict[str, Any]:
        here = np.asarray(self.converged) & np.asarray(self.distinct)
        slow = ~np.asarray(self.converged) & np.asarray(self.distinct)
        return {
            "num_points": np.sum(here),
            "num_stable": np.sum(here & np.asarray(self.stable)),
            "num_slow": np.sum(slow),
            "smallest_residual": self.residuals[0],
        }


@plain_options
def fixed_points(
    model: Model,
    x: Inputs,
    starts: State,
    *,
    steps: int = 500,
    learning_rate: float = 0.02,
    tolerance: float | None = None,
    radius: float = 1e-3,
) -> FixedPoints:
    """Returns the fixed points of a model under a constant input that are reached from many starts.

    step(params, h, x) = h, by Adam on ½‖step(params, h, x) - h‖² from every start at once, and then
    by the method of Levenberg and Marquardt.

    Args:
        model: a step and its parameters, with a state of floating-point leaves.
        x: the input of one step, held constant.
        starts: states with N on axis 0 of every leaf, such as those of a run,
            ``chain.trajectory.states``, with noise.
        steps: of the descent.
        learning_rate: of Adam at the beginning; it falls to zero on a cosine.
        tolerance: the largest residual of a fixed point; None is the square root of the dtype's
            epsilon.
        radius: two points closer than that, relative to their size or 1, are one.

    Returns:
        `FixedPoints`, N of them, so that it can be compiled and mapped;
        ``jax.tree.map(lambda leaf: leaf[found.distinct & found.converged], found.states)`` are the
        points themselves.

    Raises:
        ValueError: not a `Model`; starts that are not states with one more axis; a state with a
            leaf that has no derivative; options out of their range.

    Notes:
        N · `steps` steps of the model and their gradients, N times forty Jacobians and linear
        systems, O(N n³), and N eigenvalue problems. What it finds depends on the starts: the cells
        of an LSTM may come to rest far out, where only the end of a long run leads, and an
        unstable point is found only from near enough, and no number of starts proves that there are
        no others. Where the Jacobian has an eigenvalue of 1, as along a line attractor, the points
        found lie anywhere on it.

    Example:
        h' = tanh(2 h) has three: 0, which is left by a factor 2, and ±0.9575.

        >>> slope = lg.Model(lambda w, h, x: jnp.tanh(w * h), 2.0, jnp.zeros(1))
        >>> starts = jnp.linspace(-1.5, 1.5, 7)[:, None]
        >>> found = lg.fixed_points(slope, 0.0, starts, steps=300)
        >>> int(jnp.sum(found.distinct & found.converged))
        3

    References:
        Sussillo & Barak 2013, Opening the black box: low-dimensional dynamics in high-dimensional
        recurrent neural networks, Neural Computation 25, 626; Golub & Sussillo 2018,
        FixedPointFinder.
    """
    check_kind(model, Model, "model")
    count = _check_starts(starts, model.state)
    check_arrays(x, "x")
    steps = check_count(steps, "steps")
    rate = check_positive(learning_rate, "learning_rate")
    radius = check_positive(radius, "radius")
    if tolerance is not None:
        tolerance = check_positive(tolerance, "tolerance")
    x = jax.tree.map(jnp.asarray, x)
    repeated = jax.tree.map(lambda leaf: leaf[None], x)
    model = model._replace(step=current_step(*model, repeated))
    options = {"steps": steps, "rate": rate, "radius": radius, "tolerance": tolerance}
    return _fixed_points(model, x, starts, count=count, **options)


@compiled
def _fixed_points(
    model: Model,
    x: Inputs,
    starts: State,
    *,
    count: int,
    steps: int,
    rate: float,
    radius: float,
    tolerance: float | None,
) -> FixedPoints:
    step, params, state = model
    state = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.result_type(leaf)), state)
    check_step(step, params, state, x)
    layout = layout_of(state)
    check_all_differentiable(layout, "a fixed point is searched by derivatives")
    starts = jax.tree.map(lambda leaf, like: jnp.asarray(leaf, like.dtype), starts, state)
    eps = float(jnp.finfo(layout.dtype).eps)
    tolerance = math.sqrt(eps) if tolerance is None else tolerance
    after, _ = flat_step(BoundStep.of(step, params), layout, (state, x))

    def gap(flat: Float[Array, " n"]) -> Float[Array, " n"]:
        return after(flat) - flat

    flat = descended(gap, jax.vmap(layout.ravel)(starts), steps, rate)
    flat = jax.vmap(lambda one: polished(gap, one))(flat)
    residuals = jnp.linalg.norm(jax.vmap(gap)(flat), axis=1)
    order = jnp.argsort(residuals)
    flat, residuals = flat[order], residuals[order]
    matrices = jax.vmap(lambda one: jacobian(after, one))(flat)
    broken = jnp.any(~jnp.isfinite(matrices), axis=(1, 2))
    values = jax.vmap(lapack.eigenvalues)(jnp.where(broken[:, None, None], 0.0, matrices))
    values = jnp.take_along_axis(values, jnp.argsort(-jnp.abs(values), axis=1), axis=1)
    return FixedPoints(
        states=jax.vmap(lambda one: layout.unravel(one, state))(flat),
        residuals=residuals,
        converged=residuals <= tolerance,
        distinct=distinct(flat, radius) & jnp.isfinite(residuals),
        eigenvalues=jnp.where(broken[:, None], jnp.nan, values),
        tolerance=tolerance,
    )


def _check_starts(starts: State, state: State) -> int:
    """States with one axis in front, the same for all; returns its length."""
    check_arrays(starts, "starts")
    check_arrays(state, "state")
    same = jax.tree.structure(starts) == jax.tree.structure(state)
    pairs = zip(jax.tree.leaves(starts), jax.tree.leaves(state), strict=False)
    shapes = [(jnp.shape(own), jnp.shape(one)) for own, one in pairs]
    counts = {own[0] if own else 0 for own, _ in shapes}
    if not same or len(counts) != 1 or 0 in counts or any(a[1:] != b for a, b in shapes):
        got, one = (", ".join(map(type_name, jax.tree.leaves(t))) for t in (starts, state))
        raise ValueError(
            f"starts: expected states like the model's, {one}, with N on one axis in front of "
            f"every leaf, but got {got or 'nothing'}."
        )
    return counts.pop()
