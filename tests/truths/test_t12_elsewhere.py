"""T12. What goes wrong elsewhere: the frozen cell, reversed products, plain float32.

Source: defects of published tools, each measured. The setting is theirs (h = 32, d = 8, T = 400,
weights U(±1/√h), inputs N(0, 1)); the exponents of one draw scatter by the standard error of a
mean over T steps, so the figures are held to 0.1 nats per step, where the defect is 1.5 and more.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import loop_log_norms, loop_product

import lstmgrad as lg

H, D, T = 32, 8, 400


def random_lstm(forget_bias):
    keys = jax.random.split(jax.random.key(0), 4)
    shapes = (4 * H, D), (4 * H, H), (4 * H,)
    bound = H**-0.5
    params = lg.cells.LSTMParams(
        *(
            jax.random.uniform(key, shape, minval=-bound, maxval=bound)
            for key, shape in zip(keys, shapes, strict=False)
        )
    )
    params = params._replace(bias=params.bias.at[H : 2 * H].add(forget_bias))
    cell = lg.cells.lstm(D, H)
    trajectory = lg.unroll(
        cell.step, params, cell.initial_state(), jax.random.normal(keys[3], (T, D))
    )
    return lg.linearize(cell.step, params, trajectory)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("forget_bias", "frozen", "full"),
    [(0.0, -1.95, -0.485), (1.0, -1.97, -0.174), (3.0, -1.98, -0.002)],
)
def test_the_cell_must_not_be_frozen(forget_bias, frozen, full, truth):
    """Multiplying dh_t/dh_{t-1} at held c drops the cell path, by tens of orders of magnitude."""
    chain = random_lstm(forget_bias)
    whole = np.asarray(lg.forward_norms(chain, rtol=0.0).log_norms)
    steps = np.asarray(lg.DenseChain.of(chain).factors)[:, :H, :H]
    without_cell = loop_log_norms(steps)
    name = f"LSTM of forget bias {forget_bias:g}"
    truth(f"largest exponent, {name}", full, whole[T] / T, atol=0.1)
    truth(f"the same at frozen cell, {name}", frozen, without_cell[T] / T, atol=0.1)
    lost = (whole[100] - without_cell[100]) / np.log(10)
    assert 55 < lost < 95
    # One step apart the two agree: that is how the error goes unnoticed.
    np.testing.assert_allclose(lg.jacobian(chain[:1], of="h", wrt="h"), steps[0], atol=1e-14)
    two = lg.jacobian(chain[:2], of="h", wrt="h")
    assert np.linalg.norm(two - loop_product(steps[:2])) > 0.1 * np.linalg.norm(two)


def test_order_and_transposes_matter():
    factors = np.random.default_rng(0).normal(size=(3, 4, 4))
    a, b, c = factors
    got = np.asarray(lg.jacobian(lg.DenseChain(factors)))
    np.testing.assert_allclose(got, c @ b @ a, rtol=1e-12)
    for wrong in (a @ b @ c, c.T @ b.T @ a.T, a.T @ b.T @ c.T):
        assert np.linalg.norm(got - wrong) > 0.1 * np.linalg.norm(got)
    # The transpose of the pull is the push, which a wrong order would break.
    pulled = lg.pull_back(lg.DenseChain(factors), jnp.eye(4)).to_array()
    pushed = lg.push_forward(lg.DenseChain(factors.transpose(0, 2, 1)[::-1]), jnp.eye(4)).to_array()
    np.testing.assert_allclose(pulled.T, pushed, rtol=1e-12)


@pytest.mark.slow
def test_plain_float32_dies_at_lag_110_where_the_truth_is_not():
    """A tanh network of gain 0.7: jacrev through the scan is exactly zero long before lag 200."""
    size, length = H, 200
    keys = jax.random.split(jax.random.key(0), 2)
    weight = 0.7 * jax.random.normal(keys[0], (size, size)) / size**0.5
    cell = lg.cells.rnn(D, size, dtype=jnp.float32)
    params = cell.init(keys[1])._replace(weight_hh=weight.astype(jnp.float32))
    inputs = 2 * jax.random.normal(keys[1], (length, D), jnp.float32)

    def last(start, given):
        def body(state, x):
            return cell.step(params, state, x), None

        return jax.lax.scan(body, lg.cells.RNNState(start), given)[0].h

    naive = jax.jit(jax.jacrev(last))
    start = cell.initial_state().h
    assert np.any(naive(start, inputs[:80]) != 0)
    assert np.all(naive(start, inputs[:130]) == 0)

    trajectory = lg.unroll(cell.step, params, cell.initial_state(), inputs)
    chain = lg.linearize(cell.step, params, trajectory)
    ours = np.asarray(lg.forward_norms(chain).log_norms)
    wide = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), (params, trajectory))
    truth = lg.DenseChain.of(lg.linearize(cell.step, *wide)).factors
    want = loop_log_norms(truth)
    assert want[-1] / np.log(10) < -60
    np.testing.assert_allclose(ours[1:], want[1:], rtol=1e-5)
