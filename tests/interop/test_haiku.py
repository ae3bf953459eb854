"""Cores of Haiku: against their own run and derivatives, and the meaning of their weights."""

import warnings
from typing import Any

import jax
import numpy as np
import pytest
import readings
from parity import D, H, alive, assert_parity, filled, sequence
from readings import HIDDEN, X, assert_means

import lstmgrad as lg

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import haiku as hk


def lstm():
    return hk.LSTM(H)


def gru():
    return hk.GRU(H)


def vanilla_rnn():
    return hk.VanillaRNN(H)


def deep():
    return hk.DeepRNN([hk.LSTM(H), jax.numpy.tanh, hk.GRU(H)])


def single_bias():
    return hk.VanillaRNN(H, double_bias=False)


CORES = {core.__name__: core for core in (lstm, gru, vanilla_rnn, single_bias, deep)}


def network(core, dtype="float64", wrap=lambda run: run):
    """The transformed unroll of a core from given parts, and its parameters."""

    def run(inputs, parts):
        made = core()
        leaves, structure = jax.tree.flatten(made.initial_state(None))
        start = jax.tree.unflatten(structure, leaves if parts is None else parts)
        start = jax.tree.map(lambda leaf: leaf.astype(dtype), start)
        return hk.dynamic_unroll(made, inputs, start)

    transformed = hk.transform(wrap(run))

    def init():
        return transformed.init(jax.random.key(0), sequence(dtype), None)

    return transformed, filled(jax.eval_shape(init), 1)


@pytest.mark.parametrize(
    ("name", "dtype"), [*((name, "float64") for name in CORES), ("lstm", "float32")]
)
def test_cores(name, dtype):
    transformed, params = network(CORES[name], dtype)
    if CORES[name] in (vanilla_rnn, single_bias):
        params = alive(params)

    def run(parts, inputs):
        outputs, last = transformed.apply(params, None, inputs, parts)
        return outputs, jax.tree.leaves(last)

    assert_parity(lg.interop.from_haiku(CORES[name], params), run, dtype)


def test_parts_of_a_deep_core():
    _, params = network(deep)
    assert lg.interop.from_haiku(deep, params).state._fields == ("h0", "c0", "h1")


class Policy(hk.Module):
    def __init__(self, run):
        super().__init__("policy")
        self.run = run

    def __call__(self, *data):
        return self.run(*data), hk.Linear(2)(sequence()[0])


def test_a_core_inside_a_module_has_its_scope():
    _, params = network(lstm, wrap=lambda run: lambda *data: Policy(run)(*data)[0])
    assert set(params) == {"policy/lstm/linear", "policy/linear"}
    inside = {"lstm/linear": params["policy/lstm/linear"]}
    got = lg.unroll(*lg.interop.from_haiku(lstm, params, scope="policy"), sequence(length=5))
    expected = lg.unroll(*lg.interop.from_haiku(lstm, inside), sequence(length=5))
    np.testing.assert_array_equal(got.states.h, expected.states.h)
    with pytest.raises(ValueError, match=r"scope: .*have 'policy/.* none of them in 'polcy'"):
        lg.interop.from_haiku(lstm, params, scope="polcy")


class Counted(hk.RNNCore):
    """A core of nobody's: a state with a count, which no table knows."""

    def __call__(self, x, state):
        mean, count = state["mean"], state["count"]
        mean = mean + hk.get_parameter("rate", (), x.dtype, init=hk.initializers.Constant(0.25)) * (
            x - mean
        )
        return mean, {"mean": mean, "count": count + 1}

    def initial_state(self, batch_size) -> Any:
        return {"mean": jax.numpy.zeros(D), "count": jax.numpy.asarray(0)}


def test_a_core_of_the_users_own_keeps_its_parts():
    params = {"counted": {"rate": jax.numpy.asarray(0.25)}}
    model = lg.interop.from_haiku(Counted, params)
    chain = lg.linearize(model.step, model.params, lg.unroll(*model, sequence(length=3)))
    assert chain.layout.parts == ("mean",)
    np.testing.assert_allclose(lg.jacobian(chain), 0.75**3 * np.eye(D), rtol=1e-14)


def test_the_same_function_is_the_same_step():
    _, params = network(lstm)
    first, second = (lg.interop.from_haiku(lstm, params) for _ in range(2))
    assert first.step is second.step


def test_the_lstm_adds_one_to_the_forget_gate_and_has_another_order():
    _, params = network(lstm)
    p = params["lstm/linear"]
    w, u = np.split(np.asarray(p["w"]).T, [D], axis=1)
    weights = w, u, p["b"]
    assert_means(
        lg.interop.from_haiku(lstm, params),
        readings.lstm(weights, order="igfo", forget_bias=1.0),
        readings.lstm(weights, order="igfo"),
        readings.lstm(weights, forget_bias=1.0),
    )


def test_the_gru_resets_before_and_renews():
    _, params = network(gru)
    p = params["gru"]
    weights = p["w_i"].T, p["w_h"].T, p["b"], 0 * p["b"]

    def read(**options):
        return readings.gru(weights, order="zrn", **options)

    assert_means(
        lg.interop.from_haiku(gru, params),
        read(reset="before", z_is="renewed"),
        read(z_is="renewed"),
        read(reset="before"),
        readings.gru(weights),
    )


def test_the_plain_network_is_a_relu_with_two_biases():
    _, params = network(vanilla_rnn)
    params = alive(params)
    first, second = params["vanilla_rnn/linear"], params["vanilla_rnn/linear_1"]
    drive = X @ first["w"] + first["b"] + HIDDEN @ second["w"] + second["b"]
    one_bias = np.maximum(drive - second["b"], 0)
    model = lg.interop.from_haiku(vanilla_rnn, params)
    assert_means(model, (np.maximum(drive, 0),), (np.tanh(drive),), (one_bias,))


class Negated(hk.LSTM):
    """A core of one's own with a known state."""

    def __call__(self, inputs, prev_state):
        h, state = super().__call__(inputs, prev_state)
        return -h, state


def negated():
    return hk.DeepRNN([Negated(H), hk.GRU(H)])


@pytest.mark.slow
def test_a_core_of_ones_own_runs_its_own_code_and_has_the_routes_of_its_parts():
    transformed, params = network(negated)
    model = lg.interop.from_haiku(negated, params)
    outputs, _ = transformed.apply(params, None, sequence(), None)
    chain = lg.chain(model, sequence())
    np.testing.assert_allclose(chain.trajectory.states.h1[1:], outputs, rtol=0, atol=1e-12)
    assert list(lg.tagged_values(chain)) == ["cell", "hidden"]
