"""What the weights of a cell mean, in NumPy, and what they would mean to another framework.

A model that reads the weights of one framework in the way of another runs, and gives wrong numbers.
The tests have the right reading, to rounding, beside the wrong ones, which must be far off.
"""

import jax
import jax.numpy as jnp
import numpy as np
from parity import H, sequence

import lstmgrad as lg

X = np.asarray(sequence()[0])
CELL = lg.cells.LSTMState(*np.random.default_rng(0).normal(size=(2, H)))
HIDDEN = CELL.h
SWAPPED = lg.cells.LSTMState(CELL.c, CELL.h)


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def lstm(weights, *, order="ifgo", forget_bias=0.0, state=CELL):
    """(h', c') of gates stacked in the given order."""
    w, u, b = map(np.asarray, weights)
    drive = dict(zip(order, np.split(w @ X + u @ state.h + b, 4), strict=True))
    i, f, o = (sigmoid(drive[gate] + forget_bias * (gate == "f")) for gate in "ifo")
    c = f * state.c + i * np.tanh(drive["g"])
    return o * np.tanh(c), c


def gru(weights, *, order="rzn", reset="after", z_is="kept"):
    """h' of gates stacked in the given order; b is outside, u_b inside the product with r."""
    w, u, b, inner = map(np.asarray, weights)
    at = dict(zip(order, range(3), strict=True))
    w, u, b, inner = (np.split(a, 3) for a in (w, u, b, inner))

    def drive(gate, h=HIDDEN):
        return u[at[gate]] @ h + inner[at[gate]]

    outer = {gate: w[at[gate]] @ X + b[at[gate]] for gate in order}
    r, z = (sigmoid(outer[gate] + drive(gate)) for gate in "rz")
    inside = r * drive("n") if reset == "after" else drive("n", r * HIDDEN)
    n = np.tanh(outer["n"] + inside)
    z = z if z_is == "kept" else 1 - z
    return (z * HIDDEN + (1 - z) * n,)


def assert_means(model, right, *wrongs):
    """One step of the model is the right reading, and none of the wrong ones."""
    state = CELL if len(model.state) == 2 else type(model.state)(HIDDEN)
    got = jax.jit(model.step)(model.params, type(model.state)(*map(jnp.asarray, state)), X)
    for part, expected in zip(got, right, strict=True):
        np.testing.assert_allclose(part, expected, rtol=0, atol=1e-14)
    for wrong in wrongs:
        assert np.abs(got.h - wrong[0]).max() > 1e-3
