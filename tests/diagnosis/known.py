"""LSTMs whose fate at delayed recall over 200 steps is known, for tests and for a benchmark.

The setting is nn.LSTM(8, 64) of PyTorch, with its own initialization and four changes of it.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp

import lstmgrad as lg

HIDDEN, DELAY = 64, 199
TASK = lg.tasks.delayed_recall(noise=4, dtype=jnp.float32)
CELL = lg.cells.lstm(TASK.input_size, HIDDEN, dtype=jnp.float32)


def like_pytorch(key: Any) -> lg.cells.LSTMParams:
    """Weights and both biases U(-1/√h, 1/√h), as `torch.nn.LSTM` draws them.

    Args:
        key: random key.
    """
    bound = 1 / math.sqrt(HIDDEN)

    def draw(number: int, *shape: int) -> Any:
        own = jax.random.fold_in(key, number)
        return jax.random.uniform(own, shape, jnp.float32, -bound, bound)

    rows = 4 * HIDDEN
    bias = draw(2, rows) + draw(3, rows)
    return lg.cells.LSTMParams(draw(0, rows, TASK.input_size), draw(1, rows, HIDDEN), bias)


def _orthogonal(params: Any, key: Any) -> Any:
    blocks = [
        lg.cells.orthogonal()(one, (HIDDEN, HIDDEN), jnp.float32)
        for one in jax.random.split(key, 4)
    ]
    return params._replace(weight_hh=jnp.concatenate(blocks))


_CHANGES = {
    "default": lambda params, key: params,
    "orthogonal": _orthogonal,
    "bias-1": lambda params, key: lg.cells.with_forget_bias(params, 1.0),
    "bias-5": lambda params, key: lg.cells.with_forget_bias(params, 5.0),
    "chrono": lambda params, key: lg.cells.with_chrono_bias(params, key, DELAY + 1),
}

SEVERE = {
    "default": {"forget-gates"},
    "orthogonal": {"forget-gates"},
    "bias-1": {"forget-gates"},
    "bias-5": {"saturated-output"},
    "chrono": set(),
}
"""What is found to be severe before any training.

Closed forget gates stay at chance, two of three saturated outputs do, and chrono biases learn.
"""


def params_of(name: str, key: Any) -> lg.cells.LSTMParams:
    """The parameters of one network.

    Args:
        name: of `SEVERE`.
        key: random key.
    """
    return _CHANGES[name](like_pytorch(key), jax.random.fold_in(key, 9))
