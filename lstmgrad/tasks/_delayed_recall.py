"""Delayed recall: which symbol was shown first, after nothing but noise."""

import functools
import math

import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from lstmgrad._checks import check_count, resolve_dtype
from lstmgrad.tasks._task import Examples, Performance, Task, accuracy, at_the_end, cross_entropy


@functools.cache
def delayed_recall(symbols: int = 4, noise: int = 8, dtype=None) -> Task:
    """Returns the task of saying at the last step which symbol the first step showed.

    x_1 is one of K symbols, one-hot in the first K features, and x_2, ..., x_T are independent
    standard normal numbers in the others. The question is at T = delay + 1.

    Args:
        symbols: K, at least 2.
        noise: the features of noise, 1 or more.
        dtype: of inputs and weights; None is JAX's default float.

    Returns:
        `Task` with d = symbols + noise and o = symbols; the loss is the cross-entropy in nats, the
        score the share of right answers. Without memory they are ln K and 1/K.

    Raises:
        ValueError: a number is not whole or too small; a dtype that is not one of floating-point
            numbers.

    Notes:
        The noise is there to drive the state away from where the symbol has put it. Where the
        distractors are a few symbols of their own instead, a plain RNN can learn to latch.

    Example:
        ``inputs, targets, weights = lg.tasks.delayed_recall().batch(key, 32, 99)``

        >>> batch = lg.tasks.delayed_recall().batch(jax.random.key(0), 2, 9)
        >>> batch.inputs.shape, batch.targets.shape
        ((2, 10, 12), (2, 10))

    References:
        The two-sequence problem of Bengio, Simard & Frasconi 1994, with K classes; the noise
        without the symbol is that of Hochreiter & Schmidhuber 1997, Experiment 3.
    """
    kinds, width = check_count(symbols, "symbols", 2), check_count(noise, "noise")
    resolve_dtype(dtype)

    def draw(key: PRNGKeyArray, delay: int) -> Examples:
        symbol_key, noise_key = jax.random.split(key)
        symbol = jax.random.randint(symbol_key, (), 0, kinds, dtype=jnp.int32)
        later = jax.random.normal(noise_key, (delay, width), dtype)
        inputs = jnp.zeros((delay + 1, kinds + width), later.dtype)
        inputs = inputs.at[0, symbol].set(1).at[1:, kinds:].set(later)
        return at_the_end(inputs, symbol)

    return Task(
        name="delayed_recall",
        input_size=kinds + width,
        output_size=kinds,
        least_delay=1,
        draw=draw,
        loss=cross_entropy,
        score=accuracy,
        without_memory=lambda delay: Performance(math.log(kinds), 1 / kinds),
    )
