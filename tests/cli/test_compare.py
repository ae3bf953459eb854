"""`compare` on cells: what it prints and writes, and which options it refuses."""

import json
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from commands import Run, help_text, refused, run

import lstmgrad as lg
from lstmgrad.cli._shared.kinds import KINDS
from lstmgrad.cli._shared.sequences import read_sequence
from lstmgrad.cli._shared.training import build, initial
from lstmgrad.cli.compare._options import Cells, Weights, parse

FILES = {"compare.png", "compare.svg", "compare.npz", "compare.json"}


SMALL = ["--hidden", "4", "--length", "12", "--train", "3"]


@pytest.fixture(scope="module")
def all_cells(tmp_path_factory) -> Run:
    return run(tmp_path_factory.mktemp("all") / "made" / "here", "compare", *SMALL)


@pytest.fixture(scope="module")
def one_cell(tmp_path_factory) -> Run:
    return run(tmp_path_factory.mktemp("one"), "compare", *SMALL, "--cells", "rnn")


@pytest.fixture(scope="module")
def numbers(tmp_path_factory) -> Run:
    directory = tmp_path_factory.mktemp("numbers")
    steps = np.arange(40.0)
    columns = np.stack([1e200 * np.sin(steps), np.full(40, 0.1), 5 + np.cos(3 * steps)], axis=1)
    np.savetxt(directory / "waves.csv", columns, delimiter=", ", header="a,b,c", comments="")
    arguments = ["--cells", "gru", "--hidden", "4", "--train", "2", "--dtype", "float64"]
    source = str(directory / "waves.csv")
    return run(directory / "out", "compare", "--input", source, *arguments, "--lags", "5,1,40")


def test_all_files_are_written_and_nothing_else(all_cells):
    assert (all_cells.code, all_cells.err) == (0, "")
    assert {path.name for path in all_cells.directory.iterdir()} == FILES
    assert str(all_cells.directory) in all_cells.out
    assert (all_cells.directory / "compare.png").read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in (all_cells.directory / "compare.svg").read_bytes()


def test_files_have_ordinary_permissions(all_cells):
    (all_cells.directory / "reference").touch()
    expected = (all_cells.directory / "reference").stat().st_mode
    (all_cells.directory / "reference").unlink()
    assert {(all_cells.directory / name).stat().st_mode for name in FILES} == {expected}


def test_printed_table_has_a_row_for_every_part_and_stage(all_cells):
    lines = all_cells.out.splitlines()
    assert all(len(line) <= 80 for line in lines if "Wrote" not in line)
    assert all_cells.out.isascii()
    assert "The Zen of Python" not in all_cells.out  # importing `this` prints it
    assert any("first 12 steps" in line for line in lines)
    (header,) = [line for line in lines if "horizon" in line and line.startswith("cell")]
    assert header.split()[3:] == ["lag", "1", "12", "decay", "horizon"]
    rows = [line.split()[:3] for line in lines[lines.index(header) + 1 :]][:10]
    assert rows == [
        [cell, part, stage]
        for cell, *parts in (("RNN", "h"), ("GRU", "h"), ("LSTM", "h"), ("LSTM", "c", "path"))
        for stage in ("initial", "trained")
        for part in parts
    ]
    assert "After 3 training steps, the norm of the gradient" in all_cells.out


def test_table_json_agrees_with_the_curves(all_cells):
    table, curves = all_cells.json("compare.json"), all_cells.arrays("compare.npz")
    assert (table["format"], table["format_version"]) == ("lstmgrad compare", 1)
    assert table["dtype"] == "float32"
    assert len(table["rows"]) == 10
    for row in table["rows"]:
        block = row["part"] + ("_path" if row.get("through") == "cell" else "")
        log_norms = curves[f"{row['cell']}_{block}_{row['stage']}"]
        assert log_norms.dtype == np.float32
        assert log_norms.shape == (13,)
        assert log_norms[0] == pytest.approx(0, abs=1e-5)
        for lag, value in row["log10_norm"].items():
            assert value == pytest.approx(log_norms[int(lag)] / math.log(10))
        assert row["horizon"] == "inf" or log_norms[int(row["horizon"])] < math.log(1e-3)
        assert row["loss"] > 0


def test_curves_carry_their_meaning(all_cells):
    curves = all_cells.arrays("compare.npz")
    metadata = json.loads(str(curves.pop("metadata")))
    assert metadata["format_version"] == 1
    assert metadata["versions"]["lstmgrad"] == lg.__version__
    np.testing.assert_array_equal(curves.pop("lags"), np.arange(13))
    names = set(metadata["curves"])
    assert set(curves) == names | {f"{name}_errors" for name in names}
    assert all(np.all(curves[f"{name}_errors"] <= 1e-5) for name in names)
    names = {"cell": "lstm", "part": "c", "wrt": "c", "stage": "trained"}
    assert metadata["curves"]["lstm_c_trained"] == names


def test_initial_norms_are_those_of_the_library(all_cells):
    sequence = read_sequence(None)
    model = build(KINDS["lstm"], sequence, 4, jnp.dtype("float32"))
    params = initial(model, 0)[0].cell
    inputs = jax.nn.one_hot(jnp.asarray(sequence.rows[:12]), sequence.width, dtype=jnp.float32)

    def last_c(c):
        state = lg.cells.LSTMState(jnp.zeros(4, jnp.float32), c)
        return lg.unroll(model.cell.step, params, state, inputs).states.c[-1]

    expected = np.linalg.norm(jax.jit(jax.jacrev(last_c))(jnp.zeros(4, jnp.float32)), 2)
    curves = all_cells.arrays("compare.npz")
    assert np.exp(curves["lstm_c_initial"][12]) == pytest.approx(expected, rel=1e-4)
    # The additive path is the product of the forget gates, in NumPy.
    states = lg.unroll(*model.cell.model(params), inputs).states
    h, x, rows = np.asarray(states.h, np.float64), np.asarray(inputs, np.float64), slice(4, 8)
    weights = (np.asarray(leaf, np.float64)[rows].T for leaf in params[:2])
    drive = np.hstack([x, h[:-1]]) @ np.vstack(list(weights)) + np.asarray(params.bias)[rows]
    gates = 1 / (1 + np.exp(-drive))
    products = np.cumprod(gates[::-1], axis=0).max(axis=1)
    np.testing.assert_allclose(np.exp(curves["lstm_c_path_initial"][1:]), products, rtol=1e-5)


@pytest.mark.slow
def test_a_cell_gives_the_same_whichever_run_beside_it(all_cells, one_cell):
    alone, together = one_cell.arrays("compare.npz"), all_cells.arrays("compare.npz")
    for name in ("rnn_h_initial", "rnn_h_trained"):
        np.testing.assert_array_equal(alone[name], together[name])
    assert not np.array_equal(alone["rnn_h_initial"], alone["rnn_h_trained"])


@pytest.mark.slow
def test_the_same_options_give_the_same_bytes(one_cell, tmp_path):
    again = run(tmp_path / "again", "compare", *SMALL, "--cells", "rnn")
    for name in FILES:
        assert (again.directory / name).read_bytes() == (one_cell.directory / name).read_bytes()


@pytest.mark.slow
def test_without_training_and_with_another_seed(all_cells, tmp_path):
    other = run(tmp_path, "compare", *SMALL[:-1], "0", "--cells", "rnn", "--seed", "1")
    curves = other.arrays("compare.npz")
    assert set(curves) == {"metadata", "lags", "rnn_h_initial", "rnn_h_initial_errors"}
    first = all_cells.arrays("compare.npz")["rnn_h_initial"]
    assert not np.array_equal(curves["rnn_h_initial"], first)
    assert "trained" not in other.out
    assert "At initialization, " in other.out


@pytest.mark.slow
def test_numbers_in_double_precision(numbers):
    assert numbers.code == 0, numbers.err
    assert "40 rows of 3 columns, standardized (1 constant, only centered)" in numbers.out
    assert "2 steps of Adam on the next row" in numbers.out
    assert "standardized mean squared error; 0.667 for always the mean" in numbers.out
    assert all(len(line) <= 80 for line in numbers.out.splitlines()[1:-1])
    assert numbers.arrays("compare.npz")["gru_h_trained"].dtype == np.float64
    table = numbers.json("compare.json")
    assert (table["length"], table["dtype"]) == (40, "float64")
    assert list(table["rows"][0]["log10_norm"]) == ["1", "5", "40"]
    losses = [row["loss"] for row in table["rows"]]
    assert losses[1] < losses[0]
    assert "jax_enable_x64" not in numbers.err
    assert jax.config.read("jax_enable_x64")  # as the tests had set it


def test_all_is_every_cell():
    assert parse(["--cells", "all"]).source == Cells(tuple(lg.cells.registry()))


@pytest.mark.slow
def test_a_matrix_state_and_a_complex_one(tmp_path):
    arguments = ["--cells", "lru,mlstm", "--hidden", "3", "--length", "6"]
    found = run(tmp_path, "compare", *arguments, "--train", "0")
    assert (found.code, found.err) == (0, "")
    lines = found.out.splitlines()
    (header,) = [line for line in lines if "horizon" in line and line.startswith("cell")]
    rows = lines[lines.index(header) + 1 :][:5]
    assert {len(row) for row in rows} == {len(header)}
    assert [row[header.index("stage") :].split()[0] for row in rows] == ["initial"] * 5
    assert [row.split()[1] for row in rows] == ["h", "h", "c", "path", "n"]
    curves = found.arrays("compare.npz")
    # The LRU's norms from its eigenvalues.
    model = build(KINDS["lru"], read_sequence(None), 3, jnp.dtype("float32"))
    log_gains = -np.exp(np.asarray(initial(model, 0)[0].cell.nu_log))
    expected = np.arange(7) * log_gains.max()
    np.testing.assert_allclose(curves["lru_h_initial"], expected, rtol=1e-5, atol=5e-6)
    # Nothing reads the mLSTM's output, and all of its memory decays alike.
    assert (curves["mlstm_h_initial"][1:] == -np.inf).all()
    np.testing.assert_allclose(curves["mlstm_c_initial"], curves["mlstm_n_initial"], rtol=1e-4)
    assert "is exactly zero at lag 6 in mlstm h" in " ".join(found.out.split())


def test_help_and_version(capsys, monkeypatch):
    text = help_text(capsys, monkeypatch, "compare", "--help")
    assert "examples:" in text
    assert "standardized" in text
    for name in FILES:
        assert name in " ".join(text.split())
    assert help_text(capsys, monkeypatch, "compare", "--version") == f"lstmgrad {lg.__version__}\n"


def test_defaults():
    options = parse([])
    assert options.source == Cells(("rnn", "gru", "lstm"), hidden=64, train=300, seed=0)
    assert (options.input, options.length, options.lags) == (None, None, None)
    assert (options.dtype, options.out) == ("float32", Path("lstmgrad-out"))


def test_the_source_is_cells_or_weights():
    options = parse(["--train", "5", "--length=9"])
    assert (options.source, options.length) == (Cells(train=5), 9)
    given = ["--weights", "net.pt", "--layer", "2", "--dtype", "float64"]
    options = parse(given)
    assert (options.source, options.dtype) == (Weights(Path("net.pt"), layer=2), "float64")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cells", "rnn,foo"], "unknown cell 'foo'; the known ones are rnn, leaky_rnn, residual"),
        (["--cells", "rnn,all"], "unknown cell 'all'; the known ones are"),
        (["--cells", ""], "unknown cell ''"),
        (["--cells", "gru,GRU"], "cell 'gru' is named twice"),
        (["--train", "-1"], "--train: expected a whole number, 0 or more, but got -1"),
        (["--hidden", "0"], "--hidden: expected a whole number, 1 or more, but got 0"),
        (["--hidden", "1_0"], "but got '1_0'"),
        (["--length", "0"], "--length: expected a whole number, 1 or more, but got 0"),
        (
            ["--length", "857"],
            "from 1 to 856, because the Zen of Python has 856 characters, but got 857",
        ),
        (["--lags", "1,x"], "--lags: expected a whole number, 0 or more, but got 'x'"),
        (["--lags", "1,-2"], "but got -2"),
        (
            ["--lags", "1,201"],
            "--lags: expected a whole number from 0 to 200, the length, ",
        ),
        (
            ["--seed", "4294967296"],
            "a whole number from 0 to 4294967295, but got 4294967296",
        ),
        (["--dtype", "float16"], "invalid choice: 'float16'"),
        (["--nonsense"], "unrecognized arguments: --nonsense; see --help"),
        (["text.txt"], "unrecognized arguments: text.txt"),
    ],
)
def test_bad_options(tmp_path, arguments, message):
    assert message in refused(tmp_path, "compare", *arguments)
