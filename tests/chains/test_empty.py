"""The chain of no steps is the identity, for every kind, and analyses that need a step say so."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from registry import slow

import lstmgrad as lg


def empty(kind):
    make = lg.cells.lru if kind == "diagonal" else lg.cells.lstm
    cell = make(2, 40 if kind == "wide" else 3)
    model = cell.model(cell.init(jax.random.key(0)))
    linearize = lg.linearize_diagonal if kind == "diagonal" else lg.linearize
    chain = lg.chain(model, jnp.ones((5, 2)), linearize=linearize)
    return (lg.DenseChain.of(chain) if kind == "dense" else chain)[3:3]


@pytest.mark.parametrize("kind", ["implicit", slow("wide"), "dense", "diagonal"])
def test_readings_of_the_identity(kind):
    chain = empty(kind)
    size = chain.layout.size
    np.testing.assert_array_equal(lg.jacobian(chain), np.eye(size))
    np.testing.assert_array_equal(lg.product(chain).to_array(), np.eye(size))
    for profile in (lg.backward_norms(chain), lg.forward_norms(chain)):
        assert (profile.lags.tolist(), profile.log_norms.tolist()) == ([0], [0.0])
    assert lg.matrix_free_norms(chain, (0,)).log_norms.tolist() == [0.0]
    assert lg.norm_map(chain).log_norms.tolist() == [[0.0]]
    for reader in (lg.forward_singular_spectrum, lg.backward_singular_spectrum):
        np.testing.assert_array_equal(reader(chain).log_values, np.zeros((1, size)))
    assert lg.log_abs_det(chain).shape == (0,)
    for analysis in (lg.lyapunov_spectrum, lg.gain_budget):
        with pytest.raises(ValueError, match="expected at least one step, but got T = 0"):
            analysis(chain)
