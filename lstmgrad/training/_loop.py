"""The compiled part of a training: the batches of a report, and the loop over them."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from lstmgrad._chains.trajectory import unroll
from lstmgrad._compile import compiled
from lstmgrad._model import Model
from lstmgrad._types import Inputs, PartName
from lstmgrad.tasks import Examples, Task
from lstmgrad.training._limits import Limits, clipped, detached_between
from lstmgrad.training._readout import Readout, part_vector


def outputs_of(
    model: Model,
    readout: Readout,
    inputs: Inputs,
    read: PartName,
    truncation: Array | None = None,
) -> Array:
    """What a network says at every step of one sequence, (T, o).

    Args:
        model: the recurrent part.
        readout: from a part of the state to the o outputs.
        inputs: of the sequence, T on axis 0.
        read: the part of the state that the readout looks at.
        truncation: steps between two detached states; None is none.
    """
    if truncation is not None:
        model, inputs = detached_between(model, inputs, truncation)
    states = unroll(*model, inputs).states
    return jax.vmap(lambda state: readout(part_vector(state, read)))(states)[1:]


@compiled
def draw_batches(
    keys: Array, first: Array, task: Task, every: int, size: int, delay: int
) -> Examples:
    """The batches of some steps, one after the other: (every, networks, size, ...).

    Args:
        keys: one for each network.
        first: the number of the first of the steps.
        task: that draws them.
        every: how many steps.
        size: sequences in a batch.
        delay: of the task.
    """

    def of_step(index: Array) -> Examples:
        def of_network(key: Array) -> Examples:
            return task.batch(jax.random.fold_in(key, index), size, delay)

        return jax.lax.map(of_network, keys)

    return jax.lax.map(of_step, first + jnp.arange(every))


@compiled
def train_steps(
    carry: Any,
    fixed: Any,
    how: tuple,
    task: Task,
    examples: Examples,
    count: Array,
    limits: Limits,
) -> tuple[Any, tuple[Array, Array]]:
    """Some training steps of all networks; and the means of loss and score over them.

    Args:
        carry: what is trained and the optimizer's state, networks on axis 0.
        fixed: the leaves that are not trained.
        how: the step, the starting state, the part that is read, and the optimizer.
        task: whose loss and score are taken.
        examples: the batches, steps on axis 0.
        count: how many of the steps are taken.
        limits: of truncation and clipping.
    """
    step, state, read, optimizer = how

    def mean_loss(
        trained: Any, fixed: Any, batch: Examples, truncation: Array | None
    ) -> tuple[Array, Array]:
        params, readout = eqx.combine(trained, fixed)

        def of_one(inputs: Inputs, targets: Array, weights: Array) -> tuple[Array, Array]:
            model = Model(step, params, state)
            outputs = outputs_of(model, readout, inputs, read, truncation)
            answer = (outputs, targets, weights)
            return task.loss(*answer), task.score(*answer)

        losses, scores = jax.vmap(of_one)(*batch)
        return jnp.mean(losses), jnp.mean(scores)

    def update(
        trained: Any, optimizer_state: Any, fixed: Any, batch: Examples, limits: Limits
    ) -> tuple:
        slopes = jax.value_and_grad(mean_loss, has_aux=True)
        marks, gradients = slopes(trained, fixed, batch, limits.truncation)
        gradients = clipped(gradients, limits.clip)
        # Adam raises a float to an integer count, which strict promotion forbids.
        with jax.numpy_dtype_promotion("standard"):
            updates, optimizer_state = optimizer.update(gradients, optimizer_state, trained)
        return (optax.apply_updates(trained, updates), optimizer_state), marks

    def body(index: Array, state: tuple) -> tuple:
        carry, sums = state
        batch = jax.tree.map(lambda leaf: leaf[index], examples)
        carry, marks = jax.vmap(update)(carry[0], carry[1], fixed, batch, limits)
        return carry, jax.tree.map(jnp.add, sums, marks)

    zeros = jnp.zeros(examples.weights.shape[1], examples.weights.dtype)
    carry, sums = jax.lax.fori_loop(0, count, body, (carry, (zeros, zeros)))
    return carry, jax.tree.map(lambda total: total / count, sums)


@compiled
def start_optimizer(network: Any, optimizer: optax.GradientTransformation) -> Any:
    """The optimizer's first state for all networks, by one program: there are many small arrays.

    Args:
        network: what is trained, networks on axis 0.
        optimizer: of optax.
    """
    return jax.vmap(optimizer.init)(network)


def batched(tree: Any) -> Any:
    """One network as a batch of one."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], tree)
