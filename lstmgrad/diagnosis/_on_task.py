"""A diagnosis on the sequences of a task, with the task's own loss."""

from typing import Any

import jax
from jaxtyping import PRNGKeyArray

from lstmgrad._calls import public
from lstmgrad._chains.implicit import chain
from lstmgrad._chains.layers import top_part
from lstmgrad._chains.layout import layout_of
from lstmgrad._checks import check_count, check_kind
from lstmgrad._gradients.adjoint import loss_cotangents
from lstmgrad._model import Model
from lstmgrad._types import PartName
from lstmgrad.diagnosis._diagnose import diagnose
from lstmgrad.diagnosis._findings import Diagnosis
from lstmgrad.tasks import Examples, Task
from lstmgrad.training import Readout
from lstmgrad.training._readout import init_readout, part_vector


@public
def on_task(
    model: Model,
    task: Task,
    key: PRNGKeyArray,
    *,
    delay: int,
    sequences: int = 8,
    readout: Readout | None = None,
    read: PartName | None = None,
    **options: Any,
) -> Diagnosis:
    """Returns the diagnosis of a model on a task, with the loss that training would have.

    Args:
        model: the network.
        task: its sequences, and the loss that is differentiated.
        key: random key of readout and sequences.
        delay: of the task, and the lag where `options` has none.
        sequences: N, what the intervals come from.
        readout: of h, of a trained `Fit` for example; None is drawn as `training.fit` draws it.
        read: the part of the state that the readout looks at; None is h, in a stack that of the top
            layer.
        **options: of `diagnose`.

    Returns:
        `Diagnosis`, as ``diagnose(chains, cotangents, lag=delay)`` gives it.

    Raises:
        ValueError: as `diagnose`; a number out of its range.

    Example:
        ``print(lg.diagnosis.on_task(model, lg.tasks.adding(), key, delay=100))``

        >>> task = lg.tasks.delayed_recall()
        >>> unit = lg.cells.rnn(task.input_size, 4)
        >>> short = unit.model(unit.init(jax.random.key(0)))
        >>> found = lg.diagnosis.on_task(short, task, jax.random.key(1), delay=3, sequences=2)
        >>> found.settings.lag, found["non-finite"].verdict
        (3, 'clear')
    """
    check_kind(model, Model, "model")
    check_kind(task, Task, "task")
    first, second = jax.random.split(key)
    part = part_to_read(model) if read is None else read
    if readout is None:
        readout = init_readout(first, model.state, part, task.output_size)
    examples = task.batch(second, check_count(sequences, "sequences"), delay)
    return _on_examples(model, task, examples, readout, part, **{"lag": delay, **options})


def part_to_read(model: Model) -> PartName:
    """Returns the hidden state that a readout looks at: h, or that of the top layer of a stack.

    Args:
        model: the network.
    """
    return top_part(layout_of(model.state).parts, "h") or "h"


def read_on_examples(
    model: Model, *, task: Task, examples: Examples, key: PRNGKeyArray, **options: Any
) -> Diagnosis:
    """The diagnosis on the task, through the readout that the training starts from.

    Args:
        model: the network.
        task: whose loss it is.
        examples: its sequences.
        key: of the training.
        **options: of `diagnose`, the lag among them.
    """
    first, _ = jax.random.split(key)
    part = part_to_read(model)
    readout = init_readout(first, model.state, part, task.output_size)
    return _on_examples(model, task, examples, readout, part, **options)


def _on_examples(
    model: Model, task: Task, examples: Examples, readout: Readout, read: PartName, **options: Any
) -> Diagnosis:
    inputs, targets, weights = examples
    length = inputs.shape[1]
    # Where the task's delay is its whole length.
    options["lag"] = min(options["lag"], length - 1)

    def cotangents(chain: Any, targets: Any, weights: Any) -> Any:
        def loss(states: Any) -> Any:
            outputs = jax.vmap(lambda state: readout(part_vector(state, read)))(states)[1:]
            return task.loss(outputs, targets, weights)

        return loss_cotangents(loss, chain.trajectory)

    chains = jax.vmap(lambda one: chain(model, one))(inputs)
    found = jax.vmap(cotangents)(chains, targets, weights)
    return diagnose(chains, found, **options)
