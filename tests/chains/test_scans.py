"""Scans that reverse mode goes back through in stretches, against the plain scan."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from registry import slow

import lstmgrad as lg
from lstmgrad._chains.scans import LONG, scan


def body(carry, entry):
    after = jnp.sin(carry * entry["a"] + entry["b"])
    return after, after * entry["a"]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("length", "steps"), [(2500, 1), slow(2503, 1), (25, 100), slow(2, 1500)])
def test_values_and_slopes_are_those_of_a_plain_scan(length, steps, reverse):
    """2503 is a prime number: a stretch at the end is shorter."""
    draw = np.random.default_rng(0).standard_normal
    entries = {name: jnp.asarray(draw((length, 2))) for name in "ab"}
    start = jnp.asarray(draw(2))

    def read(way, start, entries):
        after, readings = way(start, entries)
        weights = jnp.cos(jnp.arange(length, dtype="float64"))[:, None]
        return jnp.sum(after) + jnp.sum(readings * weights), (after, readings)

    def ours(start, entries):
        return scan(body, start, entries, reverse=reverse, steps=steps)

    def plain(start, entries):
        return jax.lax.scan(body, start, entries, reverse=reverse)

    found, wanted = (
        jax.jit(
            jax.value_and_grad(lambda *given, way=way: read(way, *given), (0, 1), has_aux=True)
        )(start, entries)
        for way in (ours, plain)
    )
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-13, atol=1e-13)
    assert length * steps >= LONG


def weigh(w, h, x):
    return w * h + x


def norm_of(w, length):
    chain = lg.chain(lg.Model(weigh, w, jnp.ones(())), jnp.zeros(length))
    return lg.backward_norms(chain, every=100).log_norms[-1]


@pytest.mark.slow
def test_the_slope_of_a_long_product():
    """ln |w^T| has the slope T/w."""
    slope = jax.grad(norm_of)(jnp.asarray(0.5), 3000)
    np.testing.assert_allclose(slope, 6000, rtol=1e-12)


def test_what_is_kept_grows_like_the_root_of_the_length():
    """Of T blocks of 32 x 32, √T at the ends of stretches and those of one stretch.

    T states are as much as T/32 blocks.
    """
    weights = 0.1 * jax.random.normal(jax.random.key(0), (32, 32))

    def step(weights, h, x):
        return jnp.tanh(weights @ h + x)

    def reserved(length):
        def size(weights):
            chain = lg.chain(lg.Model(step, weights, jnp.zeros(32)), jnp.zeros(length))
            return lg.product(chain).log_abs()[0, 0]

        analysis: Any = jax.jit(jax.grad(size)).lower(weights).compile().memory_analysis()
        return analysis.temp_size_in_bytes / (32 * 32 * 8)

    assert reserved(LONG - 1) > LONG
    assert reserved(16 * LONG) < 2 * LONG


GRADIENT = """
import sys
from pathlib import Path
from typing import Any
import jax, jax.numpy as jnp, lstmgrad as lg

cell = lg.cells.lstm(4, 64)
params, keys = cell.init(jax.random.key(0)), jax.random.split(jax.random.key(1))
inputs = jax.random.normal(keys[0], (int(sys.argv[2]), 4))

def reading(params):
    chain = lg.chain(cell.model(params), inputs)
    if sys.argv[1] == "exponents":
        return jnp.sum(lg.lyapunov_spectrum(chain, num_exponents=4, interval=10).exponents)
    return lg.backward_norms(chain, of="c", wrt="c", every=5000).log_norms[-1]

slope = jax.jit(jax.grad(reading))(params)
assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(slope))
lines = Path("/proc/self/status").read_text().splitlines()
print(next(line.split()[1] for line in lines if line.startswith("VmHWM")))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no peak of memory")
@pytest.mark.parametrize(("what", "length"), [("exponents", 100_000), ("norms", 20_000)])
def test_gradients_through_long_chains_fit_a_gigabyte(what, length):
    """h = 64 in float32, all of the process counted; without stretches the norms take 4 GB."""
    root = Path(lg.__file__).parent.parent
    env = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])
    }
    done = subprocess.run(
        [sys.executable, "-c", GRADIENT, what, str(length)],
        capture_output=True,
        text=True,
        check=True,
        env=env,
    )
    assert int(done.stdout) * 1024 < 1e9
