"""What each step adds to a gradient, against a loop where each step has parameters of its own."""

import functools
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import add, eps, flatten
from registry import CELLS, D, H, Problem, T, problem, slow

import lstmgrad as lg

CLOSE: dict[str, Any] = {"rtol": 1e-12, "atol": 1e-13}


class Turning(NamedTuple):
    slow: jax.Array
    steps: jax.Array
    turn: jax.Array


def turning_step(params, state, x):
    """Real and complex parameters and parts, a counter in the state and a word in the input."""
    drive = params["table"][x["word"]] + x["drive"]
    slow = jnp.tanh(params["mix"] @ state.slow + drive + jnp.real(state.turn))
    turn = params["phase"] * state.turn + jax.lax.complex(slow, x["drive"])
    return Turning(slow, state.steps + 1, turn)


def turning() -> Problem:
    draw = functools.partial(jax.random.normal, dtype="float64")
    keys = jax.random.split(jax.random.key(0), 5)
    params = {
        "mix": draw(keys[0], (2, 2)),
        "phase": 0.6 * jnp.exp(jax.lax.complex(jnp.zeros(2), draw(keys[1], (2,)))),
        "table": draw(keys[2], (3, 2)),
        "sizes": jnp.arange(3),
    }
    start = Turning(draw(keys[3], (2,)), jnp.asarray(0), jnp.asarray([0.5 + 1j, -1j]))
    inputs = {"word": jnp.asarray([0, 2, 2, 1, 0]), "drive": draw(keys[4], (T, 2))}
    return Problem(turning_step, params, start, inputs)


PROBLEMS = [*CELLS, "turning"]


@functools.cache
def given_of(name: str) -> Problem:
    return turning() if name == "turning" else problem(name)


def loss_at(t, state):
    """A loss on all parts at time t, and a squared readout of them."""
    flat = flatten(state)
    angles = jnp.arange(flat.size, dtype=flat.dtype) + 1.7 * jnp.asarray(t, flat.dtype)
    read = jnp.cos(angles)
    return jnp.vdot(read, jnp.sin(flat)) + (jnp.vdot(jnp.sin(3 * read), flat) - 1) ** 2


def loss(states):
    """The sum over times 2, 3 and T, which is not all of them."""
    times = jnp.asarray([2, 3, T])
    return jnp.sum(jax.vmap(loss_at)(times, jax.tree.map(lambda leaf: leaf[times], states)))


class Copies(NamedTuple):
    """Derivatives of the loss at t, at t-1 on axis 0, by what each step and state are made of."""

    params: dict
    inputs: jax.Array
    states: jax.Array


@functools.cache
def copies_of(name: str) -> Copies:
    """By a loop with a copy of the parameters for each step, and a perturbation of each state."""
    given = given_of(name)
    moving, fixed = eqx.partition(given.params, eqx.is_inexact_array)
    reals, others = eqx.partition(given.inputs, eqx.is_inexact_array)
    copies = jax.tree.map(lambda leaf: jnp.stack([leaf] * T), moving)
    size = flatten(given.state).size

    def run(copies, reals, deltas):
        def body(state, own):
            copy, x, delta, t = own
            state = add(given.step(eqx.combine(copy, fixed), state, x), delta)
            read = (t == 2) | (t == 3) | (t == T)
            return state, jnp.where(read, loss_at(t, state), 0.0)

        xs = copies, eqx.combine(reals, others), deltas[1:], jnp.arange(1, T + 1)
        _, losses = jax.lax.scan(body, add(given.state, deltas[0]), xs)
        return losses

    @jax.jit
    def derivatives(*arguments):
        _, vjp = jax.vjp(run, *arguments)
        return jax.vmap(vjp)(jnp.eye(T))

    return Copies(*derivatives(copies, reals, jnp.zeros((T + 1, size))))


@functools.cache
def cotangents_of(name: str):
    return jax.jit(functools.partial(lg.loss_cotangents, loss))(given_of(name).run())


@functools.cache
def found(name: str) -> lg.Contributions:
    given = given_of(name)
    return lg.contributions(given.chain(), cotangents_of(name))


def rows(tree) -> np.ndarray:
    """All leaves side by side, one row for each entry of axis 0; complex ones as pairs."""
    arrays: list[Any] = [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]
    leaves = [leaf.reshape(len(leaf), -1) for leaf in arrays]
    pairs = [[leaf.real, leaf.imag] if np.iscomplexobj(leaf) else [leaf] for leaf in leaves]
    return np.concatenate([part for pair in pairs for part in pair], axis=1)


def pairs_of(copies: Copies) -> np.ndarray:
    """What step k adds to the gradient of the loss at t, at [t - 1, k - 1]."""
    losses = [jax.tree.map(lambda leaf, t=t: leaf[t], copies.params) for t in range(T)]
    return np.stack([rows(loss) for loss in losses])


def total(tree):
    """The sum over the losses."""
    return jax.tree.map(lambda leaf: np.asarray(leaf).sum(axis=0), tree)


def assert_trees_close(got, want, **close):
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(one, other, **(close or CLOSE))


ALIKE = ("rnn", "rnn-relu", "gru")
every_problem = pytest.mark.parametrize(
    "name", [slow(name) if name in ALIKE else name for name in PROBLEMS]
)


@pytest.mark.parametrize("name", [slow("rnn"), slow("rnn-relu"), slow("gru"), "lstm", "turning"])
def test_they_add_up_to_the_gradient(name):
    given, got = given_of(name), found(name)
    moving, fixed = eqx.partition(given.params, eqx.is_inexact_array)
    reals, others = eqx.partition(given.inputs, eqx.is_inexact_array)

    @jax.jit
    @functools.partial(jax.grad, argnums=(0, 1))
    def whole(moving, reals):
        params, inputs = eqx.combine(moving, fixed), eqx.combine(reals, others)
        return loss(lg.unroll(given.step, params, given.state, inputs).states)

    assert_trees_close((got.gradient, got.input_gradients), whole(moving, reals))
    copies = copies_of(name)
    summed = jax.tree.map(lambda leaf: leaf.sum(axis=0), total(copies.params))
    assert_trees_close(got.gradient, summed)
    assert_trees_close(got.input_gradients, total(copies.inputs))


@every_problem
def test_norms_shares_and_angles_of_the_parts(name):
    got, copies = found(name), copies_of(name)
    parts = total(copies.params)

    def norms(leaf):
        with np.errstate(divide="ignore"):
            return np.log(np.linalg.norm(leaf.reshape(T, -1), axis=1))

    assert_trees_close(got.leaf_log_norms, jax.tree.map(norms, parts))
    assert_trees_close(got.input_log_norms, jax.tree.map(norms, total(copies.inputs)))
    vectors = rows(parts)
    whole = vectors.sum(axis=0)
    sizes, size = np.linalg.norm(vectors, axis=1), np.linalg.norm(whole)
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(got.log_norms, np.log(sizes), **CLOSE)
    np.testing.assert_allclose(got.shares, vectors @ whole / size**2, **CLOSE)
    np.testing.assert_allclose(got.cosines, vectors @ whole / size / sizes, **CLOSE)
    np.testing.assert_allclose(np.sum(got.shares), 1, **CLOSE)
    last = [vectors[T - L :].sum(axis=0) for L in range(T + 1)]
    residuals = [np.linalg.norm(whole - part) / size for part in last]
    np.testing.assert_allclose(got.residuals, residuals, rtol=1e-12, atol=1e-15)
    assert got.residuals[0] == 1
    assert got.residuals[T] == 0
    shares = [part @ whole / size**2 for part in last]
    np.testing.assert_allclose(got.cumulative_shares, shares, **CLOSE)


@pytest.mark.parametrize("name", [slow("gru"), "lstm", slow("turning")])
def test_the_adjoint_is_the_derivative_by_every_state(name):
    given, want = given_of(name), np.asarray(copies_of(name).states).sum(axis=0)
    chain, cotangents = given.chain(), cotangents_of(name)
    got = lg.adjoint(chain, cotangents)
    np.testing.assert_allclose(got.to_array(), want, **CLOSE)
    assert np.all(np.abs(got.mantissa).max(axis=1) < 1)
    assert np.all(np.abs(got.mantissa).max(axis=1) >= 0.5)
    if name != "turning":
        return
    # One flat vector a time, with a complex part as its real and its imaginary part.
    pieces = jax.tree.map(
        lambda leaf: jnp.conj(leaf) if jnp.iscomplexobj(leaf) else leaf, cotangents
    )
    flat = lg.adjoint(chain, jax.vmap(flatten)(pieces))
    np.testing.assert_array_equal(flat.to_array(), got.to_array())


@pytest.mark.parametrize("name", [slow("rnn"), "lstm", slow("turning")])
def test_the_map_of_pairs(name):
    given = given_of(name)
    arguments = given.chain(), cotangents_of(name)
    vectors = pairs_of(copies_of(name))
    with np.errstate(divide="ignore"):
        want = np.log(np.linalg.norm(vectors, axis=2))
    want[np.arange(1, T + 1)[:, None] < np.arange(1, T + 1)] = np.nan
    got = lg.contribution_map(*arguments)
    np.testing.assert_array_equal(got.times, np.arange(1, T + 1))
    np.testing.assert_array_equal(got.steps, np.arange(1, T + 1))
    np.testing.assert_allclose(got.log_norms, want, **CLOSE)
    if name == "rnn":
        some = lg.contribution_map(*arguments, every=2)
        np.testing.assert_array_equal(some.times, [2, 4])
        np.testing.assert_allclose(some.log_norms, want[1::2], **CLOSE)
        assert np.all(some.log_norms[1, :4] == -np.inf)


@pytest.mark.parametrize("name", [slow("rnn"), "lstm", slow("turning")])
def test_the_bias_of_truncation(name):
    given = given_of(name)
    arguments = given.chain(), cotangents_of(name)
    vectors = pairs_of(copies_of(name))
    whole, lags = vectors.sum(axis=(0, 1)), np.arange(T)[:, None] - np.arange(T)
    want = [
        np.linalg.norm(whole - vectors[lags < L].sum(axis=0)) / np.linalg.norm(whole)
        for L in range(T + 1)
    ]
    got = lg.truncation_bias(*arguments)
    np.testing.assert_array_equal(got.lengths, np.arange(T + 1))
    np.testing.assert_allclose(got.residuals, want, rtol=1e-10, atol=1e-14)
    if name == "rnn":
        short = lg.truncation_bias(*arguments, max_length=3)
        np.testing.assert_allclose(short.residuals, want[:4], rtol=1e-10, atol=1e-14)


def scalar_step(params, h, x):
    return params["w"] * h + x


def scalar(w: float, length: int, dtype: str) -> tuple[lg.Chain, jax.Array]:
    """h_t = w h_{t-1} + (1 - w), which stays at 1, so that step t adds w^(T-t) to dh_T/dw."""
    params = {"w": jnp.asarray(w, dtype)}
    inputs = jnp.full(length, 1 - w, dtype)
    chain = lg.chain(lg.Model(scalar_step, params, jnp.ones((), dtype)), inputs)
    return chain, lg.loss_cotangents(lambda states: states[-1], chain.trajectory)


@pytest.mark.parametrize("dtype", ["float32", slow("float64")])
@pytest.mark.parametrize("w", [0.5, 1.5])
def test_parts_far_outside_of_the_range(w, dtype):
    """At T = 3000 the parts span 2^±3000 or so; float32 ends at 2^±126 and float64 at 2^±1022."""
    length = 3000
    got = lg.contributions(*scalar(w, length, dtype))
    back = np.arange(length - 1, -1, -1)
    exact = back * np.log(w)
    # The logarithm adds the room for squares to the exponent, and takes it away again.
    few: dict[str, Any] = {"rtol": 8 * eps(dtype), "atol": 200 * eps(dtype)}
    np.testing.assert_allclose(got.log_norms, exact, **few)
    np.testing.assert_allclose(got.input_log_norms, exact, **few)
    # Shares of a geometric series; what is far below the largest is 0.
    shares = 0.5 ** (back + 1.0) if w < 1 else 1.5 ** -(length - back - 1.0) / 3
    rounding = 16 * eps(dtype)
    np.testing.assert_allclose(got.shares, shares, rtol=0, atol=rounding)
    assert abs(float(np.sum(got.shares)) - 1) < rounding
    np.testing.assert_allclose(got.cosines, np.ones(length), rtol=0, atol=rounding)
    first = np.arange(length, -1, -1)
    rest = 1 - 1.5 ** -first.astype(float) if w > 1 else 0.5 ** (length - first.astype(float))
    rest[-1] = 0
    np.testing.assert_allclose(got.residuals, rest, rtol=0, atol=rounding)
    assert got.gradient["w"] == (2 if w < 1 else np.inf)
    assert got.log_norms.dtype == got.shares.dtype == got.gradient["w"].dtype == dtype


@pytest.mark.slow
def test_float32_is_as_good_as_float64():
    """The same rounded trajectory in both, with parts below 1e-300 at the first steps."""
    given = problem("lstm", "float32", length=600)
    weak = given.params._replace(bias=given.params.bias.at[H : 2 * H].set(-2.0))
    given = given._replace(params=weak)

    def read(params, trajectory):
        chain = lg.linearize(given.step, params, trajectory)
        return lg.contributions(chain, last(trajectory))

    def last(trajectory):
        return lg.loss_cotangents(lambda states: jnp.sum(states.h[-1]), trajectory)

    narrow = given.params, given.run()
    wide = jax.tree.map(lambda leaf: leaf.astype("float64"), narrow)
    got, want = read(*narrow), read(*wide)
    assert want.log_norms[0] < np.log(1e-300)
    assert np.all(np.isfinite(want.log_norms))
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(got))
    for name in ("log_norms", "leaf_log_norms"):
        pairs = zip(*(jax.tree.leaves(getattr(each, name)) for each in (got, want)), strict=True)
        for one, other in pairs:
            np.testing.assert_allclose(one, other, rtol=64 * eps("float32"), atol=1e-4)
    np.testing.assert_allclose(got.shares, want.shares, rtol=0, atol=1e-5)
    np.testing.assert_allclose(got.cosines, want.cosines, rtol=0, atol=1e-3)


@pytest.mark.slow
def test_parameters_in_another_precision_than_the_state():
    """float32 weights in a float64 model, and a bias in float64."""

    def step(params, h, x):
        weight, bias = params
        return jnp.tanh(weight.astype("float64") @ h + bias + x)

    params = jax.random.normal(jax.random.key(0), (2, 2), "float32"), jnp.ones(2)
    inputs = jnp.cos(jnp.arange(8.0)).reshape(4, 2)

    def states(params):
        return lg.unroll(step, params, jnp.ones(2), inputs)

    cotangents = lg.loss_cotangents(lambda states: jnp.sum(states[-1]), states(params))
    arguments = lg.linearize(step, params, states(params)), cotangents
    got = lg.contributions(*arguments)
    want = jax.grad(lambda params: jnp.sum(states(params).states[-1]))(params)
    assert [leaf.dtype for leaf in got.gradient] == ["float32", "float64"]
    np.testing.assert_allclose(got.gradient[0], want[0], rtol=1e-6)
    np.testing.assert_allclose(got.gradient[1], want[1], rtol=1e-12)
    np.testing.assert_allclose(np.sum(got.shares), 1, rtol=1e-6)
    sizes = lg.contribution_map(*arguments).log_norms
    np.testing.assert_allclose(sizes[-1], got.log_norms, rtol=1e-6)
    residuals = lg.truncation_bias(*arguments).residuals
    np.testing.assert_allclose(residuals, got.residuals, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [slow("float16"), "bfloat16"])
def test_half_precision(dtype):
    """Norms and shares are float32; no part overflows on its way."""
    got = lg.contributions(*scalar(0.5, 50, dtype))
    exact = np.arange(49, -1, -1) * np.log(0.5)
    assert got.log_norms.dtype == got.shares.dtype == np.float32
    np.testing.assert_allclose(got.log_norms, exact, rtol=0, atol=2 * eps(dtype))
    np.testing.assert_allclose(got.shares, np.exp(exact) / 2, rtol=0, atol=4 * eps(dtype))
    assert got.gradient["w"].dtype == dtype
    np.testing.assert_allclose(float(got.gradient["w"]), 2, rtol=2 * eps(dtype))


def test_a_gradient_of_zero():
    given = problem("rnn")
    trajectory = given.run()
    cotangents = jax.tree.map(jnp.zeros_like, trajectory.states)
    got = lg.contributions(given.chain(), cotangents)
    assert jax.tree.all(jax.tree.map(lambda leaf: np.all(leaf == 0), got.gradient))
    assert np.all(got.input_gradients == 0)
    for leaf in jax.tree.leaves((got.log_norms, got.leaf_log_norms, got.input_log_norms)):
        np.testing.assert_array_equal(leaf, -np.inf)
    for leaf in (got.shares, got.cosines, got.residuals):
        assert np.all(np.isnan(leaf))
    assert np.isnan(lg.truncation_length(got))
    assert np.all(lg.adjoint(given.chain(), cotangents).log_abs() == -np.inf)


def test_steps_that_the_gradient_does_not_reach():
    """A loss on s_2 alone: the steps behind it add exactly nothing, and are at no angle."""
    given = problem("rnn")
    trajectory = given.run()
    cotangents = lg.loss_cotangents(lambda states: jnp.sum(states.h[2]), trajectory)
    got = lg.contributions(given.chain(), cotangents)
    np.testing.assert_array_equal(got.log_norms[2:], -np.inf)
    np.testing.assert_array_equal(got.shares[2:], 0)
    assert np.all(np.isnan(got.cosines[2:]))
    assert np.all(np.isfinite(got.cosines[:2]))
    np.testing.assert_array_equal(got.residuals[: T - 1], 1)
    np.testing.assert_allclose(np.sum(got.shares), 1, rtol=1e-14)


@pytest.mark.parametrize("name", ["rnn-relu", "rnn"])
def test_a_broken_trajectory_reads_as_nan(name):
    given = problem(name)
    given = given._replace(inputs=given.inputs.at[2].set(jnp.nan))
    trajectory = given.run()
    cotangents = lg.loss_cotangents(lambda states: jnp.sum(states.h[-1]), trajectory)
    got = lg.contributions(given.chain(), cotangents)
    for leaf in jax.tree.leaves((got.log_norms, got.leaf_log_norms, got.shares, got.cosines)):
        assert np.all(np.isnan(leaf))
    assert np.all(np.isnan(lg.adjoint(given.chain(), cotangents).to_array()[:-1]))


def test_compiled_batched_and_traced_once():
    free = problem("rnn")
    inputs = jax.random.normal(jax.random.key(9), (3, T, D))
    traces, own = [], free.step

    def step(params, state, x):
        traces.append(None)
        return own(params, state, x)

    def read(inputs):
        given = free._replace(step=step, inputs=inputs)
        chain = given.chain()
        return lg.contributions(chain, jax.tree.map(jnp.cos, chain.trajectory.states))

    together = jax.jit(jax.vmap(read))(inputs)
    assert together.cumulative_shares.shape == (3, T + 1)
    np.testing.assert_allclose(together.cumulative_shares[:, -1], np.ones(3), **CLOSE)
    ones = [read(inputs[0])]
    count = len(traces)
    ones += [read(inputs[1]), read(inputs[2])]
    assert len(traces) == count
    for i, one in enumerate(ones):
        assert_trees_close(jax.tree.map(lambda leaf, i=i: leaf[i], together), one)


class Module(eqx.Module):
    """A model of its own kind: parameters, a static field and the step in one."""

    weight: jax.Array
    gain: float = eqx.field(static=True)

    def __call__(self, state, x):
        return jnp.tanh(self.gain * self.weight @ state + x)


def apply(module, state, x):
    return module(state, x)


@pytest.mark.slow
def test_modules_as_parameters_and_as_steps():
    module = Module(jax.random.normal(jax.random.key(0), (2, 2)), 0.8)
    inputs = jnp.cos(jnp.arange(8.0)).reshape(4, 2)

    def last(module):
        return jnp.sum(lg.unroll(apply, module, jnp.ones(2), inputs).states[-1])

    chain = lg.chain(lg.Model(apply, module, jnp.ones(2)), inputs)
    cotangents = lg.loss_cotangents(lambda states: jnp.sum(states[-1]), chain.trajectory)
    got = lg.contributions(chain, cotangents)
    assert isinstance(got.gradient, Module)
    np.testing.assert_allclose(got.gradient.weight, jax.grad(last)(module).weight, **CLOSE)

    def bound(params, state, x):
        return module(state, x)

    other = lg.contributions(lg.linearize(bound, None, chain.trajectory), cotangents)
    assert other.gradient is None
    np.testing.assert_array_equal(other.log_norms, -np.inf)
    np.testing.assert_allclose(other.input_gradients, got.input_gradients, **CLOSE)

    def blind(params, state, x):
        return module(state, 0.0)

    states = lg.Trajectory(jnp.arange(4), chain.trajectory.states)
    counted = lg.linearize(blind, None, states)
    for function in (lg.contributions, lg.contribution_map, lg.truncation_bias):
        with pytest.raises(ValueError, match=r"pass the module as params: step = lambda module"):
            function(counted, cotangents)


BAD_LOSSES = {
    "vector": lambda states: states.h[-1],
    "nothing": lambda states: None,
    "integer": lambda states: jnp.sum(states.h.astype(int)),
    "complex": lambda states: jax.lax.complex(states.h[0, 0], states.h[0, 0]),
    "two": lambda states: (jnp.sum(states.h), jnp.sum(states.c)),
}


@pytest.mark.parametrize("kind", BAD_LOSSES)
def test_losses_that_are_no_number(kind):
    with pytest.raises(ValueError, match="loss: expected a function of the states to one real"):
        lg.loss_cotangents(BAD_LOSSES[kind], given_of("lstm").run())


@pytest.mark.usefixtures("as_installed")
def test_cotangents_of_a_loss():
    given = given_of("turning")
    got = lg.loss_cotangents(lambda states: jnp.sum(states.slow[2:] ** 2), given.run())
    assert got.steps is None
    np.testing.assert_array_equal(got.turn, 0)
    np.testing.assert_allclose(got.slow[2:], 2 * given.run().states.slow[2:])
    np.testing.assert_array_equal(got.slow[:2], 0)
    with pytest.raises(ValueError, match="trajectory: expected an lstmgrad Trajectory"):
        lg.loss_cotangents(loss, given.run().states)  # pyright: ignore[reportArgumentType]


ones = functools.partial(jnp.ones, dtype="float64")
BAD_COTANGENTS = {
    "one part": ((ones((T + 1, H)),), "expected one for each of the T . 1 = 6 states"),
    "too short": ((ones((T, H)), ones((T, H))), "got float64.5,3., float64.5,3."),
    "one time": ((ones(H), ones(H)), "got float64.3., float64.3."),
    "flat of another size": (ones((T + 1, H)), "or one flat array float64.6,6."),
    "float32": (jnp.ones((T + 1, 2 * H), "float32"), "got float32.6,6."),
    "complex": (jnp.ones((T + 1, H), complex), "got complex128.6,3."),
    "integers": ((jnp.ones((T + 1, H), int),) * 2, "got int64.6,3., int64.6,3."),
    "nothing": (None, "got no array"),
    "text": ("text", "expected arrays, but got 'text'"),
    "other order": ({"c": ones((T + 1, H)), "h": ones((T + 1, H))}, "but got 'c', 'h'"),
}


@pytest.mark.parametrize("kind", BAD_COTANGENTS)
def test_cotangents_that_do_not_fit(kind):
    given, (cotangents, message) = given_of("lstm"), BAD_COTANGENTS[kind]
    with pytest.raises(ValueError, match=f"cotangents: .*{message}"):
        lg.adjoint(given.chain(), cotangents)
    with pytest.raises(ValueError, match=f"cotangents: .*{message}"):
        lg.contributions(given.chain(), cotangents)


@pytest.mark.slow
def test_adjoints_of_slices_and_of_other_chains():
    given, cotangents = given_of("lstm"), cotangents_of("lstm")
    chain, whole = given.chain(), lg.adjoint(given.chain(), cotangents).to_array()
    dense = lg.adjoint(lg.DenseChain.of(chain), cotangents).to_array()
    np.testing.assert_allclose(dense, whole, **CLOSE)
    part = lg.adjoint(chain[2:], jax.tree.map(lambda leaf: leaf[2:], cotangents)).to_array()
    np.testing.assert_allclose(part, whole[2:], **CLOSE)
    none = lg.adjoint(chain[2:2], jax.tree.map(lambda leaf: leaf[2:3], cotangents)).to_array()
    np.testing.assert_allclose(none, jax.vmap(flatten)(cotangents)[2:3], **CLOSE)
    stream = lg.stream(given.step, given.params, given.state, given.inputs)
    with pytest.raises(ValueError, match="chain: expected one that keeps its states"):
        lg.adjoint(stream, cotangents)


def bias_of(*residuals):
    return lg.TruncationBias(jnp.arange(len(residuals)), jnp.asarray(residuals, "float64"))


@pytest.mark.usefixtures("as_installed")
def test_lengths_of_truncation():
    halves = bias_of(1.0, 0.5, 0.25, 0.125, 0.0625)
    assert lg.truncation_length(halves) == 4
    assert lg.truncation_length(halves, tolerance=0.5) == 1
    assert lg.truncation_length(halves, tolerance=2.0) == 0
    assert lg.truncation_length(halves, tolerance=0.01) == np.inf
    # It has to stay within the tolerance, not to touch it once.
    assert lg.truncation_length(bias_of(1.0, 0.05, 0.7, 0.02, 0.0)) == 3
    assert np.isnan(lg.truncation_length(bias_of(np.nan, np.nan)))
    for tolerance in (0.0, -1.0, True):
        with pytest.raises(ValueError, match="tolerance: expected a number above zero"):
            lg.truncation_length(halves, tolerance=tolerance)


@pytest.mark.usefixtures("as_installed")
def test_what_has_no_residuals():
    with pytest.raises(ValueError, match="bias: expected an lstmgrad TruncationBias or Contrib"):
        lg.truncation_length(jnp.ones(3))  # pyright: ignore[reportArgumentType]
    given = given_of("rnn")
    arguments = given.chain(), cotangents_of("rnn")
    whole = f"expected a whole number from 1 to T = {T}, but got"
    for length in (0, T + 1):
        with pytest.raises(ValueError, match=f"max_length: {whole} {length}"):
            lg.truncation_bias(*arguments, max_length=length)
    with pytest.raises(ValueError, match=f"every: {whole} {T + 1}"):
        lg.contribution_map(*arguments, every=T + 1)


@pytest.mark.usefixtures("as_installed")
def test_inputs_without_a_gradient_and_parameters_without_one():
    """Tokens in an embedding: its gradient is that of the whole run. Only inputs: theirs."""
    cell = lg.cells.rnn(2, 3, dtype=jnp.float64)
    keys = jax.random.split(jax.random.key(0))
    params = {"rows": jax.random.normal(keys[0], (5, 2)), "cell": cell.init(keys[1])}
    tokens = jnp.asarray([0, 3, 3, 1, 4])

    def step(params, state, token):
        return cell.step(params["cell"], state, params["rows"][token])

    def loss(params):
        return jnp.sum(lg.unroll(step, params, cell.initial_state(), tokens).states.h[-1] ** 2)

    chain = lg.chain(lg.Model(step, params, cell.initial_state()), tokens)
    cotangents = lg.loss_cotangents(lambda s: jnp.sum(s.h[-1] ** 2), chain.trajectory)
    found = lg.contributions(chain, cotangents)
    want = jax.grad(loss)(params)["rows"]
    np.testing.assert_allclose(found.gradient["rows"], want, rtol=1e-12, atol=1e-15)
    np.testing.assert_array_equal(want[2], 0.0)
    np.testing.assert_allclose(np.sum(found.shares), 1.0, rtol=1e-12)

    bare = lg.Model(lambda params, state, x: jnp.tanh(state + x.astype(float)), None, jnp.zeros(2))
    chain = lg.chain(bare, jnp.ones((len(tokens), 2)))
    cotangents = lg.loss_cotangents(lambda states: jnp.sum(states[-1]), chain.trajectory)
    for reading in (lg.contribution_map, lg.truncation_bias):
        with pytest.raises(ValueError, match="complex array in the parameters, to take"):
            reading(chain, cotangents)
    chain = lg.chain(bare, jnp.ones((len(tokens), 2), int))
    with pytest.raises(ValueError, match="complex array in the parameters or the inputs, to take"):
        lg.contributions(chain, cotangents)


def test_shares_of_a_batch_where_nothing_else_is_asked_for():
    """Sums that start from zero read memory that nobody wrote, in a program that left out the rest.

    It took a batch, and other values in that memory from call to call.
    """
    cell = lg.cells.rnn(9, 32, dtype=jnp.float32)
    inputs = jax.random.normal(jax.random.key(1), (10, 9), jnp.float32)

    def shares(params):
        chain = lg.chain(cell.model(params), inputs)
        cotangents = lg.loss_cotangents(lambda s: jnp.sum(s.h[-1] ** 2), chain.trajectory)
        return lg.contributions(chain, cotangents).shares

    read = jax.jit(jax.vmap(shares))
    params = jax.vmap(cell.init)(jax.random.split(jax.random.key(0), 20))
    for power in range(20):
        jax.block_until_ready([jnp.full(1 << k, 10.0**power, jnp.float32) for k in range(4, 18)])
        np.testing.assert_allclose(jnp.sum(read(params), axis=1), 1.0, rtol=1e-4)
