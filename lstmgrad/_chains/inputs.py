"""How inputs enter a chain: B_t = ∂s_t/∂x_t, taken where J_t is, and the chain that reads them.

The input x_t acts on s_t within its own step, and on every later state through s_t alone:

    ∂s_T/∂x_t = J_T ··· J_{t+1} B_t

`InputChain` has (s_t, x_t) as its state, where x_t waits behind its step until the next factor
takes it in, [J_t, J_t B_{t-1}]. So whatever reads a block of a chain reads inputs, too.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lstmgrad._chains.base import Chain, StoredChain, check_stored
from lstmgrad._chains.blocks import Block
from lstmgrad._chains.dependence import leaf_dependence, parts_between, steps_between
from lstmgrad._chains.factors import in_single, pull_rows, push_rows
from lstmgrad._chains.half import is_half, widened
from lstmgrad._chains.layout import Layout, layout_of
from lstmgrad._chains.run import BoundStep, one_step
from lstmgrad._checks import check_arrays
from lstmgrad._leaves import leaf_name, type_name
from lstmgrad._types import Inputs, PartName, State

INPUT = "the input of the step"
"""What the input is called among the parts of the state."""


class InputMap(NamedTuple):
    """A step as a function of its input.

    Attributes:
        step: the step with its parameters.
        layout: the parts of the state behind the step that are looked at.
        inputs: the layout of the input's leaves that are varied, as a flat vector (d,).
    """

    step: BoundStep
    layout: Layout
    inputs: Layout

    def pull(self, factor: tuple[State, Inputs], rows: Float[Array, "m n"]) -> Float[Array, "m d"]:
        """U B_t for every row u, in the dtype of the rows."""
        return pull_rows(*self._at(factor), rows).astype(rows.dtype)

    def push(self, factor: tuple[State, Inputs], rows: Float[Array, "m d"]) -> Float[Array, "m n"]:
        """B_t v for every row v, in the dtype of the rows."""
        return push_rows(*self._at(factor), rows.astype(self.inputs.dtype)).astype(rows.dtype)

    def fed_by(self, factor: tuple[State, Inputs]) -> dict[PartName, list[bool]]:
        """For each part, which leaves of the input it depends on within the step.

        Args:
            factor: abstract values of a state and an input.
        """
        state, x = factor
        function, params = self.step.parts()
        leaves, treedef = jax.tree.flatten(x)
        places = self._places()

        def of_leaves(moving: list[Array], state: State, rest: list[Array]) -> State:
            filled = list(rest)
            for place, leaf in zip(places, moving, strict=True):
                filled[place] = leaf
            return function(params, state, jax.tree.unflatten(treedef, filled))

        moving = [leaves[place] for place in places]
        return leaf_dependence(of_leaves, moving, state, leaves, self.layout)

    def _places(self) -> list[int]:
        return [i for i, owner in enumerate(self.inputs.owners) if owner is not None]

    def _at(self, factor: tuple[State, Inputs]) -> tuple[Callable, Float[Array, " d"]]:
        """The state behind the step as a function of the flat input, and that input."""
        function, params = self.step.parts()
        params, state, x = in_single(function, params, *factor)
        if any(is_half(leaf.dtype) for leaf in jax.tree.leaves(x)):
            # A cotangent in half precision would round, and overflow at 65504.
            x = self._widened(function, params, state, x)

        def after(flat: Float[Array, " d"]) -> Float[Array, " n"]:
            return self.layout.ravel(function(params, state, self.inputs.unravel(flat, x)))

        return after, self.inputs.ravel(x)

    def _widened(self, function: Any, params: Any, state: State, x: Inputs) -> Inputs:
        """The input in float32 where the step takes it, and as it is where it does not."""
        wide = jax.tree.map(widened, x)
        try:
            after = jax.eval_shape(lambda: function(params, state, wide))
        except Exception:
            return x
        same = jax.tree.map(lambda new, old: new.shape == old.shape, after, state)
        return wide if all(jax.tree.leaves(same)) else x


class InputChain(StoredChain):
    """A chain with the input of each step as one more part of the state, `INPUT`.

    Attributes:
        factors: for t = 2..T the factor J_t of the chain, and what B_{t-1} is taken at.
        chain: J_2, ..., J_T.
        step: the step with its parameters.
        inputs: the layout of what is varied of the input.
        layout: of the state and the flat input behind it.
    """

    factors: Any
    chain: StoredChain
    step: BoundStep
    inputs: Layout = eqx.field(static=True)
    layout: Layout = eqx.field(static=True)

    def push(self, factor: Any, rows: Float[Array, "m n"]) -> Float[Array, "m n"]:
        """J_t (v + B_{t-1} w) for every row (v, w)."""
        inner, before = factor
        size = self.chain.layout.size
        entered = rows[:, :size] + self._map().push(before, rows[:, size:])
        moved = self.chain.push(inner, entered)
        return jnp.concatenate([moved, jnp.zeros_like(rows[:, size:])], axis=1)

    def pull(self, factor: Any, rows: Float[Array, "m n"]) -> Float[Array, "m n"]:
        """(U J_t, U J_t B_{t-1}) for every row u."""
        inner, before = factor
        moved = self.chain.pull(inner, rows[:, : self.chain.layout.size])
        return jnp.concatenate([moved, self._map().pull(before, moved)], axis=1)

    def cut(self, bounds: slice) -> "InputChain":
        """The chain along a stretch of time."""
        factors = jax.tree.map(lambda leaf: leaf[bounds], self.factors)
        return self._with(factors, self.chain[bounds], self.layout)

    def restricted(self, parts: Sequence[PartName]) -> "InputChain":
        """The chain of some of the parts, the input among them."""
        inner = self.chain.restricted([part for part in parts if part != INPUT])
        return self._with(self.factors, inner, self.layout.restricted([*parts, INPUT]))

    @property
    def run(self) -> None:
        """Nothing: its state is not the model's own."""
        return None

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """The axes in front of the time axis."""
        return self.chain.batch_shape

    def _with(self, factors: Any, chain: Chain, layout: Layout) -> "InputChain":
        return InputChain(
            factors=factors,
            chain=check_stored(chain),
            step=self.step,
            inputs=self.inputs,
            layout=layout,
        )

    def _map(self) -> InputMap:
        return InputMap(self.step, self.chain.layout, self.inputs)


class InputBlock(NamedTuple):
    """∂of_T/∂x_t for every t.

    Attributes:
        block: of an `InputChain`, lag T-t = 1, 2, ...; without a path it is zero at all of them.
        entering: B_T as rows of `of`: the block at lag 0.
        direct: whether `of` depends on the input within the step: where not, `entering` is zero.
    """

    block: Block
    entering: Callable[[tuple[State, Inputs]], Float[Array, "n_of d"]]
    direct: bool


def input_block(chain: StoredChain, of: PartName | None, wrt: PartName | None) -> InputBlock:
    """Returns the block of a chain between the inputs and a part, by the parts on its paths alone.

    Args:
        chain: T >= 1 factors that know their model.
        of: the part that is differentiated; None is the whole state.
        wrt: the part of the input that is varied; None is all that can be.

    Raises:
        ValueError: an unknown part, or no input that can be differentiated.
    """
    step, factors = known_steps(chain)
    inputs = input_layout(factors[1], wrt)
    layout = chain.layout
    layout.block(of, "of")
    example = one_step(factors)
    reached = InputMap(step, layout, inputs).fed_by(example)
    fed = [part for part in layout.parts if any(reached[part])]
    carried = {part for entry in fed for part in parts_between(layout, of, entry)}
    if carried and carried != set(layout.parts):
        chain = check_stored(chain.restricted([p for p in layout.parts if p in carried]))
        layout, fed = chain.layout, [part for part in fed if part in carried]
    lifted = InputChain(
        factors=(
            jax.tree.map(lambda leaf: leaf[1:], chain.factors),
            jax.tree.map(lambda leaf: leaf[:-1], factors),
        ),
        chain=check_stored(chain[1:]),
        step=step,
        inputs=inputs,
        layout=_lifted_layout(layout, inputs, fed),
    )
    ends = layout.parts if of is None else [part for part in layout.parts if part == of]
    rows = layout.block(of, "of") if ends else slice(0, 0)
    found = [steps_between(lifted.layout, end, INPUT) for end in ends]
    block = Block(
        chain=lifted,
        rows=rows,
        columns=lifted.layout.block(INPUT, "wrt"),
        shape=(rows.stop - rows.start, inputs.size),
        shared=0,
        distance=min((steps for steps in found if steps is not None), default=None),
    )
    enter = InputMap(step, layout, inputs)

    def entering(factor: tuple[State, Inputs]) -> Float[Array, "n_of d"]:
        return enter.pull(factor, jnp.eye(layout.size, dtype=layout.dtype)[rows])

    return InputBlock(block, entering, direct=any(part in fed for part in ends))


def known_steps(chain: StoredChain) -> tuple[BoundStep, tuple[State, Inputs]]:
    """The step of a chain's model, and (s_{t-1}, x_t) with T on axis 0; those of a route, too.

    Args:
        chain: of any kind.
    """
    found = chain.steps_along
    if found is None:
        raise ValueError(
            "chain: expected one that knows its model and inputs, from chain(model, inputs), "
            "linearize or linearize_diagonal, a slice of such a chain, or a route of it, but got a "
            f"{type(chain).__name__}."
        )
    return found


def input_layout(inputs: Inputs, part: PartName | None = None) -> Layout:
    """The layout of one step's input as a flat vector of its floating-point and complex leaves.

    Args:
        inputs: with T on axis 0.
        part: the top-level part that is varied, by name or position; None is all.

    Raises:
        ValueError: nothing in the inputs has a derivative, or there is no such part.
    """
    check_arrays(inputs, "inputs")
    leaves = jax.tree_util.tree_leaves_with_path(inputs)
    if not any(jnp.issubdtype(leaf.dtype, jnp.inexact) and leaf.size for _, leaf in leaves):
        what = ", ".join(f"{leaf_name(path)}: {type_name(leaf)}" for path, leaf in leaves)
        raise ValueError(
            "inputs: expected a floating-point or complex array, to take a derivative with respect "
            f"to, but got {what}. Numbers of tokens have none: look their vectors up first, and "
            "make the chain of these, chain(model, table[tokens])."
        )
    layout = layout_of(one_step(inputs))
    if part is None:
        return layout
    if part not in layout.parts or isinstance(part, bool):
        raise ValueError(
            f"wrt: expected one of the parts of the inputs, {', '.join(map(repr, layout.parts))}, "
            f"or None for all of them, but got {part!r}."
        )
    return layout.restricted([part])


def _lifted_layout(layout: Layout, inputs: Layout, fed: Sequence[PartName]) -> Layout:
    """The layout of the state with the input behind it.

    Args:
        layout: of the state.
        inputs: of the input.
        fed: the parts that the input enters.
    """
    count, entries = len(layout.parts), [layout.parts.index(part) for part in fed]
    rows = [(*row, any(row[entry] for entry in entries)) for row in layout.dependence]
    return Layout(
        dtype=layout.dtype,
        parts=(*layout.parts, INPUT),
        starts=(*layout.starts, layout.size + inputs.size),
        shapes=layout.shapes,
        dtypes=layout.dtypes,
        owners=layout.owners,
        dependence=(*rows, (False,) * (count + 1)),
    )
