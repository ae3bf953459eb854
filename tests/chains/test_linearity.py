"""Backward rules that are not linear are named when a chain is made; all others pass."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstmgrad as lg

N = 3
W = jnp.asarray(np.random.default_rng(0).normal(size=(N, N)))


def with_rule(backward):
    """The identity, with a backward rule."""

    @jax.custom_vjp
    def limit(x):
        return x

    limit.defvjp(lambda x: (x, x), lambda x, g: (backward(x, g),))
    return limit


def model(rule, scale=1.0):
    def step(W, s, x):
        return rule(jnp.tanh(scale * (W @ s)) + x)

    return lg.Model(step, W, jnp.ones(N))


INPUTS = jnp.zeros((5, N))

BROKEN = {
    "clipped": lambda x, g: jnp.clip(g, -0.1, 0.1),
    "clipped far above": lambda x, g: jnp.clip(g, -1e4, 1e4),
    "clipped by norm": lambda x, g: g * jnp.minimum(1, 1e-3 / jnp.linalg.norm(g)),
    "signs": lambda x, g: jnp.sign(g),
    "guided": lambda x, g: jnp.maximum(g, 0),
    "the larger one": lambda x, g: jnp.where(jnp.abs(g) == jnp.max(jnp.abs(g)), g, 0),
}
FINE = {
    "surrogate": lambda x, g: g / (1 + 5 * jnp.abs(x)) ** 2,
    "straight through": lambda x, g: g,
    "reversed": lambda x, g: -g,
    "in eight bits": lambda x, g: g.astype(jnp.bfloat16).astype(g.dtype),
    "none": lambda x, g: 0 * g,
    "broken": lambda x, g: jnp.nan * g,
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_rule_that_is_not_linear_is_named(name):
    with pytest.raises(RuntimeError, match=r"step: expected backward rules .* that of limit"):
        lg.chain(model(with_rule(BROKEN[name])), INPUTS)


@pytest.mark.parametrize("name", FINE)
def test_other_rules_pass(name):
    lg.chain(model(with_rule(FINE[name])), INPUTS)


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_sizes_beyond_the_range_are_no_reason(scale):
    lg.chain(model(with_rule(FINE["straight through"]), scale), INPUTS)


def test_batches_and_float32():
    clipped, straight = model(with_rule(BROKEN["clipped"])), model(with_rule(FINE["surrogate"]))

    def chains(model):
        narrow = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), (model.params, model.state))
        inputs = jnp.zeros((2, 5, N), jnp.float32)
        return jax.vmap(lambda xs: lg.chain(lg.Model(model.step, *narrow), xs))(inputs)

    chains(straight)
    with pytest.raises(RuntimeError, match="backward rules"):
        chains(clipped)
