"""One compiled battery for every cell of the registry, and what is particular to single cells.

The forward step is held against the equations of the papers written down anew in NumPy, gate by
gate; the chain against jacrev of the whole unroll; the routes against the chain.
"""

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hand import sigmoid
from oracles import flatten, loop_product, pairwise_jacobians
from registry import OPTIONS, SHAPES, D, H, Problem

import lstmgrad as lg

T = 3
EXACT = {"rtol": 0, "atol": 1e-12}
REGISTRY = lg.cells.registry()
every_cell = pytest.mark.parametrize("name", REGISTRY)

# Linear in the state and diagonal, as their papers say.
DIAGONAL = ["min_gru", "min_lstm", "lru", "rg_lru", "selective_ssm"]

ROUTES = {
    "rnn": ["recurrent"],
    "leaky_rnn": ["recurrent", "carry"],
    "residual_rnn": ["recurrent", "carry"],
    "antisymmetric_rnn": ["carry", "recurrent"],
    "orthogonal_rnn": ["recurrent"],
    "co_rnn": ["recurrent", "position", "velocity"],
    "gru": ["candidate", "update", "carry"],
    "mgu": ["forget", "candidate", "carry"],
    "min_gru": ["carry"],
    "lstm": ["forget", "cell", "input", "candidate", "output"],
    "lstm_1997": ["input", "candidate", "cell", "output"],
    "peephole_lstm": ["input", "forget", "cell", "candidate", "output"],
    "coupled_lstm": ["forget", "candidate", "cell", "output"],
    "conv_lstm": ["input", "forget", "cell", "candidate", "output"],
    "min_lstm": ["carry"],
    "slstm": ["input", "forget", "cell", "candidate", "normalizer", "output"],
    "mlstm": ["cell", "normalizer"],
    "lru": ["carry"],
    "rg_lru": ["carry"],
    "selective_ssm": ["carry"],
}


def make(name, dtype="float64", **options) -> lg.cells.Cell:
    return REGISTRY[name](D, H, dtype=jnp.dtype(dtype), **OPTIONS.get(name, {}), **options)


@functools.cache
def given(name) -> Problem:
    """The cell at random parameters, from a random state, on random inputs."""
    cell, generator = make(name), np.random.default_rng(0)

    def draw(leaf):
        # By NumPy: compiling a draw for every cell would cost more than the battery.
        re, im = 0.7 * generator.standard_normal((2, *leaf.shape))
        return jnp.asarray(re + 1j * im if jnp.iscomplexobj(leaf) else re)

    shapes = jax.eval_shape(lambda key: (cell.init(key), cell.initial_state()), jax.random.key(0))
    inputs = generator.standard_normal((T, D, *SHAPES.get(name, ())))
    params, state = jax.tree.map(draw, shapes)
    return Problem(cell.step, params, state, jnp.asarray(inputs))


@eqx.filter_jit
def measure(given: Problem, diagonal: bool) -> dict[str, Any]:
    trajectory = given.run()
    chain = lg.linearize(given.step, given.params, trajectory)
    routes = lg.routes(given.step, given.params, trajectory)
    before = jax.tree.map(lambda leaf: leaf[:-1], trajectory.states)
    found = {
        "states": trajectory.states,
        "factors": chain.materialize().factors,
        "routes": {name: route.materialize().factors for name, route in routes.items()},
        "batch": jax.vmap(given.step, (None, 0, 0))(given.params, before, given.inputs),
        "broken": given.step(given.params, given.state, jnp.nan * given.inputs[0]),
    }
    if diagonal:
        declared = lg.linearize_diagonal(given.step, given.params, trajectory)
        found["declared"] = declared.materialize().factors
        for norms in (lg.backward_norms, lg.forward_norms):
            found[norms.__name__] = [norms(each).log_norms for each in (declared, chain)]
    return found


@functools.cache
def battery(name) -> dict[str, Any]:
    return measure(given(name), name in DIAGONAL)


@every_cell
def test_the_chain_is_jacrev_of_the_unroll(name):
    found, pairs = battery(name), pairwise_jacobians(given(name))
    wanted = [pairs[t + 1, :, t] for t in range(T)]
    scale = max(1, np.abs(wanted).max())
    np.testing.assert_allclose(found["factors"], wanted, rtol=0, atol=1e-12 * scale)
    np.testing.assert_allclose(
        loop_product(found["factors"]), pairs[T, :, 0], rtol=0, atol=1e-12 * scale
    )
    assert np.abs(wanted).max() > 1e-3


@every_cell
def test_the_routes_are_complete_and_disjoint(name):
    whole, routes = battery(name)["factors"], battery(name)["routes"]
    tolerance = 1e-13 * max(1, np.abs(whole).max())
    assert set(routes) == {*ROUTES[name], "untagged", "crossed"}
    np.testing.assert_array_equal(routes["untagged"], 0)
    assert np.abs(routes["crossed"]).max() <= tolerance
    assert np.abs(sum(routes.values()) - whole).max() <= tolerance
    assert all(np.abs(routes[route]).max() > 1e-4 for route in ROUTES[name])


@every_cell
def test_a_batch_is_the_loop(name):
    after = jax.tree.map(lambda leaf: leaf[1:], battery(name)["states"])
    for got, want in zip(
        jax.tree.leaves(battery(name)["batch"]), jax.tree.leaves(after), strict=True
    ):
        np.testing.assert_allclose(got, want, **EXACT)


@every_cell
def test_a_broken_input_is_not_hidden(name):
    assert np.all(np.isnan(battery(name)["broken"].h))


def test_complex_states_do_not_underflow():
    """|λ| <= 1/2 over 500 steps in float32, by the general chain: down to 10^-151 and less."""
    cell = lg.cells.lru(D, H, r_max=0.5, r_min=0.0, dtype=jnp.float32)
    params = cell.init(jax.random.key(0))
    inputs = jnp.ones((500, D), jnp.float32)
    trajectory = lg.unroll(cell.step, params, cell.initial_state(), inputs)
    profile = lg.forward_norms(lg.linearize(cell.step, params, trajectory), every=100)
    want = -np.exp(np.asarray(params.nu_log, np.float64)).min() * np.asarray(profile.lags)
    assert want[-1] < -340
    np.testing.assert_allclose(profile.log_norms, want, rtol=1e-5)


@pytest.mark.parametrize("name", DIAGONAL)
def test_declared_diagonal_it_is_the_same_chain(name):
    found = battery(name)
    np.testing.assert_allclose(found["declared"], found["factors"], **EXACT)
    for norms in ("backward_norms", "forward_norms"):
        np.testing.assert_allclose(*found[norms], **EXACT)


def softplus(a):
    return np.log1p(np.exp(a))


def rnn(p, s, x):
    return [np.tanh(p.weight_ih @ x + p.weight_hh @ s.h + p.bias)]


def leaky_rnn(p, s, x):
    return [0.9 * s.h + 0.1 * rnn(p, s, x)[0]]


def residual_rnn(p, s, x):
    return [s.h + rnn(p, s, x)[0]]


def antisymmetric_rnn(p, s, x):
    W = p.weight_hh - p.weight_hh.T - 0.01 * np.eye(H)
    return [s.h + 0.1 * np.tanh(W @ s.h + p.weight_ih @ x + p.bias)]


def orthogonal_rnn(p, s, x):
    A, eye = (p.weight_hh - p.weight_hh.T) / 2, np.eye(H)
    Q = np.linalg.inv(eye + A) @ (eye - A)
    y = p.weight_ih @ x + Q @ s.h
    return [np.sign(y) * np.maximum(np.abs(y) + p.bias, 0)]


def co_rnn(p, s, x):
    drive = np.tanh(p.weight_hh @ s.h + p.weight_zh @ s.z + p.weight_ih @ x + p.bias)
    z = s.z + 0.042 * drive - 0.042 * 2.7 * s.h - 0.042 * 4.7 * s.z
    return [s.h + 0.042 * z, z]


def gate(p, s, x, index, h=None):
    """W x + U h + b of the gate at a position of the stack."""
    rows = slice(index * H, (index + 1) * H)
    h = s.h if h is None else h
    return p.weight_ih[rows] @ x + p.weight_hh[rows] @ h + p.bias[rows]


def gru(p, s, x):
    r, z = sigmoid(gate(p, s, x, 0)), sigmoid(gate(p, s, x, 1))
    n = np.tanh(gate(p, s, x, 2, 0 * s.h) + r * (p.weight_hh[2 * H :] @ s.h + p.bias_n))
    return [(1 - z) * n + z * s.h]


def mgu(p, s, x):
    f = sigmoid(gate(p, s, x, 0))
    return [(1 - f) * s.h + f * np.tanh(gate(p, s, x, 1, f * s.h))]


def min_gru(p, s, x):
    z, n = np.split(p.weight_ih @ x + p.bias, 2)
    return [(1 - sigmoid(z)) * s.h + sigmoid(z) * n]


def min_lstm(p, s, x):
    i, f, n = np.split(p.weight_ih @ x + p.bias, 3)
    i, f = sigmoid(i), sigmoid(f)
    return [f / (f + i) * s.h + i / (f + i) * n]


def lstm(p, s, x):
    i, f, g, o = (gate(p, s, x, index) for index in range(4))
    c = sigmoid(f) * s.c + sigmoid(i) * np.tanh(g)
    return [sigmoid(o) * np.tanh(c), c]


def lstm_1997(p, s, x):
    i, g, o = (gate(p, s, x, index) for index in range(3))
    c = s.c + sigmoid(i) * np.tanh(g)
    return [sigmoid(o) * np.tanh(c), c]


def coupled_lstm(p, s, x):
    f, g, o = (gate(p, s, x, index) for index in range(3))
    i = 1 - sigmoid(f)
    c = (1 - i) * s.c + i * np.tanh(g)
    return [sigmoid(o) * np.tanh(c), c]


def peephole_lstm(p, s, x):
    i, f, g, o = (gate(p, s, x, index) for index in range(4))
    i, f = sigmoid(i + p.weight_ch[0] * s.c), sigmoid(f + p.weight_ch[1] * s.c)
    c = f * s.c + i * np.tanh(g)
    return [sigmoid(o + p.weight_ch[2] * c) * np.tanh(c), c]


def conv_lstm(p, s, x):
    """Pixel by pixel, with the neighbors on both sides, and zeros beyond the border."""

    def pixel(index, at):
        rows, total = slice(index * H, (index + 1) * H), p.bias[index * H : (index + 1) * H]
        for offset in (-1, 0, 1):
            if 0 <= at + offset < x.shape[1]:
                total = total + p.weight_ih[rows, :, offset + 1] @ x[:, at + offset]
                total = total + p.weight_hh[rows, :, offset + 1] @ s.h[:, at + offset]
        return total

    drives = [np.stack([pixel(index, at) for at in range(3)], axis=1) for index in range(4)]
    i, f = (sigmoid(drives[index] + p.weight_ch[index] * s.c) for index in range(2))
    c = f * s.c + i * np.tanh(drives[2])
    return [sigmoid(drives[3] + p.weight_ch[2] * c) * np.tanh(c), c]


def slstm(p, s, x):
    """Without stabilizer, and back into its gauge."""
    i, f, z, o = (gate(p, s, x, index) for index in range(4))
    C = sigmoid(f) * np.exp(s.m) * s.c + np.exp(i) * np.tanh(z)
    N = sigmoid(f) * np.exp(s.m) * s.n + np.exp(i)
    m = np.maximum(np.log(sigmoid(f)) + s.m, i)
    return [sigmoid(o) * C / N, C * np.exp(-m), N * np.exp(-m), m]


def mlstm(p, s, x):
    """Without stabilizer, and back into its gauge."""
    q, k, v, o = np.split(p.weight_ih @ x + p.bias, 4)
    k = k / np.sqrt(H)
    i, f = p.weight_gates @ x + p.bias_gates
    C = sigmoid(f) * np.exp(s.m) * s.c + np.exp(i) * v[:, None] * k[None, :]
    N = sigmoid(f) * np.exp(s.m) * s.n + np.exp(i) * k
    m = max(np.log(sigmoid(f)) + s.m, i)
    h = sigmoid(o) * (C @ q) / max(abs(N @ q), 1)
    return [h, C * np.exp(-m), N * np.exp(-m), m]


def lru(p, s, x):
    eigenvalues = np.exp(-np.exp(p.nu_log)) * np.exp(1j * np.exp(p.theta_log))
    B = p.weight_re + 1j * p.weight_im
    return [eigenvalues * s.h + np.exp(p.gamma_log) * (B @ x)]


def rg_lru(p, s, x):
    u = p.weight_ih @ x + p.bias
    r, i = (sigmoid(p.weight_gates[rows] @ u + p.bias_gates[rows]) for rows in np.split(IDS, 2))
    a = sigmoid(p.decay) ** (8 * r)
    return [a * s.h + np.sqrt(1 - a**2) * (i * u)]


IDS = np.arange(2 * H)


def selective_ssm(p, s, x):
    u = p.weight_ih @ x + p.bias
    delta = softplus(p.weight_delta @ u + p.bias_delta)
    B, A = p.weight_b @ u, -np.exp(p.a_log)
    h = np.zeros_like(s.h)
    for channel in range(H):
        for j in range(A.shape[1]):
            left = np.exp(delta[channel] * A[channel, j])
            written = (left - 1) / A[channel, j] * B[j] * u[channel]
            h[channel, j] = left * s.h[channel, j] + written
    return [h]


@every_cell
def test_the_step_is_the_papers_equation(name):
    equation = globals()[name]
    problem = given(name)
    params = type(problem.params)(*map(np.asarray, problem.params))
    state = type(problem.state)(*map(np.asarray, problem.state))
    for t in range(T):
        state = type(state)(*equation(params, state, np.asarray(problem.inputs[t])))
        for part, want in zip(state._fields, state, strict=True):
            got = getattr(battery(name)["states"], part)[t + 1]
            np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12, err_msg=part)


@every_cell
def test_float32_is_kept(name):
    cell = make(name, "float32")
    inputs = jnp.zeros((T, D, *SHAPES.get(name, ())), "float32")

    def run(key):
        params = cell.init(key)
        trajectory = lg.unroll(cell.step, params, cell.initial_state(), inputs)
        chain = lg.linearize(cell.step, params, trajectory)
        return params, trajectory.states, chain.materialize().factors

    params, states, factors = jax.eval_shape(run, jax.random.key(0))
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    state_dtype = "complex64" if name == "lru" else "float32"
    assert {leaf.dtype for leaf in jax.tree.leaves(states)} == {jnp.dtype(state_dtype)}
    assert factors.dtype == "float32"


@every_cell
def test_the_constructor(name):
    cell = make(name)
    assert cell.step is REGISTRY[name](D + 1, H + 2).step
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(cell.initial_state()))
    assert cell.initial_state().h.shape[0] == H
    for sizes, argument in [((0, H), "input_size"), ((D, -1), "hidden_size")]:
        with pytest.raises(ValueError, match=f"{argument}: expected a whole number, 1 or more"):
            REGISTRY[name](*sizes)


def test_the_registry_is_complete():
    constructors = {
        name
        for name in lg.cells.__all__
        if name.islower() and "input_size" in getattr(lg.cells, name).__annotations__
    }
    assert set(REGISTRY) == constructors == set(ROUTES)
    assert REGISTRY["lstm"] is lg.cells.lstm
    lg.cells.registry().clear()
    assert lg.cells.registry() == REGISTRY


# In closed form where all weights are zero: the step Jacobian, by cell.
GAMMA, EPSILON, STEP = 2.7, 4.7, 0.042
AT_ZERO = {
    "residual_rnn": np.eye(H),
    "leaky_rnn": 0.9 * np.eye(H),
    "antisymmetric_rnn": (1 - 0.1 * 0.01) * np.eye(H),
    "orthogonal_rnn": np.eye(H),
    "co_rnn": np.kron(
        [
            [1 - STEP**2 * GAMMA, STEP * (1 - STEP * EPSILON)],
            [-STEP * GAMMA, 1 - STEP * EPSILON],
        ],
        np.eye(H),
    ),
    "mgu": np.eye(H) / 2,
    "min_gru": np.eye(H) / 2,
    "min_lstm": np.eye(H) / 2,
    "rg_lru": np.eye(H) / 2**4,
    "selective_ssm": np.eye(2 * H) / 2,
    "lstm_1997": np.kron([[0, 0.5], [0, 1]], np.eye(H)),
    "coupled_lstm": np.kron([[0, 0.5 / 2], [0, 0.5]], np.eye(H)),
    "peephole_lstm": np.kron([[0, 0.5 / 2], [0, 0.5]], np.eye(H)),
}


@pytest.mark.parametrize("name", AT_ZERO)
def test_the_jacobian_at_zero_weights(name):
    """At h = 0, all gates 1/2 and all slopes of tanh 1; at Λ = 0, b_Δ = 0 and A = -1 as well."""
    cell, problem = make(name), given(name)
    params, state = jax.tree.map(jnp.zeros_like, (problem.params, problem.state))
    leaves, treedef = jax.tree.flatten(state)
    sizes = [leaf.size for leaf in leaves]

    def step(vector):
        pieces = np.split(np.arange(vector.size), np.cumsum(sizes)[:-1])
        parts = [
            vector[piece].reshape(leaf.shape) for piece, leaf in zip(pieces, leaves, strict=True)
        ]
        return flatten(cell.step(params, jax.tree.unflatten(treedef, parts), jnp.zeros(D)))

    got = jax.jit(jax.jacfwd(step))(flatten(state))
    np.testing.assert_allclose(got, AT_ZERO[name], rtol=0, atol=1e-15)


def test_the_constant_error_carousel():
    """Truth T2: without forget gate dc_T/dc_0 along the cell is I, bit for bit."""
    problem = given("lstm_1997")
    inputs = jax.random.normal(jax.random.key(4), (1000, D))
    trajectory = lg.unroll(problem.step, problem.params, problem.state, inputs)
    route = lg.routes(problem.step, problem.params, trajectory)["cell"]
    np.testing.assert_array_equal(lg.jacobian(route, of="c", wrt="c"), np.eye(H))


def test_an_orthogonal_network_loses_nothing():
    cell, problem = make("orthogonal_rnn"), given("orthogonal_rnn")
    params = problem.params._replace(bias=jnp.zeros(H))
    inputs = jax.random.normal(jax.random.key(4), (200, D))
    trajectory = lg.unroll(cell.step, params, cell.initial_state(), inputs)
    product = lg.jacobian(lg.linearize(cell.step, params, trajectory))
    np.testing.assert_allclose(product @ product.T, np.eye(H), rtol=0, atol=1e-12)
    assert not np.allclose(product, np.eye(H), atol=0.1)
    closed = lg.unroll(cell.step, params._replace(bias=-100 * jnp.ones(H)), problem.state, inputs)
    np.testing.assert_array_equal(closed.states.h[1:], 0)


def test_a_convolution_over_one_pixel_is_a_peephole_lstm():
    problem, cell = given("peephole_lstm"), lg.cells.conv_lstm(D, H)
    assert jax.tree.map(jnp.shape, cell.init(jax.random.key(0))) == jax.tree.map(
        jnp.shape, lg.cells.ConvLSTMParams(*problem.params)
    )
    params = lg.cells.ConvLSTMParams(*problem.params)
    for got, want in zip(
        cell.step(params, problem.state, problem.inputs[0]),
        problem.step(problem.params, problem.state, problem.inputs[0]),
        strict=True,
    ):
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-15)


def test_a_kernel_of_one_makes_every_pixel_its_own():
    problem, cell = given("peephole_lstm"), lg.cells.conv_lstm(D, H, space=(2, 3), kernel_size=1)
    W, U, p, b = problem.params
    wide = jnp.broadcast_to(p[:, :, None, None], (3, H, 2, 3))
    params = lg.cells.ConvLSTMParams(W[:, :, None, None], U[:, :, None, None], wide, b)
    h, c = jax.random.normal(jax.random.key(5), (2, H, 2, 3))
    x = jax.random.normal(jax.random.key(6), (D, 2, 3))
    got = cell.step(params, lg.cells.LSTMState(h, c), x)
    assert got.h.shape == cell.initial_state().h.shape == (H, 2, 3)
    pixel = lg.cells.LSTMState(h[:, 1, 2], c[:, 1, 2])
    want = problem.step(problem.params, pixel, x[:, 1, 2])
    np.testing.assert_allclose(got.h[:, 1, 2], want.h, rtol=0, atol=1e-15)
    with pytest.raises(ValueError, match="space: expected a whole number, 1 or more, but got 0"):
        lg.cells.conv_lstm(D, H, space=(2, 0))


GAUGED = pytest.mark.parametrize("name", ["slstm", "mlstm"])


def unstabilized(name, params, state, x):
    """The equations of the head of lstmgrad/cells/_xlstm.py on (C, N), without a stabilizer."""
    h, C, N = state
    if name == "slstm":
        i, f, z, o = jnp.split(params.weight_ih @ x + params.weight_hh @ h + params.bias, 4)
        i, f = jnp.exp(i), jax.nn.sigmoid(f)
        C, N = f * C + i * jnp.tanh(z), f * N + i
        return jax.nn.sigmoid(o) * C / N, C, N
    q, k, v, o = jnp.split(params.weight_ih @ x + params.bias, 4)
    i, f = params.weight_gates @ x + params.bias_gates
    i, f, k = jnp.exp(i), jax.nn.sigmoid(f), k / np.sqrt(H)
    C, N = f * C + i * jnp.outer(v, k), f * N + i * k
    return jax.nn.sigmoid(o) * (C @ q) / jnp.maximum(jnp.abs(N @ q), 1), C, N


@GAUGED
def test_the_stabilizer_is_a_gauge(name):
    """Derivatives of the outputs are those without stabilizer; blocks of c are in its gauge."""
    problem = given(name)
    state = problem.state._replace(n=jnp.abs(problem.state.n))
    shifted = state._replace(c=state.c / 2, n=state.n / 2, m=state.m + np.log(2))
    weights, scale = jnp.cos(jnp.arange(float(H))), jnp.exp(state.m)

    @jax.jit
    def held(params):
        trajectory, other = (
            lg.unroll(problem.step, params, start, problem.inputs) for start in (state, shifted)
        )
        chain = lg.linearize(problem.step, params, trajectory)
        slope = jax.grad(
            lambda p: weights @ lg.unroll(problem.step, p, state, problem.inputs).states.h[-1]
        )
        return trajectory.states, other.states, slope(params), lg.jacobian(chain)

    @jax.jit
    def free(*start):
        def run(params, h, C, N):
            for x in problem.inputs:
                h, C, N = unstabilized(name, params, (h, C, N), x)
            return h, C

        slope = jax.grad(lambda *start: weights @ run(*start)[0])
        return run(*start), slope(*start), jax.jacrev(run, (1, 2))(*start)

    states, other, slope, jacobian = held(problem.params)
    (h, C), free_slope, blocks = free(problem.params, state.h, state.c * scale, state.n * scale)
    np.testing.assert_allclose(states.h[-1], h, **EXACT)
    np.testing.assert_allclose(states.c[-1], C * jnp.exp(-states.m[-1]), **EXACT)
    np.testing.assert_allclose(other.h[1:], states.h[1:], **EXACT)
    for got, want in zip(slope, free_slope, strict=True):
        np.testing.assert_allclose(got, want, **EXACT)

    size = state.c.size
    (h_by_h, h_by_C), (_, C_by_C) = blocks
    into = np.broadcast_to(scale, state.c.shape).reshape(1, size)
    out = np.broadcast_to(np.exp(-states.m[-1]), state.c.shape).reshape(size, 1)
    np.testing.assert_allclose(jacobian[:H, :H], h_by_h, **EXACT)
    cells = slice(H, H + size)
    np.testing.assert_allclose(jacobian[:H, cells], h_by_C.reshape(H, size) * into, **EXACT)
    np.testing.assert_allclose(
        jacobian[cells, cells], out * C_by_C.reshape(size, size) * into, **EXACT
    )
    np.testing.assert_array_equal(jacobian[:, -state.m.size :], 0)
    np.testing.assert_array_equal(jacobian[-state.m.size :], 0)


@GAUGED
def test_exponential_gates_do_not_overflow(name):
    """exp(300) fits no float32; the first write then is all that is read."""
    cell = make(name, "float32", forget_bias=0.0)
    params = jax.tree.map(jnp.zeros_like, cell.init(jax.random.key(0)))
    field = "bias" if name == "slstm" else "bias_gates"
    loud = jnp.zeros_like(getattr(params, field)).at[: H if name == "slstm" else 1].set(300)
    params = params._replace(**{field: loud})
    states = lg.unroll(cell.step, params, cell.initial_state(), jnp.ones((50, D), "float32")).states
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(states))
    np.testing.assert_array_equal(states.m[1:], 300 + 0 * states.m[1:])


def test_gates_that_both_underflow():
    cell = make("min_lstm", "float32")
    params = cell.init(jax.random.key(0))._replace(bias=jnp.full(3 * H, -300, "float32"))
    got = cell.step(params, lg.cells.HiddenState(jnp.zeros(H, "float32")), jnp.zeros(D, "float32"))
    np.testing.assert_array_equal(got.h, -150)


OUT_OF_RANGE = [
    ("leaky_rnn", {"leak": 1.5}, "leak: expected a number from 0 to 1, but got 1.5"),
    ("antisymmetric_rnn", {"step_size": 0.0}, "step_size: expected a number above zero"),
    ("antisymmetric_rnn", {"diffusion": -1.0}, "diffusion: expected a number from 0 to inf"),
    ("co_rnn", {"damping": -1.0}, "damping: expected a number from 0 to inf"),
    ("lru", {"r_max": 1.1}, "r_max: expected a number from 0 to 1, but got 1.1"),
    ("lru", {"r_min": 0.9, "r_max": 0.8}, "r_min: expected a number from 0 to 0.8"),
    ("lru", {"dtype": "bfloat16"}, "dtype: expected float32 or float64"),
    ("orthogonal_rnn", {"dtype": "bfloat16"}, "dtype: expected float32 or float64"),
    ("selective_ssm", {"state_size": 0}, "state_size: expected a whole number, 1 or more"),
]


@pytest.mark.parametrize(("name", "options", "message"), OUT_OF_RANGE)
def test_options_out_of_range(name, options, message):
    with pytest.raises(ValueError, match=message):
        REGISTRY[name](D, H, **options)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("leaky_rnn", {"leak": 0.5}),
        ("leaky_rnn", {"activation": jax.nn.relu}),
        ("residual_rnn", {"activation": jax.nn.relu}),
        ("antisymmetric_rnn", {"step_size": 0.5}),
        ("antisymmetric_rnn", {"diffusion": 0.5}),
        ("co_rnn", {"step_size": 0.5}),
        ("co_rnn", {"frequency": 0.5}),
        ("co_rnn", {"damping": 0.5}),
    ],
)
def test_options_of_the_step_matter(name, options):
    problem, other = given(name), make(name, **options)
    arguments = problem.params, problem.state, problem.inputs[0]
    assert not np.allclose(other.step(*arguments).h, problem.step(*arguments).h)
    assert other.step is make(name, **options).step
