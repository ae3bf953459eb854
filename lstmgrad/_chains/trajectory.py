"""Running the model: s_t = step(params, s_{t-1}, x_t), t = 1..T. The only scan of the model."""

import equinox as eqx
import jax
import jax.numpy as jnp

from lstmgrad._calls import public
from lstmgrad._chains.elsewhere import current_step
from lstmgrad._chains.scans import scan
from lstmgrad._checks import check_arrays, check_state, check_step, check_time_axis
from lstmgrad._compile import compiled
from lstmgrad._types import Inputs, Params, State, StepFn


class Trajectory(eqx.Module):
    """What the model did.

    Attributes:
        inputs: a pytree whose leaves have T on axis 0; x_t is at index t-1.
        states: a pytree whose leaves have T+1 on axis 0; s_t is at index t, the start at 0.

    Example:
        >>> lg.unroll(*model, inputs).states.h.shape
        (7, 3)
    """

    inputs: Inputs
    states: State

    def __len__(self) -> int:
        """T, the number of steps."""
        return jax.tree.leaves(self.inputs)[0].shape[0]


@public
def unroll(step: StepFn, params: Params, state: State, inputs: Inputs) -> Trajectory:
    """Returns the trajectory of T steps from the given state.

    s_0 = state, s_t = step(params, s_{t-1}, x_t) for t = 1..T.

    Args:
        step: a pure function ``step(params, state, x) -> state`` without a batch axis. It is the
            key of the compilation cache: pass the same function object, not a fresh lambda. What
            it reads from closures, attributes and globals is what they hold in this call.
        params: any pytree.
        state: the starting state s_0, a pytree of arrays.
        inputs: a pytree of arrays with T on axis 0. A step without inputs gets `jnp.arange(T)`.

    Returns:
        A `Trajectory`, with T+1 states.

    Raises:
        ValueError: the inputs differ in length or have length 0; the state has no floating-point
            leaf, or one of less than 16 bits; the step changes the state's structure, a shape or a
            dtype (the leaf is named).

    Notes:
        The model runs at the device's default matmul precision: the trajectory is the model's own.
        A NaN in the inputs makes every later state NaN; it is not an error.

    Example:
        ```python
        cell = lg.cells.lstm(3, 8)
        trajectory = lg.unroll(cell.step, cell.init(key), cell.initial_state(), inputs)
        trajectory.states.c.shape  # (T + 1, 8)
        ```

        >>> lg.unroll(cell.step, model.params, cell.initial_state(), inputs).states.c.shape
        (7, 3)
    """
    return _unroll(current_step(step, params, state, inputs), params, state, inputs)


@compiled
def _unroll(step: StepFn, params: Params, state: State, inputs: Inputs) -> Trajectory:
    state, inputs = check_run(step, params, state, inputs)

    def body(state: State, x: Inputs) -> tuple[State, State]:
        after = step(params, state, x)
        return after, after

    _, later = scan(body, state, inputs)
    states = jax.tree.map(
        lambda first, rest: jnp.concatenate([first[None], rest], axis=0), state, later
    )
    return Trajectory(inputs, states)


def check_run(step: StepFn, params: Params, state: State, inputs: Inputs) -> tuple[State, Inputs]:
    """The starting state and the inputs as arrays, once it is clear that the model can run.

    Args:
        step: as for `unroll`, like the rest.
        params: any pytree.
        state: the starting state.
        inputs: T on axis 0.
    """
    check_time_axis(inputs, "inputs")
    check_arrays(state, "state")
    # A strong dtype: a Python scalar would change type between the first step and the second.
    state = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.result_type(leaf)), state)
    check_state(state)
    inputs = jax.tree.map(jnp.asarray, inputs)
    check_step(step, params, state, jax.tree.map(lambda leaf: leaf[0], inputs), inputs)
    return state, inputs
