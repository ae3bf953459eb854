"""Chains of sequences too long to keep: the model runs while the chain is pushed, in one scan."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, Float

from lstmgrad._calls import public
from lstmgrad._chains.base import Chain, Walk, cut_leaves
from lstmgrad._chains.elsewhere import current_step
from lstmgrad._chains.factors import flat_step, push_rows
from lstmgrad._chains.implicit import layout_with_dependence
from lstmgrad._chains.layout import Layout
from lstmgrad._chains.run import BoundStep
from lstmgrad._chains.trajectory import check_run
from lstmgrad._compile import compiled
from lstmgrad._types import Inputs, Params, PartName, State, StepFn


class StreamedChain(Chain):
    """A chain that runs the model while it is pushed, and so keeps no states.

    Attributes:
        step: the step with its parameters.
        inputs: x_t at index t-1.
        start: s_0.
        layout: the named map between the state and the flat vector.

    Example:
        >>> isinstance(lg.stream(*model, inputs), lg.StreamedChain)
        True
    """

    step: BoundStep
    inputs: Inputs
    start: State
    layout: Layout = eqx.field(static=True)

    def push(self, factor: Any, rows: Float[Array, "m n"]) -> Float[Array, "m n"]:
        """J_t v, one jvp batched over the rows."""
        return push_rows(*flat_step(self.step, self.layout, factor), rows)

    def walk(self) -> Walk:
        """The inputs, with the state carried along."""
        return Walk(self.inputs, self.start, lambda state, x: (self.step(state, x), (state, x)))

    def cut(self, bounds: slice) -> "StreamedChain":
        """`chain[k:t]`, after running the model from 0 to k."""
        start = _state_after(self.step, self.start, cut_leaves(self.inputs, slice(bounds.start)))
        return StreamedChain(
            step=self.step,
            inputs=cut_leaves(self.inputs, bounds),
            start=start,
            layout=self.layout,
        )

    def restricted(self, parts: Sequence[PartName]) -> "StreamedChain":
        """The chain of some of the parts, the others held."""
        return StreamedChain(
            step=self.step,
            inputs=self.inputs,
            start=self.start,
            layout=self.layout.restricted(parts),
        )

    @property
    def run(self) -> None:
        """Nothing: the states are not kept."""
        return None

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """The axes in front of those of the starting state."""
        leaf = jax.tree.leaves(self.start)[0]
        return leaf.shape[: leaf.ndim - len(self.layout.shapes[0])]


@public
def stream(step: StepFn, params: Params, state: State, inputs: Inputs) -> StreamedChain:
    """Returns the chain of `linearize(step, params, unroll(step, params, state, inputs))`, unrun.

    For sequences whose states are too many to keep: the model runs inside each forward sweep
    (`push_forward`, `product`, `forward_norms`), in the same scan, so that memory does not depend
    on T beyond the inputs themselves.

    Args:
        step: a pure function ``step(params, state, x) -> state`` without a batch axis.
        params: any pytree.
        state: the starting state s_0, a pytree of arrays.
        inputs: a pytree of arrays with T on axis 0. A step that makes its own input from a counter
            gets `jnp.arange(T)`.

    Returns:
        A `Chain` of T factors. ``chain[k:t]`` first runs the model from 0 to k.

    Raises:
        ValueError: as `unroll`; and, on use, when something is to be pulled back through it.

    Notes:
        Every sweep costs T steps of the model besides its pushes. The model runs at the device's
        default matmul precision, as in `unroll`.

    Example:
        ```python
        chain = lg.stream(cell.step, params, cell.initial_state(), inputs)  # T = 1 000 000
        lg.forward_norms(chain, of="c", wrt="c", every=10_000)
        ```

        >>> streamed = lg.stream(model.step, model.params, model.state, inputs)
        >>> lg.forward_norms(streamed, of="c", wrt="c", every=3).lags.tolist()
        [0, 3, 6]
    """
    return _stream(current_step(step, params, state, inputs), params, state, inputs)


@compiled
def _stream(step: StepFn, params: Params, state: State, inputs: Inputs) -> StreamedChain:
    state, inputs = check_run(step, params, state, inputs)
    x = jax.tree.map(lambda leaf: leaf[0], inputs)
    layout = layout_with_dependence(step, params, state, x)
    return StreamedChain(step=BoundStep.of(step, params), inputs=inputs, start=state, layout=layout)


@eqx.filter_jit
def _state_after(step: BoundStep, state: State, inputs: Inputs) -> State:
    return jax.lax.scan(lambda state, x: (step(state, x), None), state, inputs)[0]
