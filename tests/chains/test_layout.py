"""States of every kind, their flat vectors and named parts, against jacrev of the whole unroll."""

import dataclasses
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import pairwise_jacobians
from registry import Problem, slow

import lstmgrad as lg
from lstmgrad._chains.layout import layout_of, ravel


class Pair(NamedTuple):
    slow: jax.Array
    fast: jax.Array


class ModuleState(eqx.Module):
    slow: jax.Array
    fast: jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class DataState:
    slow: jax.Array
    fast: jax.Array


SLOW, FAST = jnp.asarray([0.1, -0.4]), jnp.asarray([0.7, 0.2, -0.3])


def mix(slow, fast, x):
    """A step of two coupled parts of different sizes."""
    return (
        0.9 * slow + 0.1 * jnp.sin(fast[:2]) * x,
        jnp.tanh(fast + x) + 0.3 * jnp.sum(slow**2),
    )


def by_field(kind):
    return lambda params, state, x: kind(*mix(state.slow, state.fast, x))


STATES = {
    "array": (lambda p, s, x: jnp.tanh(0.5 * jnp.roll(s, 1) + x), FAST, {0: 3}),
    "scalar": (lambda p, s, x: jnp.sin(s) + x, jnp.asarray(0.3), {0: 1}),
    "tuple": (lambda p, s, x: mix(s[0], s[1], x), (SLOW, FAST), {0: 2, 1: 3}),
    "list": (lambda p, s, x: list(mix(s[0], s[1], x)), [SLOW, FAST], {0: 2, 1: 3}),
    "dict": (
        lambda p, s, x: dict(zip("ba", mix(s["b"], s["a"], x), strict=True)),
        {"b": SLOW, "a": FAST},
        {"a": 3, "b": 2},
    ),
    "namedtuple": (by_field(Pair), Pair(SLOW, FAST), {"slow": 2, "fast": 3}),
    "module": (by_field(ModuleState), ModuleState(SLOW, FAST), {"slow": 2, "fast": 3}),
    "dataclass": (by_field(DataState), DataState(SLOW, FAST), {"slow": 2, "fast": 3}),
    "nested": (
        lambda p, s, x: {
            "top": mix(s["top"][0], s["top"][1], x),
            "last": 0.5 * s["last"] + s["top"][1],
        },
        {"top": (SLOW, FAST), "last": FAST},
        {"last": 3, "top": 5},
    ),
    "matrix": (
        lambda p, s, x: {
            "m": jnp.tanh(s["m"] @ s["m"].T @ s["m"]) * x,
            "v": s["m"].T @ (s["m"] @ s["v"]),
        },
        {"m": jnp.arange(6.0).reshape(2, 3) / 5, "v": FAST},
        {"m": 6, "v": 3},
    ),
    "complex": (
        lambda p, s, x: {
            "z": s["z"] ** 2 + jnp.conj(s["z"]) + x.astype(s["z"].dtype),
            "v": s["v"] * s["z"].real,
        },
        {"z": jnp.asarray([0.3 + 0.2j, -0.1 + 0.5j]), "v": SLOW},
        {"v": 2, "z": 4},
    ),
    "counter": (
        lambda p, s, x: {"n": s["n"] + 1, "v": jnp.tanh(s["v"] * s["n"].astype(x.dtype) + x)},
        {"n": jnp.asarray(1), "v": FAST},
        {"v": 3},
    ),
    "flag": (
        lambda p, s, x: {"on": ~s["on"], "v": jnp.where(s["on"], jnp.sin(s["v"]), s["v"] * x)},
        {"on": jnp.asarray(True), "v": FAST},
        {"v": 3},
    ),
    "random key": (
        lambda p, s, x: {
            "key": jax.random.split(s["key"])[0],
            "v": s["v"] * jax.random.normal(s["key"], (3,)) * x,
        },
        {"key": jax.random.key(0), "v": FAST},
        {"v": 3},
    ),
    "empty leaf": (
        lambda p, s, x: (s[0], jnp.tanh(s[1] + x)),
        (jnp.zeros(0), FAST),
        {0: 0, 1: 3},
    ),
}


@eqx.filter_jit
def chain_and_products(step, state, inputs, of, wrt):
    """Of the whole sequence, by both representations, and a block of what follows one step."""
    chain = lg.linearize(step, None, lg.unroll(step, None, state, inputs))
    dense = lg.product(lg.DenseChain.of(chain)).to_array()
    return chain.layout, lg.jacobian(chain), dense, lg.jacobian(chain[1:], of=of, wrt=wrt)


# One container of two parts stands for all, and what is not an array of numbers for itself.
ALIKE = ("tuple", "list", "dict", "module", "dataclass", "scalar")


@pytest.mark.parametrize("kind", [slow(kind) if kind in ALIKE else kind for kind in STATES])
def test_every_kind_of_state_has_named_parts_and_the_jacobian_of_jacrev(kind):
    step, state, sizes = STATES[kind]
    inputs = jnp.asarray([0.4, -0.9, 0.6])
    of, wrt = next(iter(sizes)), list(sizes)[-1]
    layout, whole, dense, got = chain_and_products(step, state, inputs, of, wrt)
    assert layout.parts == tuple(sizes)
    truth = pairwise_jacobians(Problem(step, None, state, inputs))
    starts = dict(zip(sizes, np.cumsum([0, *sizes.values()]), strict=False))
    np.testing.assert_allclose(whole, truth[3, :, 0], rtol=0, atol=1e-12)
    np.testing.assert_allclose(dense, truth[3, :, 0], rtol=0, atol=1e-12)
    rows = slice(starts[of], starts[of] + sizes[of])
    columns = slice(starts[wrt], starts[wrt] + sizes[wrt])
    np.testing.assert_allclose(got, truth[3, rows, 1, columns], rtol=0, atol=1e-12)


def test_complex_leaves_are_real_parts_then_imaginary_parts():
    z = jnp.asarray([1 + 2j, 3 + 4j])
    np.testing.assert_array_equal(ravel({"z": z}), [1.0, 3.0, 2.0, 4.0])


def test_a_holomorphic_step_has_the_cauchy_riemann_jacobian():
    a = 0.6 + 0.3j

    def step(params, z, x):
        return a * z + x.astype(z.dtype)

    chain = lg.linearize(step, None, lg.unroll(step, None, jnp.asarray(0.2j), jnp.arange(3.0)))
    b = a**3
    np.testing.assert_allclose(
        lg.jacobian(chain), [[b.real, -b.imag], [b.imag, b.real]], rtol=1e-14
    )


@pytest.mark.parametrize("kind", STATES)
def test_unravel_undoes_ravel(kind):
    _, state, sizes = STATES[kind]
    layout = layout_of(state)
    flat = layout.ravel(state)
    assert flat.shape == (sum(sizes.values()),) == (layout.size,)
    np.testing.assert_array_equal(flat, ravel(state))
    back = layout.unravel(flat, state)
    assert jax.tree.structure(back) == jax.tree.structure(state)
    for old, new in zip(jax.tree.leaves(state), jax.tree.leaves(back), strict=True):
        assert old.dtype == new.dtype
        if jnp.issubdtype(old.dtype, jax.dtypes.prng_key):
            old, new = jax.random.key_data(old), jax.random.key_data(new)
        np.testing.assert_array_equal(old, new)


def test_layout_is_a_hashable_value():
    one, other = layout_of(Pair(SLOW, FAST)), layout_of(Pair(SLOW + 1, FAST))
    assert one == other
    assert hash(one) == hash(other)
    assert one != layout_of((SLOW, FAST))


def test_layout_of_an_abstract_state_is_that_of_the_state():
    state = Pair(SLOW, FAST)
    assert layout_of(jax.eval_shape(lambda: state)) == layout_of(state)


def test_block_sizes():
    layout = layout_of(Pair(SLOW, FAST))
    assert layout.block(None, "of") == slice(0, 5)
    assert layout.block("fast", "of") == slice(2, 5)
    assert layout.part_sizes() == {"slow": 2, "fast": 3}
    assert layout.size == 5


@pytest.mark.parametrize("kind", ["nested", "complex", "counter", "empty leaf"])
def test_a_restricted_layout_holds_some_of_the_parts_and_leaves_the_rest(kind):
    _, state, sizes = STATES[kind]
    whole = layout_of(state)
    for part in sizes:
        layout = whole.restricted([part])
        assert layout.parts == (part,)
        assert layout.part_sizes() == {part: sizes[part]}
        kept = whole.coordinates([part])
        np.testing.assert_array_equal(kept, np.arange(whole.size)[whole.block(part, "part")])
        flat = np.array(whole.ravel(state))
        np.testing.assert_array_equal(layout.ravel(state), flat[kept])
        moved = layout.unravel(jnp.asarray(flat[kept] + 1), state)
        flat[kept] += 1
        np.testing.assert_array_equal(whole.ravel(moved), flat)
    assert whole.restricted(reversed(whole.parts)) == whole
