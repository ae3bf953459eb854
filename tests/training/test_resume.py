"""A training that breaks off and goes on: the digits of one without a break, through a file."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lstmgrad as lg

TASK = lg.tasks.delayed_recall(symbols=2, noise=1)
CELL = lg.cells.rnn(TASK.input_size, 3)
KEYS = jax.random.split(jax.random.key(0), 2)
MODEL = CELL.model(jax.vmap(CELL.init)(KEYS))
HOW: Any = {"delay": 4, "steps": 5, "batch_size": 3, "every": 2}


class Break(Exception):  # noqa: N818
    """Ends a training."""


def broken_off(path: Any, at: int) -> lg.training.Snapshot:
    """The last snapshot of a training that an exception ends, which is in the file, too."""
    seen = []

    def observe(now: lg.training.Snapshot) -> None:
        seen.append(now)
        lg.save(path, now.state)
        if now.steps == at:
            raise Break

    with pytest.raises(Break):
        lg.training.fit(MODEL, TASK, KEYS, **HOW, observe=observe)
    return seen[-1]


def test_a_training_goes_on_where_it_broke_off(tmp_path):
    path = tmp_path / "state.npz"
    last = broken_off(path, at=4)
    state = lg.load(path)
    assert isinstance(state, lg.training.TrainingState)
    assert (state.steps, last.steps, state.batch_size) == (4, 4, 3)
    for kept, known in zip(jax.tree.leaves(state), jax.tree.leaves(last.state), strict=True):
        np.testing.assert_array_equal(kept, known)
    whole = lg.training.fit(MODEL, TASK, KEYS, **HOW)
    rest = lg.training.fit(MODEL, TASK, KEYS, **HOW, start=state)
    for got, expected in zip(jax.tree.leaves(rest), jax.tree.leaves(whole), strict=True):
        np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(rest.curve.steps[0], [2, 4, 5])
    # What was observed on the way is the network of that step.
    shorter = lg.training.fit(MODEL, TASK, KEYS, **{**HOW, "steps": 4})
    for got, expected in zip(jax.tree.leaves(last.fit), jax.tree.leaves(shorter), strict=True):
        np.testing.assert_array_equal(got, expected)
    assert np.any(np.asarray(shorter.readout.weight) != np.asarray(whole.readout.weight))


@pytest.mark.slow
def test_one_network_goes_on_with_an_older_key():
    key, model = jax.random.key_data(KEYS[0]), CELL.model(CELL.init(KEYS[0]))
    seen: list[lg.training.Snapshot] = []
    whole = lg.training.fit(model, TASK, key, **HOW, observe=seen.append)
    assert [now.steps for now in seen] == [2, 4, 5]
    assert seen[0].fit.readout.bias.shape == (2,)
    rest = lg.training.fit(model, TASK, key, **HOW, start=seen[0].state)
    for got, expected in zip(jax.tree.leaves(rest), jax.tree.leaves(whole), strict=True):
        np.testing.assert_array_equal(got, expected)
    same = lg.training.fit(model, TASK, key, **HOW, start=seen[-1].state)  # nothing is left
    np.testing.assert_array_equal(same.readout.weight, whole.readout.weight)


def test_refusals(tmp_path):
    state = broken_off(tmp_path / "state.npz", at=2).state

    def refused(message: str, *given: Any, **other: Any) -> None:
        data: Any = given or (MODEL, TASK, KEYS)
        with pytest.raises(ValueError, match=message):
            lg.training.fit(*data, **{**HOW, "start": state, **other})

    refused("start: expected the state of a training on delayed_recall at delay 5", delay=5)
    refused("batches of 4, but got one on delayed_recall at delay 4 in batches of 3", batch_size=4)
    refused("key: expected the key of the state", MODEL, TASK, KEYS[::-1])
    refused("steps: expected at least the 2 steps behind the state", steps=1)
    refused("start: expected 10 arrays of the shapes", optimizer=optax.sgd(0.1, momentum=0.9))
    wide = lg.cells.rnn(TASK.input_size, 4)
    model = wide.model(jax.vmap(wide.init)(KEYS))
    refused("start: expected 16 arrays of the shapes", model, TASK, KEYS)
    assert jnp.shape(state.keys) == (2, 2)


def test_refusals_of_kinds(as_installed):
    with pytest.raises(ValueError, match="start: expected an lstmgrad TrainingState, but got int"):
        lg.training.fit(MODEL, TASK, KEYS, **HOW, start=3)  # pyright: ignore[reportArgumentType]
