"""What a task is: sequences to draw, a loss, a score, and what both are without a memory."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from lstmgrad._checks import check_count
from lstmgrad._compile import compiled

Targets = Float[Array, " T"] | Int[Array, " T"]
"""What should be said at every step: a class, or a number."""


class Examples(NamedTuple):
    """Sequences with what should be said about them; one sequence has no first axis.

    Attributes:
        inputs: (size, T, d).
        targets: (size, T), classes as int32, or numbers. Steps of weight 0 have any.
        weights: (size, T), how much each step counts in the loss and in the score.

    Example:
        >>> examples = lg.tasks.adding().batch(jax.random.key(0), 2, 9)
        >>> examples.weights.sum(axis=1).tolist()  # one question in each
        [1.0, 1.0]
    """

    inputs: Float[Array, "*size T d"]
    targets: Float[Array, "*size T"] | Int[Array, "*size T"]
    weights: Float[Array, "*size T"]


class Performance(NamedTuple):
    """How well a task is done.

    Attributes:
        loss: in the unit of the task's loss.
        score: from 0 to 1, which is perfect.

    Example:
        >>> lg.tasks.delayed_recall().baseline(99).score
        0.25
    """

    loss: float | Float[Array, "*networks"]
    score: float | Float[Array, "*networks"]


Measure = Callable[[Float[Array, "T o"], Targets, Float[Array, " T"]], Float[Array, ""]]
"""``measure(outputs, targets, weights) -> scalar``, for one sequence."""


class Task(NamedTuple):
    """A memory task as pure functions.

    Attributes:
        name: what `registry` calls it.
        input_size: d, the features of an input.
        output_size: o, the numbers that an answer consists of.
        least_delay: the smallest delay that it has.
        draw: ``draw(key, delay) -> Examples`` of one sequence.
        loss: ``loss(outputs, targets, weights) -> scalar`` for one sequence, with outputs (T, o).
        score: the same for the score: 1 is perfect.
        without_memory: ``without_memory(delay) -> Performance``.

    Example:
        >>> task = lg.tasks.delayed_recall()
        >>> task.name, task.output_size, task.least_delay
        ('delayed_recall', 4, 1)
    """

    name: str
    input_size: int
    output_size: int
    least_delay: int
    draw: Callable[[PRNGKeyArray, int], Examples]
    loss: Measure
    score: Measure
    without_memory: Callable[[int], Performance]

    def batch(self, key: PRNGKeyArray, size: int, delay: int) -> Examples:
        """Returns independent sequences, all of the same length.

        Args:
            key: random key; the same key gives the same sequences, the first of them for any size.
            size: how many sequences.
            delay: the steps over which something has to be remembered; the docstring of the task
                says between what and what.

        Returns:
            `Examples`: inputs (size, T, d), targets (size, T), weights (size, T).

        Raises:
            ValueError: `size` is below 1, or `delay` below the least that the task has.

        Example:
            ``inputs, targets, weights = lg.tasks.adding().batch(key, 32, 100)``

            >>> task.batch(jax.random.key(0), 2, 9).inputs.shape  # (size, T, d)
            (2, 10, 12)
        """
        delay = check_count(delay, "delay", self.least_delay)
        return _batch(key, draw=self.draw, size=check_count(size, "size"), delay=delay)

    def baseline(self, delay: int) -> Performance:
        """Returns the exact loss and score without a memory.

        They are those of the best prediction from the number of the step and the input of that
        step alone.

        Args:
            delay: as for `batch`.

        Returns:
            `Performance`, its loss and its score.

        Raises:
            ValueError: `delay` is below the least that the task has.

        Example:
            ``lg.tasks.delayed_recall().baseline(99)`` is (ln 4, 1/4).

            >>> print(f"{task.baseline(99).loss:.3f}")
            1.386
        """
        return self.without_memory(check_count(delay, "delay", self.least_delay))


@compiled
def _batch(
    key: PRNGKeyArray, *, draw: Callable[[PRNGKeyArray, int], Examples], size: int, delay: int
) -> Examples:
    """One sequence after the other: side by side they take longer to compile than to be drawn."""
    indices = jnp.arange(size)
    return jax.lax.map(lambda index: draw(jax.random.fold_in(key, index), delay), indices)


def cross_entropy(
    outputs: Float[Array, "T o"], targets: Int[Array, " T"], weights: Float[Array, " T"]
) -> Float[Array, ""]:
    """Returns the mean of -ln softmax(outputs)[target] over the steps that count, in nats.

    Args:
        outputs: (T, o), logits.
        targets: (T,), classes.
        weights: (T,).
    """
    logs = jax.nn.log_softmax(outputs)
    own = jnp.take_along_axis(logs, targets[:, None], axis=1)[:, 0]
    return -jnp.sum(weights * own) / jnp.sum(weights)


def accuracy(
    outputs: Float[Array, "T o"], targets: Int[Array, " T"], weights: Float[Array, " T"]
) -> Float[Array, ""]:
    """Returns the share of the steps that count at which the largest output is the target's.

    Args:
        outputs: (T, o), logits.
        targets: (T,), classes.
        weights: (T,).
    """
    right = jnp.argmax(outputs, axis=1).astype(targets.dtype) == targets
    return jnp.sum(jnp.where(right, weights, 0)) / jnp.sum(weights)


def at_the_end(inputs: Float[Array, "T d"], answer: Float[Array, ""] | Int[Array, ""]) -> Examples:
    """Returns one sequence with a single question, at its last step.

    Args:
        inputs: (T, d).
        answer: the target.
    """
    length = len(inputs)
    weights = jnp.zeros(length, inputs.dtype).at[-1].set(1)
    return Examples(inputs, jnp.full(length, answer), weights)
