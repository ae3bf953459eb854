"""What is known at trace time is refused: the argument, what was wanted, what came."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from registry import T, chain_of, problem, random_chain

import lstmgrad as lg
from lstmgrad._chains.layout import layout_of

pytestmark = pytest.mark.usefixtures("as_installed")

XS = jnp.ones(4)


def run(step, state, inputs=XS, params=None):
    return lg.unroll(step, params, state, inputs)


def stay(params, state, x):
    return state


@dataclasses.dataclass
class Unregistered:
    """JAX does not look into it, nor can it be hashed."""

    h: Any


@dataclasses.dataclass(eq=False)
class Singular:
    """JAX does not look into it, and takes it for a constant."""

    h: Any


STEPS = {
    "structure": (
        lambda p, s, x: (s["h"],),
        {"h": jnp.ones(2)},
        r"step: expected .* structure it was given, a dict with 'h', .* returned \(float64\[2\],\)",
    ),
    "dropped leaf": (
        lambda p, s, x: {"h": s["h"]},
        {"h": jnp.ones(2), "c": jnp.ones(2)},
        r"step: expected .* structure it was given.*: leaf \['c'\] is missing\.",
    ),
    "new leaf": (
        lambda p, s, x: s | {"c": s["h"]},
        {"h": jnp.ones(2)},
        r"step: expected .* structure it was given.*: leaf \['c'\] is new\.",
    ),
    "other kind": (
        lambda p, s, x: (s.h, s.c),
        lg.cells.LSTMState(jnp.ones(2), jnp.ones(2)),
        r"LSTMState.*: leaf \.h is missing, leaf \.c is missing, leaf \[0\] is new",
    ),
    "with output": (
        lambda p, s, x: (s, s["h"]),
        {"h": jnp.ones(2)},
        r"structure it was given.* Return the state alone, without an output\.",
    ),
    "complex": (
        lambda p, s, x: {"h": jax.lax.complex(s["h"], s["h"])},
        {"h": jnp.ones(2)},
        r"step: expected leaf \['h'\] of the state to stay float64\[2\], .* complex128\[2\]",
    ),
    "shape": (
        lambda p, s, x: {"h": s["h"], "c": s["c"][:1]},
        {"h": jnp.ones(2), "c": jnp.ones(2)},
        r"step: expected leaf \['c'\] of the state to stay float64\[2\], but .* float64\[1\]",
    ),
    "dtype": (
        lambda p, s, x: {"h": s["h"].astype(jnp.float32)},
        {"h": jnp.ones(2)},
        r"step: expected leaf \['h'\] of the state to stay float64\[2\], .* returned float32\[2\]",
    ),
    "bare array": (
        lambda p, s, x: s[None],
        jnp.ones(2),
        r"step: expected the whole array of the state to stay float64\[2\], .* float64\[1,2\]",
    ),
}


@pytest.mark.parametrize("kind", STEPS)
def test_a_step_that_changes_the_state(kind):
    step, state, message = STEPS[kind]
    with pytest.raises(ValueError, match=message):
        run(step, state)
    # The same rule for a trajectory from elsewhere.
    states = jax.tree.map(lambda leaf: jnp.stack([leaf] * 5), state)
    with pytest.raises(ValueError, match=message):
        lg.linearize(step, None, lg.Trajectory(XS, states))
    with pytest.raises(ValueError, match=message):
        lg.stream(step, None, state, XS)


def test_a_step_that_fails_says_on_what():
    """The step's own error, with what it was called on."""

    def mistaken(params, state, x):
        return jnp.ones((7, 7)) @ state + x

    with pytest.raises(TypeError) as caught:
        lg.unroll(mistaken, None, jnp.ones(3), jnp.ones((T, 3)))
    (note,) = [n for n in caught.value.__notes__ if "raised by step" in n]
    assert "input float64[3]" in note
    assert "no batch axis: use jax.vmap" in note


def test_a_batch_that_was_not_mapped_is_named():
    given = problem("lstm")
    with pytest.raises(ValueError, match=r"inputs: expected those of one sequence.*got a batch"):
        lg.unroll(given.step, given.params, given.state, jnp.stack([given.inputs] * 4))


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (
            {"a": jnp.ones((3, 2)), "b": jnp.ones(4)},
            r"inputs: expected the same number of time steps .*\['a'\] has 3, \['b'\] has 4",
        ),
        (jnp.ones((0, 2)), "inputs: expected at least one time step, but the length is 0"),
        ((), "inputs: .*there is no array.*pass jnp.arange"),
        (None, "inputs: .*there is no array"),
        (jnp.asarray(1.0), "inputs: expected time as the first axis, but .* is a scalar"),
        ({"a": jnp.ones(3), "b": 1.0}, r"inputs: .*leaf \['b'\] is a scalar"),
        ({"a": "text"}, r"inputs: expected arrays, but leaf \['a'\] is 'text'"),
    ],
)
def test_inputs(inputs, message):
    with pytest.raises(ValueError, match=message):
        run(stay, jnp.ones(2), inputs)
    with pytest.raises(ValueError, match=message):
        lg.stream(stay, None, jnp.ones(2), inputs)
    with pytest.raises(ValueError, match="trajectory." + message):
        lg.linearize(stay, None, lg.Trajectory(inputs, jnp.ones((5, 2))))


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (jnp.arange(3), r"state: expected at least one floating-point .*int64\[3\].*astype"),
        ({"n": 1, "on": True}, r"state: .*\['n'\]: int64\[\], \['on'\]: bool\[\]"),
        ((), r"state: expected at least one array, but got \(\)"),
        ("text", "state: expected arrays, but got 'text'"),
        (
            {"h": jnp.ones(2, jnp.float8_e5m2)},
            r"state: expected floats of 16 bits or more, but got \['h'\]: float8_e5m2\[2\]",
        ),
        (
            Unregistered(jnp.ones(2)),
            r"state: expected arrays, or what can be hashed, .*register_dataclass\(Unregistered\)",
        ),
        (
            Singular(jnp.ones(2)),
            r"state: expected arrays, but got Singular.*register_dataclass\(Singular\)",
        ),
        ([{1}], r"state: expected arrays, or what can be hashed, but leaf \[0\] is \{1\}\.$"),
        (jnp.zeros((0, 3)), r"state: .*a number .*all leaves are empty: .*float64\[0,3\]"),
    ],
)
def test_states(state, message):
    with pytest.raises(ValueError, match=message):
        run(stay, state)


def test_a_chain_is_made_of_a_model():
    model: Any = (stay, None, jnp.ones(2))
    with pytest.raises(ValueError, match=r"model: expected an lstmgrad Model, but got tuple: cell"):
        lg.chain(model, XS)


@pytest.mark.parametrize(("states", "came"), [(4, 4), (6, 6), (1, 1)])
def test_a_trajectory_has_one_state_more_than_inputs(states, came):
    trajectory = lg.Trajectory(XS, jnp.ones((states, 2)))
    with pytest.raises(ValueError, match=rf"trajectory: expected T \+ 1 = 5 states.*got {came}"):
        lg.linearize(stay, None, trajectory)


def test_states_of_unequal_length():
    states = (jnp.ones((5, 2)), jnp.ones((4, 2)))
    with pytest.raises(ValueError, match=r"trajectory.states: .*\[0\] has 5, \[1\] has 4"):
        lg.linearize(stay, None, lg.Trajectory(XS, states))


READERS = {
    "jacobian": lg.jacobian,
    "backward_norms": lg.backward_norms,
    "forward_norms": lg.forward_norms,
    "norm_map": lg.norm_map,
}


@pytest.mark.parametrize("argument", ["of", "wrt"])
@pytest.mark.parametrize("reader", READERS)
def test_unknown_parts_list_the_known_ones(reader, argument):
    chain = chain_of("lstm")
    for name in ("x", 0, "H"):
        message = f"{argument}: expected one of the state's parts 'h', 'c' or None .*got {name!r}"
        with pytest.raises(ValueError, match=message):
            READERS[reader](chain, **{argument: name})


def test_a_state_without_names_is_part_zero():
    with pytest.raises(ValueError, match="of: expected one of the state's parts 0 or None"):
        lg.jacobian(random_chain(), of="h")
    with pytest.raises(ValueError, match=r"wrt: .*parts 0 or None .*got 1"):
        lg.jacobian(random_chain(), wrt=1)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (3, r"expected a slice k:t, .*got 3; the single factor J_t is chain\[t - 1 : t\]"),
        (-1, "expected a slice k:t"),
        ("h", "expected a slice k:t, .*got 'h'"),
        ((slice(1), slice(2)), "expected a slice k:t"),
        (slice(0, T + 1), rf"expected 0 <= k <= t <= T = {T}, but got \[0:{T + 1}\]"),
        (slice(-T - 1, None), rf"expected 0 <= k <= t <= T = {T}, but got \[-{T + 1}:None\]"),
        (slice(T + 3, T + 5), "expected 0 <= k <= t"),
        (slice(4, 2), rf"expected k <= t, .*got \[4:2\] of a chain with T = {T}"),
        (slice(-1, -3), "expected k <= t"),
        (slice(0, 4, 2), "expected every factor from k to t, but got a step of 2"),
        (slice(4, 0, -1), "expected every factor .*step of -1"),
        (slice(0.0, 2), "expected whole numbers known at trace time, but got 0.0"),
        (slice(None, "c"), "expected whole numbers .*'c'"),
    ],
)
def test_slices(key, message):
    for chain in (chain_of("lstm"), random_chain()):
        with pytest.raises(ValueError, match=message):
            chain[key]


def test_traced_slices():
    with pytest.raises(ValueError, match="whole numbers known at trace time"):
        jax.jit(lambda chain, k: chain[k:])(random_chain(), 2)


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        (np.ones((5, 2, 3)), r"factors: expected square matrices .*\(T, n, n\), .*\(5, 2, 3\)"),
        (np.ones((3, 3)), r"factors: expected square matrices .*got \(3, 3\)"),
        (np.ones((2, 5, 3, 3)), r"factors: expected square matrices .*\(2, 5, 3, 3\)"),
        (np.ones((5, 3, 3), int), "factors: expected a real floating-point dtype, .*int64"),
        (np.ones((5, 3, 3), complex), "factors: expected a real .*complex128"),
        (np.ones((5, 0, 0)), "all leaves are empty"),
    ],
)
def test_dense_chains(factors, message):
    with pytest.raises(ValueError, match=message):
        lg.DenseChain(factors)


def test_a_layout_that_does_not_fit():
    message = "layout: expected one of size 3 and dtype float64, .*got size 2 and dtype float64"
    with pytest.raises(ValueError, match=message):
        lg.DenseChain(np.ones((5, 3, 3)), layout=layout_of(jnp.ones(2)))
    with pytest.raises(ValueError, match=r"layout: .*dtype float32"):
        lg.DenseChain(np.ones((5, 3, 3)), layout=layout_of(jnp.ones(3, jnp.float32)))


@pytest.mark.parametrize(
    ("move", "argument", "good", "bad"),
    [
        (lg.push_forward, "tangents", r"\(n,\) or \(n, m\)", (2, 4)),
        (lg.pull_back, "cotangents", r"\(n,\) or \(m, n\)", (4, 2)),
    ],
)
def test_tangents_and_cotangents(move, argument, good, bad):
    chain = random_chain(4)
    for shape in (bad, (5,), (), (4, 4, 4)):
        with pytest.raises(ValueError, match=rf"{argument}: expected shape {good} with n = 4"):
            move(chain, jnp.ones(shape))
    for dtype in ("float32", "int32", "complex128"):
        with pytest.raises(ValueError, match=rf"{argument}: expected dtype float64, .*{dtype}"):
            move(chain, jnp.ones(4, dtype))
    with pytest.raises(ValueError, match=f"{argument}: expected shape"):
        move(chain, lg.scaled(jnp.ones(3)))


def test_a_batch_of_chains_needs_vmap():
    batch = jax.vmap(lg.DenseChain)(jnp.ones((2, 5, 3, 3)))
    given = problem("lstm")
    implicit = jax.vmap(
        lambda x: lg.linearize(
            given.step, given.params, lg.unroll(given.step, given.params, given.state, x)
        )
    )(jnp.ones((2, T, 2)))
    for chain in (batch, implicit):
        n = chain.layout.size
        for use in (
            len,
            lambda chain: chain[1:],
            lg.DenseChain.of,
            lg.jacobian,
            lg.product,
            lg.backward_norms,
            lg.forward_norms,
            lg.norm_map,
            lambda chain, n=n: lg.push_forward(chain, jnp.ones(n)),
            lambda chain, n=n: lg.pull_back(chain, jnp.ones(n)),
        ):
            with pytest.raises(ValueError, match=r"one trajectory, .*a batch of \(2,\).*jax.vmap"):
                use(chain)


@pytest.mark.parametrize("reader", ["backward_norms", "forward_norms", "norm_map"])
@pytest.mark.parametrize("every", [0, -1, 8, 2.0, "1", True, None])
def test_the_spacing_is_a_positive_whole_number(reader, every):
    # A chain of a length of its own: 1 == True is one key of the compilation cache.
    message = f"every: expected a whole number from 1 to T = 7, but got {every!r}"
    with pytest.raises(ValueError, match=message):
        READERS[reader](random_chain(2, 7), every=every)


@pytest.mark.parametrize("threshold", [0, 0.0, -1e-3, float("nan"), "0.1", None, True])
def test_the_threshold_is_above_zero(threshold):
    profile = lg.backward_norms(random_chain(2, 7))
    message = f"threshold: expected a number above zero, but got {threshold!r}"
    with pytest.raises(ValueError, match=message):
        lg.horizon(profile, threshold=threshold)


@pytest.mark.parametrize("size", [0, -3, 2.0, "8", None, True])
@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_sizes_of_cells(cell, size):
    make = getattr(lg.cells, cell)
    message = f"expected a whole number, 1 or more, but got {size!r}"
    with pytest.raises(ValueError, match="input_size: " + message):
        make(size, 4)
    with pytest.raises(ValueError, match="hidden_size: " + message):
        make(4, size)


def test_sizes_may_be_numpy_integers():
    sizes: tuple[Any, Any] = np.int64(3), np.int32(4)
    assert lg.cells.lstm(*sizes).initial_state().h.shape == (4,)


@pytest.mark.parametrize("reader", ["backward_norms", "forward_norms", "norm_map"])
@pytest.mark.parametrize("rtol", [-1e-5, float("nan"), True, "1e-5", None])
def test_tolerances(reader, rtol):
    # A chain of a length of its own: 1 == True is one key of the compilation cache.
    with pytest.raises(ValueError, match=f"rtol: expected a number, 0 or above, .*{rtol!r}"):
        READERS[reader](random_chain(2, 7), rtol=rtol)


@pytest.mark.parametrize("rtol", [0, -1e-3, float("nan"), True, "1e-3"])
def test_matrix_free_norms_need_a_tolerance_above_zero(rtol):
    with pytest.raises(ValueError, match=f"rtol: expected a number above zero, .*{rtol!r}"):
        lg.matrix_free_norms(random_chain(2, 7), (1,), rtol=rtol)


@pytest.mark.parametrize("lags", [(), (2, 1), (1, 1), (-1, 2), (0, 8), (1.0,), ("1",), 3, None])
def test_lags_increase_within_the_chain(lags):
    message = "lags: expected increasing whole numbers from 0 to T = 7, but got"
    with pytest.raises(ValueError, match=message):
        lg.matrix_free_norms(random_chain(2, 7), lags)


@pytest.mark.parametrize("size", [0, -1, 2.0, "2", None])
def test_block_sizes(size):
    message = f"block_size: expected a whole number, 1 or more, but got {size!r}"
    with pytest.raises(ValueError, match=message):
        lg.Method.blocked(size)
    with pytest.raises(ValueError, match="max_steps: expected a whole number, 1 or more"):
        lg.matrix_free_norms(random_chain(2, 7), (1,), max_steps=size)
