"""The same on a loss of your own, with whatever it trains and wherever its data come from."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from lstmgrad._calls import public
from lstmgrad._checks import check_count, check_hashable
from lstmgrad._types import Params
from lstmgrad.diagnosis._applied import Options, applied, check_remedies
from lstmgrad.diagnosis._findings import Diagnosis
from lstmgrad.diagnosis._records import Remedy
from lstmgrad.diagnosis._verification import Trial, Verification
from lstmgrad.training._fit import CLIP, unclipped_optimizer
from lstmgrad.training._limits import clipped
from lstmgrad.training._progress import progress_bar

_EVERY = 50
"""Steps between two moments at which Ctrl-C ends it."""


@public
def verify_loss(
    params: Any,
    loss: Callable[..., Float[Array, ""]],
    remedies: Remedy | Sequence[Remedy],
    *,
    steps: int,
    seeds: int = 3,
    recurrent: Callable[[Any], Params] | None = None,
    score: Callable[[Any, PRNGKeyArray], Any] | None = None,
    diagnose: Callable[..., Diagnosis] | None = None,
    options: Options | None = None,
    optimizer: optax.GradientTransformation | None = None,
    size: int = 20,
    key: PRNGKeyArray | None = None,
    title: str | None = None,
) -> Verification:
    """Returns what remedies do to a training on a loss of your own, by seed.

    Args:
        params: all that is trained, any pytree; or ``make(key) -> params``, anew for every seed.
        loss: ``loss(params, key) -> scalar``, the mean loss of the batch that the key draws; a pure
            function, defined once. It gets the `options` but the clip by name.
        remedies: from the findings of `diagnose`.
        steps: of every training.
        seeds: how many trainings of each kind, 2 or more.
        recurrent: from `params` to what the remedies change, the parameters of the diagnosed model;
            None: they are these.
        score: ``score(params, key) -> number``, of which more is better; None is minus the loss.
        diagnose: ``diagnose(params, **options) -> Diagnosis``, for the readings before and after;
            None leaves them out.
        options: of the training as it is, by the names that `lg.diagnose` has, such as
            ``{"truncation": 20, "clip": 1.0}``. A remedy of the training changes them. The clip is
            applied here, at 1 where the options and the optimizer are not given; with the others
            `loss` does what they say.
        optimizer: of optax; None is Adam at 0.003.
        size: keys that every score is the mean of.
        key: random key; None is that of 0.
        title: of a progress bar; None is no bar.

    Returns:
        `Verification`, whose `kept` has the trained parameters with the seeds on axis 0.

    Raises:
        ValueError: no remedy, two of one name, or one seed; a loss that is not a function.

    Notes:
        (1 + remedies) × seeds trainings, one after the other, on the same batches. Compiled once
        for each set of options.

    Example:
        ```python
        def loss(params, key):
            rows = jax.random.randint(key, (32,), 0, len(inputs))
            return mean_loss(params, inputs[rows], targets[rows])

        remedies = lg.diagnose(chains, cotangents, lag=100)["forget-gates"].remedies
        print(lg.diagnosis.verify_loss(
            params, loss, remedies, steps=1000, recurrent=lambda params: params["lstm"]
        ))
        ```

        >>> def loss(params, key):
        ...     return jnp.sum(params**2)
        >>> def smaller(params):
        ...     return 0.1 * params
        >>> remedy = lg.diagnosis.Remedy("smaller", "parameters", "The optimum is zero.", smaller)
        >>> found = lg.diagnosis.verify_loss(jnp.ones(2), loss, remedy, steps=2, seeds=2, size=1)
        >>> found.helps("smaller")
        True
    """
    check_hashable(loss, "loss")
    seeds, remedies = check_count(seeds, "seeds", 2), check_remedies(remedies)
    steps, size = check_count(steps, "steps", 0), check_count(size, "size")
    key = jax.random.key(0) if key is None else key
    keys = jax.random.split(key, seeds)
    made = [_made(params, one) for one in keys]
    if optimizer is None:
        optimizer, options = unclipped_optimizer(), {"clip": CLIP, **(options or {})}
    options = dict(options or {})
    where = recurrent or _same
    trials, ends = [], {}
    with progress_bar((1 + len(remedies)) * seeds * steps, title) as advance:

        def train(start: Any, changed: Options, seed: int) -> tuple[Any, float]:
            end = _descend(start, loss, optimizer, changed, keys[seed], steps, advance)
            return end, _score(end, score, loss, changed, jax.random.fold_in(key, 2), size)

        before = [train(one, options, seed)[1] for seed, one in enumerate(made)]
        found = [None if diagnose is None else diagnose(one, **options) for one in made]
        for remedy in remedies:
            ends[remedy.name] = []
            for seed, start in enumerate(made):
                inner, changed, compare = applied(remedy, found[seed], where(start), options)
                start = _with(start, where, inner)
                readings = compare(functools.partial(diagnose or _none, start, **changed))
                end, value = train(start, changed, seed)
                ends[remedy.name].append(end)
                trials.append(Trial(remedy.name, seed, before[seed], value, readings))
    name = getattr(loss, "__name__", type(loss).__name__)
    verified = Verification(tuple(trials), name, None, steps, math.nan, kept={})
    for name, several in ends.items():
        if verified.helps(name):
            verified.kept[name] = jax.tree.map(_stacked, *several)
    return verified


def _made(params: Any, key: PRNGKeyArray) -> Any:
    """The parameters; those that a function makes where it is one, and no pytree."""
    is_function = callable(params) and jax.tree.leaves(params) == [params]
    return params(key) if is_function else params


def _same(params: Any) -> Any:
    return params


def _none(*_: Any, **__: Any) -> Any:
    """No diagnosis."""


def _with(params: Any, where: Callable[[Any], Params], inner: Params) -> Any:
    """All parameters with other recurrent ones."""
    if where is _same:
        return inner
    return eqx.tree_at(where, params, inner)


def _stacked(*leaves: Any) -> Any:
    return jnp.stack(leaves) if eqx.is_array(leaves[0]) else leaves[0]


def _descend(
    params: Any,
    loss: Callable[..., Array],
    optimizer: optax.GradientTransformation,
    options: Options,
    key: PRNGKeyArray,
    steps: int,
    advance: Callable[[int], object],
) -> Any:
    """The parameters after so many steps."""
    moving, fixed = eqx.partition(params, eqx.is_inexact_array)
    carry = moving, optimizer.init(moving)
    limit = options.get("clip")
    how = loss, optimizer, tuple(_of_loss(options).items())
    for first in range(0, steps, _EVERY):
        count = min(_EVERY, steps - first)
        span = jnp.asarray(first), jnp.asarray(first + count)
        clip = None if limit is None else jnp.asarray(float(limit))
        carry = jax.block_until_ready(_some_steps(carry, fixed, key, span, clip, how))
        advance(count)
    return eqx.combine(carry[0], fixed)


def _of_loss(options: Options) -> Options:
    """The options that the loss is told."""
    return {name: value for name, value in options.items() if name != "clip"}


@eqx.filter_jit
def _some_steps(
    carry: Any,
    fixed: Any,
    key: PRNGKeyArray,
    span: tuple[Array, Array],
    clip: Array | None,
    how: tuple,
) -> Any:
    loss, optimizer, options = how

    def value(moving: Any, key: PRNGKeyArray) -> Array:
        return loss(eqx.combine(moving, fixed), key, **dict(options))

    def body(index: Array, carry: tuple) -> tuple:
        moving, state = carry
        slopes = clipped(jax.grad(value)(moving, jax.random.fold_in(key, index)), clip)
        # Adam raises a float to an integer count, which strict promotion forbids.
        with jax.numpy_dtype_promotion("standard"):
            updates, state = optimizer.update(slopes, state, moving)
        return optax.apply_updates(moving, updates), state

    first, last = span
    return jax.lax.fori_loop(first, last, body, carry)


def _score(
    params: Any,
    score: Callable[..., Any] | None,
    loss: Callable[..., Array],
    options: Options,
    key: PRNGKeyArray,
    size: int,
) -> float:
    """The mean over fresh keys, the same for all networks."""
    measure = score or _minus(loss, tuple(_of_loss(options).items()))
    return float(np.mean(jax.device_get(_measured(params, jax.random.split(key, size), measure))))


@functools.cache
def _minus(loss: Callable[..., Array], options: tuple) -> Callable[..., Array]:
    """Minus the loss: one object for a loss, so that it is compiled once."""
    return lambda params, key: -loss(params, key, **dict(options))


@eqx.filter_jit
def _measured(params: Any, keys: Array, measure: Callable[..., Any]) -> Array:
    return jax.lax.map(lambda key: measure(params, key), keys)
