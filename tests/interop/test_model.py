"""Closed loops and what a model is, without any framework."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parity import D, H, filled
from torch_networks import FILE

import lstmgrad as lg


def double():
    """Two LSTM layers and a readout."""
    with np.load(FILE) as file:
        inside = "lstm-stack/weights/"
        weights = {key.removeprefix(inside): file[key] for key in file if key.startswith(inside)}
    readout = lg.interop.DenseParams(jnp.zeros((D, H)), jnp.zeros(D))
    return lg.interop.from_torch(weights), filled(readout, 2, size=1.0)


def test_a_closed_loop_reads_its_own_prediction():
    model, readout = double()
    model = model._replace(state=filled(model.state, 3, size=1.0))
    loop = lg.interop.closed_loop(model, lg.interop.dense, readout)

    @jax.jit
    def by_hand(state):
        for _ in range(4):
            prediction = readout.weight @ state.h1 + readout.bias
            state = model.step(model.params, state, prediction)
        return state

    trajectory = lg.unroll(*loop, jnp.arange(4))
    last = by_hand(model.state)
    for part, expected in zip(trajectory.states, last, strict=True):
        np.testing.assert_allclose(part[-1], expected, rtol=0, atol=1e-14)
    jacobian = lg.jacobian(lg.linearize(loop.step, loop.params, trajectory), of="c0", wrt="h1")
    # The lower layer hears the upper one through the prediction alone.
    assert np.abs(jacobian).max() > 1e-3
    expected = jax.jit(jax.jacrev(by_hand))(model.state).c0.h1
    np.testing.assert_allclose(jacobian, expected, rtol=0, atol=1e-14)


def test_a_closed_loop_is_compiled_once():
    model, readout = double()
    first, second = (lg.interop.closed_loop(model, lg.interop.dense, readout) for _ in range(2))
    assert first.step is second.step


@pytest.mark.usefixtures("as_installed")
def test_a_readout_is_a_function():
    model, readout = double()
    given: Any = readout
    with pytest.raises(ValueError, match="readout: expected a function"):
        lg.interop.closed_loop(model, given, None)


def test_the_readout_reads_the_topmost_hidden_state():
    model, readout = double()
    state = filled(model.state, 4)
    expected = np.asarray(readout.weight) @ np.asarray(state.h1) + np.asarray(readout.bias)
    np.testing.assert_allclose(lg.interop.dense(readout, state), expected, rtol=1e-14)
    alone = lg.cells.LSTMState(state.h1, state.c1)
    np.testing.assert_allclose(lg.interop.dense(readout, alone), expected, rtol=1e-14)
