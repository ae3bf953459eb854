"""Recall of the first word: a text whose first word is another one in every sequence."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import lstmgrad as lg
from lstmgrad.tasks._task import Examples, Performance, Task, accuracy, cross_entropy


def first_word(rows: np.ndarray, width: int, dtype: Any) -> Task:
    """Returns the task of saying at the end which word stood at the beginning.

    x_1 is any word of the vocabulary, each as likely as the others, and x_2, ..., x_T are those of
    the text. The question is at T, which is delay + 1.

    Args:
        rows: (T,), the words of the text as positions in its vocabulary.
        width: V, the words in the vocabulary.
        dtype: of the weights.

    Returns:
        `Task` whose inputs are positions, (T,) int32: `reading_words` makes them one-hot. Without a
        memory its loss is ln V and its score 1/V.
    """
    text = jnp.asarray(rows, jnp.int32)

    def draw(key: jax.Array, delay: int) -> Examples:
        del delay  # there is one
        word = jax.random.randint(key, (), 0, width, dtype=jnp.int32)
        return _asked(text.at[0].set(word), dtype)

    return Task(
        name="first_word",
        input_size=width,
        output_size=width,
        least_delay=len(rows) - 1,
        draw=draw,
        loss=cross_entropy,
        score=accuracy,
        without_memory=lambda delay: Performance(math.log(width), 1 / width),
    )


def as_written(rows: np.ndarray, dtype: Any) -> Examples:
    """Returns the text itself as a sequence of the task, with its own first word to be recalled.

    Args:
        rows: (T,), the words of the text as positions in its vocabulary.
        dtype: of the weights.
    """
    return _asked(jnp.asarray(rows, jnp.int32), dtype)


@functools.cache
def reading_words(step: Callable, width: int, dtype: Any) -> Callable:
    """Returns the step of a cell that reads positions in a vocabulary, one-hot.

    A batch of texts with the vectors in it would be as many times larger as there are words.

    Args:
        step: of the cell.
        width: the words in the vocabulary.
        dtype: of the cell's inputs.
    """

    def read(params: Any, state: Any, position: jax.Array) -> Any:
        return step(params, state, jax.nn.one_hot(position, width, dtype=dtype))

    return read


def reading_model(cell: lg.cells.Cell, params: Any, width: int, dtype: Any) -> lg.Model:
    """Returns the model of a cell that reads positions in a vocabulary.

    Args:
        cell: the cell.
        params: its parameters.
        width: the words in the vocabulary.
        dtype: of the cell's inputs.
    """
    return lg.Model(reading_words(cell.step, width, dtype), params, cell.initial_state())


def _asked(text: jax.Array, dtype: Any) -> Examples:
    weights = jnp.zeros(len(text), dtype).at[-1].set(1)
    return Examples(text, jnp.full(len(text), text[0]), weights)
