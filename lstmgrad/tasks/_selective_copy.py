"""Selective copy: symbols at random places among blanks, to be repeated without the blanks."""

import functools
import math

import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from lstmgrad._checks import check_count, resolve_dtype
from lstmgrad.tasks._task import Examples, Performance, Task, accuracy, cross_entropy


@functools.cache
def selective_copy(symbols: int = 8, length: int = 10, dtype=None) -> Task:
    """Returns the task of repeating the symbols that stood at random places among blanks.

    L = `length` symbols, independent and equally likely, stand at random places among `delay`
    blanks; L marks follow, and at each mark the next symbol has to be said. T = delay + 2L. Where
    the symbols stand is different in every sequence, so counting steps does not help.

    Args:
        symbols: K, at least 2.
        length: L, 1 or more.
        dtype: of inputs and weights; None is JAX's default float.

    Returns:
        `Task` with d = K + 2 (blank, symbols, mark) and o = K. The loss is the cross-entropy in
        nats and the score the share of right answers, both over the L marks. Without memory they
        are ln K and 1/K.

    Raises:
        ValueError: a number is not whole or too small; a dtype that is not one of floating-point
            numbers.

    Example:
        ``lg.tasks.selective_copy(symbols=2).baseline(50)`` is (ln 2, 1/2).

        >>> print(f"{lg.tasks.selective_copy(symbols=2).baseline(50).score:.2f}")
        0.50

    References:
        Jing et al. 2019 (arXiv:1706.02761), Section 5.2, as the denoise task; Gu & Dao 2023
        (arXiv:2312.00752), Section 3.1.
    """
    kinds, count = check_count(symbols, "symbols", 2), check_count(length, "length")
    resolve_dtype(dtype)

    def draw(key: PRNGKeyArray, delay: int) -> Examples:
        symbol_key, place_key = jax.random.split(key)
        shown = jax.random.randint(symbol_key, (count,), 0, kinds, dtype=jnp.int32)
        places = jnp.sort(jax.random.permutation(place_key, delay + count)[:count])
        steps = jnp.zeros(delay + 2 * count, jnp.int32)
        rows = steps.at[places].set(shown + 1).at[-count:].set(kinds + 1)
        inputs = jax.nn.one_hot(rows, kinds + 2, dtype=dtype)
        weights = jnp.zeros_like(inputs[:, 0]).at[-count:].set(1)
        return Examples(inputs, steps.at[-count:].set(shown), weights)

    return Task(
        name="selective_copy",
        input_size=kinds + 2,
        output_size=kinds,
        least_delay=1,
        draw=draw,
        loss=cross_entropy,
        score=accuracy,
        without_memory=lambda delay: Performance(math.log(kinds), 1 / kinds),
    )
