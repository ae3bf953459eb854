"""Sequential digits: a small picture, one pixel after the other, and which digit it is."""

import functools
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from lstmgrad._checks import require, resolve_dtype
from lstmgrad._leaves import shown
from lstmgrad.tasks._task import Examples, Performance, Task, accuracy, at_the_end, cross_entropy

TESTED = 5
"""Every fifth picture is kept for testing."""


@functools.cache
def sequential_digits(part: Literal["train", "test"] = "train", dtype=None) -> Task:
    """Returns the task of saying which digit it was whose pixels have been read one by one.

    The 64 pixels of a picture of scikit-learn's digits, from 0 to 1, row by row, and then `delay`
    steps of zeros; the question is at the last step, T = 64 + delay.

    Args:
        part: which pictures: "test" is every fifth of the 1797, "train" the others.
        dtype: of inputs and weights; None is JAX's default float.

    Returns:
        `Task` with d = 1 and o = 10; the loss is the cross-entropy in nats, the score the share of
        right answers. Without memory they are the entropy of the digits in that part, 2.30 nats,
        and the share of the commonest, 0.10.

    Raises:
        ImportError: scikit-learn is not installed, the extra "digits".
        ValueError: another part; a dtype that is not one of floating-point numbers.

    Example:
        ``test = lg.tasks.sequential_digits("test")`` has the pictures that were not trained on.

        >>> lg.tasks.sequential_digits("test").baseline(1).score <= 0.2
        True

    References:
        Le, Jaitly & Hinton 2015 (arXiv:1504.00941), Section 4.2, with MNIST; the pictures are those
        of Alpaydin & Kaynak 1998, in scikit-learn.
    """
    if part not in ("train", "test"):
        raise ValueError(f'part: expected "train" or "test", but got {shown(part)}.')
    data = require("sklearn.datasets", "digits").load_digits()
    tested = np.arange(len(data.target)) % TESTED == 0
    chosen = tested if part == "test" else ~tested
    kind = resolve_dtype(dtype)
    # NumPy arrays: a task that is kept and first made inside a compiled function holds no tracer.
    pictures, digits = (data.data[chosen] / 16).astype(kind), data.target[chosen].astype(np.int32)
    shares = np.bincount(digits, minlength=10) / len(digits)
    baseline = Performance(float(-np.sum(shares * np.log(shares))), float(shares.max()))

    def draw(key: PRNGKeyArray, delay: int) -> Examples:
        index = jax.random.randint(key, (), 0, len(digits))
        pixels = jnp.asarray(pictures)[index]
        inputs = jnp.concatenate([pixels, jnp.zeros(delay, kind)])[:, None]
        return at_the_end(inputs, jnp.asarray(digits)[index])

    return Task(
        name="sequential_digits",
        input_size=1,
        output_size=10,
        least_delay=1,
        draw=draw,
        loss=cross_entropy,
        score=accuracy,
        without_memory=lambda delay: baseline,
    )
