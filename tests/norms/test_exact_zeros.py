"""Zeros that follow from the structure of a step, ignorance that does not pass for zero.

Held against the products of the steps' matrices in NumPy, and in numbers of any range.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstmgrad as lg

T = 6


def delay(params, state, x):
    """a feeds b and b feeds c: two steps from a to c, through what one exponent does not hold."""
    weak = params
    return {
        "a": 2.0 * state["a"],
        "b": weak * state["a"],
        "c": weak * state["b"] + 0.5 * state["c"],
    }


def delayed(weak: float, dtype: str = "float32") -> lg.Chain:
    start = {name: jnp.zeros(2, dtype) for name in "abc"}
    model = lg.Model(delay, jnp.asarray(weak, dtype), start)
    return lg.chain(model, jnp.zeros((T, 2), dtype))


def products(weak: float) -> list[float]:
    """Ln of the entry (c, a) of the powers of the step's matrix, in Python's own floats."""
    step = np.asarray([[2.0, 0, 0], [weak, 0, 0], [0, weak, 0.5]])
    powers = [np.linalg.matrix_power(step, lag)[2, 0] for lag in range(T + 1)]
    with np.errstate(divide="ignore"):
        return list(np.log(powers))


@pytest.mark.parametrize("weak", [0.5, 1e-25])
def test_nothing_arrives_before_the_shortest_path(weak):
    chain, want = delayed(weak), products(weak)
    for norms in (lg.backward_norms, lg.forward_norms):
        found = norms(chain, of="c", wrt="a")
        assert np.isneginf(found.log_norms[:2]).all()
        assert (np.asarray(found.errors[:2]) == 0).all()
        if weak == 0.5:
            np.testing.assert_allclose(found.log_norms[2:], want[2:], rtol=1e-6)
        else:
            assert not np.asarray(found.resolved[2:]).any()
            assert (np.asarray(found.log_norms[2:]) > want[2:]).all()
    table = lg.norm_map(chain, of="c", wrt="a")
    lags = np.subtract.outer(np.arange(T + 1), np.arange(T + 1))
    assert np.isneginf(np.asarray(table.log_norms)[(lags >= 0) & (lags < 2)]).all()
    assert np.isfinite(np.asarray(table.log_norms)[lags >= 2]).all()


def test_budgets_and_shares_do_not_take_ignorance_for_zero():
    hidden, seen = delayed(1e-25), delayed(0.5)
    for chain, known in ((seen, True), (hidden, False)):
        budget = lg.gain_budget(chain, of="c", wrt="a")
        shares = lg.route_shares(chain, {"all": chain}, of="c", wrt="a")
        assert np.isfinite(budget.log_norm) == known
        assert np.isfinite(shares.log_norm) == known
    assert np.isnan(lg.gain_budget(hidden, of="c", wrt="a").log_norm)
    # One step is too few: nothing arrives, and that is known.
    assert np.isneginf(lg.gain_budget(hidden[:1], of="c", wrt="a").log_norm)


@pytest.mark.slow
def test_norms_of_parts_in_half_precision_are_resolved():
    cell = lg.cells.lstm(2, 24, dtype=jnp.float16)
    inputs = jax.random.normal(jax.random.key(1), (T, 2), jnp.float16)
    chain = lg.chain(cell.model(cell.init(jax.random.key(0))), inputs)
    assert np.asarray(lg.backward_norms(chain, of="c", wrt="c").resolved).all()
