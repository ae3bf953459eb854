"""Steps with something done at their tagged values."""

import jax
import jax.numpy as jnp
import numpy as np

import lstmgrad as lg
from lstmgrad._routes.tagged import run_tagged, straight_tag_names, tag_names


@jax.custom_jvp
def own_rule(s):
    return lg.tag(jnp.sin(s), "ruled")


own_rule.defjvp(lambda primals, tangents: (own_rule(*primals), jnp.cos(primals[0]) * tangents[0]))


@jax.jit
def helper(s):
    return lg.tag(s * s, "helped")


def step(params, s, x):
    twice, _ = jax.lax.scan(lambda c, _: (lg.tag(jnp.sin(c), "looped"), None), s, None, length=2)
    chosen = jax.lax.cond(
        x > 0, lambda s: lg.tag(2 * s, "branched"), lambda s: lg.tag(-s, "branched"), s
    )
    both = lg.tag({"a": s, "b": jnp.cos(s)}, "pair")
    again = lg.tag(twice, "looped")
    return again + chosen + both["a"] + both["b"] + helper(s) + own_rule(s)


STATE, X = jnp.asarray([0.3, -0.2]), jnp.asarray(1.0)
STRAIGHT = ["branched", "pair", "helped"]


def test_names_of_tags():
    assert sorted(tag_names(step, None, STATE, X)) == sorted(["looped", "ruled", *STRAIGHT])
    assert straight_tag_names(step, None, STATE, X) == STRAIGHT


def test_a_step_is_what_it_was():
    seen = []

    def at_tag(name, reference, moving):
        seen.append(name)
        return moving

    got = run_tagged(step, None, STATE, STATE, X, at_tag)
    np.testing.assert_array_equal(got, step(None, STATE, X))
    # A tag of two leaves is called for each; both branches are traced.
    assert seen.count("pair") == seen.count("branched") == 2
    assert seen.count("helped") == 1
    assert "ruled" not in seen


def test_what_is_done_at_a_tag_is_done():
    """A step that is told 10 more at one tag ends at what follows from it."""
    for name, want in (("helped", 10.0), ("pair", 20.0), ("branched", 10.0), ("none", 0.0)):
        got = run_tagged(
            step,
            None,
            STATE,
            STATE,
            X,
            lambda at, reference, moving, name=name: moving + 10.0 if at == name else moving,
        )
        np.testing.assert_allclose(got - step(None, STATE, X), np.full(2, want), rtol=1e-13, atol=0)


def test_held_values_come_from_the_reference():
    other = jnp.asarray([1.0, 2.0])

    def at_tag(name, reference, moving):
        return reference if name == "helped" else moving

    got = run_tagged(step, None, STATE, other, X, at_tag)
    want = step(None, other, X) - other**2 + STATE**2
    np.testing.assert_allclose(got, want, rtol=1e-14)
