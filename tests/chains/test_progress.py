"""What long readings tell on their way: in order, up to the end, with the bits of a silent run."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from registry import slow

import lstmgrad as lg
from lstmgrad import _progress
from lstmgrad._chains import scans
from lstmgrad._progress import Meter, portions

T = 37
CELL = lg.cells.rnn(2, 3)
PARAMS = CELL.init(jax.random.key(0))
INPUTS = jax.random.normal(jax.random.key(1), (3, T, 2))


def chain_of(inputs: Any) -> Any:
    return lg.chain(CELL.model(PARAMS), inputs)


def contributions(chain: Any, **options: Any) -> Any:
    seen = lg.loss_cotangents(lambda states: states.h[-1].sum(), chain.trajectory)
    return lg.contributions(chain, seen, **options)


READINGS: dict[str, Any] = {
    "backward_norms": lg.backward_norms,
    "forward_norms": lg.forward_norms,
    "lyapunov_spectrum": lg.lyapunov_spectrum,
    "contributions": contributions,
    "norm_map": lg.norm_map,
}


class Told(list):
    """What was told; it is a function with a hash of its own."""

    def __call__(self, done: int, total: int) -> None:
        self.append((done, total))

    __hash__ = object.__hash__  # pyright: ignore[reportAssignmentType]


@pytest.fixture
def often(monkeypatch):
    """Reports although the steps are few and small, and a scan that is cut into stretches."""
    monkeypatch.setattr(_progress, "BETWEEN", 1)
    monkeypatch.setattr(scans, "LONG", 32)


def bits_of(result: Any) -> list[bytes]:
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(result)]


def in_order(told: Told, total: int) -> None:
    done = [each for each, _ in told]
    assert done == sorted(set(done))
    assert told[-1] == (total, total)
    assert {each for _, each in told} == {total}


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize(
    "name", [name if name == "backward_norms" else slow(name) for name in READINGS]
)
def test_a_reading_tells_how_far_it_is_and_keeps_its_bits(name):
    told, read, chain = Told(), READINGS[name], chain_of(INPUTS[0])
    loud = jax.block_until_ready(read(chain, progress=told))
    jax.effects_barrier()
    in_order(told, T + (name == "norm_map"))
    assert len(told) >= 7
    assert bits_of(loud) == bits_of(read(chain))


@pytest.mark.parametrize("name", READINGS)
def test_nothing_of_it_is_in_the_program_of_a_silent_reading(name):
    def program(**options: Any) -> str:
        return str(jax.make_jaxpr(lambda x: READINGS[name](chain_of(x), **options))(INPUTS[0]))

    assert "callback" not in program()
    assert "debug_callback" in program(progress=Told())


@pytest.mark.slow
@pytest.mark.usefixtures("often")
def test_a_batch_tells_once():
    told = Told()

    def read(inputs: Any) -> Any:
        return lg.backward_norms(chain_of(inputs), every=5, progress=told)

    jax.block_until_ready(jax.vmap(read)(INPUTS))
    jax.effects_barrier()
    in_order(told, T)
    assert len(told) == T // 5


@pytest.mark.slow
@pytest.mark.usefixtures("often")
def test_a_slope_is_told_once_and_has_the_same_bits():
    told = Told()

    def log_norm(params: Any, progress: Any) -> Any:
        chain = lg.chain(CELL.model(params), INPUTS[0])
        return lg.forward_norms(chain, rtol=0, progress=progress).log_norms[-1]

    loud = jax.block_until_ready(jax.grad(log_norm)(PARAMS, told))
    jax.effects_barrier()
    in_order(told, T)
    assert bits_of(loud) == bits_of(jax.grad(log_norm)(PARAMS, None))


def test_a_closed_form_tells_its_end():
    told, states = Told(), jnp.ones((T + 1, 3))
    run = lg.Trajectory(jnp.full((T, 3), 0.9), states)
    chain = lg.linearize_diagonal(lambda params, state, x: x * state, None, run)
    jax.block_until_ready(lg.backward_norms(chain, progress=told))
    jax.effects_barrier()
    assert told == [(T, T)]


def test_marks_are_spread_over_the_parts_of_a_computation():
    meter = Meter(print, 1000, 0, 1000)
    marks = meter.marks(1000)
    assert marks[marks > 0].tolist() == list(range(10, 1001, 10))
    first, second = portions(meter, 3, 1)
    assert (first.start, first.stop, second.start, second.stop) == (0, 750, 750, 1000)
    marks = second.marks(7)
    assert marks[-1] == 1000
    assert np.all(np.diff(marks) > 0)
    # 33 steps of small cells are too short for a report each; the end is always told.
    assert meter.thinned(33).marks(33).tolist() == [0] * 32 + [1000]
    assert not np.any(first.thinned(33).marks(33))
    wide = meter.thinned(33, jnp.zeros((10_000, 2000))).marks(33)
    assert wide[-1] == 1000
    assert np.count_nonzero(wide) == 33 * 20_004_096 // _progress.BETWEEN
    # Beyond 2^31 / 100 steps: no overflow.
    long = Meter(print, 2**30, 0, 2**30).marks(300)
    assert long[-1] == 2**30
    assert np.all(long >= 0)
    assert Meter.of(None, 5) is None
    assert Meter.of(print, 0) is None
    assert portions(None, 1, 2) == [None, None]


@pytest.mark.usefixtures("as_installed")
def test_what_is_no_function_is_refused():
    chain: Any = lg.DenseChain(jnp.zeros((2, 2, 2)))
    wrong: Any = "bar"
    for read in (lg.backward_norms, lg.forward_norms, lg.lyapunov_spectrum, lg.norm_map):
        with pytest.raises(ValueError, match=r"^progress: expected a function or None, but got"):
            read(chain, progress=wrong)
