"""Swapped inputs against loops in NumPy, powers of a matrix, and rounding."""

from typing import Any

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
