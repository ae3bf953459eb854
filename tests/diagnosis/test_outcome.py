"""Which network will learn delayed recall over 200 steps is said before any training.

What training says, in three seeds each (tests/benchmarks/outcomes.py, 1000 steps): PyTorch's own
weights, orthogonal ones and forget bias 1 stay at chance, forget bias 5 in two seeds of three, and
chrono biases recall everything.
"""

import jax
import pytest
from known import CELL, DELAY, SEVERE, TASK, params_of

import lstmgrad as lg


@pytest.mark.slow
@pytest.mark.parametrize("name", SEVERE)
def test_what_will_not_learn_is_told_apart_before_training(name):
    key = jax.random.key(0)
    found = lg.diagnosis.on_task(CELL.model(params_of(name, key)), TASK, key, delay=DELAY)
    assert {finding.rule for finding in found.severe} == SEVERE[name], found
    if name == "bias-5":
        # The reason: the path lives, and the horizon lies behind the lag.
        reach = found["reach"].evidence
        assert reach["horizon"].verdict == "clear"
        output = found["saturated-output"].evidence
        assert output["log_path"].verdict == "clear"
        assert output["slope"].value < 0.1
    if name == "chrono":
        assert found["memory-is-fine"].verdict == "found"
