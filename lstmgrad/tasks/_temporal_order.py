"""Temporal order: which of two symbols came at each of two times, among distractors."""

import functools
import math

import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from lstmgrad._checks import resolve_dtype
from lstmgrad.tasks._task import Examples, Performance, Task, accuracy, at_the_end, cross_entropy

DISTRACTORS = 4
"""The symbols a, b, c, d, which mean nothing; X and Y follow them."""


@functools.cache
def temporal_order(dtype=None) -> Task:
    """Returns the task of saying in which order X and Y came: XX, XY, YX or YY.

    All steps show one of four distractors but two, which show X or Y with equal probability. With
    T = delay + 1 steps, the first of the two lies between T/10 and 2T/10, the second between 4T/10
    and 5T/10, and the question is at T: both have to be kept for at least half of the sequence.

    Args:
        dtype: of inputs and weights; None is JAX's default float.

    Returns:
        `Task` with d = 6 (distractors, X, Y) and o = 4 (XX, XY, YX, YY); the loss is the
        cross-entropy in nats, the score the share of right answers. Without memory they are ln 4
        and 1/4.

    Raises:
        ValueError: a dtype that is not one of floating-point numbers.

    Example:
        ``lg.tasks.temporal_order().baseline(100)`` is (ln 4, 1/4).

        >>> print(f"{lg.tasks.temporal_order().baseline(100).score:.2f}")
        0.25

    References:
        Hochreiter & Schmidhuber 1997, Experiment 6a; with the places in proportion to the length as
        in Pascanu, Mikolov & Bengio 2013 (arXiv:1211.5063), Section 4.1.1.
    """
    resolve_dtype(dtype)

    def draw(key: PRNGKeyArray, delay: int) -> Examples:
        length = delay + 1
        noise_key, symbol_key, first_key, second_key = jax.random.split(key, 4)
        symbols = jax.random.randint(symbol_key, (2,), 0, 2, dtype=jnp.int32)
        places = jnp.stack(
            [
                jax.random.randint(key, (), start * length // 10, (start + 1) * length // 10)
                for key, start in ((first_key, 1), (second_key, 4))
            ]
        )
        rows = jax.random.randint(noise_key, (length,), 0, DISTRACTORS, dtype=jnp.int32)
        rows = rows.at[places].set(DISTRACTORS + symbols)
        inputs = jax.nn.one_hot(rows, DISTRACTORS + 2, dtype=dtype)
        return at_the_end(inputs, 2 * symbols[0] + symbols[1])

    return Task(
        name="temporal_order",
        input_size=DISTRACTORS + 2,
        output_size=4,
        least_delay=9,
        draw=draw,
        loss=cross_entropy,
        score=accuracy,
        without_memory=lambda delay: Performance(math.log(4), 1 / 4),
    )
