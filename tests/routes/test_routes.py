"""Routes and their shares: the parts of the chain by the tagged value that the gradient crosses."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hand import lstm_parts
from oracles import eps, log_norm, loop_product
from registry import CELLS, H, T, chain_of, problem, slow

import lstmgrad as lg
from lstmgrad._routes.routes import RouteChain

RESTS = ("untagged", "crossed")
NAMES = {
    "rnn": ["recurrent"],
    "rnn-relu": ["recurrent"],
    "gru": ["candidate", "update", "carry"],
    "lstm": ["forget", "cell", "input", "candidate", "output"],
}
CLOSE = {"rtol": 0, "atol": 1e-13}


def routes_of(given):
    return lg.routes(given.chain())


def dense(routes):
    return {name: np.asarray(lg.DenseChain.of(route).factors) for name, route in routes.items()}


@pytest.mark.parametrize(
    ("name", "dtype"), [*((name, "float64") for name in CELLS), slow("lstm", "float32")]
)
def test_the_routes_of_a_cell_add_up_to_its_chain(name, dtype):
    given = problem(name, dtype)
    routes = routes_of(given)
    assert list(routes) == [*NAMES[name], *RESTS]
    factors, whole = dense(routes), np.asarray(lg.DenseChain.of(given.chain()).factors)
    scale = np.abs(whole).max()
    tolerance = 1e-14 if dtype == "float64" else 8 * eps(dtype)
    assert all(route.dtype == dtype for route in factors.values())
    assert np.abs(sum(factors.values()) - whole).max() <= tolerance * scale
    np.testing.assert_array_equal(factors["untagged"], 0)
    assert np.abs(factors["crossed"]).max() <= tolerance * scale
    assert all(np.any(factors[route] != 0) for route in NAMES[name])


def test_the_cell_route_is_the_additive_path():
    """Truth T2: J = A + B, A the path c -> c' alone and B all that comes through h."""
    given = problem("lstm")
    h, c = (np.asarray(leaf) for leaf in given.run().states)
    factors = dense(routes_of(given))
    for t in range(T):
        A, B, _ = lstm_parts(given.params, h[t], c[t], given.inputs[t])
        np.testing.assert_allclose(factors["cell"][t], A, **CLOSE)
        rest = sum(route[t] for name, route in factors.items() if name != "cell")
        np.testing.assert_allclose(rest, B, **CLOSE)


def test_the_cell_route_is_the_product_of_the_forget_gates():
    """Bit for bit where the gates are the same: only products of two numbers are between them."""
    given = problem("lstm", length=40)
    route = routes_of(given)["cell"]
    dense = lg.DenseChain.of(route)
    cells = np.asarray(dense.factors)[:, H:, H:]
    gates = np.diagonal(cells, axis1=1, axis2=2)
    assert np.all((gates > 0) & (gates < 1))
    product = np.ones(H)
    for gate in gates:
        product = gate * product
    np.testing.assert_array_equal(lg.jacobian(dense, of="c", wrt="c"), np.diag(product))
    # Another program may round the gates otherwise in the last place, once a step.
    got = lg.jacobian(route, of="c", wrt="c")
    np.testing.assert_allclose(got, np.diag(product), rtol=40 * eps("float64"), atol=0)


def test_an_h_that_is_let_through_in_part():
    """Truth T2: h replaced by p h + (1-p) stop_gradient(h) gives the product of A + p B."""
    given, p = problem("lstm"), 0.3

    def partial(params, state, x):
        return given.step(params, state._replace(h=p * state.h + (1 - p) * held(state.h)), x)

    held = jax.lax.stop_gradient
    factors = dense(routes_of(given))
    mixed = [sum((1 if k == "cell" else p) * f[t] for k, f in factors.items()) for t in range(T)]
    got = lg.jacobian(given._replace(step=partial).chain())
    np.testing.assert_allclose(got, loop_product(mixed), **CLOSE)


@jax.jit
def helper(y):
    return lg.tag(y * y, "squared")


def branching(params, s, x):
    """A bare array with tags in compiled functions, loops and branches, crossed and beside them."""
    matrix, gain = params

    def body(carry, _):
        return lg.tag(jnp.sin(carry), "loop"), None

    tanh = lg.tag(jnp.tanh(matrix @ s), "tanh")
    looped, _ = jax.lax.scan(body, s, None, length=2)
    counted = jax.lax.fori_loop(0, 3, lambda i, c: lg.tag(2 * c, "counted"), s)
    chosen = jax.lax.cond(
        x[0] > 0, lambda s: lg.tag(s, "up"), lambda s: lg.tag(-gain * s, "down"), s
    )
    again = jax.checkpoint(lambda s: lg.tag(jnp.cos(s), "again"))(s)
    new = tanh + helper(s) + helper(tanh) + looped + counted + chosen + again + 0.1 * s
    return lg.tag(jnp.tanh(gain), "from parameters") * new / 4


def test_a_step_of_ones_own():
    matrix = jax.random.normal(jax.random.key(0), (3, 3))
    params = matrix, jnp.asarray(2.0)
    inputs = jax.random.normal(jax.random.key(1), (6, 1))
    chain = lg.chain(lg.Model(branching, params, jnp.asarray([0.3, -0.2, 0.1])), inputs)
    factors, trajectory = dense(lg.routes(chain)), chain.trajectory
    for t in range(6):
        s, y = (np.asarray(a) for a in (trajectory.states[t], matrix @ trajectory.states[t]))
        y = np.tanh(y)
        slope, eye = (1 - y**2)[:, None] * np.asarray(matrix), np.eye(3)
        up = bool(inputs[t, 0] > 0)
        want = {
            "tanh": slope,
            "squared": np.diag(2 * s),
            "loop": np.diag(np.cos(np.sin(s)) * np.cos(s)),
            "counted": 8 * eye,
            "up": eye * up,
            "down": -2 * eye * (not up),
            "again": -np.diag(np.sin(s)),
            "from parameters": 0 * eye,
            "untagged": 0.1 * eye,
            "crossed": 2 * y[:, None] * slope,
        }
        assert set(want) == set(factors)
        for name, expected in want.items():
            got = factors[name][t] * 4 / np.tanh(2)
            np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12, err_msg=name)
    assert {bool(x > 0) for x in inputs[:, 0]} == {True, False}
    whole = lg.DenseChain.of(chain).factors
    assert np.abs(sum(factors.values()) - whole).max() <= 1e-14 * np.abs(whole).max()


class Mixed(NamedTuple):
    slow: jax.Array
    turning: jax.Array
    steps: jax.Array


def mixed_step(params, s, x):
    """Parts of every kind, and one tag on a pytree."""
    slow, turning = lg.tag(
        (jnp.tanh(s.slow + x), s.turning * jnp.exp(jax.lax.complex(-x, x))), "both"
    )
    return Mixed(slow + lg.tag(0.5 * s.slow, "leak"), turning, s.steps + 1)


def test_complex_parts_and_counters():
    start = Mixed(jnp.ones(2), jnp.asarray([1.0 + 1j, -2j]), jnp.zeros((), int))
    inputs = jnp.cos(jnp.arange(8.0)).reshape(4, 2)
    chain = lg.chain(lg.Model(mixed_step, None, start), inputs)
    routes = lg.routes(chain)
    factors, whole = dense(routes), lg.DenseChain.of(chain).factors
    np.testing.assert_allclose(sum(factors.values()), whole, **CLOSE)
    np.testing.assert_array_equal(factors["untagged"], 0)
    np.testing.assert_allclose(factors["crossed"], 0, **CLOSE)
    leak = lg.jacobian(routes["leak"][1:2])
    np.testing.assert_array_equal(leak, np.diag([0.5, 0.5, 0, 0, 0, 0]))


@pytest.mark.slow
@pytest.mark.parametrize("route", ["cell", "crossed"])
def test_a_route_is_a_chain_like_any_other(route):
    given = problem("lstm")
    chain = routes_of(given)[route] if route == "cell" else shifted(routes_of(given))
    twin = lg.DenseChain(lg.DenseChain.of(chain).factors, layout=chain.layout)
    assert len(chain) == len(twin) == T
    block = jnp.cos(jnp.arange(4.0 * H)).reshape(2 * H, 2)
    readings = {
        "product": lambda chain: lg.product(chain).to_array(),
        "push": lambda chain: lg.push_forward(chain[1:4], block).to_array(),
        "pull": lambda chain: lg.pull_back(chain[1:][1:3], block.T).to_array(),
        "norms": lambda chain: lg.backward_norms(chain, of="c", wrt="c", every=2).log_norms,
        "blocks": lambda chain: lg.product(chain, method=lg.Method.blocked(2)).to_array(),
        "wide": lambda chain: lg.matrix_free_norms(chain, [3], of="c", wrt="c").log_norms,
    }
    for name in readings if route == "cell" else ("push", "pull"):
        got, want = (readings[name](each) for each in (chain, twin))
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-12, err_msg=name)


def shifted(routes):
    """The longest of the sums, with weights above one in it, made to be more than rounding."""
    chain = routes["crossed"]
    assert max(chain.weights) == len(routes) - 3
    return RouteChain(
        factors=chain.factors,
        steps=chain.steps,
        weights=(3, *chain.weights[1:]),
        layout=chain.layout,
    )


@pytest.mark.slow
def test_compiled_and_batched_routes_are_the_loop():
    given = problem("lstm")
    inputs = jax.random.normal(jax.random.key(7), (3, T, given.inputs.shape[1]))

    def read(x):
        one = given._replace(inputs=x)
        routes = routes_of(one)
        shares = lg.route_shares(one.chain(), routes, of="c", wrt="c")
        return lg.backward_norms(routes["cell"], of="c", wrt="c").log_norms, shares.shares

    together, compiled = jax.vmap(read)(inputs), jax.jit(read)
    for i in range(3):
        one = jax.tree.leaves(compiled(inputs[i]))
        for got, want in zip(jax.tree.leaves(together), one, strict=True):
            np.testing.assert_allclose(got[i], want, rtol=1e-10, atol=1e-12)
    norms, shares = read(inputs[0])
    np.testing.assert_allclose(norms, together[0][0], rtol=1e-12)
    np.testing.assert_allclose(shares["cell"], together[1]["cell"][0], rtol=0, atol=1e-12)


@pytest.mark.slow
def test_slopes_of_a_route_in_the_parameters():
    given = problem("lstm")

    def log_norm(bias):
        moved = given._replace(params=given.params._replace(bias=bias))
        return lg.backward_norms(routes_of(moved)["cell"], of="c", wrt="c").log_norms[-1]

    bias, step = given.params.bias, 1e-6
    direction = jnp.cos(jnp.arange(float(bias.size)))
    along = jnp.vdot(jax.grad(log_norm)(bias), direction)
    ahead, behind = (log_norm(bias + s * direction) for s in (step, -step))
    np.testing.assert_allclose(along, (ahead - behind) / (2 * step), rtol=1e-7)


def marked(mark):
    def step(params, s, x):
        f = mark(jax.nn.sigmoid(params @ s), "gate")
        return f * mark(s, "carry") + (1 - f) * jnp.tanh(x)

    return step


def test_a_tag_changes_nothing():
    params, start = jax.random.normal(jax.random.key(0), (4, 4)), jnp.ones(4)
    inputs = jax.random.normal(jax.random.key(1), (9, 4))

    def values(step):
        def states(params):
            return lg.unroll(step, params, start, inputs).states

        slope = jax.jit(jax.grad(lambda params: jnp.sum(states(params)[-1] ** 2)))
        chain = lg.linearize(step, params, lg.unroll(step, params, start, inputs))
        return states(params), slope(params), lg.jacobian(chain)

    tagged, plain = values(marked(lg.tag)), values(marked(lambda value, name: value))
    np.testing.assert_array_equal(tagged[0], plain[0])
    # The same sums, which the compiler may group anew.
    for got, want in zip(tagged[1:], plain[1:], strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=8 * eps("float64") * np.abs(want).max())


def test_steps_without_tags_and_reserved_names():
    start, inputs = jnp.ones(3), jnp.ones((2, 3))
    plain = marked(lambda value, name: value)
    with pytest.raises(ValueError, match=r"expected values marked with lstmgrad\.tag"):
        lg.routes(lg.chain(lg.Model(plain, jnp.eye(3), start), inputs))
    for name in RESTS:

        def step(params, s, x, name=name):
            return lg.tag(s, name)

        with pytest.raises(ValueError, match=f"expected no tag named '{name}'"):
            lg.routes(lg.chain(lg.Model(step, None, start), inputs))


def incomplete(params, s, x):
    """A tenth of s by no tag, and a fifth through two."""
    inner = lg.tag(s, "inner")
    return lg.tag(0.2 * inner, "outer") + lg.tag(0.4 * s, "main") + 0.1 * s + x


@pytest.mark.slow
def test_what_is_missing_has_a_size():
    """Norms and shares of the two rests say how much of the step crosses no tag, or two."""
    chain = lg.chain(lg.Model(incomplete, None, jnp.ones(3)), jnp.ones((4, 3)))
    routes = lg.routes(chain)
    for name, size in (("untagged", 0.1), ("crossed", 0.2), ("main", 0.4), ("inner", 0.0)):
        norm = lg.backward_norms(routes[name][1:2]).log_norms[1]
        np.testing.assert_allclose(np.exp(norm), size, rtol=1e-14)
        share = lg.route_shares(chain, routes).shares[name]
        np.testing.assert_allclose(share, np.full(4, size / 0.7), rtol=1e-13)


LONG = 60


def long(name, dtype="float64"):
    given = problem(name, dtype, length=LONG)
    return given.chain(), routes_of(given)


def assert_adds_up(shares, tolerance=1e-10):
    assert {share.shape for share in shares.shares.values()} == {(LONG,)}
    np.testing.assert_allclose(sum(shares.shares.values()), np.ones(LONG), rtol=0, atol=tolerance)


@pytest.mark.parametrize(("name", "of", "wrt"), [("gru", None, None), slow("lstm", "c", "h")])
def test_shares_of_the_top_pair(name, of, wrt):
    chain, routes = long(name)
    shares = lg.route_shares(chain, routes, of=of, wrt=wrt)
    assert (shares.of, shares.wrt) == (of, wrt)
    assert set(shares.shares) == set(routes)
    assert_adds_up(shares)
    norm = lg.backward_norms(chain, of=of, wrt=wrt).log_norms[-1]
    np.testing.assert_allclose(shares.log_norm, norm, rtol=0, atol=1e-10)


@pytest.mark.slow
def test_shares_of_a_loss():
    chain, routes = long("lstm")
    cotangent = jax.random.normal(jax.random.key(5), (2 * H,))
    shares = lg.route_shares(chain, routes, cotangent, wrt="h")
    assert_adds_up(shares)
    gradient = lg.pull_back(chain, cotangent)
    norm = np.log(np.linalg.norm(gradient.mantissa[:H])) + float(gradient.exponent) * np.log(2)
    np.testing.assert_allclose(shares.log_norm, norm, rtol=0, atol=1e-10)
    part = lg.route_shares(chain, routes, cotangent, of="c")
    assert_adds_up(part)
    other = lg.route_shares(chain, routes, cotangent.at[:H].set(7.0), of="c")
    jax.tree.map(np.testing.assert_array_equal, part, other)


def test_shares_by_numpy():
    """share_t^r = u_t · J_t^r v_{t-1} / σ with the pair of NumPy's SVD."""
    given = problem("lstm")
    chain, routes = given.chain(), routes_of(given)
    got = lg.route_shares(chain, routes).shares
    factors, whole = dense(routes), np.asarray(lg.DenseChain.of(chain).factors)
    left, sigma, right = np.linalg.svd(loop_product(whole))
    for t in range(T):
        u = left[:, 0] @ loop_product(whole[t + 1 :]) if t + 1 < T else left[:, 0]
        v = loop_product(whole[:t]) @ right[0] if t else right[0]
        for name, route in factors.items():
            np.testing.assert_allclose(got[name][t], u @ route[t] @ v / sigma[0], **CLOSE)


@pytest.mark.slow
def test_shares_in_float32():
    chain, routes = long("gru", "float32")
    shares = lg.route_shares(chain, routes)
    assert all(share.dtype == np.float32 for share in shares.shares.values())
    assert_adds_up(shares, 1e-4)


@pytest.mark.slow
def test_a_gate_closed_by_hand():
    """At the step where the forget gate is shut nothing comes along the cell."""
    free, at = problem("lstm", length=LONG), 29
    shut = jnp.zeros((LONG, 1)).at[at].set(-20.0)

    def step(params, state, x):
        bias = params.bias.at[H : 2 * H].add(x[-1])
        return free.step(params._replace(bias=bias), state, x[:-1])

    inputs = jnp.concatenate([free.inputs, shut], axis=1)
    given = free._replace(step=step, inputs=inputs)
    chain, routes = given.chain(), routes_of(given)
    norms = np.asarray(lg.forward_norms(routes["cell"], of="c", wrt="c").log_norms)
    gates = np.diagonal(lg.DenseChain.of(routes["cell"]).factors[:, H:, H:], axis1=1, axis2=2)
    np.testing.assert_allclose(norms[1:], np.cumsum(np.log(gates), axis=0).max(axis=1), **CLOSE)
    drops = -np.diff(norms)
    assert 17 < drops[at] < 23
    assert np.delete(drops, at).max() < 3
    share = np.abs(lg.route_shares(chain, routes, of="c", wrt="c").shares["cell"])
    assert share[at] < 1e-6
    assert np.delete(share, at).min() > 1e-3


def test_a_loop_with_constants_inputs_and_outputs():
    """What a scan closes over, starts from, runs over and collects, all on the way of s."""

    def step(params, s, x):
        def body(carry, row):
            new = lg.tag(jnp.tanh(carry * row + s), "inside")
            return new, jnp.sum(new)

        carry, sums = jax.lax.scan(body, 2 * s, jnp.outer(params, s))
        return (carry + sums[1:]) / 4 + x

    params, state = jnp.linspace(0.2, 1.0, 4), jnp.linspace(-1.0, 1.0, 3)
    chain = lg.chain(lg.Model(step, params, state), jnp.ones((1, 3)))
    factors = dense(lg.routes(chain))
    jacobian = jax.jacrev(lambda s: step(params, s, jnp.ones(3)))(state)
    np.testing.assert_allclose(factors["inside"][0], jacobian, **CLOSE)
    np.testing.assert_array_equal(factors["untagged"], 0)


def test_nothing_to_share():
    def step(params, s, x):
        return lg.tag(0 * s, "none") + x

    chain = lg.chain(lg.Model(step, None, jnp.ones(3)), jnp.ones((2, 3)))
    shares = lg.route_shares(chain, lg.routes(chain))
    assert shares.log_norm == -np.inf
    assert all(np.all(np.isnan(share)) for share in shares.shares.values())


def test_routes_that_do_not_fit_the_chain():
    given = problem("lstm")
    chain, routes = given.chain(), routes_of(given)
    with pytest.raises(ValueError, match="routes: expected a dict of at least one chain by name"):
        lg.route_shares(chain, {})
    shorter = {name: route[1:] for name, route in routes.items()}
    with pytest.raises(ValueError, match=f"the chain's T = {T} steps .* has T = {T - 1}"):
        lg.route_shares(chain, shorter)
    with pytest.raises(ValueError, match=r"Slice the routes like the chain\."):
        lg.route_shares(chain_of("gru"), routes)
    stream = lg.stream(given.step, given.params, given.state, given.inputs)
    with pytest.raises(ValueError, match="chain: expected one that keeps its states"):
        lg.route_shares(stream, routes)
    with pytest.raises(ValueError, match="of: expected one of the state's parts"):
        lg.route_shares(chain, routes, of="z")
    want = lg.route_shares(chain[1:], shorter).log_norm
    np.testing.assert_allclose(want, log_norm(lg.jacobian(chain[1:])), **CLOSE)


COTANGENTS = {
    "too long": jnp.ones(2 * H + 3),
    "too short": jnp.ones(1),
    "a block": jnp.ones((2, 2 * H)),
    "float32": jnp.ones(2 * H, jnp.float32),
}


@pytest.mark.usefixtures("as_installed")
@pytest.mark.parametrize("kind", COTANGENTS)
def test_cotangents_that_do_not_fit(kind):
    given = problem("lstm")
    with pytest.raises(ValueError, match="cotangent: expected"):
        lg.route_shares(given.chain(), routes_of(given), COTANGENTS[kind])


def test_a_zero_cotangent_has_nothing_to_share():
    given = problem("lstm")
    shares = lg.route_shares(given.chain(), routes_of(given), jnp.zeros(2 * H))
    assert shares.log_norm == -np.inf
    assert all(np.all(np.isnan(share)) for share in shares.shares.values())
