"""Cells and representations that invariants are crossed with.

`CELLS` are crossed with everything. All that `lg.cells.registry()` has, a new cell included, goes
through the battery of cells/test_more_cells.py and through chains/test_dependence.py.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import pytest

import lstmgrad as lg
from lstmgrad._chains.base import StoredChain

T, H, D = 5, 3, 2

CELLS: dict[str, Callable[..., lg.cells.Cell]] = {
    "rnn": lg.cells.rnn,
    "rnn-relu": functools.partial(lg.cells.rnn, activation=jax.nn.relu),
    "gru": lg.cells.gru,
    "lstm": lg.cells.lstm,
}

REPRESENTATIONS: dict[str, Callable[[StoredChain], StoredChain]] = {
    "implicit": lambda chain: chain,
    "dense": lambda chain: lg.DenseChain.of(chain),
}


def slow(*case: Any) -> Any:
    """A case of `parametrize` that is left out by default, since others beside it are not."""
    return pytest.param(*case, marks=pytest.mark.slow)


every_cell = pytest.mark.parametrize("name", CELLS)
# Where each cell has to be compiled anew.
plain_and_gated = pytest.mark.parametrize("name", ["rnn", slow("rnn-relu"), slow("gru"), "lstm"])
every_representation = pytest.mark.parametrize("form", REPRESENTATIONS)
every_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


class Problem(NamedTuple):
    """A model, where it starts and what it reads."""

    step: Callable[[Any, Any, Any], Any]
    params: Any
    state: Any
    inputs: Any

    @property
    def model(self) -> lg.Model:
        return lg.Model(self.step, self.params, self.state)

    def run(self) -> lg.Trajectory:
        return lg.unroll(*self.model, self.inputs)

    def chain(self) -> StoredChain:
        return lg.chain(self.model, self.inputs)


def jitter(tree: Any, seed: int, size: float = 0.5) -> Any:
    """The tree with noise on every leaf, so that no bias and no state is zero by accident."""
    leaves, treedef = jax.tree.flatten(tree)
    keys = jax.random.split(jax.random.key(seed), len(leaves))
    noisy = [
        leaf + jnp.asarray(size, leaf.dtype) * jax.random.normal(key, leaf.shape, leaf.dtype)
        for leaf, key in zip(leaves, keys, strict=True)
    ]
    return jax.tree.unflatten(treedef, noisy)


@functools.cache
def problem(name: str, dtype: str = "float64", *, length: int = T, seed: int = 0) -> Problem:
    """A registered cell at random parameters, from a random state, on random inputs."""
    cell = CELLS[name](D, H, dtype=jnp.dtype(dtype))
    params = jitter(cell.init(jax.random.key(seed)), seed + 1)
    state = jitter(cell.initial_state(), seed + 2)
    inputs = jax.random.normal(jax.random.key(seed + 3), (length, D), dtype)
    return Problem(cell.step, params, state, inputs)


@functools.cache
def chain_of(name: str, form: str = "implicit", dtype: str = "float64") -> StoredChain:
    """The chain of a registered cell in one representation."""
    return REPRESENTATIONS[form](problem(name, dtype).chain())


def random_chain(
    n: int = 4, length: int = T, seed: int = 0, dtype: str = "float64"
) -> lg.DenseChain:
    """A dense chain of Gaussian matrices, none symmetric and no two equal."""
    return lg.DenseChain(jax.random.normal(jax.random.key(seed), (length, n, n), dtype))
