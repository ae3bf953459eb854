"""Path dropout: at random steps the gradient passes through one path alone, an LSTM's cell.

The state of an LSTM reaches the next one through the additive path of the cell and through every
gate that reads h. Holding the gates' side at a step with probability p leaves the forward pass as
it is, and the mean of the product of step Jacobians over the draws is

    E[Π J̃_t] = Π (A_t + (1 - p) B_t),      J_t = A_t + B_t,

with A_t the path that is kept and B_t everything else: what the kept path carries counts for more.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from lstmgrad._calls import public
from lstmgrad._checks import check_count, check_hashable, check_number
from lstmgrad._routes.tagged import run_tagged, tag_names
from lstmgrad._types import Inputs, Params, State, StepFn


@public
def path_dropout(step: StepFn, *, keep: Sequence[str]) -> StepFn:
    """Returns a step whose gradient passes through some tagged values always, others as it is told.

    The same values as the step; its derivative with respect to the state is A_t + q_t B_t, with A_t
    that of the paths through the tags in `keep` alone, and q_t read beside x_t: 0 holds everything
    else (detaches it), 1 holds nothing. The derivative with respect to the parameters is that of
    the step as it is: only what comes from the state is held.

    Args:
        step: a step that marks values with `tag`, such as those of `lg.cells`.
        keep: the tags whose paths are always open: ("cell",) for an LSTM, which is h-detach.

    Returns:
        ``step(params, state, (x, q)) -> state``, the same object for the same step and tags. Its
        inputs are ``(inputs, path_draws(key, len(inputs), rate=p))``; at test time, and to measure
        the network as it is, use the step itself, or q = 1.

    Raises:
        ValueError: the step cannot be hashed, no tag is to be kept, or, when it is run, a tag that
            the step does not have.

    Notes:
        A constant q = 1 - p in place of draws gives the mean product itself, in one run.

    Example:
        ```python
        step = lg.training.path_dropout(cell.step, keep=("cell",))
        draws = lg.training.path_draws(key, len(inputs), rate=0.25)
        lg.unroll(step, params, cell.initial_state(), (inputs, draws))
        ```

        >>> step = lg.training.path_dropout(cell.step, keep=("cell",))
        >>> draws = lg.training.path_draws(jax.random.key(0), 6, rate=0.25)
        >>> lg.unroll(step, model.params, model.state, (inputs, draws)).states.h.shape
        (7, 3)

    References:
        Arpit et al. 2019, h-detach (arXiv:1810.03023), Section 2.
    """
    check_hashable(step, "step")
    kept = (keep,) if isinstance(keep, str) else tuple(keep)
    if not kept:
        raise ValueError("keep: expected at least one tag of the step, but got none.")
    return _dropping(step, kept)


@public
def path_draws(
    key: PRNGKeyArray, length: int, *, rate: float | int, dtype: Any = None
) -> Float[Array, " T"]:
    """Returns q_1, ..., q_T for `path_dropout`: independent, 0 with probability `rate`, else 1.

    Args:
        key: random key; another one for every sequence and every step of the training.
        length: T.
        rate: p, from 0 to 1; the authors use 0.25 and 0.4.
        dtype: of the inputs; None is JAX's default float.

    Returns:
        (T,), the q_t as numbers of that dtype: the second of the inputs that the step takes.

    Raises:
        ValueError: the length is not a whole number, 1 or more; the rate is not from 0 to 1.

    Example:
        With ``rate=0`` all are 1, and the step is what it was.

        >>> lg.training.path_draws(jax.random.key(0), 6, rate=0.0).tolist()
        [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    """
    length = check_count(length, "length")
    rate = check_number(rate, "rate", 0.0, 1.0)
    return jax.random.bernoulli(key, 1 - rate, (length,)).astype(jnp.zeros((), dtype).dtype)


@functools.cache
def _dropping(step: StepFn, keep: tuple[str, ...]) -> StepFn:
    def dropped(params: Params, state: State, reads: tuple[Inputs, Array]) -> State:
        x, passed = reads
        _check_kept(keep, tag_names(step, params, state, x))

        def at_tag(name: str, reference: Any, moving: Any) -> Any:
            if name in keep:
                return moving
            # The value is that of the reference; what moves is a share of it.
            share = passed.astype(jnp.finfo(moving.dtype).dtype)
            return reference + share * (moving - reference)

        held = jax.tree.map(jax.lax.stop_gradient, state)
        return run_tagged(step, params, held, state, x, at_tag)

    return dropped


def _check_kept(keep: tuple[str, ...], known: list[str]) -> None:
    """The tags to keep are tags of the step."""
    for name in keep:
        if name not in known:
            what = ", ".join(map(repr, known)) or "no tag at all"
            raise ValueError(f"keep: expected tags of the step, {what}, but got {name!r}.")
