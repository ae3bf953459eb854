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
