"""Long loops that a file keeps: killed in the middle, they end with the same bits."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstmgrad as lg

LOOP = """
import os, signal, sys
import jax.numpy as jnp
import lstmgrad as lg

def more(state, inputs):
    return {"sum": jnp.sin(state["sum"]) + inputs, "last": inputs}

def run(path, progress=None):
    start, items = {"sum": jnp.zeros(3)}, jnp.split(jnp.cos(jnp.arange(15.0)), 5)
    return lg.resume(more, start, items, path=path, progress=progress)

def kill(done, total):
    if done == 3:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_loop_that_was_killed_ends_with_the_same_bits(tmp_path):
    """Killed after the third of five stretches, with a draft of the next one beside it."""
    path = tmp_path / "state.npz"
    room: dict[str, Any] = {}
    exec(LOOP, room)
    root = str(Path(lg.__file__).parent.parent)
    paths = os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])
    env = os.environ | {"PYTHONPATH": paths, "JAX_ENABLE_X64": "1"}
    child = subprocess.run([sys.executable, "-c", f"{LOOP}\nrun({str(path)!r}, kill)"], env=env)
    assert child.returncode == -signal.SIGKILL
    (tmp_path / ".state.npz.0badf00d").write_bytes(path.read_bytes()[:100])
    seen: list[tuple[int, int]] = []
    found = room["run"](path, lambda *count: seen.append(count))
    assert seen == [(3, 5), (4, 5), (5, 5)]
    whole = room["run"](tmp_path / "other.npz")
    state: Any = np.zeros(3)
    for part in np.split(np.cos(np.arange(15.0)), 5):
        state = np.sin(state) + part
    np.testing.assert_allclose(found["sum"], state, rtol=1e-14)
    for name, value in whole.items():
        assert np.asarray(found[name]).tobytes() == np.asarray(value).tobytes()


@pytest.mark.slow
def test_exponents_of_a_stream_in_stretches(tmp_path):
    """The state of the tangents and that of the model go through the file."""
    cell = lg.cells.lstm(2, 3)
    params = cell.init(jax.random.key(0))
    inputs = jax.random.normal(jax.random.key(1), (40, 2))

    def more(state, inputs):
        start = cell.initial_state() if state is None else state.model_state
        chain = lg.stream(cell.step, params, start, inputs)
        return lg.lyapunov_spectrum(chain, state, num_exponents=2).state

    stretches = jnp.split(inputs, 5)
    lg.resume(more, None, stretches[:3], path=tmp_path / "state.npz")
    found = lg.resume(more, None, stretches, path=tmp_path / "state.npz")
    whole = None
    for stretch in stretches:
        whole = more(whole, stretch)
    assert whole is not None
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(whole), strict=True):
        assert np.asarray(one).tobytes() == np.asarray(other).tobytes()
    chain = lg.stream(cell.step, params, cell.initial_state(), inputs)
    once = lg.lyapunov_spectrum(chain, num_exponents=2).state
    np.testing.assert_allclose(found.log_sums, once.log_sums, rtol=1e-5)


@pytest.mark.slow
def test_a_map_of_norms_in_blocks_of_rows(tmp_path):
    """Interrupted after a block, it has the bits of the map that is made at once."""
    factors = jax.random.normal(jax.random.key(0), (12, 2, 2))
    chain = lg.DenseChain(factors)

    def with_rows(rows, times):
        def row(time):
            return lg.backward_norms(chain, every=2, length=time).log_norms

        return rows | {str(times[0]): jax.lax.map(row, times)}

    blocks = jnp.split(jnp.arange(2, 13, 2), 3)
    lg.resume(with_rows, {}, blocks[:1], path=tmp_path / "map.npz")
    rows = lg.resume(with_rows, {}, blocks, path=tmp_path / "map.npz")
    by_lag = np.concatenate([np.zeros((1, 7)), *map(np.asarray, rows.values())])
    t, k = np.tril_indices(7)
    want = np.asarray(lg.norm_map(chain, every=2).log_norms)
    np.testing.assert_array_equal(by_lag[t, t - k], want[t, k])
    for size in (2, 12):
        product = np.linalg.multi_dot([*np.asarray(factors)[:size][::-1], np.eye(2)])
        norm = np.log(np.linalg.norm(product, 2))
        np.testing.assert_allclose(by_lag[size // 2, size // 2], norm, rtol=1e-10)


def gather(found: dict[str, Any], seed: Any) -> dict[str, Any]:
    return found | {str(seed): jnp.asarray(float(seed)) ** 2}


def test_a_dict_of_readings_that_grows(tmp_path):
    path = tmp_path / "found.npz"
    assert lg.resume(gather, {}, [], path=path) == {}
    first = lg.resume(gather, {}, range(3), path=path)
    calls: list[int] = []

    def counting(found: dict[str, Any], seed: int) -> dict[str, Any]:
        calls.append(seed)
        return gather(found, seed)

    assert lg.resume(counting, {}, range(3), path=path) == first
    longer = lg.resume(counting, {}, range(5), path=path)
    assert calls == [3, 4]
    assert {name: float(value) for name, value in longer.items()} == {
        str(seed): seed**2 for seed in range(5)
    }


def test_another_loop_is_refused(tmp_path):
    path = tmp_path / "found.npz"
    lg.resume(gather, {}, range(3), path=path)
    with pytest.raises(ValueError, match=r"^path: expected the state of a loop over these items"):
        lg.resume(gather, {}, [0, 1, 7], path=path)
    keys = [jax.random.key(seed) for seed in (0, 1)]
    drawn = tmp_path / "drawn.npz"
    lg.resume(lambda _, key: jax.random.normal(key), None, keys, path=drawn)
    with pytest.raises(ValueError, match=r"^path: expected the state of a loop over these items"):
        lg.resume(lambda _, key: jax.random.normal(key), None, keys[::-1], path=drawn)
    lg.save(path, {"one": jnp.ones(2)})
    with pytest.raises(ValueError, match=r"^path: expected a file that resume wrote"):
        lg.resume(gather, {}, range(3), path=path)
    with pytest.raises(ValueError, match=r"^result: expected what an analysis returns"):
        lg.resume(lambda state, item: "text", None, [1], path=tmp_path / "text.npz")
