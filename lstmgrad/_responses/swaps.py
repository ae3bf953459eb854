"""The response to a finite change: one input is replaced, and the states are compared.

Unlike a gradient this sees what saturated gates hold.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from lstmgrad._calls import public
from lstmgrad._chains.elsewhere import current_step
from lstmgrad._chains.layout import layout_of
from lstmgrad._chains.trajectory import unroll
from lstmgrad._checks import check_arrays, check_count, check_kind, check_time_axis
from lstmgrad._compile import compiled
from lstmgrad._labeled import Axes
from lstmgrad._leaves import type_name
from lstmgrad._model import Model
from lstmgrad._result import Result
from lstmgrad._types import Inputs, PartName
from lstmgrad._writing import chosen, number


class SwapResponse(Result):
    """How far the states move when one input is another one.

    Attributes:
        distances: (R, T+1), ‖s'_t - s_t‖₂ for each replacement; zero for t <= at.
        noise: (T+1,), what one rounding of every number of the part may do at most: the norm of
            s_t with each entry times the eps of its dtype.
        at: the row of the inputs that was replaced.
        of: the part whose distance it is; None is the whole state.

    Example:
        >>> lg.swap_response(model, inputs, at=0, replacements=inputs[:1]).distances.max().item()
        0.0
    """

    distances: Float[Array, "*batch R times"]
    noise: Float[Array, "*batch times"]
    at: int = eqx.field(static=True)
    of: PartName | None = eqx.field(static=True)

    _main = ("distances", 2)
    _axes = Axes(
        {"distances": "replacement time", "noise": "time", "resolved": "replacement time"}, time=0
    )

    @property
    def zero(self) -> Bool[Array, "*batch R times"]:
        """Where the two states are the same to the bit."""
        return self.distances == 0

    @property
    def resolved(self) -> Bool[Array | np.ndarray, "*batch R times"]:
        """Where the distance is above the noise. What is neither that nor zero is rounding."""
        return self.distances > self.noise[..., None, :]

    def _subject(self) -> str:
        replacements, times = self.distances.shape[-2:]
        return f"{replacements} replacements of row {self.at}, {times - 1} steps"

    def _headline(self) -> str:
        return f"median distance {number(np.median(self.distances[:, -1]), 3)} at the end"

    def _table(self) -> tuple[list[str], list[list[str]]]:
        middle = np.median(self.distances, axis=0)
        rows = [
            [str(t), number(middle[t], 3), number(self.noise[t], 3)] for t in chosen(len(middle))
        ]
        return ["t", "median distance", "noise"], rows

    def _numbers(self) -> dict[str, Any]:
        return {
            "median_distance": np.median(self.distances[:, -1]),
            "least_distance": np.min(self.distances[:, -1]),
            "noise": self.noise[-1],
        }


@public
def swap_response(
    model: Model, inputs: Inputs, *, at: int, replacements: Inputs, of: PartName | None = None
) -> SwapResponse:
    """Returns how far the states move when one row of the inputs is another one.

    ‖s'_t - s_t‖₂ for t = 0..T, where s' has the replacement at row `at` and s the inputs as given.

    Args:
        model: any `Model`.
        inputs: T on axis 0.
        at: the row, 0..T-1; it is read in the step to s_{at+1}.
        replacements: like the inputs, with R replacements of one row on axis 0.
        of: the part of the state that is compared; None is the whole state.

    Returns:
        `SwapResponse`, in the dtype of the states, float32 at least.

    Raises:
        ValueError: `at` is no row of the inputs; the replacements are no rows of the inputs;
            the part does not exist; as `unroll`.

    Notes:
        R+1 runs of the model, one after the other by the same program, so that equal states are
        equal to the bit. O((R+1) T n) memory.

    Example:
        ``lg.swap_response(model, tokens, at=0, replacements=jnp.arange(10)).distances[:, -1]``

        >>> lg.swap_response(model, inputs, at=0, replacements=-inputs[:1]).distances.shape
        (1, 7)
    """
    check_kind(model, Model, "model")
    length = check_time_axis(inputs, "inputs")
    at = check_count(at, "at", 0, most=length - 1, limit="T - 1")
    check_time_axis(replacements, "replacements")
    inputs, replacements = jax.tree.map(jnp.asarray, (inputs, replacements))
    rows = [jax.tree.map(lambda leaf: type_name(leaf[0]), t) for t in (inputs, replacements)]
    if rows[0] != rows[1]:
        raise ValueError(
            f"replacements: expected rows like those of the inputs, {rows[0]}, but got {rows[1]}. "
            "Pass them with R on axis 0 and in the same dtype."
        )
    check_arrays(model.state, "state")
    step = current_step(model.step, model.params, model.state, inputs)
    return _response(model._replace(step=step), inputs, replacements, at=at, of=of)


@compiled
def _response(
    model: Model, inputs: Inputs, replacements: Inputs, *, at: int, of: PartName | None
) -> SwapResponse:
    state = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.result_type(leaf)), model.state)
    layout = layout_of(state)
    block = layout.block(of, "of")

    def run(row: Inputs) -> Array:
        swapped = jax.tree.map(lambda leaf, new: leaf.at[at].set(new), inputs, row)
        states = unroll(model.step, model.params, state, swapped).states
        return jax.vmap(layout.ravel)(states)[:, block]

    rows = jax.tree.map(
        lambda leaf, new: jnp.concatenate([leaf[at][None], new]), inputs, replacements
    )
    runs = jax.lax.map(run, rows)
    eps = jax.tree.map(_eps_like, state)
    return SwapResponse(
        distances=_norm(runs[1:] - runs[:1]),
        noise=_norm(runs[0] * layout.ravel(eps)[None, block]),
        at=at,
        of=of,
    )


def _eps_like(leaf: Array) -> Array:
    if not jnp.issubdtype(leaf.dtype, jnp.inexact):
        return leaf
    eps = jnp.full(leaf.shape, jnp.finfo(leaf.dtype).eps)
    return jax.lax.complex(eps, eps) if jnp.iscomplexobj(leaf) else eps


def _norm(vectors: Array) -> Array:
    """The norms along the last axis; squares neither overflow nor vanish."""
    largest = jnp.max(jnp.abs(vectors), axis=-1, keepdims=True)
    safe = jnp.where(largest > 0, largest, 1)
    return largest[..., 0] * jnp.linalg.norm(vectors / safe, axis=-1)
