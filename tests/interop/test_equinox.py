"""Cells of Equinox: against their own run and derivatives, and the meaning of their weights."""

from typing import Any

import equinox as eqx
import jax
import numpy as np
import pytest
from parity import D, H, assert_parity, filled, scan, sequence
from readings import assert_means, gru, lstm

import lstmgrad as lg

KINDS = {"lstm": eqx.nn.LSTMCell, "gru": eqx.nn.GRUCell}


def cell_of(kind, dtype="float64", size=D, **options):
    make = lambda: KINDS[kind](size, H, dtype=dtype, key=jax.random.key(0), **options)  # noqa: E731
    return filled(eqx.filter_eval_shape(make), 1)


def own(cell):
    def run(parts, inputs):
        start = parts if len(parts) == 2 else parts[0]

        def body(state, x):
            after = cell(x, state)
            return after, after[0] if len(parts) == 2 else after

        outputs, last = scan(body, start, inputs)
        return outputs, last if len(parts) == 2 else (last,)

    return run


@pytest.mark.parametrize(
    ("kind", "dtype"), [("lstm", "float64"), ("gru", "float64"), ("lstm", "float32")]
)
def test_cells(kind, dtype):
    cell = cell_of(kind, dtype)
    assert_parity(lg.interop.from_equinox(cell), own(cell), dtype)


@pytest.mark.parametrize("kind", KINDS)
def test_cells_without_bias(kind):
    cell = cell_of(kind, use_bias=False)
    assert_parity(lg.interop.from_equinox(cell), own(cell), "float64")


def test_a_stack_is_one_recurrence():
    below, above = cell_of("lstm"), cell_of("gru", size=H)
    model = lg.interop.stack([lg.interop.from_equinox(below), lg.interop.from_equinox(above)])
    assert model.state._fields == ("h0", "c0", "h1")

    def run(parts, inputs):
        def body(carry, x):
            h, c = below(x, carry[:2])
            top = above(h, carry[2])
            return (h, c, top), top

        return scan(body, tuple(parts), inputs)

    assert_parity(model, run, "float64")


class Averager(eqx.Module):
    """A cell of nobody's: a leaky average, and a count of the steps."""

    rate: jax.Array

    def __call__(self, x, state):
        return {
            "mean": state["mean"] + self.rate * (x - state["mean"]),
            "steps": state["steps"] + 1,
        }


def test_a_module_of_the_users_own_keeps_its_parts():
    start = {"mean": np.zeros(D), "steps": np.asarray(0)}
    model = lg.interop.from_equinox(Averager(jax.numpy.asarray(0.25)), state=start)
    trajectory = lg.unroll(*model, sequence())
    chain = lg.linearize(model.step, model.params, trajectory)
    assert chain.layout.parts == ("mean",)
    np.testing.assert_allclose(lg.jacobian(chain[:3]), 0.75**3 * np.eye(D), rtol=1e-14)
    with pytest.raises(ValueError, match=r"cell: expected an eqx.nn.LSTMCell .* got Averager"):
        lg.interop.from_equinox(Averager(jax.numpy.asarray(0.25)))


class Doubled(eqx.nn.LSTMCell):
    """A cell that may do anything, under the name of one that is known."""

    def __call__(self, input, hidden, *, key=None):
        h, c = super().__call__(input, hidden)
        return 2.0 * h, c


@pytest.mark.slow
def test_a_subclass_runs_its_own_code_and_has_the_routes_of_its_parts():
    plain = cell_of("lstm")
    make: Any = Doubled
    cell = make(D, H, dtype="float64", key=jax.random.key(0))
    cell = jax.tree.unflatten(jax.tree.structure(cell), jax.tree.leaves(plain))
    chain = lg.chain(lg.interop.from_equinox(cell), sequence(length=5))
    np.testing.assert_allclose(
        chain.trajectory.states.h[1], 2 * plain(sequence()[0], chain.model.state)[0]
    )
    routes, factors = lg.routes(chain), lg.DenseChain.of(chain).factors
    through = {name: np.asarray(lg.DenseChain.of(routes[name]).factors) for name in routes}
    np.testing.assert_allclose(through["hidden"][..., :H], factors[..., :H], atol=1e-14)
    np.testing.assert_allclose(through["cell"][..., H:], factors[..., H:], atol=1e-14)
    assert not through["hidden"][..., H:].any()
    assert not through["cell"][..., :H].any()


def test_models_of_one_architecture_share_their_step():
    first, second = (lg.interop.from_equinox(cell_of("lstm")) for _ in range(2))
    assert first.step is second.step
    assert lg.interop.stack([first, second]).step is lg.interop.stack([second, first]).step


def test_layers_that_cannot_be_stacked():
    with pytest.raises(ValueError, match="at least one layer, but got none"):
        lg.interop.stack([])
    model = lg.interop.from_equinox(cell_of("lstm"))
    with pytest.raises(ValueError, match=r"a part h, .* that of layer 1 is StackState"):
        lg.interop.stack([model, lg.interop.stack([model, model])])


def test_what_the_weights_mean():
    cell = cell_of("lstm")
    weights = cell.weight_ih, cell.weight_hh, cell.bias
    assert_means(
        lg.interop.from_equinox(cell),
        lstm(weights),
        lstm(weights, order="igfo"),
        lstm(weights, forget_bias=1.0),
    )
    cell = cell_of("gru")
    inner = np.concatenate([np.zeros(2 * H), cell.bias_n])
    weights = cell.weight_ih, cell.weight_hh, cell.bias, inner
    outside = cell.weight_ih, cell.weight_hh, cell.bias + inner, 0 * inner
    assert_means(
        lg.interop.from_equinox(cell),
        gru(weights),
        gru(outside),
        gru(weights, order="zrn"),
        gru(weights, z_is="renewed"),
    )
