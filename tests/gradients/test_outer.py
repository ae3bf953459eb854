"""What one step adds to a gradient as outer products, and sums of such over stretches of steps."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import eps
from registry import slow

import lstmgrad as lg
from lstmgrad._gradients.outer import Outer, outer_pullback

H = 6
DRAW = np.random.default_rng(0).standard_normal
Z = jnp.asarray(DRAW(H))
MASK = jnp.asarray(DRAW((3 * H, H)) > 0, "float64")


def by_gates(w):
    """One matrix cut into three, as gates are."""
    return jnp.concatenate([jnp.tanh(part @ Z) for part in jnp.split(w, 3)])


def by_columns(w):
    """Its first columns meet one vector, and its last columns another one."""
    return w[:, :2] @ Z[:2] + w[:, 2:] @ jnp.sin(Z[2:])


FACTORED = {
    "matrix times vector": lambda w: w @ Z,
    "vector times matrix": lambda w: Z @ w.T,
    "einsum": lambda w: jnp.einsum("ij,j->i", w, Z),
    "batch of one": lambda w: (Z[None] @ w.T)[0],
    "stack of matrices": lambda w: jnp.einsum("gij,j->gi", w.reshape(3, H, H), Z),
    "scaled and turned around": lambda w: -2.0 * (w @ Z),
    "beside another one": lambda w: jnp.concatenate([w, MASK], axis=1) @ jnp.tile(Z, 2),
    "gates of one matrix": by_gates,
    "compiled": jax.jit(lambda w: jnp.tanh(w @ Z)),
    "rematerialized": jax.checkpoint(lambda w: jnp.tanh(w @ Z)),
    "by sliced gates": lambda w: w[:H] @ Z + jnp.tanh(w[H : 2 * H] @ Z) * (w[2 * H :] @ Z),
    "in less precision": lambda w: (w.astype("float32") @ Z.astype("float32")).astype("float64"),
}
OTHERS = {
    "used twice": lambda w: w @ Z + w @ jnp.tanh(w[:H] @ Z),
    "masked": lambda w: (w * MASK) @ Z,
    "columns by themselves": by_columns,
    "two rows at once": lambda w: jnp.sum(jnp.tanh(jnp.stack([Z, 2 * Z]) @ w.T), axis=0),
    "in a loop": lambda w: jax.lax.scan(lambda c, row: (c, row @ Z), 0.0, w)[1],
    "by one number": lambda w: jnp.sum(w) * jnp.ones(3),
    "an entry": lambda w: w[jnp.asarray([2, 1]), jnp.asarray([0, 0])] * 2,
}


@pytest.mark.parametrize("way", [*FACTORED, *OTHERS])
def test_a_backward_pass_with_outer_products_is_the_backward_pass(way):
    function, w = {**FACTORED, **OTHERS}[way], jnp.asarray(DRAW((3 * H, H)))
    after, pull = jax.vjp(function, w)
    row = jnp.cos(jnp.arange(after.size, dtype="float64")).reshape(after.shape)
    (found,) = outer_pullback(pull, row)
    if way in FACTORED:
        assert isinstance(found, Outer)
        assert sorted([found.left.size, found.right.size]) == [H, 3 * H]
    one = Outer.of(found)
    assert one.shape == w.shape
    few = eps("float32") if "less" in way else 4 * eps("float64")
    np.testing.assert_allclose(one.to_array(), pull(row)[0], rtol=few, atol=few)


def tied(params, h, x):
    """A matrix in one product, another one used twice, and weights of other kinds."""
    drive = params["one"] @ h + params["two"] @ jnp.tanh(params["two"] @ x)
    return jnp.tanh(drive * params["gain"] + jnp.convolve(h, params["kernel"], mode="same"))


def parts_by_hand(chain: lg.Chain, cotangents: Any) -> np.ndarray:
    """What every step adds, (T, all parameters), one vjp a step with the adjoint of a loop."""
    step, params, _ = chain.model
    states, inputs = (
        np.asarray(leaf) for leaf in (chain.trajectory.states, chain.trajectory.inputs)
    )

    @jax.jit
    def pull(state, x, row):
        return jax.vjp(lambda params, state: step(params, state, x), params, state)[1](row)

    row, found = jnp.asarray(cotangents[-1]), []
    for t in range(len(inputs), 0, -1):
        part, row = pull(states[t - 1], inputs[t - 1], row)
        found.append(np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(part)]))
        row = row + cotangents[t - 1]
    return np.stack(found[::-1])


@pytest.mark.parametrize("length", [127, slow(128)])
def test_sums_over_more_steps_than_a_stretch_has(length):
    """A prime number of steps is filled up; 128 are two stretches."""
    keys = jax.random.split(jax.random.key(1), 5)
    shapes = {"one": (H, H), "two": (H, H), "gain": (H,), "kernel": (3,)}
    pairs = zip(shapes.items(), keys, strict=False)
    params = {name: 0.6 * jax.random.normal(key, shape) for (name, shape), key in pairs}
    inputs = jax.random.normal(keys[4], (length, H))
    chain = lg.chain(lg.Model(tied, params, jnp.zeros(H)), inputs)
    cotangents = lg.loss_cotangents(lambda states: jnp.sum(jnp.sin(states)), chain.trajectory)
    got = lg.contributions(chain, cotangents)

    parts = parts_by_hand(chain, np.asarray(cotangents))
    whole, sums = parts.sum(axis=0), np.cumsum(parts, axis=0)
    few: dict[str, Any] = {"rtol": 1e-11, "atol": 1e-12}
    np.testing.assert_allclose(got.log_norms, np.log(np.linalg.norm(parts, axis=1)), **few)
    np.testing.assert_allclose(got.shares, parts @ whole / (whole @ whole), **few)
    rest = np.linalg.norm(sums[::-1], axis=1) / np.linalg.norm(whole)
    np.testing.assert_allclose(got.residuals, [*rest, 0], **few)
    flat = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(got.gradient)])
    np.testing.assert_allclose(flat, whole, **few)


@pytest.mark.parametrize("dtype", ["float32", slow("float64")])
def test_sums_that_cancel_read_as_the_rounding_of_their_parts(dtype):
    """Steps that add (1, -1 + d) to one weight: the sum is d, which is below what squares see."""

    def step(w, h, x):
        return w * x

    d = 16 * eps(dtype)
    inputs = jnp.asarray([1.0, -1 + d, 0.0, 1.0], dtype)
    chain = lg.chain(lg.Model(step, jnp.ones((), dtype), jnp.zeros((), dtype)), inputs)
    got = lg.contributions(chain, jnp.ones(5, dtype))
    np.testing.assert_allclose(got.gradient, 1 + d, rtol=eps(dtype))
    np.testing.assert_allclose(got.residuals[0], 1)
    # The sums over the first two steps and over the first three.
    assert np.all(got.residuals[1:3] >= d)
    np.testing.assert_allclose(got.residuals[1:3], 2 * np.sqrt(eps(dtype)), rtol=0.5)
