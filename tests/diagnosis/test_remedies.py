"""Remedies do what they say: to parameters, to readings, and to the tensors of PyTorch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rigs

import lstmgrad as lg
from lstmgrad.diagnosis._remedies import _code, _gates

FAMILIES = (
    "lstm-bias-0",
    "lstm-drifting",
    *(
        pytest.param(name, marks=pytest.mark.slow)
        for name in (
            "lstm-clipped",
            "rnn-gain-half",
            "rnn-large-inputs",
            "gru-closed",
            "rnn-orthogonal-4",
            "relu-gain-3",
            "relu-dead",
            "lstm-truncated",
        )
    ),
)


def with_remedy(rig: rigs.Rig, remedy: lg.diagnosis.Remedy) -> rigs.Rig:
    if remedy.kind == "training":
        return rig._replace(options=remedy.apply(rig.options))
    return rig._replace(model=rig.model._replace(params=remedy.apply(rig.model.params)))


def check_predictions(name: str, seed: int) -> None:
    """Every reading lies where it was predicted; the parameters before are untouched."""
    family = rigs.FAULTY[name]
    rig = family.draw(seed)
    assert family.right is not None
    found = rig.diagnose()[family.right]
    if found.verdict != "found":
        return  # an open verdict has no remedy
    assert found.remedies
    before = jax.tree.map(np.asarray, rig.model.params)
    for remedy in found.remedies:
        assert remedy.predicted
        after = with_remedy(rig, remedy).diagnose()[family.right]
        for prediction in remedy.predicted:
            value = after.evidence[prediction.reading].value
            assert prediction.holds(value), (remedy.name, prediction, value)
    assert all(
        np.array_equal(old, new)
        for old, new in zip(jax.tree.leaves(before), jax.tree.leaves(rig.model.params), strict=True)
    )


@pytest.mark.parametrize("name", FAMILIES)
def test_predictions_hold(name):
    check_predictions(name, 20)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(21, 30))
@pytest.mark.parametrize("name", FAMILIES)
def test_predictions_hold_on_ten_draws(name, seed):
    check_predictions(name, seed)


def test_what_was_closed_is_open_with_chrono_biases():
    rig = rigs.FAULTY["lstm-bias-0"].draw(0)
    first = rig.diagnose()["forget-gates"].remedies[0]
    assert first.name == "chrono"
    assert with_remedy(rig, first).diagnose()["reach"].verdict == "clear"


def test_a_remedy_that_makes_the_output_flat_comes_last_and_says_so():
    remedies = rigs.FAULTY["lstm-drifting"].draw(0).diagnose()["saturated-output"].remedies
    assert [remedy.name for remedy in remedies] == ["chrono", "forget-bias"]
    assert "flat" in remedies[1].why
    assert "flat" not in remedies[0].why


def test_the_half_life_is_that_of_the_gate():
    assert _gates.half_life_bias(10) == pytest.approx(2.63424047, abs=5e-9)
    for lag in (1, 7, 200, 10**6):
        assert lg.theory.forget_half_life(_gates.half_life_bias(lag)) == pytest.approx(lag)


def torch_state(gates: int, width: int = 3) -> dict[str, np.ndarray]:
    """Weights under PyTorch's names, as NumPy arrays."""
    rng = np.random.default_rng(0)
    rows = gates * width
    return {
        "weight_ih_l0": rng.normal(size=(rows, 2)),
        "weight_hh_l0": rng.normal(size=(rows, width)),
        "bias_ih_l0": rng.normal(size=rows),
        "bias_hh_l0": rng.normal(size=rows),
    }


def read(state: dict[str, np.ndarray]) -> lg.Model:
    activation = jnp.tanh if len(state["bias_ih_l0"]) == 3 else None
    return lg.interop.from_torch(state, activation=activation)


@pytest.mark.parametrize("gates", [4, 3])
def test_the_code_for_pytorch_sets_the_bias_that_the_remedy_sets(gates):
    state = torch_state(gates)
    params = read(state).params
    exec(_code.forget_bias_code(params, 2.5), {"state": state})
    expected = lg.cells.with_forget_bias(params, 2.5)
    assert all(
        np.allclose(got, wanted)
        for got, wanted in zip(
            jax.tree.leaves(read(state).params), jax.tree.leaves(expected), strict=True
        )
    )


def test_the_code_for_pytorch_scales_what_the_remedies_scale():
    state = torch_state(1)
    before = read(state).params
    exec(_code.gain_code(0.5), {"state": state})
    exec(_code.input_code(0.25), {"state": state})
    after = read(state).params
    np.testing.assert_allclose(after.weight_hh, 0.5 * before.weight_hh)
    np.testing.assert_allclose(after.weight_ih, 0.25 * before.weight_ih)
    np.testing.assert_allclose(after.bias, 0.25 * before.bias)


def test_chrono_code_for_pytorch_draws_in_the_range_and_negates_it_at_the_input_gate():
    class Drawn(np.ndarray):
        def uniform_(self, low, high):
            self[:] = np.linspace(low, high, len(self))
            return self

        def log(self):
            return np.log(self)

    class torch:  # noqa: N801, stands for the package
        @staticmethod
        def empty(count):
            return np.empty(count).view(Drawn)

    state = torch_state(4)
    exec(_code.chrono_code(read(state).params, 100), {"state": state, "torch": torch})
    bias = np.asarray(read(state).params.bias)
    np.testing.assert_allclose(bias[3:6], np.log(np.linspace(1, 99, 3)))
    np.testing.assert_allclose(bias[:3], -bias[3:6])


@pytest.mark.slow
def test_a_stack_has_a_word_and_a_remedy_for_every_layer():
    """Two LSTMs, the lower one closed: the upper one alone keeps, and each prediction holds."""
    length, hidden = 40, 8

    def layer(width, bias, seed):
        cell = lg.cells.lstm(width, hidden, forget_bias=bias, dtype=jnp.float32)
        return cell.model(cell.init(jax.random.key(seed)))

    model = lg.interop.stack([layer(2, -2.0, 0), layer(hidden, -1.0, 1)])
    inputs = jax.random.normal(jax.random.key(2), (6, length, 2), jnp.float32)

    def diagnose(params):
        own = model._replace(params=params)
        return lg.diagnose(jax.vmap(lambda one: lg.chain(own, one))(inputs))

    found = diagnose(model.params)["forget-gates"]
    assert found.verdict == "found"
    assert "(c0 " in found.because
    forget = lg.tagged_values(lg.chain(model, inputs[0]))["forget"]
    assert forget.shape == (length, 2 * hidden)
    paths = []
    for place in range(2):
        kept = [
            np.log(np.asarray(lg.tagged_values(lg.chain(model, one))["forget"], np.float64))
            for one in inputs
        ]
        own = np.stack(kept)[:, 1:, place * hidden : (place + 1) * hidden]
        paths.append(own.sum(axis=1).max(axis=1).mean())
        assert found.evidence[f"log_path_c{place}"].value == pytest.approx(paths[-1], rel=1e-5)
    assert (
        found.evidence["log_path"].value
        == found.evidence["log_path_c1"].value
        == max(found.evidence[f"log_path_c{place}"].value for place in range(2))
    )
    for remedy in found.remedies:
        assert {p.reading for p in remedy.predicted} >= {"log_path", "log_path_c0", "log_path_c1"}
        assert "bias_ih_l0" in remedy.code
        assert "bias_ih_l1" in remedy.code
        changed = remedy.apply(model.params)
        assert not np.allclose(changed[0].bias, model.params[0].bias)
        after = diagnose(changed)["forget-gates"]
        for prediction in remedy.predicted:
            value = after.evidence[prediction.reading].value
            assert prediction.holds(value), (remedy.name, prediction, value)
