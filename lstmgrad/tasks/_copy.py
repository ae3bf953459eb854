"""Copy: ten symbols, a wait, and the same ten symbols again."""

import functools
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from lstmgrad._checks import check_count, resolve_dtype
from lstmgrad.tasks._task import Examples, Performance, Task, cross_entropy

BLANK = 0
"""The class of saying nothing, and the symbol of nothing shown."""


@functools.cache
def copy(symbols: int = 8, length: int = 10, dtype=None) -> Task:
    """Returns the task of repeating a few symbols after a wait.

    The first L = `length` steps show symbols, independent and equally likely; then there is
    nothing but blanks, and one mark `delay` steps after the last symbol. From the step after the
    mark on, the L symbols have to be said in their order. T = delay + 2L, and the answer at each
    step comes delay + L steps behind its symbol. At all other steps the target is the blank.

    Args:
        symbols: K, at least 2.
        length: L, 1 or more.
        dtype: of inputs and weights; None is JAX's default float.

    Returns:
        `Task` with d = K + 2 (blank, symbols, mark) and o = K + 1 (blank, symbols). The loss is the
        cross-entropy in nats, a mean over all T steps; the score is the share of the L symbols that
        are right. Without memory they are L ln K / (delay + 2L) and 1/K.

    Raises:
        ValueError: a number is not whole or too small; a dtype that is not one of floating-point
            numbers.

    Example:
        ``lg.tasks.copy().baseline(100).loss`` is 10 ln 8 / 120.

        >>> print(f"{lg.tasks.copy().baseline(100).loss:.4f}")  # 10 ln 8 / 120
        0.1733

    References:
        Hochreiter & Schmidhuber 1997 for the idea; Arjovsky, Shah & Bengio 2016
        (arXiv:1511.06464), Section 4.1.
    """
    kinds, count = check_count(symbols, "symbols", 2), check_count(length, "length")
    resolve_dtype(dtype)

    def draw(key: PRNGKeyArray, delay: int) -> Examples:
        shown = jax.random.randint(key, (count,), 1, kinds + 1, dtype=jnp.int32)
        steps = jnp.zeros(delay + 2 * count, jnp.int32)
        rows = steps.at[:count].set(shown).at[delay + count - 1].set(kinds + 1)
        inputs = jax.nn.one_hot(rows, kinds + 2, dtype=dtype)
        return Examples(inputs, steps.at[-count:].set(shown), jnp.ones_like(inputs[:, 0]))

    def baseline(delay: int) -> Performance:
        return Performance(count * math.log(kinds) / (delay + 2 * count), 1 / kinds)

    return Task("copy", kinds + 2, kinds + 1, 1, draw, cross_entropy, symbol_accuracy, baseline)


def symbol_accuracy(
    outputs: Float[Array, "T o"], targets: Int[Array, " T"], weights: Float[Array, " T"]
) -> Float[Array, ""]:
    """Returns the share of right answers where the target is not the blank.

    Args:
        outputs: (T, o), logits.
        targets: (T,), classes.
        weights: (T,).
    """
    counted = jnp.where(targets == BLANK, 0, weights)
    right = jnp.argmax(outputs, axis=1).astype(targets.dtype) == targets
    return jnp.sum(jnp.where(right, counted, 0)) / jnp.sum(counted)
