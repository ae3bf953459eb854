"""`compare` on several sequences: medians and bands over them, each read from its own start."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from commands import refused, run

import lstmgrad as lg
from lstmgrad.cli._shared.kinds import KINDS
from lstmgrad.cli._shared.sequences import read_sequence
from lstmgrad.cli._shared.training import build, evaluator, initial
from lstmgrad.cli.compare._finite import Broken, reader

COUNT, STEPS = 5, 14


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    path = tmp_path_factory.mktemp("several") / "several.npy"
    np.save(path, np.random.default_rng(0).normal(size=(COUNT, STEPS, 2)))
    return path


@pytest.mark.slow
def test_numbers_are_medians_over_the_sequences(several, tmp_path):
    options = ["--cells", "rnn", "--hidden", "4", "--train", "0", "--dtype", "float64"]
    found = run(tmp_path, "compare", "--input", str(several), *options, "--sequences", "4")
    assert (found.code, found.err) == (0, "")
    assert f"first {STEPS} steps of 4 sequences, each from the zero state" in found.out
    assert "medians of 4 sequences" in found.out
    assert "the median norm of the gradient, of 4 sequences, is" in found.out
    model = build(KINDS["rnn"], sequence := read_sequence(several), 4, jnp.dtype("float64"))
    cell = model.cell.model(initial(model, 0)[0].cell)
    inputs = jnp.asarray(sequence.stretches(STEPS, 4))
    expected = jax.vmap(lambda one: lg.backward_norms(lg.chain(cell, one)).log_norms)(inputs)
    curves = found.arrays("compare.npz")["rnn_h_initial"]
    np.testing.assert_allclose(curves, expected, rtol=1e-6, atol=1e-9)
    (row,) = found.json("compare.json")["rows"]
    quantiles = np.quantile(curves, (0.1, 0.5, 0.9), axis=0, method="inverted_cdf") / math.log(10)
    assert row["log10_norm"][str(STEPS)] == pytest.approx(quantiles[1, -1])
    assert row["bands"]["log10_norm"][str(STEPS)] == pytest.approx(list(quantiles[::2, -1]))
    assert found.json("compare.json")["sequences"] == 4


def test_no_window_of_the_training_leaves_its_sequence(several):
    sequence = read_sequence(several)
    assert (sequence.pieces, sequence.steps) == (COUNT, STEPS)
    model = build(KINDS["rnn"], sequence, 3, jnp.dtype("float64"))
    params, _ = initial(model, 0)
    pieces = model.rows.reshape(COUNT, STEPS, 2)
    expected = np.mean(jax.vmap(lambda piece: model.loss(params, piece))(pieces))
    np.testing.assert_allclose(evaluator(model)(params), expected, rtol=1e-12)


def test_a_longer_sequence_is_cut_into_stretches(several, tmp_path):
    np.save(tmp_path / "long.npy", np.arange(60.0)[:, None])
    rows = read_sequence(tmp_path / "long.npy").stretches(10, 3)
    whole = read_sequence(tmp_path / "long.npy").rows
    np.testing.assert_array_equal(rows, [whole[start : start + 10] for start in (0, 24, 49)])
    assert read_sequence(several).stretches(6, 9).shape == (COUNT, 6, 2)


class State(NamedTuple):
    h: jax.Array


def test_each_sequence_is_read_to_where_it_breaks():
    def step(params, state, x):
        return State(lg.tag(state.h**2 * x, "all"))

    def chain_of(params, rows):
        return lg.chain(lg.Model(step, params, State(jnp.full(1, 2.0, jnp.float32))), rows)

    rows = jnp.stack([jnp.full((9, 1), x, jnp.float32) for x in (0.5, 4.0, 1.0)])
    ((profile, rate, _, path),), where = reader(chain_of, [("h", "h")], 1.0, rows)(1.0)
    assert path is None
    assert where is not None
    ends = [9, 5, 6]  # 2^(2^t) and more leave float32
    for norms, steps in zip(profile.log_norms, ends, strict=True):
        np.testing.assert_array_equal(np.isfinite(norms), np.arange(10) <= steps)
    assert np.isfinite(rate).all()
    sentence = Broken("rnn", "initial", *where).sentence("RNN")
    assert sentence.startswith("The RNN stops being finite in 2 of 3 sequences: first h ")


def test_what_several_sequences_are_not(several, tmp_path):
    message = refused(tmp_path, "compare", "--input", str(several), "--columns", "1")
    assert message.startswith("--columns: expected no such option beside")
    message = refused(tmp_path, "compare", "--input", str(several), "--length", "15")
    assert "14" in message
    message = refused(tmp_path, "compare", "--input", str(several), "--sequences", "0")
    assert "--sequences: expected a whole number" in message
