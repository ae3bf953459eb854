"""Adam on a memory task: every network on sequences of its own, one report after the other."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Key, PRNGKeyArray, UInt32

from lstmgrad._calls import public
from lstmgrad._checks import check_count, check_kind
from lstmgrad._model import Model
from lstmgrad._types import Inputs, PartName
from lstmgrad.tasks import Performance, Task
from lstmgrad.training._curve import TrainingCurve
from lstmgrad.training._limits import limits_of
from lstmgrad.training._loop import batched, draw_batches, outputs_of, start_optimizer, train_steps
from lstmgrad.training._progress import progress_bar
from lstmgrad.training._readout import Readout, init_readout
from lstmgrad.training._state import TrainingState, resumed, words_of

Keys = PRNGKeyArray | Key[Array, " networks"] | UInt32[Array, "networks 2"]
"""One random key, or one for each network."""

LEARNING_RATE = 3e-3
CLIP = 1.0


class Fit(NamedTuple):
    """A trained network.

    Attributes:
        model: the `Model` with the trained parameters, which every analysis takes.
        readout: the trained `Readout`.
        curve: `TrainingCurve`; its leaves have the networks on axis 0, if there are several.
        read: the part of the state that the readout looks at.

    Example:
        >>> task = lg.tasks.delayed_recall()
        >>> unit = lg.cells.rnn(task.input_size, 4)
        >>> short = unit.model(unit.init(jax.random.key(0)))
        >>> fit = lg.training.fit(short, task, jax.random.key(1), delay=3, steps=2, every=1)
        >>> fit.outputs(task.batch(jax.random.key(2), 1, 3).inputs[0]).shape  # (T, o)
        (4, 4)
    """

    model: Model
    readout: Readout
    curve: TrainingCurve
    read: PartName = "h"

    def outputs(self, inputs: Inputs) -> Float[Array, "T o"]:
        """Returns what one network says at every step of one sequence.

        Args:
            inputs: T on axis 0.

        Returns:
            (T, o), the readout at every step.

        Raises:
            ValueError: inputs that the model does not take.

        Example:
            >>> fit.outputs(jnp.zeros((7, task.input_size))).shape
            (7, 4)
        """
        return outputs_of(self.model, self.readout, inputs, self.read)


class Snapshot(NamedTuple):
    """A training in progress.

    Attributes:
        steps: the training steps behind it.
        fit: the network as it is, and the curve so far.
        state: `TrainingState`, to go on from: ``lg.save("state.npz", snapshot.state)``.

    Example:
        >>> task = lg.tasks.delayed_recall()
        >>> unit = lg.cells.rnn(task.input_size, 4)
        >>> short = unit.model(unit.init(jax.random.key(0)))
        >>> how = {"delay": 3, "steps": 2, "every": 1}
        >>> seen = []
        >>> fit = lg.training.fit(short, task, jax.random.key(1), observe=seen.append, **how)
        >>> [now.steps for now in seen]
        [1, 2]
    """

    steps: int
    fit: Fit
    state: TrainingState


@functools.cache
def default_optimizer() -> optax.GradientTransformation:
    """Returns Adam at 0.003 with gradients clipped to a norm of 1, always the same object."""
    return optax.chain(optax.clip_by_global_norm(CLIP), optax.adam(LEARNING_RATE))


@functools.cache
def unclipped_optimizer() -> optax.GradientTransformation:
    """Returns Adam at 0.003 alone, always the same object."""
    return optax.adam(LEARNING_RATE)


@public
def fit(
    model: Model,
    task: Task,
    key: Keys,
    *,
    delay: int,
    steps: int = 400,
    batch_size: int = 32,
    every: int = 20,
    read: PartName = "h",
    optimizer: optax.GradientTransformation | None = None,
    truncation: int | Sequence[int] | None = None,
    clip: float | Sequence[float] | None = None,
    title: str | None = None,
    report: Callable[[int], object] | None = None,
    observe: Callable[[Snapshot], object] | None = None,
    start: TrainingState | None = None,
) -> Fit:
    """Returns the model and a linear readout, trained on a task.

    Each step draws a fresh batch and follows the gradient of its mean loss, through all T steps of
    the sequences where nothing is truncated.

    Args:
        model: what is trained: its parameters, from where they are. The starting state stays. For
            several networks at once, the leaves of the parameters have the networks on axis 0, as
            ``jax.vmap(cell.init)(keys)`` makes them.
        task: from `lg.tasks`.
        key: random key of readout and batches; or (networks,) keys, one for each.
        delay: the delay of the sequences, as `Task.batch` takes it.
        steps: training steps; 0 draws the readout and trains nothing.
        batch_size: sequences in a batch.
        every: steps from one report to the next.
        read: the part of the state that the readout looks at.
        optimizer: of optax; None is Adam at 0.003 behind a clipping of the gradient's norm at 1.
            One object, made once: another one is compiled anew.
        truncation: K, the steps that back-propagation goes back, in chunks: the state is detached
            in front of steps 1, K + 1, 2K + 1, ... None is all T steps.
        clip: the largest norm of a gradient, of a network's whole batch, in front of the optimizer;
            `math.inf` is none. None is 1 for the default optimizer, and none for another one. Both
            limits may be one number for all networks, or a sequence with one for each.
        title: stands before a progress bar, which shows on a terminal where tqdm is installed; None
            is no bar.
        report: called with the number of steps since the last report, at every report; an exception
            in it ends the training.
        observe: called with a `Snapshot` at every report: the network as it is, for
            `lg.training.monitor` and every analysis, and the state to go on from.
        start: goes on from the state of a `Snapshot` of the same training, as it is or out of a
            file. `steps` counts from the beginning, and the result is that of a training without
            the break, digit for digit, where the optimizer and the limits are the same.

    Returns:
        `Fit`: model, readout, and the curve of loss and score. With several networks all of its
        arrays have them on axis 0, and ``jax.vmap`` does the rest.

    Raises:
        ValueError: a number is not whole or too small; an unknown part; several keys for the
            parameters of another number of networks; inputs that the model does not take; a state
            to start from that belongs to another training.

    Notes:
        Two compiled programs for a task and a kind of model, whatever the number of steps: one
        draws the batches of a report, the other is the loop over them. The batches of a report are
        held at once: `every` × networks × `batch_size` × T × d numbers. Networks are independent:
        each gets the same, to rounding, whichever others are trained beside it. Ctrl-C ends it
        between two reports.

    Example:
        ```python
        keys = jax.random.split(jax.random.key(0), 3)
        model = cell.model(jax.vmap(cell.init)(keys))
        task = lg.tasks.delayed_recall()
        fit = lg.training.fit(
            model, task, keys, delay=99, observe=lambda now: lg.save("state.npz", now.state)
        )
        more = lg.training.fit(
            model, task, keys, delay=99, steps=800, start=lg.load("state.npz")
        )
        ```

        >>> task = lg.tasks.delayed_recall()
        >>> unit = lg.cells.rnn(task.input_size, 4)
        >>> short = unit.model(unit.init(jax.random.key(0)))
        >>> fit = lg.training.fit(short, task, jax.random.key(1), delay=3, steps=2, every=1)
        >>> fit.curve.steps.tolist()
        [1, 2]

    References:
        Kingma & Ba 2015 (arXiv:1412.6980); Pascanu, Mikolov & Bengio 2013 (arXiv:1211.5063),
        Section 3.2, for the clipping; Williams & Peng 1990, for the truncation.
    """
    check_kind(model, Model, "model")
    check_kind(task, Task, "task")
    typed = jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    single = key.ndim == (0 if typed else 1)
    steps, every = check_count(steps, "steps", 0), check_count(every, "every")
    size = check_count(batch_size, "batch_size")
    baseline = task.baseline(delay)
    keys, params = (key, model.params) if not single else batched((key, model.params))
    _check_networks(len(keys), params)
    pairs = jax.vmap(jax.random.split)(keys)
    readout = jax.vmap(lambda key: init_readout(key, model.state, read, task.output_size))(
        pairs[:, 0]
    )
    network, fixed = eqx.partition((params, readout), eqx.is_inexact_array)
    limits = limits_of(truncation, clip, len(keys))
    if optimizer is None:
        optimizer = default_optimizer() if clip is None else unclipped_optimizer()
    carry, reports = (network, start_optimizer(network, optimizer)), []
    if start is not None:
        carry = resumed(start, carry, keys, task, (delay, size, steps))
        reports = _reports_of(start.curve)
    how = (model.step, model.state, read, optimizer)

    def snapshot(carry: tuple) -> Snapshot:
        curve = _curve(reports, len(keys), task, delay, baseline)
        state = TrainingState(tuple(jax.tree.leaves(carry)), words_of(keys), curve, size)
        params, readout = eqx.combine(carry[0], fixed)
        found = params, readout, curve
        params, readout, curve = jax.tree.map(lambda leaf: leaf[0], found) if single else found
        return Snapshot(
            state.steps, Fit(model._replace(params=params), readout, curve, read), state
        )

    done = 0 if start is None else start.steps
    with progress_bar(steps - done, title) as advance:
        for first in range(done, steps, every):
            count = min(every, steps - first)
            examples = draw_batches(pairs[:, 1], jnp.asarray(first), task, every, size, delay)
            carry, means = train_steps(
                carry, fixed, how, task, examples, jnp.asarray(count), limits
            )
            # Waiting keeps the bar where the training is, and Ctrl-C prompt.
            reports.append((first + count, *jax.device_get(means)))
            advance(count)
            if report is not None:
                report(count)
            if observe is not None:
                observe(snapshot(carry))
    return snapshot(carry).fit


def _check_networks(count: int, params: Any) -> None:
    """Every leaf of the parameters has the networks on axis 0."""
    found = {np.shape(leaf)[:1] for leaf in jax.tree.leaves(params)}
    if found - {(count,)}:
        sizes = ", ".join(str(size[0]) if size else "none" for size in sorted(found))
        raise ValueError(
            f"model: expected parameters with {count} networks on axis 0, one for each key, but "
            f"got leaves whose first axis is {sizes}. Make them by jax.vmap(cell.init)(keys), or "
            "pass one key for one network."
        )


def _reports_of(curve: TrainingCurve) -> list[tuple]:
    """The reports that a curve was made of."""
    steps, losses, scores = (np.asarray(x) for x in (curve.steps, curve.losses, curve.scores))
    return list(zip(steps[0].tolist(), losses.T, scores.T, strict=True))


def _curve(
    reports: list[tuple], count: int, task: Task, delay: int, baseline: Performance
) -> TrainingCurve:
    steps = np.array([report[0] for report in reports], np.int32)
    losses, scores = (
        np.reshape([report[place] for report in reports], (-1, count)).T for place in (1, 2)
    )
    return TrainingCurve(
        steps=jnp.asarray(np.broadcast_to(steps, losses.shape)),
        losses=jnp.asarray(losses),
        scores=jnp.asarray(scores),
        task=task.name,
        delay=int(delay),
        baseline_loss=float(baseline.loss),
        baseline_score=float(baseline.score),
    )
