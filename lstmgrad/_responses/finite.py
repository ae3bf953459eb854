"""Where numbers stop: the first state, and the first step Jacobian, with an inf or a NaN in it."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from lstmgrad._chains.base import Chain, check_chain
from lstmgrad._compile import compiled
from lstmgrad._labeled import Axes
from lstmgrad._result import Result


class FirstNonFinite(Result):
    """The first state and the first step Jacobian that are not finite.

    Attributes:
        state_time: t of the first s_t with an inf or a NaN, 0..T; -1 where all states are finite.
        state_parts: by part, whether that state holds one there.
        factor_time: t of the first J_t = ds_t/ds_{t-1} with an inf or a NaN, 1..T; -1 for none.
        factor_parts: by part, whether its rows of that J_t do.
        finite_steps: how many steps there are before: all states and step Jacobians of
            ``chain[:finite_steps]`` are finite. T where that holds for all of them; 0 also where
            s_0 itself is not finite.
        length: T.

    Example:
        >>> print(lg.first_non_finite(chain).finite_steps)
        6
    """

    state_time: Int[Array, "*batch"]
    state_parts: dict[str, Bool[Array, "*batch"]]
    factor_time: Int[Array, "*batch"]
    factor_parts: dict[str, Bool[Array, "*batch"]]
    finite_steps: Int[Array, "*batch"]
    length: int = eqx.field(static=True)

    _main = ("state_time", 0)
    _axes = Axes(
        {
            "state_time": "",
            "factor_time": "",
            "finite_steps": "",
            "state_parts": "",
            "factor_parts": "",
        }
    )

    def _subject(self) -> str:
        return f"T = {self.length}"

    def _headline(self) -> str:
        found = [row for row in self._rows() if row[1] != "none"]
        if not found:
            return "all states and step Jacobians are finite"
        return "not finite: " + ", ".join(f"{what}_{time} ({parts})" for what, time, parts in found)

    def _table(self) -> tuple[list[str], list[list[str]]]:
        return ["", "first at t", "in the parts"], self._rows()

    def _rows(self) -> list[list[str]]:
        found = ("s", self.state_time, self.state_parts), ("J", self.factor_time, self.factor_parts)
        return [
            [
                what,
                "none" if time < 0 else str(time),
                ", ".join(n for n, bad in parts.items() if bad),
            ]
            for what, time, parts in found
        ]

    def _numbers(self) -> dict[str, Any]:
        return {
            "state_time": self.state_time,
            "factor_time": self.factor_time,
            "finite_steps": self.finite_steps,
        }


@compiled
def first_non_finite(chain: Chain) -> FirstNonFinite:
    """Returns where the states and the step Jacobians stop being finite.

    Norms of a product with a NaN in it are NaN. This says from which step on, in which part of the
    state, and whether the state was first or its derivative, which may break while all states are
    finite (the slope of √x at 0).

    Args:
        chain: T factors; streams included.

    Returns:
        `FirstNonFinite`. States of chains that keep none (`DenseChain`, streams) are left out.

    Raises:
        ValueError: a batch of chains: use `jax.vmap`.

    Notes:
        One push through every factor, of the vector of ones: an inf or a NaN in J_t shows in the
        product, as does a row whose sum leaves the range. O(T) memory beside the states.

    Example:
        ```python
        found = lg.first_non_finite(chain)
        lg.backward_norms(chain[: int(found.finite_steps)])
        ```

        >>> print(lg.first_non_finite(chain).finite_steps)
        6
    """
    check_chain(chain)
    layout, length = chain.layout, len(chain)
    blocks = [layout.block(name, "part") for name in layout.parts]
    walk = chain.walk()
    rows = jnp.ones((1, layout.size), layout.dtype)

    def meet(memory: Any, entry: Any) -> tuple[Any, Array]:
        memory, factor = walk.meet(memory, entry)
        return memory, _broken(chain.push(factor, rows)[0], blocks)

    _, factors = jax.lax.scan(meet, walk.memory, walk.entries)
    states = jnp.zeros((1, len(blocks)), bool)
    if chain.run is not None:
        flat = jax.vmap(layout.ravel)(chain.trajectory.states)
        states = jax.vmap(lambda state: _broken(state, blocks))(flat)
    names = [str(name) for name in layout.parts]
    state_time, state_parts = _first(states, names)
    factor_time, factor_parts = _first(factors, names)
    factor_time = jnp.where(factor_time < 0, -1, factor_time + 1)
    times = [jnp.where(time < 0, length + 1, time) for time in (state_time, factor_time)]
    return FirstNonFinite(
        state_time=state_time,
        state_parts=state_parts,
        factor_time=factor_time,
        factor_parts=factor_parts,
        finite_steps=jnp.maximum(jnp.minimum(*times) - 1, 0),
        length=length,
    )


def _broken(vector: Array, blocks: list[slice]) -> Bool[Array, " parts"]:
    return jnp.stack([~jnp.all(jnp.isfinite(vector[block])) for block in blocks])


def _first(
    broken: Bool[Array, "times parts"], names: list[str]
) -> tuple[Int[Array, ""], dict[str, Bool[Array, ""]]]:
    """The first time at which any part is, or -1; and which parts are at that time."""
    if not len(broken):
        return jnp.full((), -1, jnp.int32), {name: jnp.zeros((), bool) for name in names}
    any_part = jnp.any(broken, axis=1)
    first, found = jnp.argmax(any_part).astype(jnp.int32), jnp.any(any_part)
    return jnp.where(found, first, -1), dict(zip(names, broken[first] & found, strict=True))
