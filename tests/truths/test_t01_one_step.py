"""T1. One step of each cell against its Jacobian derived by hand.

Source: derivation from the cells' equations (Hochreiter & Schmidhuber 1997 with the forget gate of
Gers et al. 2000; Cho et al. 2014, reset-after). Tolerance 1e-12 absolute in float64, on entries of
order one. Forward parity with Equinox is exact and lives in test_cells.py.
"""

import numpy as np
import pytest
from hand import gru_jacobian, lstm_jacobian, lstm_parts, rnn_jacobian
from registry import T, chain_of, problem

import lstmgrad as lg

HAND = {"rnn": rnn_jacobian, "gru": gru_jacobian, "lstm": lstm_jacobian}


@pytest.mark.parametrize("name", HAND)
def test_step_jacobian_is_the_one_derived_by_hand(name, truth):
    given = problem(name)
    states, factors = given.run().states, lg.DenseChain.of(chain_of(name)).factors
    off = []
    for t in range(1, T + 1):
        before = [part[t - 1] for part in states]
        want = HAND[name](given.params, *before, given.inputs[t - 1])
        off.append(np.abs(factors[t - 1] - want).max())
    truth(f"step Jacobian by hand, {name.upper()}: largest error", 0, max(off), atol=1e-12)


def test_log_determinant_of_the_lstm():
    """ln|det J| = Σ ln f + Σ ln(|tanh c'| o(1-o)) + ln|det U_o|."""
    given = problem("lstm")
    states, factors = given.run().states, lg.DenseChain.of(chain_of("lstm")).factors
    for t in range(1, T + 1):
        want = lstm_parts(given.params, states.h[t - 1], states.c[t - 1], given.inputs[t - 1])[2]
        got = np.linalg.slogdet(np.asarray(factors[t - 1]))[1]
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-12)
