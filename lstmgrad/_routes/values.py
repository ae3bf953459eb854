"""The tagged values themselves along a trajectory, an LSTM's gate activations among them."""

from typing import Any

import jax
from jaxtyping import Array, Float

from lstmgrad._chains.chain import linearize
from lstmgrad._chains.layout import ravel
from lstmgrad._chains.trajectory import Trajectory
from lstmgrad._checks import check_tags
from lstmgrad._compile import compiled
from lstmgrad._routes.tagged import BRANCHES, LOOPS, run_tagged, straight_tag_names
from lstmgrad._types import Inputs, Params, State, StepFn


@compiled
def tagged_values(
    step: StepFn, params: Params, trajectory: Trajectory
) -> dict[str, Float[Array, "T _"]]:
    """Returns the values that a step marks with `tag`, at every step.

    Args:
        step: a step that marks values with `tag`, in itself or in functions that it calls.
        params: its parameters.
        trajectory: as for `linearize`.

    Returns:
        By tag, the values of step t as one flat vector in row t-1; several values of one name
        follow each other, complex ones as (real parts, imaginary parts). For an LSTM: "forget",
        "input" and "output", the gates' activations, "candidate", and "cell", which is c_{t-1}.
        Tags inside of loops, branches (`jax.lax.cond`) and custom derivative rules are left out.

    Raises:
        ValueError: as `linearize`; the step has no such tag.

    Notes:
        One evaluation of the step at each of the T stored states, all at once.

    Example:
        ```python
        values = lg.tagged_values(cell.step, params, trajectory)
        lg.plot.gates({"forget": values["forget"]})
        ```
    """
    chain = linearize(step, params, trajectory)
    first = jax.tree.map(lambda leaf: leaf[0], chain.factors)
    names = straight_tag_names(step, params, *first, outside=(*LOOPS, *BRANCHES))
    check_tags(names, ())

    def at(state: State, x: Inputs) -> dict[str, Array]:
        found: dict[str, list[Array]] = {name: [] for name in names}

        def record(name: str, reference: Any, moving: Any) -> Any:
            if name in found:
                found[name].append(reference)
            return moving

        run_tagged(step, params, state, state, x, record)
        return {name: ravel(values) for name, values in found.items() if values}

    return jax.vmap(at)(*chain.factors)
