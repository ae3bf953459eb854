"""Batches in a process of their own and with a time limit, as a batch may wait for ever.

On two cores it did: see `lstmgrad/_numeric/lapack.py`. Whether it does is chance, so that one run
proves little; several, with `pytest -m slow`, say more.
"""

import os
import subprocess
import sys

import pytest

# Compiled as in the tests: a hang is one of the calls of LAPACK, not of what is around them.
BATCH = """
import sys
import jax, jax.numpy as jnp, lstmgrad as lg

factors = jax.random.normal(jax.random.key(0), (32, 60, 32, 32)) / 6
readings = {
    "singular": lambda chain: lg.forward_singular_spectrum(chain, every=20),
    "lyapunov": lg.lyapunov_spectrum,
    "vectors": lambda chain: lg.lyapunov_vectors(chain, burn_in=10),
    "determinants": lg.log_abs_det,
    "eigenvalues": lg.step_eigenvalues,
    "norms": lambda chain: lg.backward_norms(chain, rtol=0),
}
for name in sys.argv[1:]:
    batch = jax.vmap(lambda one: readings[name](lg.DenseChain(one)))
    jax.block_until_ready(batch(factors))
"""


def _run(names: list[str], limit: float) -> None:
    command = [sys.executable, "-c", BATCH, *names]
    subprocess.run(command, check=True, timeout=limit, env={**os.environ, "JAX_PLATFORMS": "cpu"})


@pytest.mark.slow
def test_a_batch_of_spectra_comes_to_an_end():
    _run(["singular", "lyapunov"], limit=120)


@pytest.mark.slow
@pytest.mark.parametrize(
    "names",
    [("singular", "lyapunov", "vectors"), ("determinants", "eigenvalues", "norms")],
    ids=lambda names: names[0],
)
def test_fresh_processes_come_to_an_end(names):
    for _ in range(4):
        _run(list(names), limit=300)
