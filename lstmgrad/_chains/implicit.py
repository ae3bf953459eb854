"""Chains of jvps and vjps along a trajectory, where Jacobians are taken and nowhere else."""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lstmgrad._calls import public
from lstmgrad._chains.base import StoredChain
from lstmgrad._chains.dependence import backward_rules, dependence_of
from lstmgrad._chains.elsewhere import current_step, current_step_along
from lstmgrad._chains.factors import flat_step, pull_rows, push_rows
from lstmgrad._chains.layout import Layout, layout_of
from lstmgrad._chains.linearity import check_linear
from lstmgrad._chains.run import BoundStep, Run
from lstmgrad._chains.trajectory import Trajectory, unroll
from lstmgrad._checks import check_kind, check_step, check_time_axis
from lstmgrad._compile import compiled
from lstmgrad._leaves import shown
from lstmgrad._model import Model
from lstmgrad._types import Inputs, Params, PartName, State, StepFn


class ImplicitChain(StoredChain):
    """A chain of jvps and vjps of the step along a trajectory; nothing n x n is stored.

    Attributes:
        factors: (states, inputs): s_{t-1} and x_t at index t-1.
        step: the step with its parameters.
        last: s_T.
        layout: the named map between the state and the flat vector.
    """

    factors: Any
    step: BoundStep
    last: State
    layout: Layout = eqx.field(static=True)

    def push(self, factor: Any, rows: Float[Array, "m n"]) -> Float[Array, "m n"]:
        """J_t v, one jvp batched over the rows."""
        return push_rows(*flat_step(self.step, self.layout, factor), rows)

    def pull(self, factor: Any, rows: Float[Array, "m n"]) -> Float[Array, "m n"]:
        """U J_t, one vjp batched over the rows."""
        return pull_rows(*flat_step(self.step, self.layout, factor), rows)

    def cut(self, bounds: slice) -> "ImplicitChain":
        """The chain along a stretch of the trajectory."""
        return _implicit(self.run.cut(bounds), self.layout)

    def restricted(self, parts: Sequence[PartName]) -> "ImplicitChain":
        """The chain of some of the parts, the others held."""
        return _implicit(self.run, self.layout.restricted(parts))

    @property
    def run(self) -> Run:
        """The model and the states that it visited."""
        before, inputs = self.factors
        return Run(self.step, before, inputs, self.last)

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """The axes in front of the time axis of the states."""
        leaf = jax.tree.leaves(self.last)[0]
        return leaf.shape[: leaf.ndim - len(self.layout.shapes[0])]


def _implicit(run: Run, layout: Layout) -> ImplicitChain:
    return ImplicitChain(factors=run.factors, step=run.step, last=run.last, layout=layout)


@public
def linearize(step: StepFn, params: Params, trajectory: Trajectory) -> ImplicitChain:
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
        RuntimeError: the step has a backward rule (`jax.custom_vjp`) that is not linear, as one
            that clips gradients: there is no Jacobian that it belongs to.

    Notes:
        O(1) time beyond two abstract calls of the step: the derivatives are taken when something is
        pushed or pulled through the chain, at the highest matmul precision. One mode of
        differentiation is enough. A step with backward rules alone (`jax.custom_vjp`) is pushed
        through by two vjps; one with forward mode alone (a `jax.lax.while_loop`) is pulled through
        by n jvps. The flat vector, and every reading, is in the widest precision of the state and
        in float32 at least: a state in half precision stays as it is, and the step is
        differentiated at it in float32, with its own casts as they round. `jax.jacrev` of the run
        rounds tangents wherever the step casts, too: it may differ by 2^-8 per step in bfloat16.
        What a step does in float32 beside float64 is differentiated in float32. `jax.grad` of a
        reading with respect to the parameters goes back through chains of 2048 steps and more in
        √T stretches: it keeps O(√T) blocks of the sweep, and takes one more sweep for it.

    Example:
        ```python
        chain = lg.linearize(cell.step, params, trajectory)
        lg.jacobian(chain[2:7], of="c", wrt="c")  # dc_7/dc_2
        ```

        >>> trajectory = lg.unroll(*model, inputs)
        >>> linearized = lg.linearize(model.step, model.params, trajectory)
        >>> lg.jacobian(linearized[2:5], of="c", wrt="c").shape
        (3, 3)
    """
    return _linearize(current_step_along(step, params, trajectory), params, trajectory)


@compiled
def _linearize(step: StepFn, params: Params, trajectory: Trajectory) -> ImplicitChain:
    return _implicit(*run_of(step, params, trajectory))


@public
def chain(
    model: Model, inputs: Inputs, *, linearize: Callable[..., StoredChain] = linearize
) -> StoredChain:
    """Returns the chain of step Jacobians of a model along its run over the inputs.

    Args:
        model: a step, its parameters and the starting state: ``cell.model(params)``, what
            `lg.interop` returns, or ``Model(step, params, state)`` of your own.
        inputs: a pytree of arrays with T on axis 0. A step without inputs gets ``jnp.arange(T)``.
        linearize: `linearize_diagonal` for a recurrence whose step Jacobian is diagonal,
            `linearize_one_sided` for one that multiplies a matrix from the right.

    Returns:
        A `Chain` of T factors, which every analysis takes. ``chain[k:t]`` is the chain of
        ds_t/ds_k; ``chain.trajectory`` has the states, ``chain.model`` the model.

    Raises:
        ValueError: as `unroll` and `linearize`.

    Example:
        ```python
        cell = lg.cells.lstm(3, 40)
        chain = lg.chain(cell.model(cell.init(key)), inputs)
        lg.backward_norms(chain, of="c", wrt="c")  # ‖dc_T/dc_k‖ for every k
        ```

        >>> chain = lg.chain(cell.model(cell.init(jax.random.key(0))), inputs)
        >>> len(chain), chain.trajectory.states.c.shape
        (6, (7, 3))
    """
    check_kind(model, Model, "model")
    if not callable(linearize):
        raise ValueError(
            "linearize: expected lg.linearize, lg.linearize_diagonal or lg.linearize_one_sided, "
            f"but got {shown(linearize)}."
        )
    step = current_step(*model, inputs)
    return linearize(step, model.params, unroll(step, model.params, model.state, inputs))


def run_of(step: StepFn, params: Params, trajectory: Trajectory) -> tuple[Run, Layout]:
    """The run that a chain keeps, and the layout of its states, once both were checked.

    Args:
        step: as for `linearize`, like the rest.
        params: any pytree.
        trajectory: T+1 states to T inputs.
    """
    check_kind(trajectory, Trajectory, "trajectory")
    state = _check_trajectory(trajectory)
    states, inputs = jax.tree.map(jnp.asarray, (trajectory.states, trajectory.inputs))
    x = jax.tree.map(lambda leaf: leaf[0], inputs)
    check_step(step, params, state, x)
    layout = layout_with_dependence(step, params, state, x)
    before, last = (jax.tree.map(lambda leaf, s=s: leaf[s], states) for s in (slice(-1), -1))
    run = Run(BoundStep.of(step, params), before, inputs, last)
    return check_linear(run, layout, backward_rules(step, params, state, x)), layout


def layout_with_dependence(step: StepFn, params: Params, state: State, x: Inputs) -> Layout:
    """The layout of a state that knows which part depends on which.

    Args:
        step: a step that was checked.
        params: its parameters.
        state: any state.
        x: one step's input.
    """
    return layout_of(state, dependence_of(step, params, state, x, layout_of(state)))


def _check_trajectory(trajectory: Any) -> State:
    """T + 1 states to T inputs; returns the first state."""
    length = check_time_axis(trajectory.inputs, "trajectory.inputs")
    count = check_time_axis(trajectory.states, "trajectory.states")
    if count != length + 1:
        raise ValueError(
            f"trajectory: expected T + 1 = {length + 1} states, the start included, for T = "
            f"{length} inputs, but got {count}."
        )
    return jax.tree.map(lambda leaf: jnp.asarray(leaf)[0], trajectory.states)
