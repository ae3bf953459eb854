"""How well a trained network does on fresh sequences, at any delay."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from lstmgrad._calls import public
from lstmgrad._checks import check_count, check_kind
from lstmgrad._compile import compiled
from lstmgrad._model import Model
from lstmgrad._types import Inputs, PartName
from lstmgrad.tasks import Examples, Performance, Task
from lstmgrad.training._fit import Fit
from lstmgrad.training._loop import batched, outputs_of
from lstmgrad.training._readout import Readout


@public
def evaluate(
    fit: Fit, task: Task, key: PRNGKeyArray, *, delay: int, size: int = 100
) -> Performance:
    """Returns the loss and the score of a trained network on fresh sequences.

    Args:
        fit: from `lg.training.fit`.
        task: the same, or one with inputs and outputs of the same sizes.
        key: random key of the sequences, which all networks of the fit are given.
        delay: the delay of the sequences, which may be another than the one trained at.
        size: sequences.

    Returns:
        `Performance(loss, score)`: means over the sequences, one for each network of the fit.
        The standard error of a share p of right answers is √(p (1 - p) / size).

    Raises:
        ValueError: a number is not whole or too small.

    Notes:
        Compiled for every delay.

    Example:
        ``evaluate(fit, task, key, delay=10_000).score`` is its recall over 10 000 steps.

        >>> task = lg.tasks.delayed_recall()
        >>> unit = lg.cells.rnn(task.input_size, 4)
        >>> short = unit.model(unit.init(jax.random.key(0)))
        >>> fit = lg.training.fit(short, task, jax.random.key(1), delay=3, steps=2, every=1)
        >>> found = lg.training.evaluate(fit, task, jax.random.key(2), delay=5)
        >>> 0 <= float(found.score) <= 1
        True
    """
    check_kind(fit, Fit, "fit")
    check_kind(task, Task, "task")
    size = check_count(size, "size")
    task.baseline(delay)  # refuses a delay that the task does not have
    examples = task.batch(key, size, delay)
    model, readout = fit.model, fit.readout
    if readout.bias.ndim == 2:
        return _evaluate(model, readout, examples, task, fit.read)
    params, readout = batched((model.params, readout))
    one = _evaluate(model._replace(params=params), readout, examples, task, fit.read)
    return jax.tree.map(lambda leaf: leaf[0], one)


@compiled
def _evaluate(
    model: Model, readout: Readout, examples: Examples, task: Task, read: PartName
) -> Performance:
    def of_network(params: Any, readout: Readout) -> Performance:
        def of_one(inputs: Inputs, targets: Array, weights: Array) -> Performance:
            outputs = outputs_of(model._replace(params=params), readout, inputs, read)
            answer = (outputs, targets, weights)
            return Performance(task.loss(*answer), task.score(*answer))

        return jax.tree.map(jnp.mean, jax.vmap(of_one)(*examples))

    return jax.vmap(of_network)(model.params, readout)
