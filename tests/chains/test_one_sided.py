"""Matrices declared to be multiplied on one side, against the chain of `linearize` and NumPy."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from registry import slow

import lstmgrad as lg
from lstmgrad.cells._delta_net import delta_rule

T, HEADS, V, K = 6, 2, 3, 4
CLOSE = {"rtol": 0, "atol": 1e-12}


class Memory(NamedTuple):
    """Two matrices, one with heads, and what is read from them."""

    out: jax.Array
    s: jax.Array
    window: jax.Array


def step(params, state, x):
    """Delta rules beside a window of past inputs, which S reads and nothing else does."""
    window = jnp.concatenate([state.window[:, 1:], jnp.tanh(x)[:, None]], axis=1)
    drive = params @ window[:, -1]
    key, value = drive[: HEADS * K].reshape(HEADS, K), drive[-HEADS * V :].reshape(HEADS, V)
    beta, alpha = jax.nn.sigmoid(window[:HEADS, 0]), jax.nn.sigmoid(x[:HEADS])
    s = delta_rule(state.s, 0.5 * key, value, beta, alpha)
    return Memory(jnp.tanh(jnp.einsum("hvk,hk->hv", s, key)), s, window)


@functools.cache
def chains():
    """The declared chain and the general one."""
    generator = np.random.default_rng(0)
    params = jnp.asarray(generator.normal(size=(HEADS * (K + V), 3)))
    shapes = (HEADS, V), (HEADS, V, K), (3, 2)
    state = Memory(*[jnp.asarray(generator.normal(size=shape)) for shape in shapes])
    model = lg.Model(step, params, state)
    inputs = jnp.asarray(generator.normal(size=(T, 3)))
    declared = lg.chain(model, inputs, linearize=lg.linearize_one_sided)
    assert isinstance(declared, lg.OneSidedChain)
    return declared, lg.chain(model, inputs)


def sides():
    """A_t of S by hand, (T, HEADS, K, K)."""
    _, general = chains()
    found = []
    for t in range(T):
        states, x = general.trajectory.states, np.asarray(general.trajectory.inputs[t])
        drive = np.asarray(general.model.params) @ np.tanh(x)
        beta = 1 / (1 + np.exp(-np.asarray(states.window[t + 1, :HEADS, 0])))
        alpha, key = 1 / (1 + np.exp(-x[:HEADS])), 0.5 * drive[: HEADS * K].reshape(HEADS, K)
        found.append(
            [a * (np.eye(K) - b * np.outer(k, k)) for a, b, k in zip(alpha, beta, key, strict=True)]
        )
    return np.asarray(found)


def test_the_factors_are_those_of_the_equation():
    declared, _ = chains()
    assert declared.matrices == ("s", "window")
    np.testing.assert_allclose(declared.factors[0][0], sides(), **CLOSE)
    shift = np.zeros((T, 2, 2))
    shift[:, 1, 0] = 1
    np.testing.assert_array_equal(declared.factors[0][1], shift)


def test_it_is_the_chain_of_linearize():
    """Whole, slices, and restricted to one matrix, which is multiplied and not run."""
    declared, general = chains()
    for one, other, part in ((declared, general, None), (declared[1:4], general[1:4], "s")):
        got, want = (lg.jacobian(chain, of=part, wrt=part) for chain in (one, other))
        np.testing.assert_allclose(got, want, **CLOSE)
    for one, other in ((declared, general), (declared[2:5], general[2:5])):
        for got, want in zip(
            jax.tree.leaves((one.trajectory, one.model)),
            jax.tree.leaves((other.trajectory, other.model)),
            strict=True,
        ):
            np.testing.assert_array_equal(got, want)


READINGS = [
    lambda chain, **parts: lg.backward_norms(chain, **parts).log_norms,
    lambda chain, **parts: lg.lyapunov_spectrum(chain, interval=2).exponents,
]
MORE = [
    lambda chain, **parts: lg.backward_singular_spectrum(chain, every=2, **parts).log_values,
    lambda chain, **parts: lg.forward_norms(chain, **parts).log_norms,
    lambda chain, **parts: lg.backward_norms(chain, length=4, **parts).log_norms,
    lambda chain, **parts: lg.norm_map(chain, every=2, **parts).log_norms,
    lambda chain, **parts: lg.matrix_free_norms(chain, (0, 2, 5), rtol=1e-13, **parts).log_norms,
    lambda chain, **parts: lg.forward_singular_spectrum(chain, num_values=5, **parts).log_values,
    lambda chain, **parts: lg.lyapunov_spectrum(chain, interval=2).standard_errors,
    lambda chain, **parts: lg.lyapunov_spectrum(chain, interval=1, length=4).exponents,
    lambda chain, **parts: lg.log_abs_det(chain),
    lambda chain, **parts: lg.product(chain, method=lg.Method.parallel).to_array(),
    lambda chain, **parts: lg.product(chain, method=lg.Method.blocked(4)).to_array(),
]


@pytest.mark.parametrize("read", [*READINGS, *[slow(read) for read in MORE]])
def test_readings_of_a_matrix_are_those_of_one_row(read):
    declared, general = (chain.restricted(["s"]) for chain in chains())
    assert declared.copies() is not None
    np.testing.assert_allclose(
        read(declared, of="s", wrt="s"), read(general, of="s", wrt="s"), **CLOSE
    )


@pytest.mark.slow
@pytest.mark.parametrize("read", [READINGS[0], MORE[0]])
def test_readings_of_other_parts_go_through_the_step(read):
    declared, general = chains()
    for of, wrt in ((None, None), ("out", "s"), ("s", "window"), ("window", "window")):
        np.testing.assert_allclose(
            read(declared, of=of, wrt=wrt), read(general, of=of, wrt=wrt), **CLOSE
        )


def test_heads_one_by_one():
    declared, _ = chains()
    got = jax.vmap(lambda head: lg.backward_norms(head).log_norms)(declared.heads("s"))
    for head, factors in enumerate(np.moveaxis(sides(), 1, 0)):
        products = [
            functools.reduce(np.matmul, factors[T - lag :], np.eye(K)) for lag in range(T + 1)
        ]
        want = [np.log(np.linalg.norm(product, 2)) for product in products]
        np.testing.assert_allclose(got[head], want, **CLOSE)
    whole = lg.backward_norms(declared, of="s", wrt="s")
    np.testing.assert_allclose(whole.log_norms, got.max(axis=0), **CLOSE)
    assert np.all(whole.resolved)
    with pytest.raises(ValueError, match="part: expected one of the matrices of the state, 's', "):
        declared.heads()


@pytest.mark.slow
def test_exponents_go_on_and_some_are_enough():
    declared = chains()[0].restricted(["s"])
    whole, half = (lg.lyapunov_spectrum(chain, interval=1) for chain in (declared, declared[:3]))
    rest = lg.lyapunov_spectrum(declared[3:], half.state, interval=1)
    np.testing.assert_allclose(rest.exponents, whole.exponents, **CLOSE)
    some = lg.lyapunov_spectrum(declared, num_exponents=5, interval=1)
    np.testing.assert_allclose(some.state.frame.T @ some.state.frame, np.eye(5), **CLOSE)
    assert np.all(np.diff(some.exponents) <= 0)
    np.testing.assert_allclose(some.exponents[0], whole.exponents[0], **CLOSE)


@pytest.mark.slow
def test_a_batch_is_the_loop_and_slopes_are_right():
    model = chains()[1].model
    batch = jax.random.normal(jax.random.key(3), (2, T, 3))

    def declared(params, inputs):
        return lg.chain(model._replace(params=params), inputs, linearize=lg.linearize_one_sided)

    def norm(params, inputs):
        return lg.backward_norms(declared(params, inputs), of="s", wrt="s").log_norms[-1]

    def square(params, inputs):
        return jnp.log(jnp.sum(lg.jacobian(declared(params, inputs), of="s", wrt="s") ** 2))

    together = jax.vmap(norm, (None, 0))(model.params, batch)
    for got, inputs in zip(together, batch, strict=True):
        np.testing.assert_allclose(got, norm(model.params, inputs), **CLOSE)
    # Keys of three inputs leave one of four directions alone: the norm knows the gates only.
    for function, position in ((norm, 1), (square, 0), (square, 1)):
        along, size = (model.params, batch[0]), 1e-5
        slope = jax.grad(function, position)(*along)
        ahead, behind = (
            function(*(value + shift * (place == position) for place, value in enumerate(along)))
            for shift in (size, -size)
        )
        assert abs(ahead - behind) > 1e-8
        np.testing.assert_allclose(jnp.sum(slope), (ahead - behind) / (2 * size), rtol=1e-6)


@pytest.mark.slow
def test_analyses_of_the_model_take_it():
    declared, general = chains()
    for read in (
        lambda chain: lg.contributions(chain, jnp.ones((T + 1, 36))).gradient,
        lambda chain: lg.input_norms(chain, of="s").log_norms,
    ):
        for got, want in zip(
            jax.tree.leaves(read(declared)), jax.tree.leaves(read(general)), strict=True
        ):
            np.testing.assert_allclose(got, want, **CLOSE)


def matrix_chain(factors):
    """S' = S A_t with given A_t."""
    states = jnp.ones((len(factors) + 1, 2, factors.shape[-1]), factors.dtype)
    trajectory = lg.Trajectory(factors, states)
    return lg.linearize_one_sided(lambda params, s, x: s @ x, None, trajectory)


def test_exact_zeros_and_nan():
    halves = jnp.broadcast_to(0.5 * jnp.eye(2), (4, 2, 2))
    gone = lg.forward_norms(matrix_chain(halves.at[2].set(0))).log_norms
    np.testing.assert_array_equal(np.isneginf(gone), np.arange(5) >= 3)
    np.testing.assert_allclose(gone[:3], np.arange(3) * np.log(0.5), **CLOSE)
    nan = lg.forward_norms(matrix_chain(halves.at[2, 1].set(jnp.nan))).log_norms
    np.testing.assert_array_equal(np.isnan(nan), np.arange(5) >= 3)


WRONG = {
    "from the left": lambda p, s, x: jnp.asarray([[0.9, 0.3], [0.0, 0.8]]) @ s,
    "from the left, a little": lambda p, s, x: s + 1e-3 * s[::-1],
    "not linear": lambda p, s, x: jnp.tanh(s),
    "between heads": lambda p, s, x: jnp.stack([s[0], s[0] + s[1]]),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_declaration_is_found_out(name):
    shape = (2, 2, 2) if "heads" in name else (2, 2)
    start = jax.random.normal(jax.random.key(0), shape)
    trajectory = lg.unroll(WRONG[name], None, start, jnp.ones(3))
    with pytest.raises(RuntimeError, match="expected every matrix of the state to be multiplied"):
        lg.linearize_one_sided(WRONG[name], None, trajectory)


def test_a_state_without_a_matrix_is_refused():
    cell = lg.cells.rnn(2, 3)
    model = cell.model(cell.init(jax.random.key(0)))
    with pytest.raises(
        ValueError, match=r"real matrix .* but got shapes \[\(3,\)\]. Use linearize"
    ):
        lg.chain(model, jnp.ones((2, 2)), linearize=lg.linearize_one_sided)
