"""The tagged values themselves along a trajectory, an LSTM's gate activations among them."""

from typing import Any

import jax
from jaxtyping import Array, Float

from lstmgrad._chains.base import Chain, check_chain, known_run
from lstmgrad._chains.interpret import BRANCHES, LOOPS
from lstmgrad._chains.layout import ravel
from lstmgrad._checks import check_tags
from lstmgrad._compile import compiled
from lstmgrad._routes.tagged import run_tagged, straight_tag_names
from lstmgrad._types import Inputs, State


@compiled
def tagged_values(chain: Chain) -> dict[str, Float[Array, "T _"]]:
    """Returns the values that a step marks with `tag`, at every step.

    Args:
        chain: of T steps that mark values with `tag`, in themselves or in functions that they call;
            from `chain` or `linearize`, of any declared structure, or a slice of such a chain.

    Returns:
        By tag, the values of step t as one flat vector in row t-1; several values of one name
        follow each other, complex ones as (real parts, imaginary parts). For an LSTM: "forget",
        "input" and "output", the gates' activations, "candidate", and "cell", which is c_{t-1}.
        Tags inside of loops, branches (`jax.lax.cond`) and custom derivative rules are left out.

    Raises:
        ValueError: the chain does not know its model, or the step has no such tag.

    Notes:
        One evaluation of the step at each of the T stored states, all at once.

    Example:
        ```python
        values = lg.tagged_values(chain)
        lg.plot.tagged_values({"forget": values["forget"]})
        ```

        >>> lg.tagged_values(chain)["forget"].shape
        (6, 3)
    """
    check_chain(chain)
    run = known_run(chain)
    step, params = run.step.parts()
    names = straight_tag_names(step, params, *run.example(), outside=(*LOOPS, *BRANCHES))
    check_tags(names, ())

    def at(state: State, x: Inputs) -> dict[str, Array]:
        found: dict[str, list[Array]] = {name: [] for name in names}

        def record(name: str, reference: Any, moving: Any) -> Any:
            if name in found:
                found[name].append(reference)
            return moving

        run_tagged(step, params, state, state, x, record)
        return {name: ravel(values) for name, values in found.items() if values}

    return jax.vmap(at)(*run.factors)
