"""Scans of one step under `jax.vmap`: what they start from is a constant in the compiled program.

XLA takes a loop of one turn apart, and sees then that zeros or the identity are multiplied. jaxlib
0.10 on a CPU reads memory that nobody wrote where it fuses a product of batches, with such a matrix
on its right, with a sum: no program may hold one, whatever it happens to read today.
"""

import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstmgrad as lg


def cotangents(chain):
    return lg.loss_cotangents(lambda states: jnp.sum(jnp.sin(states.h)), chain.trajectory)


def gradients(chain, every):
    found = lg.contributions(chain, cotangents(chain))
    return found.shares, found.log_norms, lg.adjoint(chain, cotangents(chain))


READINGS = {
    "gradients": gradients,
    "sensitivity": lambda chain, every: lg.sensitivity(chain, num_directions=8),
    "memory": lambda chain, every: lg.fisher_memory(chain, jnp.ones(2) / 2).log_memories,
    "frames": lambda chain, every: lg.lyapunov_spectrum(chain, num_exponents=3, interval=every),
    "spectra": lambda chain, every: lg.forward_singular_spectrum(chain, every=every),
    "norms": lambda chain, every: lg.backward_norms(chain, every=every),
    "budget": lambda chain, every: lg.gain_budget(chain),
}


def constant_products(text):
    """Fused products with an operand that is a constant, of a compiled program."""
    found = []
    for body in re.split(r"\n\n", text):
        if "ENTRY" in body or " dot(" not in body:
            continue
        constants = set(re.findall(r"%([\w.\-]+) = \S+ (?:constant|iota)\(", body))
        for name, operand in re.findall(r"%([\w.\-]+) = \S+ broadcast\(%([\w.\-]+)", body):
            constants |= {name} if operand in constants else set()
        for operands in re.findall(r" dot\(%([\w.\-]+), %([\w.\-]+)\)", body):
            found += [operands] if constants & set(operands) else []
    return found


def test_a_product_with_a_constant_is_noticed():
    def bad(left):
        return jnp.sum(
            jnp.matmul(left, jnp.zeros((20, 32, 32), left.dtype), precision="highest") * left, -1
        )

    left = jnp.ones((20, 10, 32), "float32")
    text = jax.jit(bad).lower(left).compile().as_text() or ""
    if "__ynn_fusion" not in text:
        pytest.skip("this version of XLA does not fuse products with sums")
    assert constant_products(text)


@pytest.mark.slow
@pytest.mark.parametrize("length", [1, 10])
@pytest.mark.parametrize("reading", READINGS)
def test_a_batch_of_one_step_or_one_stretch_is_the_loop(reading, length):
    cell = lg.cells.rnn(2, 32, dtype=jnp.float32)
    model = cell.model(cell.init(jax.random.key(0)))
    inputs = jax.random.normal(jax.random.key(1), (20, length, 2), "float32")

    def read(inputs):
        found = READINGS[reading](lg.chain(model, inputs), length)
        return jax.tree.leaves(eqx.filter(found, eqx.is_inexact_array))

    program = jax.jit(jax.vmap(read)).lower(inputs).compile()
    assert not constant_products(program.as_text() or "")
    one = jax.jit(read)
    expected = [one(member) for member in inputs]
    for turn in range(3):
        # What is freed here is where the next result will lie.
        jax.block_until_ready([jnp.full(1 << k, 1e6 + turn) for k in range(2, 16)])
        for leaf, *members in zip(program(inputs), *expected, strict=True):
            np.testing.assert_allclose(leaf, np.stack(members), rtol=2e-3, atol=1e-4)
