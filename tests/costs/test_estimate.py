"""Estimates of what a call costs: the arithmetic, and which slices it is run on."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstmgrad as lg
from lstmgrad._costs import estimate as room

T = 1000
CHAIN = lg.DenseChain(jnp.broadcast_to(0.5 * jnp.eye(2), (T, 2, 2)))
CELL = lg.cells.rnn(2, 3)
MODEL = CELL.model(CELL.init(jax.random.key(0)))


def total(chain: Any) -> Any:
    return jnp.sum(chain.factors, axis=0)


@pytest.fixture
def at_once(monkeypatch):
    """The first run is long enough."""
    monkeypatch.setattr(room, "ENOUGH", 0.0)


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("steps", [(8, 32, 128), (8, 100, 200, 300)])
def test_the_extrapolation_is_exact_for_what_grows_as_a_power(power, steps):
    seconds = [1e-3 + 2e-5 * k**power for k in steps]
    found, whole = room._extrapolated(steps, seconds, 10**5)
    assert found == power
    np.testing.assert_allclose(whole, 1e-3 + 2e-5 * 10.0 ** (5 * power), rtol=1e-12)


def test_noise_never_makes_a_longer_chain_cheaper():
    assert room._extrapolated([8, 16, 32], [0.1, 0.3, 0.2], 3200) == (1, pytest.approx(20.0))
    assert room._extrapolated([1, 2, 8], [0.2, 0.1, 0.4], 16)[0] == 1
    assert room._extrapolated([50], [0.1], 100) == (1, pytest.approx(0.2))


@pytest.mark.usefixtures("at_once")
def test_the_whole_is_compiled_and_not_run():
    seen: list[int] = []

    def call(chain: Any) -> Any:
        jax.debug.callback(lambda: seen.append(len(chain)))
        return total(chain)

    found = lg.estimate(call, CHAIN)
    jax.effects_barrier()
    assert found.steps.tolist() == [2, 4, 8]
    assert set(seen) == {2, 4, 8}
    assert found.num_steps == T
    assert float(found.seconds) > 0
    assert found.bytes is None or float(found.bytes) >= 4 * 8, "four numbers are returned"


def test_a_short_chain_is_run_as_it_is():
    found = lg.estimate(total, CHAIN[:6])
    assert found.steps.tolist() == [6]
    assert float(found.seconds) == float(found.measured_seconds[-1])
    assert str(found).split("\n")[0] == repr(found)
    assert repr(found).startswith("Estimate(T = 6, ")


@pytest.mark.usefixtures("at_once")
def test_slices_that_are_too_short_for_a_spacing_are_left_out():
    def read(chain: Any) -> Any:
        return total(chain[:20])

    assert lg.estimate(read, CHAIN).steps.tolist() == [24, 32]


@pytest.mark.usefixtures("at_once")
def test_the_last_steps_of_a_chain_and_the_first_of_a_stream():
    inputs = jnp.arange(2.0 * T).reshape(T, 2) / T
    marks: list[Any] = []

    def look(inputs: Any) -> Any:
        jax.debug.callback(lambda x: marks.append(np.asarray(x)), inputs[-1])
        return inputs[0]

    lg.estimate(lambda chain: look(chain.trajectory.inputs), lg.chain(MODEL, inputs))
    jax.effects_barrier()
    assert marks
    assert all(np.array_equal(each, inputs[-1]) for each in marks)
    marks.clear()
    lg.estimate(lambda chain: look(chain.inputs), lg.stream(*MODEL, inputs))
    jax.effects_barrier()
    assert {float(each[0]) for each in marks} == {float(inputs[k - 1, 0]) for k in (2, 4, 8)}


@pytest.mark.usefixtures("at_once")
def test_a_batch_is_cut_along_time():
    batch = jax.vmap(lambda inputs: lg.chain(MODEL, inputs))(jnp.ones((3, 20, 2)))
    shapes: list[Any] = []

    def call(chains: Any) -> Any:
        shapes.append(chains.trajectory.inputs.shape)
        return jax.vmap(lambda chain: chain.trajectory.states.h[-1])(chains)

    assert lg.estimate(call, batch).num_steps == 20
    assert set(shapes) == {(3, k, 2) for k in (20, 8, 4, 2)}


@pytest.mark.slow
def test_it_is_near_what_a_reading_takes():
    """Within a factor of 3 on a machine that does other things, too."""
    inputs = jax.random.normal(jax.random.key(1), (20_000, 2))
    chain = lg.chain(MODEL, inputs)

    def read(chain: Any) -> Any:
        return lg.backward_norms(chain, every=100)

    found = lg.estimate(read, chain)
    program = room._compiled(read, chain)
    taken = room._shortest(program, chain)
    assert taken / 3 < float(found.seconds) < 3 * taken


@pytest.mark.usefixtures("as_installed", "at_once")
def test_what_cannot_be_estimated_is_refused():
    wrong: Any = 3
    with pytest.raises(ValueError, match=r"^call: expected a function of a chain, but got 3"):
        lg.estimate(wrong, CHAIN)
    with pytest.raises(ValueError, match=r"^chain: expected"):
        lg.estimate(total, wrong)
    with pytest.raises(ValueError, match=r"^chain: expected at least one step"):
        lg.estimate(total, CHAIN[:0])
    with pytest.raises(ValueError, match=r"^every: expected"):
        lg.estimate(lambda chain: lg.backward_norms(chain, every=T + 1), CHAIN)
    ones = jnp.ones((T + 1, 2))
    with pytest.raises(ValueError, match=r"^call: expected a function of a chain of any length"):
        lg.estimate(lambda chain: lg.adjoint(chain, ones), CHAIN)
