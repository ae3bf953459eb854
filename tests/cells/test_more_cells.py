"""One compiled battery for every cell of the registry, and what is particular to single cells.

The forward step is held against the equations of the papers, written down anew in NumPy
(equations.py); the chain against jacrev of the whole unroll; the routes against the chain.
"""

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from equations import ORACLES
from oracles import flatten, loop_product, pairwise_jacobians
from registry import D, H, Problem, slow

import lstmgrad as lg
from lstmgrad._chains.declared import linearize_as_declared
from lstmgrad.cells._delta_net import delta_rule

T = 3
EXACT = {"rtol": 0, "atol": 1e-12}
REGISTRY = lg.cells.registry()
# Of cells that are alike one has the battery by default, and the others in the slow set.
ALIKE = {
    "leaky_rnn", "residual_rnn", "antisymmetric_rnn", "co_rnn", "mgu", "min_lstm", "rg_lru",
    "lstm_1997", "peephole_lstm", "coupled_lstm", "min_gru", "lru", "orthogonal_rnn", "slstm",
    "mamba_2", "s4d", "s5", "delta_net", "rwkv_7", "lin_oss",
}  # fmt: skip
every_cell = pytest.mark.parametrize("name", REGISTRY)


def battery_of(names):
    return pytest.mark.parametrize("name", [slow(n) if n in ALIKE else n for n in names])


every_battery = battery_of(REGISTRY)


def make(name, dtype="float64", **options) -> lg.cells.Cell:
    return REGISTRY[name](D, H, dtype=jnp.dtype(dtype), **ORACLES[name].options, **options)


@functools.cache
def given(name) -> Problem:
    """The cell at random parameters, from a random state, on random inputs."""
    cell, generator = make(name), np.random.default_rng(0)

    def draw(leaf):
        # By NumPy: compiling a draw for every cell would cost more than the battery.
        re, im = 0.7 * generator.standard_normal((2, *leaf.shape))
        return jnp.asarray(re + 1j * im if jnp.iscomplexobj(leaf) else re)

    shapes = jax.eval_shape(lambda key: (cell.init(key), cell.initial_state()), jax.random.key(0))
    inputs = generator.standard_normal((T, D, *ORACLES[name].image))
    params, state = jax.tree.map(draw, shapes)
    return Problem(cell.step, params, state, jnp.asarray(inputs))


@eqx.filter_jit
def measure(given: Problem, linearize: Callable) -> dict[str, Any]:
    trajectory = given.run()
    chain = lg.linearize(given.step, given.params, trajectory)
    routes = lg.routes(chain)
    before = jax.tree.map(lambda leaf: leaf[:-1], trajectory.states)
    found = {
        "states": trajectory.states,
        "factors": lg.DenseChain.of(chain).factors,
        "routes": {name: lg.DenseChain.of(route).factors for name, route in routes.items()},
        "batch": jax.vmap(given.step, (None, 0, 0))(given.params, before, given.inputs),
        "broken": given.step(given.params, given.state, jnp.nan * given.inputs[0]),
    }
    if linearize is not lg.linearize:
        declared = linearize(given.step, given.params, trajectory)
        found["declared"] = lg.DenseChain.of(declared).factors
        # Those of matrices are in chains/test_one_sided.py.
        diagonal = linearize is lg.linearize_diagonal
        for norms in (lg.backward_norms, lg.forward_norms) if diagonal else ():
            found[norms.__name__] = [norms(each).log_norms for each in (declared, chain)]
    return found


@functools.cache
def battery(name) -> dict[str, Any]:
    return measure(given(name), linearize_as_declared(make(name)))


@every_battery
def test_the_chain_is_jacrev_of_the_unroll(name):
    found, pairs = battery(name), pairwise_jacobians(given(name))
    wanted = [pairs[t + 1, :, t] for t in range(T)]
    scale = max(1, np.abs(wanted).max())
    np.testing.assert_allclose(found["factors"], wanted, rtol=0, atol=1e-12 * scale)
    np.testing.assert_allclose(
        loop_product(found["factors"]), pairs[T, :, 0], rtol=0, atol=1e-12 * scale
    )
    assert np.abs(wanted).max() > 1e-3


@every_battery
def test_the_routes_are_complete_and_disjoint(name):
    whole, routes = battery(name)["factors"], battery(name)["routes"]
    tolerance = 1e-13 * max(1, np.abs(whole).max())
    assert set(routes) == {*ORACLES[name].routes, "untagged", "crossed"}
    np.testing.assert_array_equal(routes["untagged"], 0)
    assert np.abs(routes["crossed"]).max() <= tolerance
    assert np.abs(sum(routes.values()) - whole).max() <= tolerance
    assert all(np.abs(routes[route]).max() > 1e-4 for route in ORACLES[name].routes)


@every_battery
def test_a_batch_is_the_loop(name):
    after = jax.tree.map(lambda leaf: leaf[1:], battery(name)["states"])
    for got, want in zip(
        jax.tree.leaves(battery(name)["batch"]), jax.tree.leaves(after), strict=True
    ):
        np.testing.assert_allclose(got, want, **EXACT)


@every_battery
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


@battery_of(name for name in ORACLES if make(name).diagonal or make(name).one_sided)
def test_declared_it_is_the_same_chain(name):
    found = battery(name)
    np.testing.assert_allclose(found["declared"], found["factors"], **EXACT)
    for norms in ("backward_norms", "forward_norms") if make(name).diagonal else ():
        np.testing.assert_allclose(*found[norms], **EXACT)


@every_cell
def test_the_step_is_the_papers_equation(name):
    equation, problem = ORACLES[name].equation, given(name)
    params = type(problem.params)(*map(np.asarray, problem.params))
    state, states = type(problem.state)(*map(np.asarray, problem.state)), problem.run().states
    for t in range(T):
        state = type(state)(*equation(params, state, np.asarray(problem.inputs[t])))
        for part, want in zip(state._fields, state, strict=True):
            got = getattr(states, part)[t + 1]
            np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12, err_msg=part)


@every_cell
def test_float32_is_kept(name):
    cell = make(name, "float32")
    inputs = jnp.zeros((T, D, *ORACLES[name].image), "float32")

    def run(key):
        params = cell.init(key)
        trajectory = lg.unroll(cell.step, params, cell.initial_state(), inputs)
        chain = lg.linearize(cell.step, params, trajectory)
        return params, trajectory.states, lg.DenseChain.of(chain).factors

    params, states, factors = jax.eval_shape(run, jax.random.key(0))
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    state_dtype = "complex64" if name in ("lru", "s4d", "s5") else "float32"
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
    assert set(REGISTRY) == set(ORACLES)
    assert REGISTRY["lstm"] is lg.cells.lstm
    lg.cells.registry().clear()
    assert lg.cells.registry() == REGISTRY


@every_battery
def test_a_cell_is_diagonal_exactly_if_it_says_so(name):
    """No number of the state, complex or real, reaches another one."""
    numbers = np.concatenate(
        [
            np.tile(np.arange(leaf.size), 1 + np.iscomplexobj(leaf)) + 10_000 * index
            for index, leaf in enumerate(jax.tree.leaves(given(name).state))
        ]
    )
    across = numbers[:, None] != numbers[None]
    assert make(name).diagonal != battery(name)["factors"][:, across].any()


@every_battery
def test_a_part_is_held_exactly_if_the_cell_says_so(name):
    """Nothing comes out of such a part, and nothing goes into it."""
    factors, held, start = battery(name)["factors"], [], 0
    for part, leaf in given(name).state._asdict().items():
        where = slice(start, start + flatten(leaf).size)
        start = where.stop
        if not factors[:, where].any() and not factors[..., where].any():
            held.append(part)
    assert make(name).held == tuple(held)


@pytest.mark.parametrize("name", [name for name in ORACLES if ORACLES[name].at_zero is not None])
def test_the_jacobian_at_zero_weights(name):
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
    np.testing.assert_allclose(got, ORACLES[name].at_zero, rtol=0, atol=1e-15)


def test_the_constant_error_carousel():
    """Truth T2: without forget gate dc_T/dc_0 along the cell is I, bit for bit."""
    problem = given("lstm_1997")
    inputs = jax.random.normal(jax.random.key(4), (1000, D))
    route = lg.routes(problem._replace(inputs=inputs).chain())["cell"]
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


def test_oscillators_keep_their_energy_or_lose_what_the_paper_says():
    """The moduli of the eigenvalues are 1 with IMEX, and 1/√(1 + Δt² A) with IM."""
    problem = given("lin_oss")
    params = problem.params._replace(frequency=jnp.asarray([0.2, 1.0, 2.5]))
    time, a = 1 / (1 + np.exp(-np.asarray(params.time))), np.asarray(params.frequency)
    for scheme, want in (("IM", (1 + time**2 * a) ** -0.5), ("IMEX", np.ones(H))):
        step = make("lin_oss", scheme=scheme).step
        chain = lg.chain(problem.model._replace(step=step, params=params), problem.inputs)
        moduli = np.abs(np.linalg.eigvals(lg.DenseChain.of(chain[:1]).factors[0]))
        np.testing.assert_allclose(np.sort(moduli), np.sort(np.repeat(want, 2)), rtol=1e-12)


def test_s5_starts_at_the_poles_of_hippo():
    params = make("s5").init(jax.random.key(0))
    n = np.arange(2 * H)
    hippo = -np.sqrt(np.outer(2 * n + 1, 2 * n + 1)) * np.tri(2 * H, k=-1) - np.diag(n + 1)
    normal = hippo + np.outer(np.sqrt(n + 0.5), np.sqrt(n + 0.5))
    poles = np.linalg.eigvals(normal)
    want = np.sort_complex(poles[poles.imag > 0])
    got = -np.exp(np.asarray(params.decay_log)) + 1j * np.asarray(params.frequency)
    np.testing.assert_allclose(np.sort(got.imag), np.sort(want.imag), rtol=1e-12)
    np.testing.assert_allclose(got.real, want.real, rtol=1e-12)


def test_the_delta_rule_reads_what_it_wrote():
    """With β = 1 the value under a key of length 1 is the one just written, whatever was there."""
    keys = jax.random.split(jax.random.key(0), 3)
    s, k, v = map(jax.random.normal, keys, ((3, 4), (4,), (3,)))
    k = k / jnp.linalg.norm(k)
    after = delta_rule(s, k, v, jnp.asarray(1.0))
    np.testing.assert_allclose(after @ k, v, **EXACT)


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


GAUGED = pytest.mark.parametrize("name", ["slstm", slow("mlstm")])


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
    (
        "antisymmetric_rnn",
        {"diffusion": -1.0},
        "diffusion: expected a number, 0 or above, but got -1.0",
    ),
    ("co_rnn", {"damping": -1.0}, "damping: expected a number, 0 or above, but got -1.0"),
    ("lru", {"r_max": 1.1}, "r_max: expected a number from 0 to 1, but got 1.1"),
    ("lru", {"r_min": 0.9, "r_max": 0.8}, "r_min: expected a number from 0 to 0.8"),
    ("lru", {"dtype": "bfloat16"}, "dtype: expected float32 or float64"),
    ("orthogonal_rnn", {"dtype": "bfloat16"}, "dtype: expected float32 or float64"),
    ("selective_ssm", {"state_size": 0}, "state_size: expected a whole number, 1 or more"),
    ("mamba_2", {"num_heads": 2}, "num_heads: expected a divisor of hidden_size = 3"),
    ("s4d", {"dtype": "bfloat16"}, "dtype: expected float32 or float64"),
    ("s5", {"dtype": "bfloat16"}, "dtype: expected float32 or float64"),
    ("cfc", {"step_size": 0.0}, "step_size: expected a number above zero"),
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
        ("cfc", {"step_size": 0.5}),
        ("lin_oss", {"scheme": "IMEX"}),
    ],
)
def test_options_of_the_step_matter(name, options):
    problem, other = given(name), make(name, **options)
    arguments = problem.params, problem.state, problem.inputs[0]
    assert not np.allclose(other.step(*arguments).h, problem.step(*arguments).h)
    assert other.step is make(name, **options).step
