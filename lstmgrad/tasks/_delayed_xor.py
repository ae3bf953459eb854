"""Delayed XOR: two bits of the past, of which neither alone says anything."""

import functools
import math

import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from lstmgrad._checks import resolve_dtype
from lstmgrad.tasks._task import Examples, Performance, Task, accuracy, cross_entropy


@functools.cache
def delayed_xor(dtype=None) -> Task:
    """Returns the task of saying whether two bits of a stream, half a delay apart, differ.

    The input is a stream of independent bits, 0 or 1. From the step t = delay + 1 on, the answer is
    x_{t - delay} XOR x_{t - delay//2}; there are as many questions as `delay`, and T = 2·delay.

    Args:
        dtype: of inputs and weights; None is JAX's default float.

    Returns:
        `Task` with d = 1 and o = 2; the loss is the cross-entropy in nats, the score the share of
        right answers. Without memory they are ln 2 and 1/2.

    Raises:
        ValueError: a dtype that is not one of floating-point numbers.

    Example:
        ``lg.tasks.delayed_xor().baseline(20)`` is (ln 2, 1/2).

        >>> print(f"{lg.tasks.delayed_xor().baseline(20).score:.2f}")
        0.50

    References:
        Engelken 2023 (arXiv:2312.17306), Section 4.
    """
    resolve_dtype(dtype)

    def draw(key: PRNGKeyArray, delay: int) -> Examples:
        bits = jax.random.bernoulli(key, shape=(2 * delay,)).astype(jnp.int32)
        early, late = bits[:delay], bits[delay - delay // 2 : 2 * delay - delay // 2]
        inputs = bits[:, None].astype(jnp.zeros((), dtype).dtype)
        weights = jnp.zeros_like(inputs[:, 0]).at[delay:].set(1)
        return Examples(inputs, jnp.zeros_like(bits).at[delay:].set(early ^ late), weights)

    return Task(
        name="delayed_xor",
        input_size=1,
        output_size=2,
        least_delay=2,
        draw=draw,
        loss=cross_entropy,
        score=accuracy,
        without_memory=lambda delay: Performance(math.log(2), 1 / 2),
    )
