"""The monitor: norms against proved ones, the gradient against loops in NumPy, one program."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstmgrad as lg
from lstmgrad._norms.sketched import sketched_log_norms
from lstmgrad.training._monitor import _horizon

TASK = lg.tasks.delayed_recall(symbols=2, noise=2)
H, DELAY, SIZE, READ = 12, 23, 5, 3
LAGS = (1, 4, 12, 24)
CELL = lg.cells.lstm(TASK.input_size, H)
PARAMS = CELL.init(jax.random.key(0))
MODEL = CELL.model(PARAMS)
READOUT = lg.training.Readout(jax.random.normal(jax.random.key(1), (2, H)), jnp.ones(2))
BATCH = TASK.batch(jax.random.key(2), SIZE, DELAY)
BOTH = PARAMS, READOUT


@pytest.fixture(scope="module")
def found() -> dict[str, float]:
    watch = lg.training.monitor(MODEL, TASK, lags=LAGS, sequences=READ)
    return watch(BOTH, BATCH)


@pytest.fixture(scope="module")
def chains() -> list[Any]:
    return [lg.chain(MODEL, inputs) for inputs in BATCH.inputs]


def test_norms_are_lower_bounds_close_to_the_proved_ones(found, chains):
    """Within the half nat that the docstring says; the norm itself at the longest lag."""
    for part in "hc":
        profiles = [lg.backward_norms(chain, of=part, wrt=part, rtol=0) for chain in chains[:READ]]
        proved = np.mean([np.asarray(p.log_norms)[list(LAGS)] for p in profiles], axis=0)
        read = np.array([found[f"log_norm/{part}/{lag}"] for lag in LAGS])
        assert np.all(read <= proved + 1e-12)
        assert np.all(read >= proved - 0.5)
        assert read[-1] == pytest.approx(proved[-1], abs=1e-3)


def test_the_additive_path_is_the_product_of_forget_gates(found, chains):
    gates = [np.asarray(lg.tagged_values(chain)["forget"]) for chain in chains[:READ]]
    for lag in LAGS:
        logs = [np.log(f[-lag:]).sum(axis=0).max() for f in gates]
        assert found[f"log_norm/path/{lag}"] == pytest.approx(np.mean(logs), rel=1e-12)
    low, high = np.mean(np.array(gates) < 0.1), np.mean(np.array(gates) > 0.9)
    assert found["saturation/forget/low"] == pytest.approx(low)
    assert found["saturation/forget/high"] == pytest.approx(high)
    assert {name.split("/")[1] for name in found if name.startswith("saturation")} == {
        "forget",
        "input",
        "output",
    }


def test_the_exponent_is_the_growth_of_a_tangent(found, chains):
    tangent = np.random.default_rng(1).standard_normal(2 * H)
    rates = []
    for chain in chains[:READ]:
        burned = np.asarray(lg.product(chain[:6]).to_array()) @ tangent
        after = np.asarray(lg.product(chain[6:]).to_array()) @ burned
        rates.append(np.log(np.linalg.norm(after) / np.linalg.norm(burned)) / 18)
    assert found["largest_exponent"] == pytest.approx(np.mean(rates), rel=1e-10)


@pytest.fixture(scope="module")
def gradients(chains) -> tuple[np.ndarray, np.ndarray]:
    """Flat gradients of all parameters, and the early part of that of the cell, by sequence."""

    def on_states(both, states, targets, weights):
        outputs = states.h[1:] @ both[1].weight.T + both[1].bias[None]
        return TASK.loss(outputs, targets, weights)

    def loss(both, inputs, *answer):
        return on_states(both, lg.unroll(*MODEL._replace(params=both[0]), inputs).states, *answer)

    whole, early = [], []
    for chain, inputs, targets, weights in zip(chains, *BATCH, strict=True):
        gradient = jax.grad(loss)(BOTH, inputs, targets, weights)
        whole.append(flat(gradient))
        later = chain[6:]
        asked = lg.loss_cotangents(
            lambda states, y=targets[6:], w=weights[6:]: on_states(BOTH, states, y, w),
            later.trajectory,
        )
        early.append(flat(gradient[0]) - flat(lg.contributions(later, asked).gradient))
    return np.array(whole), np.array(early)


def flat(tree: Any) -> np.ndarray:
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


def signal_and_noise(whole: np.ndarray) -> tuple[float, float]:
    """Unbiased estimates of ‖E g‖² and E ‖g - E g‖²."""
    mean = whole.mean(axis=0)
    noise = np.sum((whole - mean) ** 2) / (len(whole) - 1)
    return mean @ mean - noise / len(whole), noise


@pytest.mark.slow
def test_the_gradient_of_three_sequences_speaks_for_the_batch(found, gradients):
    whole, early = (each[:READ] for each in gradients)
    signal, noise = signal_and_noise(whole)
    expected = np.sqrt(max(signal, 0) + noise / SIZE)
    assert found["gradient_norm"] == pytest.approx(expected, rel=1e-9)
    assert found["signal_to_noise"] == pytest.approx(max(signal, 0) / noise, rel=1e-9, abs=1e-12)
    cell = whole.mean(axis=0)[: early.shape[1]]
    share = early.mean(axis=0) @ cell / (cell @ cell)
    assert found["share_of_first_quarter"] == pytest.approx(share, rel=1e-8)
    losses = [
        TASK.loss(lg.unroll(*MODEL, x).states.h[1:] @ READOUT.weight.T + READOUT.bias[None], y, w)
        for x, y, w in zip(*(leaf[:READ] for leaf in BATCH), strict=True)
    ]
    assert found["loss"] == pytest.approx(np.mean(losses), rel=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("sequences", [1, SIZE])
def test_the_gradient_of_all_sequences_and_that_of_one(sequences, gradients):
    numbers = lg.training.monitor(MODEL, TASK, lags=LAGS, sequences=sequences)(BOTH, BATCH)
    mean = gradients[0][:sequences].mean(axis=0)
    assert numbers["gradient_norm"] == pytest.approx(np.linalg.norm(mean), rel=1e-10)
    assert np.isnan(numbers["signal_to_noise"]) == (sequences == 1)


def test_horizons_lie_on_straight_lines_between_the_lags():
    limit = np.log(1e-3)
    assert _horizon((10, 20), np.array([limit + 1, limit - 1]), limit) == pytest.approx(15)
    assert _horizon((10, 20), np.array([2 * limit, 4 * limit]), limit) == pytest.approx(5)
    # The last crossing counts: it sinks, grows and sinks again.
    assert _horizon((1, 2, 4), np.array([2 * limit, 0.0, 2 * limit]), limit) == pytest.approx(3)
    assert _horizon((10,), np.array([limit]), limit) == np.inf
    assert _horizon((4,), np.array([-np.inf]), limit) == 0.0
    assert np.isnan(_horizon((4,), np.array([np.nan]), limit))


def test_models_made_anew_share_one_program_and_a_model_alone_has_no_gradient():
    """The step is traced once, and its states are those of the parameters given each time."""
    traces = []

    def step(params, state, x):
        traces.append(1)
        return {"h": jnp.tanh(params @ state["h"] + x)}

    start = {"h": jnp.zeros(3)}
    inputs = jax.random.normal(jax.random.key(3), (2, 9, 3))
    watch = lg.training.monitor(lg.Model(step, None, start))
    one = watch(0.5 * jnp.eye(3), inputs)
    count = len(traces)
    other = watch(0.9 * jnp.eye(3), inputs)
    again = lg.training.monitor(lg.Model(step, None, start))(0.5 * jnp.eye(3), inputs)
    assert len(traces) == count
    assert again == one
    assert other["log_norm/h/9"] > one["log_norm/h/9"] + 1
    assert set(one) == {
        *(f"log_norm/h/{lag}" for lag in (1, 3, 9)),
        "horizon/h",
        "largest_exponent",
    }


def test_sketches_of_exact_zeros_of_tiny_products_and_of_nan():
    sketch = jax.jit(lambda factors: sketched_log_norms(lg.DenseChain(factors), (1, 4, 5, 8)))
    shift, eye = (jnp.broadcast_to(jnp.eye(5, k=k), (8, 5, 5)) for k in (-1, 0))
    np.testing.assert_allclose(sketch(shift), [0, 0, -np.inf, -np.inf], atol=1e-12)
    np.testing.assert_allclose(sketch(1e-300 * eye), np.log(1e-300) * np.array([1, 4, 5, 8]))
    assert np.isnan(np.asarray(sketch(jnp.nan * eye))).all()


def test_refusals():
    monitor = lg.training.monitor
    with pytest.raises(ValueError, match="parts: expected one of the state's parts 'h', 'c'"):
        monitor(MODEL, parts=("x",))
    with pytest.raises(ValueError, match="sequences: expected a whole number, 1 or more"):
        monitor(MODEL, sequences=0)
    with pytest.raises(
        ValueError, match="lags: expected increasing whole numbers from 1 to T = 24"
    ):
        monitor(MODEL, lags=(3, 50))(PARAMS, BATCH.inputs)
