"""What limits a gradient in training: how far it goes back, and how large it may be.

Back-propagation in chunks of K steps detaches the state in front of steps 1, K + 1, 2K + 1, ...:
values are those of the whole sequence, slopes end there. A clip at C scales a gradient g down to
C g/‖g‖ where ‖g‖ is at least C.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from lstmgrad._checks import check_count, check_positive
from lstmgrad._model import Model
from lstmgrad._types import Inputs, Params, State, StepFn


class Limits(NamedTuple):
    """Limits of each network.

    Attributes:
        truncation: (networks,), the steps of a chunk; None is no truncation.
        clip: (networks,), the largest norm; None is no clip.
    """

    truncation: Array | None
    clip: Array | None


def limits_of(truncation: Any, clip: Any, networks: int) -> Limits:
    """Returns the limits of each network, from one number for all or one for each.

    Args:
        truncation: as `fit` takes it.
        clip: as `fit` takes it.
        networks: how many.
    """

    def each(value: Any, argument: str, check: Any, dtype: str | None) -> Array | None:
        if value is None:
            return None
        several = np.ndim(value) > 0
        found = [
            check(one, argument) for one in (np.asarray(value).tolist() if several else [value])
        ]
        if several and len(found) != networks:
            raise ValueError(
                f"{argument}: expected one number, or one for each of {networks} networks, but got "
                f"{len(found)}."
            )
        return jnp.asarray(found if several else found * networks, dtype)

    return Limits(
        each(truncation, "truncation", check_count, "int32"),
        each(clip, "clip", check_positive, None),
    )


def detached_between(model: Model, inputs: Inputs, truncation: Array) -> tuple[Model, Inputs]:
    """Returns a model, and inputs for it, that does the same with the state detached in between.

    Args:
        model: the model.
        inputs: T on axis 0.
        truncation: K, a whole number.
    """
    length = jax.tree.leaves(inputs)[0].shape[0]
    kept = jnp.arange(length, dtype=truncation.dtype) % truncation != 0
    return model._replace(step=_detaching(model.step)), (inputs, kept)


def _detaching(step: StepFn) -> StepFn:
    """The step behind a state that is detached where the input says so."""

    def detached_step(params: Params, state: State, x: tuple[Inputs, Array]) -> State:
        inputs, kept = x
        state = jax.tree.map(lambda leaf: jnp.where(kept, leaf, jax.lax.stop_gradient(leaf)), state)
        return step(params, state, inputs)

    return detached_step


def clipped(gradients: Any, limit: Array | None) -> Any:
    """Returns the gradients scaled to a norm of no more than the limit.

    Args:
        gradients: a pytree.
        limit: a number; None leaves them as they are.
    """
    if limit is None:
        return gradients
    wide = limit.dtype
    squares = [jnp.sum(jnp.abs(leaf).astype(wide) ** 2) for leaf in jax.tree.leaves(gradients)]
    norm = jnp.sqrt(functools.reduce(jnp.add, squares))
    scale = jnp.where(norm < limit, 1, limit / norm)
    return jax.tree.map(lambda leaf: leaf * scale.astype(leaf.dtype), gradients)
