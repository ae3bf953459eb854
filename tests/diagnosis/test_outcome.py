"""Which network will learn delayed recall over 200 steps is said before any training.

What training said (64 units, Adam at 0.003, 1000 steps of 32 sequences): forget bias 1 and 5 stay
at chance, as do PyTorch's own weights and orthogonal ones; chrono biases recall everything.
"""

import math

import jax
import jax.numpy as jnp
import pytest

import lstmgrad as lg

DELAY, HIDDEN, SEQUENCES = 200, 64, 8
TASK = lg.tasks.delayed_recall(dtype=jnp.float32)
CELL = lg.cells.lstm(TASK.input_size, HIDDEN, dtype=jnp.float32)


def like_pytorch(key):
    """Weights and both biases U(-1/√h, 1/√h), as `torch.nn.LSTM` draws them."""
    bound = 1 / math.sqrt(HIDDEN)

    def draw(number, *shape):
        own = jax.random.fold_in(key, number)
        return jax.random.uniform(own, shape, jnp.float32, -bound, bound)

    rows = 4 * HIDDEN
    bias = draw(2, rows) + draw(3, rows)
    return lg.cells.LSTMParams(draw(0, rows, TASK.input_size), draw(1, rows, HIDDEN), bias)


def orthogonal(params, key):
    blocks = [
        lg.cells.orthogonal()(one, (HIDDEN, HIDDEN), jnp.float32)
        for one in jax.random.split(key, 4)
    ]
    return params._replace(weight_hh=jnp.concatenate(blocks))


NETWORKS = {
    "default": (lambda params, key: params, {"forget-gates"}),
    "orthogonal": (orthogonal, {"forget-gates"}),
    "bias-1": (lambda params, key: lg.cells.with_forget_bias(params, 1.0), {"forget-gates"}),
    "bias-5": (lambda params, key: lg.cells.with_forget_bias(params, 5.0), {"saturated-output"}),
    "chrono": (lambda params, key: lg.cells.with_chrono_bias(params, key, DELAY), set()),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_what_will_not_learn_is_told_apart_before_training(name):
    change, severe = NETWORKS[name]
    key = jax.random.key(0)
    params = change(like_pytorch(key), jax.random.fold_in(key, 9))
    found = lg.diagnosis.on_task(CELL.model(params), TASK, key, delay=DELAY, sequences=SEQUENCES)
    assert {finding.rule for finding in found.severe} == severe, found
    if name == "bias-5":
        # The reason: the path lives, and the horizon lies behind the lag.
        reach = found["reach"].evidence
        assert reach["horizon"].verdict == "clear"
        output = found["saturated-output"].evidence
        assert output["log_path"].verdict == "clear"
        assert output["slope"].value < 0.1
    if name == "chrono":
        assert found["memory-is-fine"].verdict == "found"
