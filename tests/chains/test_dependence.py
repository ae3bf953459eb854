"""Which part depends on which, read from the jaxpr: against what jacrev finds nonzero, and by hand.

Whatever jacrev finds nonzero must be declared; for cells and stacks of cells nothing else is.
"""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import add, flatten
from registry import D, H

import lstmgrad as lg
from lstmgrad._chains.dependence import mutual_groups, parts_between
from lstmgrad._chains.layout import layout_of

REGISTRY = lg.cells.registry()
POINTS = 3


def lstm_stack(layers):
    cells = [lg.cells.lstm(D if layer == 0 else H, H) for layer in range(layers)]
    return lg.interop.stack([cell.model(cell.init(jax.random.key(0))) for cell in cells])


def mixed_stack():
    """Layers of three kinds, with a part that is held in the middle one."""
    lstm, slstm, gru = lg.cells.lstm(D, H), lg.cells.slstm(H, H), lg.cells.gru(H, H)
    return lg.interop.stack(
        [cell.model(cell.init(jax.random.key(0))) for cell in (lstm, slstm, gru)]
    )


def cell_model(name):
    cell = REGISTRY[name](D, H)
    return cell.model(cell.init(jax.random.key(0)))


MODELS = {name: functools.partial(cell_model, name) for name in REGISTRY} | {
    "two layers": functools.partial(lstm_stack, 2),
    "three layers": functools.partial(lstm_stack, 3),
    "three kinds of layers": mixed_stack,
}


def random_points(tree):
    """Copies of the tree with random numbers, `POINTS` of them along axis 0."""
    generator = np.random.default_rng(0)

    def draw(leaf):
        re, im = 0.7 * generator.standard_normal((2, POINTS, *leaf.shape))
        return jnp.asarray(re + 1j * im if jnp.iscomplexobj(leaf) else re, leaf.dtype)

    return jax.tree.map(draw, tree)


@eqx.filter_jit
def jacobians(step, params, states, inputs):
    """By jacrev of one step, at every point."""

    def one(params, state, x):
        zero = jnp.zeros_like(flatten(state))
        return jax.jacrev(lambda delta: flatten(step(params, add(state, delta), x)))(zero)

    return jax.vmap(one)(params, states, inputs)


def declared_by(step, params, state, x):
    """The dependence that a chain of one step declares, and its layout."""
    inputs = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], x)
    layout = lg.chain(lg.Model(step, params, state), inputs).layout
    return np.asarray(layout.dependence), layout


def found_by_jacrev(step, params, state, x):
    """At random points, per pair of parts."""
    points = random_points((params, state, x))
    found = np.abs(jacobians(step, *points)).max(axis=0)
    assert np.all(np.isfinite(found))
    layout = layout_of(state)
    blocks = [layout.block(part, "part") for part in layout.parts]
    return np.asarray([[np.any(found[i, j] != 0) for j in blocks] for i in blocks])


@pytest.mark.parametrize("name", MODELS)
def test_cells_and_stacks_declare_what_jacrev_finds_and_no_more(name):
    model, x = MODELS[name](), jnp.ones(D)
    declared, _ = declared_by(model.step, model.params, model.state, x)
    found = found_by_jacrev(model.step, model.params, model.state, x)
    np.testing.assert_array_equal(declared, found)


def test_a_stack_declares_nothing_downward():
    model = lstm_stack(3)
    declared, layout = declared_by(model.step, model.params, model.state, jnp.ones(D))
    assert layout.parts == ("h0", "c0", "h1", "c1", "h2", "c2")
    layer = np.arange(6) // 2
    np.testing.assert_array_equal(declared, layer[:, None] >= layer[None])


# -- steps with calls, loops and rules of their own ----------------------------------------------


def pair(first, second):
    """A step of two parts from the two functions of (a, b)."""
    return lambda params, s, x: {"a": first(s["a"], s["b"]), "b": second(s["a"], s["b"])}


def keep(a, b):
    return 0.5 * b


def lower(a, b):
    """Depends on a alone, though it is handed both."""
    return jnp.tanh(a)


scaled = jax.custom_jvp(lambda a, b: jnp.sin(a) + 0.0 * b)
scaled.defjvp(lambda primals, tangents: (scaled(*primals), jnp.cos(primals[0]) * tangents[0]))

# A threshold: its derivative is a surrogate, which its forward pass knows nothing of.
spike = jax.custom_vjp(lambda v: (v > 0).astype(v.dtype))
spike.defvjp(lambda v: (spike(v), v), lambda v, g: (g / (1 + jnp.abs(v)) ** 2,))


def looped(a, b):
    return jax.lax.scan(lambda carry, x: (0.9 * carry + x, None), a, jnp.stack([b, b]))[0]


def looped_in_vain(a, b):
    """Carries b along and returns a."""
    return jax.lax.fori_loop(0, 3, lambda i, loop: (jnp.sin(loop[0]), loop[1] + 1), (a, b))[0]


def until(a, b):
    return jax.lax.while_loop(lambda v: jnp.sum(v**2) > 1, lambda v: 0.5 * v, a)


def branched(a, b):
    return jax.lax.cond(jnp.sum(b) > 0, lambda a, b: a, lambda a, b: a + b, a, b)


def surrogate(a, b):
    return spike(a - 0.1)


def cut_in_two(a, b):
    return a + jax.lax.stop_gradient(b)


def through_integers(a, b):
    return a + jnp.round(b).astype(int).astype(a.dtype)


def chosen(a, b):
    return jnp.where(b > 0, a, -a)


def nested(a, b):
    """Calls inside of calls, all looked into."""
    return jax.jit(jax.checkpoint(lambda a, b: jax.jit(lower)(a, jnp.exp(b))))(a, b)


def nested_surrogate(a, b):
    return jax.jit(jax.checkpoint(lambda a: jax.vmap(spike)(a)))(a)


EXACT = {  # of a' on (a, b)
    "jit": (jax.jit(lower), [True, False]),
    "remat": (jax.checkpoint(lower), [True, False]),
    "jit in remat in jit": (nested, [True, False]),
    "stop_gradient": (cut_in_two, [True, False]),
    "integers": (through_integers, [True, False]),
    "a condition of a choice": (chosen, [True, False]),
    "another part alone": (lambda a, b: keep(a, b), [False, True]),
    "a constant": (lambda a, b: jnp.ones(2), [False, False]),
}
CONSERVATIVE = {
    "scan": (looped, [True, True]),
    "scan in vain": (looped_in_vain, [True, True]),
    "cond": (branched, [True, True]),
    "custom_jvp": (scaled, [True, True]),
}
FORWARD_ONLY = {"while": (until, [True, False])}  # jacrev does not know it, jacfwd does
SURROGATES = {
    "custom_vjp": (surrogate, [True, False]),
    "custom_vjp in calls": (nested_surrogate, [True, False]),
}
START = {"a": jnp.asarray([0.9, -1.3]), "b": jnp.asarray([0.2, 0.4])}


@pytest.mark.parametrize("name", EXACT)
def test_calls_are_looked_into_and_cuts_are_seen(name):
    first, want = EXACT[name]
    step = pair(first, keep)
    declared, _ = declared_by(step, None, START, jnp.ones(()))
    np.testing.assert_array_equal(declared, [want, [False, True]])
    np.testing.assert_array_equal(declared, found_by_jacrev(step, None, START, jnp.ones(())))


@pytest.mark.parametrize("name", CONSERVATIVE | FORWARD_ONLY | SURROGATES)
def test_loops_branches_and_rules_depend_on_all_that_they_are_given(name):
    first, want = (CONSERVATIVE | FORWARD_ONLY | SURROGATES)[name]
    step = pair(first, keep)
    declared, _ = declared_by(step, None, START, jnp.ones(()))
    np.testing.assert_array_equal(declared, [want, [False, True]])
    if name not in FORWARD_ONLY:
        found = found_by_jacrev(step, None, START, jnp.ones(()))
        assert np.all(declared | ~found)
        assert found[0, 0]


def test_a_surrogate_gradient_reaches_the_norms_of_its_part():
    """Taken for a cut, the threshold would make the norm zero without a word."""
    chain = lg.chain(lg.Model(pair(surrogate, keep), None, START), jnp.ones(1))
    slopes = 1 / (1 + np.abs(np.asarray(START["a"]) - 0.1)) ** 2
    got = lg.backward_norms(chain, of="a", wrt="a")
    np.testing.assert_allclose(got.log_norms, [0, np.log(slopes.max())], rtol=1e-14)


def test_a_part_of_several_leaves_depends_on_what_any_of_them_does():
    def step(params, s, x):
        return {"a": (s["a"][0], s["b"]), "b": s["b"], "n": s["n"] + 1}

    state = {"a": (jnp.ones(2), jnp.ones(2)), "b": jnp.ones(2), "n": 0}
    declared, layout = declared_by(step, None, state, jnp.ones(()))
    assert layout.parts == ("a", "b")
    np.testing.assert_array_equal(declared, [[True, True], [False, True]])


# -- paths, on graphs drawn by hand --------------------------------------------------------------


def graph(edges, names):
    """The layout of scalar parts where each "xy" of the edges says that y depends on x."""
    depends = tuple(tuple(old + new in edges for old in names) for new in names)
    return layout_of({name: jnp.ones(()) for name in names}, depends)


#  a -> b <-> c -> d,  b -> e,  f alone and without a memory of itself
BRANCHING = graph(["aa", "ab", "bc", "cb", "cd", "dd", "be"], "abcdef")
RING = graph(["ab", "bc", "ca"], "abc")


@pytest.mark.parametrize(
    ("layout", "of", "wrt", "want"),
    [
        (BRANCHING, "d", "a", "abcd"),
        (BRANCHING, "e", "a", "abce"),  # through b, which c comes back to
        (BRANCHING, "b", "b", "bc"),
        (BRANCHING, "a", "a", "a"),
        (BRANCHING, "f", "f", "f"),  # the identity at lag 0, if nothing later
        (BRANCHING, "a", "b", ""),
        (BRANCHING, "f", "a", ""),
        (BRANCHING, None, "c", "bcde"),
        (BRANCHING, "c", None, "abc"),
        (BRANCHING, None, None, "abcdef"),
        (RING, "a", "b", "abc"),
        (RING, "a", "a", "abc"),
    ],
)
def test_parts_between_two(layout, of, wrt, want):
    assert parts_between(layout, of, wrt) == tuple(want)


def test_groups_of_parts_that_reach_one_another():
    assert mutual_groups(BRANCHING) == [("a",), ("b", "c"), ("d",), ("e",), ("f",)]
    assert mutual_groups(RING) == [("a", "b", "c")]
    assert mutual_groups(layout_of(START)) == [("a", "b")]  # unknown: all on all
