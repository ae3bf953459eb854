"""A diagnosis on the sequences of a task, with the task's own loss."""

from typing import Any

import jax
from jaxtyping import PRNGKeyArray

from lstmgrad._chains.implicit import chain
from lstmgrad._checks import check_count, check_kind
from lstmgrad._gradients.adjoint import loss_cotangents
from lstmgrad._model import Model
from lstmgrad.diagnosis._diagnose import diagnose
from lstmgrad.diagnosis._findings import Diagnosis
from lstmgrad.tasks import Examples, Task
from lstmgrad.training import Readout
from lstmgrad.training._readout import init_readout, part_vector


def on_task(
    model: Model,
    task: Task,
    key: PRNGKeyArray,
    *,
    delay: int,
    sequences: int = 8,
    readout: Readout | None = None,
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
        **options: of `diagnose`.

    Returns:
        `Diagnosis`, as ``diagnose(chains, cotangents, lag=delay)`` gives it.

    Raises:
        ValueError: as `diagnose`; a number out of its range.

    Example:
        ``print(lg.diagnosis.on_task(model, lg.tasks.adding(), key, delay=100))``
    """
    check_kind(task, Task, "task")
    first, second = jax.random.split(key)
    if readout is None:
        readout = init_readout(first, model.state, "h", task.output_size)
    examples = task.batch(second, check_count(sequences, "sequences"), delay)
    return _on_examples(model, task, examples, readout, **{"lag": delay, **options})


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
    readout = init_readout(first, model.state, "h", task.output_size)
    return _on_examples(model, task, examples, readout, **options)


def _on_examples(
    model: Model, task: Task, examples: Examples, readout: Readout, **options: Any
) -> Diagnosis:
    inputs, targets, weights = examples
    length = inputs.shape[1]
    # Where the task's delay is its whole length.
    options["lag"] = min(options["lag"], length - 1)

    def cotangents(chain: Any, targets: Any, weights: Any) -> Any:
        def loss(states: Any) -> Any:
            outputs = jax.vmap(lambda state: readout(part_vector(state, "h")))(states)[1:]
            return task.loss(outputs, targets, weights)

        return loss_cotangents(loss, chain.trajectory)

    chains = jax.vmap(lambda one: chain(model, one))(inputs)
    found = jax.vmap(cotangents)(chains, targets, weights)
    return diagnose(chains, found, **options)
