"""Chains of sequences too long to keep: the model runs while the chain is pushed, in one scan."""

from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, Float

from lstmgrad._chains.chain import ImplicitChain, Model
from lstmgrad._chains.layout import Layout, layout_of
from lstmgrad._chains.trajectory import check_run
from lstmgrad._checks import check_slice, check_stored
from lstmgrad._compile import compiled
from lstmgrad._types import Inputs, Params, State, StepFn


class StreamedChain(ImplicitChain):
    """A chain that runs the model while it is pushed, and so keeps no states.

    Attributes:
        factors: the inputs, x_t at index t-1.
        model: (step, params), split into arrays and the static rest.
        start: s_0.
        layout: the named map between the state and the flat vector.
    """

    factors: Any
    model: Model
    layout: Layout = eqx.field(static=True)
    start: State

    def begin(self) -> State:
        """s_0: the sweep carries the state along."""
        return self.start

    def visit(self, memory: State, entry: Any) -> tuple[State, Any]:
        """(s_{t-1}, x_t), with s_t carried on."""
        return self.model.step(memory, entry), (memory, entry)

    def pull(self, factor: Any, rows: Float[Array, "m n"]) -> Float[Array, "m n"]:
        """Not possible: the states are gone when the last is known."""
        check_stored(self.reversible)
        return rows

    def __getitem__(self, key: slice) -> "StreamedChain":
        """`chain[k:t]`, after running the model from 0 to k."""
        bounds = check_slice(key, len(self))
        skipped, kept = (
            jax.tree.map(lambda leaf, part=part: leaf[part], self.factors)
            for part in (slice(0, bounds.start), bounds)
        )
        start = _run(self.model, self.start, skipped)
        return eqx.tree_at(lambda chain: (chain.factors, chain.start), self, (kept, start))

    @property
    def reversible(self) -> bool:
        """No."""
        return False

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """The axes in front of those of the starting state."""
        leaf = jax.tree.leaves(self.start)[0]
        return leaf.shape[: leaf.ndim - len(self.layout.shapes[0])]


@compiled
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
    """
    state, inputs = check_run(step, params, state, inputs)
    model = Model.of(step, params)
    return StreamedChain(factors=inputs, model=model, layout=layout_of(state), start=state)


@eqx.filter_jit
def _run(model: Model, state: State, inputs: Inputs) -> State:
    return jax.lax.scan(lambda state, x: (model.step(state, x), None), state, inputs)[0]
