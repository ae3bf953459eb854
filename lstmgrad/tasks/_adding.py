"""Adding: the sum of the two marked numbers among many."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from lstmgrad._checks import resolve_dtype
from lstmgrad.tasks._task import Examples, Performance, Task, at_the_end

CLOSE = 0.08
"""How near an answer has to be: 0.04 on the scale of Hochreiter & Schmidhuber, half of this one."""


@functools.cache
def adding(dtype=None) -> Task:
    """Returns the task of adding the two numbers that are marked.

    Each input is a number, uniform on [0, 1], and a mark, 0 or 1. One step in the first half of
    the first `delay` steps is marked and one in the second half; the sum of these two numbers has
    to be said at T = delay + 1.

    Args:
        dtype: of all arrays; None is JAX's default float.

    Returns:
        `Task` with d = 2 and o = 1. The loss is the squared error; the score is the share of
        answers within 0.08 of the sum, which is 0.04 at the scale of the paper. Without memory,
        that is with the answer 1, they are 1/6 and 1 - 0.92² = 0.1536.

    Raises:
        ValueError: a dtype that is not one of floating-point numbers.

    Example:
        ``lg.tasks.adding().baseline(100).loss`` is 1/6, the variance of the sum.

        >>> print(f"{lg.tasks.adding().baseline(100).loss:.4f}")
        0.1667

    References:
        Hochreiter & Schmidhuber 1997, Experiment 4; in this form Le, Jaitly & Hinton 2015
        (arXiv:1504.00941), Section 4.1.
    """
    resolve_dtype(dtype)

    def draw(key: PRNGKeyArray, delay: int) -> Examples:
        number_key, first_key, second_key = jax.random.split(key, 3)
        numbers = jax.random.uniform(number_key, (delay + 1,), dtype)
        half = delay // 2
        first = jax.random.randint(first_key, (), 0, half)
        second = jax.random.randint(second_key, (), half, delay)
        marks = jnp.zeros_like(numbers).at[first].set(1).at[second].set(1)
        return at_the_end(jnp.stack([numbers, marks], axis=1), jnp.sum(numbers * marks))

    return Task(
        name="adding",
        input_size=2,
        output_size=1,
        least_delay=2,
        draw=draw,
        loss=squared_error,
        score=share_close,
        without_memory=lambda delay: Performance(1 / 6, 1 - (1 - CLOSE) ** 2),
    )


def squared_error(
    outputs: Float[Array, "T 1"], targets: Float[Array, " T"], weights: Float[Array, " T"]
) -> Float[Array, ""]:
    """Returns the mean of (output - target)² over the steps that count.

    Args:
        outputs: (T, 1).
        targets: (T,).
        weights: (T,).
    """
    return jnp.sum(weights * (outputs[:, 0] - targets) ** 2) / jnp.sum(weights)


def share_close(
    outputs: Float[Array, "T 1"], targets: Float[Array, " T"], weights: Float[Array, " T"]
) -> Float[Array, ""]:
    """Returns the share of the steps that count whose output is within `CLOSE` of the target.

    Args:
        outputs: (T, 1).
        targets: (T,).
        weights: (T,).
    """
    close = jnp.abs(outputs[:, 0] - targets) < CLOSE
    return jnp.sum(jnp.where(close, weights, 0)) / jnp.sum(weights)
