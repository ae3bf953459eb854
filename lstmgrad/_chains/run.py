"""What a chain knows of its model: the step with its parameters, and the states that it visited."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from lstmgrad._types import Inputs, Params, State, StepFn


class BoundStep(eqx.Module):
    """A step with its parameters: arrays as leaves, the rest static, so that it may leave jit."""

    arrays: Any
    rest: tuple = eqx.field(static=True)

    @staticmethod
    def of(step: StepFn, params: Params) -> "BoundStep":
        """The step with its parameters, whatever they hold."""
        arrays, rest = eqx.partition((step, params), is_array)
        leaves, treedef = jax.tree.flatten(rest)
        return BoundStep(arrays, (tuple(leaves), treedef))

    def parts(self) -> tuple[StepFn, Params]:
        """The step and the parameters."""
        leaves, treedef = self.rest
        return eqx.combine(self.arrays, jax.tree.unflatten(treedef, leaves))

    def __call__(self, state: State, x: Inputs) -> State:
        """The state after one step."""
        step, params = self.parts()
        return step(params, state, x)


class Run(eqx.Module):
    """A model along its trajectory.

    Attributes:
        step: the step with its parameters.
        before: s_0, ..., s_{T-1} on axis 0.
        inputs: x_1, ..., x_T on axis 0.
        last: s_T.
    """

    step: BoundStep
    before: State
    inputs: Inputs
    last: State

    @property
    def factors(self) -> tuple[State, Inputs]:
        """(s_{t-1}, x_t) at index t-1: all that J_t needs besides the step."""
        return self.before, self.inputs

    def states(self, axis: int = 0) -> State:
        """All T+1 states, with time on the given axis: the number of batch axes in front of it."""
        return jax.tree.map(
            lambda before, last: jnp.concatenate([before, jnp.expand_dims(last, axis)], axis),
            self.before,
            self.last,
        )

    def cut(self, bounds: slice) -> "Run":
        """The run from state k to state t, for bounds k:t."""
        before, inputs = jax.tree.map(lambda leaf: leaf[bounds], self.factors)
        last = jax.tree.map(
            lambda states, last: last if bounds.stop == len(states) else states[bounds.stop],
            self.before,
            self.last,
        )
        return Run(self.step, before, inputs, last)

    def example(self) -> tuple[State, Inputs]:
        """The abstract values of one state and one step's input."""
        return one_step(self.factors)


def one_step(tree: Any) -> Any:
    """The abstract values at one time.

    Args:
        tree: a pytree of arrays with T on axis 0.
    """
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), tree)


def is_array(leaf: Any) -> bool:
    """Whether a leaf is data, or part of a key.

    Args:
        leaf: of a pytree.
    """
    return isinstance(leaf, jax.Array | np.ndarray | np.generic)
