"""Swapped inputs against loops in NumPy, powers of a matrix, and rounding."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstmgrad as lg

A = np.asarray([[0.5, 0.2], [-0.1, 0.8]])


def linear(params, state, x):
    return params @ state + x


def model(dtype: Any = np.float64):
    return lg.Model(linear, jnp.asarray(A, dtype), jnp.zeros(2, dtype))


def test_a_linear_model_moves_by_powers_of_its_matrix():
    inputs = np.random.default_rng(0).normal(size=(9, 2))
    others = np.random.default_rng(1).normal(size=(3, 2))
    found = lg.swap_response(model(), jnp.asarray(inputs), at=2, replacements=jnp.asarray(others))
    state, noise = np.zeros(2), [0.0]
    for x in inputs:
        state = A @ state + x
        noise.append(np.finfo(np.float64).eps * np.linalg.norm(state))
    for row, other in zip(found.distances, others, strict=True):
        moves = [np.linalg.matrix_power(A, t - 3) @ (other - inputs[2]) for t in range(3, 10)]
        np.testing.assert_allclose(row[3:], np.linalg.norm(moves, axis=1), rtol=1e-12)
    assert found.zero[:, :3].all()
    assert found.resolved[:, 3:].all()
    np.testing.assert_allclose(found.noise, noise, rtol=1e-12)
    assert set(lg.summary(found)) == {"median_distance", "least_distance", "noise"}


def test_what_is_below_the_noise_is_neither_zero_nor_resolved():
    inputs = jnp.ones((30, 2), np.float32)
    found = lg.swap_response(
        model(np.float32), inputs, at=0, replacements=jnp.asarray([[1, 1], [1, 1 + 1e-6]], "f4")
    )
    assert found.distances.dtype == np.float32
    assert found.zero[0].all()
    assert found.resolved[1, 1]
    assert not found.resolved[1, -1]


def test_tokens_and_messages():
    embedded = lg.Model(lambda p, s, x: jnp.tanh(s + p[x]), jnp.arange(4.0), jnp.zeros(1))
    tokens = jnp.asarray([1, 2, 3])
    found = lg.swap_response(embedded, tokens, at=0, replacements=jnp.arange(4))
    assert found.zero[1].all()
    assert not found.zero[0, 1]
    with pytest.raises(ValueError, match="at: expected a whole number from 0 to T - 1 = 2"):
        lg.swap_response(embedded, tokens, at=3, replacements=jnp.arange(4))
    with pytest.raises(ValueError, match="replacements: expected rows like"):
        lg.swap_response(embedded, tokens, at=0, replacements=jnp.ones(4))


def test_saturated_gates_hold_what_no_gradient_shows():
    """A cell whose forget gate is shut open keeps a symbol; its gradient sees nothing of that."""
    cell = lg.cells.lstm(1, 1, dtype=jnp.float64)
    params = cell.init(jax.random.key(0))
    # i opens for inputs above zero only, f is open, g has the sign of the input, o is open.
    order = type(params).forget_gate.order
    weights, biases = {"i": 60.0, "f": 0.0, "g": 60.0, "o": 0.0}, {"i": 0, "f": 60, "g": 0, "o": 60}
    params = params._replace(
        weight_ih=jnp.asarray([[weights[gate]] for gate in order]),
        weight_hh=jnp.zeros((4, 1)),
        bias=jnp.asarray([float(biases[gate]) for gate in order]),
    )
    inputs = jnp.full((40, 1), -1.0)
    found = lg.swap_response(
        cell.model(params), inputs, at=0, replacements=jnp.ones((1, 1)), of="c"
    )
    np.testing.assert_allclose(found.distances[0, 1:], 1.0, rtol=1e-6)
    chain = lg.chain(cell.model(params), inputs)
    # What the swap did, dc_1/dx, is e^-60 and less for the gradient.
    slope = jax.grad(lambda x: lg.unroll(*cell.model(params), inputs.at[0].set(x)).states.c[-1, 0])
    assert np.abs(slope(inputs[0])[0]) < 1e-20
    assert found.of == "c"
    assert len(chain) == 40


def test_parts_batches_and_kinds_of_numbers():
    inputs, others = jnp.ones((6, 2)), jnp.asarray([[2.0, 1.0], [1.0, 1.0]])
    state = {"a": jnp.zeros(2), "b": jnp.zeros(2, jnp.complex128)}

    def step(params, state, x):
        return {"a": 0.5 * state["a"] + x, "b": 0.5j * state["b"] + x.astype(complex)}

    both = lg.Model(step, None, state)
    whole = lg.swap_response(both, inputs, at=1, replacements=others)
    a, b = (lg.swap_response(both, inputs, at=1, replacements=others, of=part) for part in "ab")
    np.testing.assert_allclose(a.distances[0, 2:], 0.5 ** np.arange(5.0), rtol=1e-12)
    np.testing.assert_allclose(b.distances, a.distances, rtol=1e-12)
    np.testing.assert_allclose(whole.distances, np.hypot(a.distances, b.distances), rtol=1e-12)
    assert whole.zero[1].all()

    def of(scale):
        given = model()._replace(params=scale * jnp.asarray(A))
        return lg.swap_response(given, inputs, at=0, replacements=others)

    scales = jnp.asarray([0.5, 1.0])
    batch = jax.jit(jax.vmap(of))(scales)
    for i, scale in enumerate(scales):
        np.testing.assert_allclose(batch.distances[i], of(scale).distances, rtol=1e-12)
    half = lg.swap_response(
        model(jnp.bfloat16), inputs.astype("bfloat16"), at=0, replacements=others.astype("bfloat16")
    )
    assert half.distances.dtype == np.float32
    np.testing.assert_allclose(half.noise[1], 2**-7 * np.sqrt(2), rtol=1e-2)
