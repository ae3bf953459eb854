"""Cells of Flax: against their own run and derivatives, and the meaning of their weights."""

import functools
import warnings
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parity import D, H, assert_parity, filled, sequence
from readings import HIDDEN, SWAPPED, X, assert_means, gru, lstm, sigmoid

import lstmgrad as lg

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from flax import linen as nn
    from flax import nnx

LINEN = (nn.LSTMCell, nn.OptimizedLSTMCell, nn.GRUCell, nn.SimpleCell, nn.MGUCell)
NNX = (nnx.LSTMCell, nnx.OptimizedLSTMCell, nnx.GRUCell, nnx.SimpleCell)


def cases(*kinds):
    """All in float64, the first in float32, too."""
    pairs = [(kind, "float64") for kind in kinds] + [(kinds[0], "float32")]
    ids = [f"{kind.__name__}-{dtype}" for kind, dtype in pairs]
    return pytest.mark.parametrize(("kind", "dtype"), pairs, ids=ids)


def variables_of(cell, dtype="float64"):
    x = sequence(dtype)[0]

    def init():
        key = jax.random.key(0)
        return cell.init(key, cell.initialize_carry(key, x.shape), x)

    return filled(jax.eval_shape(init), 1)


def carry_of(parts):
    """Flax has c in front."""
    return (parts[1], parts[0]) if len(parts) == 2 else parts[0]


def parts_of(carry):
    return (carry[1], carry[0]) if isinstance(carry, tuple) else (carry,)


@cases(*LINEN)
def test_linen_cells(kind, dtype):
    cell = kind(H, param_dtype=dtype)
    variables = variables_of(cell, dtype)
    # An RNN has its cell's variables under a name of their own.
    rnn = nn.RNN(cell, return_carry=True)
    inside = {"params": {"cell": variables["params"]}}

    def run(parts, inputs):
        carry, outputs = rnn.apply(inside, inputs, initial_carry=carry_of(parts))
        return outputs, parts_of(carry)

    assert_parity(lg.interop.from_linen(cell, variables), run, dtype)


OPTIONS = [
    (nn.LSTMCell, {"activation_fn": jax.nn.soft_sign, "gate_fn": jax.nn.hard_sigmoid}),
    (nn.LSTMCell, {"dtype": "float32"}),
    (nn.GRUCell, {"activation_fn": nn.relu}),
    (nn.SimpleCell, {"residual": True}),
    (nn.MGUCell, {"reset_gate": False}),
]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "options"), OPTIONS)
def test_linen_cells_with_options(kind, options):
    cell = kind(H, param_dtype="float64", **options)
    inputs = sequence(length=10)
    with jax.numpy_dtype_promotion("standard"):  # Flax relies on promotions that the tests forbid
        variables = variables_of(cell)
        model = lg.interop.from_linen(cell, variables)
        start = carry_of(tuple(model.state))
        own = jax.lax.scan(lambda carry, x: cell.apply(variables, carry, x), start, inputs)[1]
        states = lg.unroll(*model, inputs).states
    assert states.h.dtype == own.dtype
    atol = 1e-6 if own.dtype == "float32" else 1e-13
    np.testing.assert_allclose(states.h[1:], own, rtol=0, atol=atol)


@cases(*NNX)
def test_nnx_cells(kind, dtype):
    options = {"dtype": None, "param_dtype": jnp.dtype(dtype)}
    cell = nnx.eval_shape(lambda: kind(D, H, **options, rngs=nnx.Rngs(0)))
    graph, weights = nnx.split(cell)
    weights = filled(weights, 1)

    def run(parts, inputs):
        fresh = jax.tree.map(lambda leaf: leaf, weights)  # nnx minds where a Param was made
        rnn = nnx.RNN(nnx.merge(graph, fresh), return_carry=True)
        carry, outputs = rnn(inputs, initial_carry=carry_of(parts))
        return outputs, parts_of(carry)

    assert_parity(lg.interop.from_nnx(nnx.merge(graph, weights)), run, dtype)


def test_both_directions_of_a_bidirectional_linen_layer():
    cell = nn.LSTMCell(H, param_dtype="float64")
    layer = nn.Bidirectional(nn.RNN(cell), nn.RNN(cell.clone()))
    inputs = sequence(length=6)
    variables = filled(jax.eval_shape(layer.init, jax.random.key(0), inputs), 1)
    outputs: Any = layer.apply(variables, inputs)
    for name, columns, step in (
        ("forward_rnn", slice(H), 1),
        ("backward_rnn", slice(H, 2 * H), -1),
    ):
        model = lg.interop.from_linen(getattr(layer, name), {"params": variables["params"][name]})
        states = lg.unroll(*model, inputs[::step]).states
        np.testing.assert_allclose(states.h[1:][::step], outputs[:, columns], atol=1e-12)


def test_both_directions_of_a_bidirectional_nnx_layer():
    def rnn(seed):
        cell = nnx.LSTMCell(D, H, param_dtype=jnp.float64, rngs=nnx.Rngs(seed))
        return nnx.RNN(cell, rngs=nnx.Rngs(seed))

    layer, inputs = nnx.Bidirectional(rnn(1), rnn(2), rngs=nnx.Rngs(3)), sequence(length=6)
    outputs: Any = layer(inputs)
    for half, columns, step in (
        (layer.forward_rnn, slice(H), 1),
        (layer.backward_rnn, slice(H, 2 * H), -1),
    ):
        states = lg.unroll(*lg.interop.from_nnx(half), inputs[::step]).states
        np.testing.assert_allclose(states.h[1:][::step], outputs[:, columns], atol=1e-12)


def test_a_simple_nnx_cell_computes_in_float32_unless_told_otherwise():
    cell = nnx.SimpleCell(D, H, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
    states = lg.unroll(*lg.interop.from_nnx(cell), sequence(length=5)).states
    assert states.h.dtype == "float32"


@pytest.mark.parametrize("kind", ["linen", "nnx"])
def test_models_of_one_architecture_share_their_step(kind):
    if kind == "linen":
        cells = nn.GRUCell(H), nn.GRUCell(H)
        models = [lg.interop.from_linen(cell, {"params": {"w": jnp.ones(1)}}) for cell in cells]
    else:
        models = [lg.interop.from_nnx(nnx.GRUCell(D, H, rngs=nnx.Rngs(seed))) for seed in range(2)]
    assert models[0].step is models[1].step


class LinenLeak(nn.Module):
    """A cell of nobody's."""

    @nn.compact
    def __call__(self, carry, x):
        rate = self.param("rate", lambda key: jnp.asarray(0.25))
        after = carry + rate * (x - carry)
        return after, after


class NNXLeak(nnx.Module):
    """The same, holding its rate."""

    def __init__(self):
        self.rate = nnx.Param(jnp.asarray(0.25))

    def __call__(self, carry, x):
        after = carry + self.rate[...] * (x - carry)
        return after, after


@pytest.mark.parametrize("kind", ["linen", "nnx"])
def test_a_module_of_the_users_own_keeps_its_carry(kind):
    start = jnp.zeros(D)
    variables = {"params": {"rate": jnp.asarray(0.25)}}
    if kind == "linen":
        model = lg.interop.from_linen(LinenLeak(), variables, state=start)
    else:
        model = lg.interop.from_nnx(NNXLeak(), state=start)
    trajectory = lg.unroll(*model, sequence(length=3))
    chain = lg.linearize(model.step, model.params, trajectory)
    np.testing.assert_allclose(lg.jacobian(chain), 0.75**3 * np.eye(D), rtol=1e-14)


def test_a_module_of_the_users_own_needs_its_carry():
    with pytest.raises(ValueError, match=r"cell: expected an nn.LSTMCell.*LinenLeak.*pass state="):
        lg.interop.from_linen(LinenLeak(), {"params": {}})
    with pytest.raises(ValueError, match=r"cell: expected an nnx.LSTMCell.*NNXLeak.*pass state="):
        lg.interop.from_nnx(NNXLeak())


def test_parameters_without_their_collection():
    with pytest.raises(ValueError, match=r"variables: expected all collections.*'hf', 'hg'"):
        lg.interop.from_linen(nn.LSTMCell(H), {"hf": 0, "hg": 0})


def test_linen_has_the_cell_in_front_and_a_kernel_for_each_gate():
    cell = nn.LSTMCell(H, param_dtype="float64")
    variables = variables_of(cell)
    p = variables["params"]
    weights = (
        np.concatenate([p[f"i{gate}"]["kernel"].T for gate in "ifgo"]),
        np.concatenate([p[f"h{gate}"]["kernel"].T for gate in "ifgo"]),
        np.concatenate([p[f"h{gate}"]["bias"] for gate in "ifgo"]),
    )
    transposed = (
        weights[0],
        np.concatenate([p[f"h{gate}"]["kernel"] for gate in "ifgo"]),
        weights[2],
    )
    assert_means(
        lg.interop.from_linen(cell, variables),
        lstm(weights),
        lstm(weights, state=SWAPPED),
        lstm(transposed),
        lstm(weights, forget_bias=1.0),
    )
    # The optimized cell has the same variables.
    fast = nn.OptimizedLSTMCell(H, param_dtype="float64")
    assert_means(lg.interop.from_linen(fast, variables), lstm(weights))


def test_linen_minimal_unit_has_its_bias_in_the_weights():
    cell = nn.MGUCell(H, param_dtype="float64")
    key = jax.random.key(0)
    start = cell.init(key, cell.initialize_carry(key, X.shape), X)["params"]
    assert np.all(start["if"]["bias"] == 1)
    variables = variables_of(cell)
    p = variables["params"]

    def mgu(forget_bias, kept):
        drive = X @ p["if"]["kernel"] + p["if"]["bias"] + HIDDEN @ p["hf"]["kernel"] + forget_bias
        f = sigmoid(drive)
        inside = HIDDEN @ p["hn"]["kernel"] + p["hn"]["bias"]
        n = np.tanh(X @ p["in"]["kernel"] + p["in"]["bias"] + f * inside)
        f = f if kept else 1 - f
        return ((1 - f) * n + f * HIDDEN,)

    model = lg.interop.from_linen(cell, variables)
    assert_means(model, mgu(0.0, True), mgu(1.0, True), mgu(0.0, False))


def test_nnx_has_another_tree_and_one_bias_in_a_gru():
    def cell_of(kind):
        make = lambda: kind(D, H, param_dtype=jnp.float64, rngs=nnx.Rngs(0))  # noqa: E731
        abstract = nnx.eval_shape(make)
        graph, weights = nnx.split(abstract)
        return nnx.merge(graph, filled(weights, 1))

    cell = cell_of(nnx.OptimizedLSTMCell)
    dense_i, dense_h = cell.dense_i, cell.dense_h
    weights = dense_i.kernel[...].T, dense_h.kernel[...].T, dense_h.bias[...]
    assert_means(
        lg.interop.from_nnx(cell),
        lstm(weights),
        lstm(weights, state=SWAPPED),
        lstm(weights, order="igfo"),
    )
    cell = cell_of(nnx.GRUCell)
    w, u, b = cell.dense_i.kernel[...].T, cell.dense_h.kernel[...].T, cell.dense_i.bias[...]
    assert cell.dense_h.bias is None
    inside = np.where(np.arange(3 * H) < 2 * H, 0, b)
    assert_means(lg.interop.from_nnx(cell), gru((w, u, b, 0 * b)), gru((w, u, b - inside, inside)))


@pytest.mark.usefixtures("as_installed")
@pytest.mark.parametrize("kind", ["equinox", "linen", "nnx"])
def test_a_start_of_a_known_cell_may_be_a_pair(kind):
    """As its framework has it, without the names of the parts."""
    zero, one = jnp.zeros(4, jnp.float32), jnp.ones(4, jnp.float32)
    if kind == "equinox":
        make = functools.partial(
            lg.interop.from_equinox, eqx.nn.LSTMCell(3, 4, key=jax.random.key(0))
        )
    elif kind == "linen":
        cell = nn.LSTMCell(4)
        variables = cell.init(jax.random.key(0), (zero, zero), jnp.ones(3, jnp.float32))
        make = functools.partial(lg.interop.from_linen, cell, variables)
    else:
        make = functools.partial(lg.interop.from_nnx, nnx.LSTMCell(3, 4, rngs=nnx.Rngs(0)))
    for state in ((one, zero), {"c": zero, "h": one}, lg.cells.LSTMState(one, zero)):
        model = make(state=state)
        assert type(model.state) is lg.cells.LSTMState
        np.testing.assert_array_equal(model.state, np.stack([one, zero]))
    with pytest.raises(
        ValueError, match=r"state: expected arrays of the shapes h: .* got \(2, 4\), "
    ):
        make(state=(jnp.ones((2, 4), jnp.float32), zero))
