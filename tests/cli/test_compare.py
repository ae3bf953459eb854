"""The command line: what it prints, writes and refuses; whole files or none."""

import codecs
import contextlib
import io
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstmgrad as lg
from lstmgrad.cli import _main, main
from lstmgrad.cli._shared import outputs as _outputs
from lstmgrad.cli._shared import training as _models
from lstmgrad.cli._shared.error import CommandError
from lstmgrad.cli._shared.sequences import read_sequence
from lstmgrad.cli.compare import _run as _compare
from lstmgrad.cli.compare._files import table_file
from lstmgrad.cli.compare._options import parse
from lstmgrad.cli.compare._report import norm_table, reading
from lstmgrad.cli.compare._study import Curve, Study

FILES = {"norms.png", "norms.svg", "norms.npz", "table.json"}
SMALL = ["--hidden", "4", "--length", "12", "--train", "3"]


class Run(NamedTuple):
    code: int
    out: str
    err: str
    directory: Path

    def table(self) -> dict:
        text = (self.directory / "table.json").read_text("utf-8")
        return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))

    def curves(self) -> dict:
        with np.load(self.directory / "norms.npz", allow_pickle=False) as file:
            return dict(file)


def run(directory: Path, *arguments: str) -> Run:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([*arguments, "--out", str(directory)])
    return Run(code, out.getvalue(), err.getvalue(), directory)


def refused(tmp_path: Path, *arguments: str) -> str:
    """The message of a refusal, which is one line, and left nothing behind."""
    found = run(tmp_path / "out", *arguments)
    assert found.code == 2
    assert found.out == ""
    assert found.err.startswith("lstmgrad: error: ")
    assert found.err.count("\n") == 1
    assert "Traceback" not in found.err
    assert not (tmp_path / "out").exists()
    return found.err.removeprefix("lstmgrad: error: ").strip()


@pytest.fixture(scope="module")
def all_cells(tmp_path_factory) -> Run:
    return run(tmp_path_factory.mktemp("all") / "made" / "here", *SMALL)


@pytest.fixture(scope="module")
def one_cell(tmp_path_factory) -> Run:
    return run(tmp_path_factory.mktemp("one"), *SMALL, "--cells", "rnn")


@pytest.fixture(scope="module")
def numbers(tmp_path_factory) -> Run:
    directory = tmp_path_factory.mktemp("numbers")
    steps = np.arange(40.0)
    columns = np.stack([1e200 * np.sin(steps), np.full(40, 0.1), 5 + np.cos(3 * steps)], axis=1)
    np.savetxt(directory / "waves.csv", columns, delimiter=", ", header="a,b,c", comments="")
    arguments = ["--cells", "gru", "--hidden", "4", "--train", "2", "--dtype", "float64"]
    source = str(directory / "waves.csv")
    return run(directory / "out", "--input", source, *arguments, "--lags", "5,1,40")


def test_all_files_are_written_and_nothing_else(all_cells):
    assert (all_cells.code, all_cells.err) == (0, "")
    assert {path.name for path in all_cells.directory.iterdir()} == FILES
    assert str(all_cells.directory) in all_cells.out
    assert (all_cells.directory / "norms.png").read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in (all_cells.directory / "norms.svg").read_bytes()


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
    rows = [line.split()[:3] for line in lines[lines.index(header) + 1 :]][:8]
    assert rows == [
        [cell, part, stage]
        for cell, part in (("RNN", "h"), ("GRU", "h"), ("LSTM", "h"), ("LSTM", "c"))
        for stage in ("initial", "trained")
    ]
    assert "After 3 training steps, the norm of the gradient" in all_cells.out


def test_table_json_agrees_with_the_curves(all_cells):
    table, curves = all_cells.table(), all_cells.curves()
    assert (table["format"], table["format_version"]) == ("lstmgrad table", 1)
    assert table["dtype"] == "float32"
    assert len(table["rows"]) == 8
    for row in table["rows"]:
        log_norms = curves[f"{row['cell']}_{row['part']}_{row['stage']}"]
        assert log_norms.dtype == np.float32
        assert log_norms.shape == (13,)
        assert log_norms[0] == pytest.approx(0, abs=1e-5)
        for lag, value in row["log10_norm"].items():
            assert value == pytest.approx(log_norms[int(lag)] / math.log(10))
        assert row["horizon"] == "inf" or log_norms[int(row["horizon"])] < math.log(1e-3)
        assert row["loss"] > 0


def test_curves_carry_their_meaning(all_cells):
    curves = all_cells.curves()
    metadata = json.loads(str(curves.pop("metadata")))
    assert metadata["format_version"] == 1
    assert metadata["versions"]["lstmgrad"] == lg.__version__
    np.testing.assert_array_equal(curves.pop("lags"), np.arange(13))
    assert set(metadata["curves"]) == set(curves)
    names = {"cell": "lstm", "part": "c", "wrt": "c", "stage": "trained"}
    assert metadata["curves"]["lstm_c_trained"] == names


def test_initial_norms_are_those_of_the_library(all_cells):
    sequence = read_sequence(None)
    key = jax.random.fold_in(jax.random.key(0), _models.CELLS["lstm"].number)
    model = _models.build(_models.CELLS["lstm"], sequence, 4, jnp.dtype("float32"))
    params = model.init(jax.random.split(key)[0]).cell
    inputs = jax.nn.one_hot(jnp.asarray(sequence.rows[:12]), sequence.width, dtype=jnp.float32)

    def last_c(c):
        state = lg.cells.LSTMState(jnp.zeros(4, jnp.float32), c)
        return lg.unroll(model.cell.step, params, state, inputs).states.c[-1]

    expected = np.linalg.norm(jax.jit(jax.jacrev(last_c))(jnp.zeros(4, jnp.float32)), 2)
    assert np.exp(all_cells.curves()["lstm_c_initial"][12]) == pytest.approx(expected, rel=1e-4)


def test_a_cell_gives_the_same_whichever_run_beside_it(all_cells, one_cell):
    alone, together = one_cell.curves(), all_cells.curves()
    for name in ("rnn_h_initial", "rnn_h_trained"):
        np.testing.assert_array_equal(alone[name], together[name])
    assert not np.array_equal(alone["rnn_h_initial"], alone["rnn_h_trained"])


def test_the_same_options_give_the_same_bytes(one_cell, tmp_path):
    again = run(tmp_path / "again", *SMALL, "--cells", "rnn")
    for name in FILES:
        assert (again.directory / name).read_bytes() == (one_cell.directory / name).read_bytes()


def test_without_training_and_with_another_seed(all_cells, tmp_path):
    other = run(tmp_path, *SMALL[:-1], "0", "--cells", "rnn", "--seed", "1")
    curves = other.curves()
    assert set(curves) == {"metadata", "lags", "rnn_h_initial"}
    assert not np.array_equal(curves["rnn_h_initial"], all_cells.curves()["rnn_h_initial"])
    assert "trained" not in other.out
    assert "At initialization, " in other.out


def test_numbers_in_double_precision(numbers):
    assert numbers.code == 0, numbers.err
    assert "40 rows of 3 columns, standardized (1 constant, only centered)" in numbers.out
    assert "2 steps of Adam on the next row" in numbers.out
    assert "standardized mean squared error; 0.667 for always the mean" in numbers.out
    assert all(len(line) <= 80 for line in numbers.out.splitlines()[1:-1])
    assert numbers.curves()["gru_h_trained"].dtype == np.float64
    table = numbers.table()
    assert (table["length"], table["dtype"]) == (40, "float64")
    assert list(table["rows"][0]["log10_norm"]) == ["1", "5", "40"]
    losses = [row["loss"] for row in table["rows"]]
    assert losses[1] < losses[0]
    assert "jax_enable_x64" not in numbers.err
    assert jax.config.read("jax_enable_x64")  # as the tests had set it


def test_training_lowers_the_loss():
    sequence = read_sequence(None)
    rows = jnp.asarray(sequence.rows)
    model = _models.build(_models.CELLS["rnn"], sequence, 4, jnp.dtype("float32"))
    params = model.init(jax.random.key(0))
    loss = _models.evaluator(model, rows)
    trained = _models.train(model, params, rows, jax.random.key(1), 30, "RNN")
    assert float(loss(params)) == pytest.approx(math.log(sequence.width), abs=0.5)
    assert float(loss(trained)) < float(loss(params)) - 0.1
    assert {leaf.dtype for leaf in jax.tree.leaves(trained)} == {jnp.dtype("float32")}


@pytest.mark.parametrize("name", lg.cells.registry())
def test_every_cell_has_a_readout_and_parts(name):
    kind, sequence = _models.KINDS[name], read_sequence(None)
    model = _models.build(kind, sequence, 3, jnp.dtype("float32"))
    params = jax.eval_shape(model.init, jax.random.key(0))
    rows = jax.ShapeDtypeStruct((5,), jnp.int32)
    loss, gradients = jax.eval_shape(jax.value_and_grad(model.loss), params, rows)
    assert (loss.shape, loss.dtype) == ((), jnp.float32)
    assert {leaf.dtype for leaf in jax.tree.leaves(gradients)} == {jnp.dtype("float32")}
    features = {"lru": 6, "selective_ssm": 48}.get(name, 3)
    assert params.weight.shape == (sequence.width, features)
    # The stabilizer m is held.
    two = {"co_rnn": "hz", "slstm": "hcn", "mlstm": "hcn", "min_lstm": "h"}
    assert kind.parts(3) == tuple(two.get(name, "hc" if "lstm" in name[-9:] else "h"))


def test_the_random_streams_of_the_cells_are_their_own():
    numbers = {name: kind.number for name, kind in _models.KINDS.items()}
    assert [numbers[name] for name in ("rnn", "gru", "lstm")] == [0, 1, 2]
    assert len(set(numbers.values())) == len(numbers) == len(lg.cells.registry())
    assert numbers["peephole_lstm"] == 3450917008  # wherever it stands in the registry


def test_all_is_every_cell():
    assert parse(["--cells", "all"]).cells == tuple(lg.cells.registry())


def test_a_matrix_state_and_a_complex_one(tmp_path):
    arguments = ["--cells", "lru,mlstm", "--hidden", "3", "--length", "6"]
    found = run(tmp_path, *arguments, "--train", "0")
    assert (found.code, found.err) == (0, "")
    lines = found.out.splitlines()
    (header,) = [line for line in lines if "horizon" in line and line.startswith("cell")]
    rows = lines[lines.index(header) + 1 :][:4]
    assert {len(row) for row in rows} == {len(header)}
    assert [row[header.index("stage") :].split()[0] for row in rows] == ["initial"] * 4
    assert [row.split()[1] for row in rows] == ["h", "h", "c", "n"]
    curves = found.curves()
    # Of the LRU by its eigenvalues.
    sequence, kind = read_sequence(None), _models.KINDS["lru"]
    model = _models.build(kind, sequence, 3, jnp.dtype("float32"))
    key = jax.random.fold_in(jax.random.key(0), kind.number)
    log_gains = -np.exp(np.asarray(model.init(jax.random.split(key)[0]).cell.nu_log))
    expected = np.arange(7) * log_gains.max()
    np.testing.assert_allclose(curves["lru_h_initial"], expected, rtol=1e-5, atol=5e-6)
    # Nothing reads the mLSTM's output, and all of its memory decays alike.
    assert (curves["mlstm_h_initial"][1:] == -np.inf).all()
    np.testing.assert_allclose(curves["mlstm_c_initial"], curves["mlstm_n_initial"], rtol=1e-4)
    assert "is exactly zero at lag 6 in mlstm h" in " ".join(found.out.split())


def test_progress_bar_only_on_a_terminal(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    with contextlib.redirect_stderr(Terminal()) as terminal:
        assert list(_models._with_progress(range(3), "RNN")) == [0, 1, 2]
    assert "RNN" in terminal.getvalue()
    with contextlib.redirect_stderr(io.StringIO()) as file:
        assert list(_models._with_progress(range(3), "RNN")) == [0, 1, 2]
    assert file.getvalue() == ""
    monkeypatch.setitem(sys.modules, "tqdm", None)
    with contextlib.redirect_stderr(Terminal()) as terminal:
        assert list(_models._with_progress(range(3), "RNN")) == [0, 1, 2]
    assert terminal.getvalue() == ""


def test_as_a_program_on_a_machine_without_x64(tmp_path):
    environment = {**os.environ, "COLUMNS": "80"}
    environment.pop("JAX_ENABLE_X64", None)
    arguments = ["--cells", "rnn", "--train", "0", "--hidden", "3", "--dtype", "float64"]
    code = (
        "import sys\n"
        "from lstmgrad.cli import main\n"
        "assert 'matplotlib' not in sys.modules\n"
        "code = main(sys.argv[1:])\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
        "sys.exit(code)\n"
    )
    program = [sys.executable, "-W", "error", "-c", code, *arguments, "--out", str(tmp_path)]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    assert Run(0, "", "", tmp_path).curves()["rnn_h_initial"].dtype == np.float64


def test_python_m_refuses_in_one_sentence(tmp_path):
    program = [sys.executable, "-m", "lstmgrad", "--input", "none.txt", "--out", "out"]
    done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "lstmgrad: error: none.txt: there is no such file\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version(option, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as exit_:
        main([option])
    assert exit_.value.code == 0
    text = capsys.readouterr().out
    assert all(len(line) <= 80 for line in text.splitlines())
    assert (
        "examples:" in text and "standardized" in text
    ) or text == f"lstmgrad {lg.__version__}\n"


def test_defaults():
    options = parse([])
    assert options.cells == ("rnn", "gru", "lstm")
    assert (options.hidden, options.train, options.seed, options.dtype) == (64, 300, 0, "float32")
    assert (options.input, options.length, options.lags) == (None, None, None)
    assert options.out == Path("lstmgrad-out")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cells", "rnn,foo"], "unknown cell 'foo'; the known ones are rnn, leaky_rnn, residual"),
        (["--cells", "rnn,all"], "unknown cell 'all'; the known ones are"),
        (["--cells", "gru,mlstm", "--hidden", "65"], "--hidden: expected less than 65 with mlstm"),
        (["--cells", ""], "unknown cell ''"),
        (["--cells", "gru,GRU"], "cell 'gru' is named twice"),
        (["--train", "-1"], "--train: expected a whole number, 0 or more, but got '-1'"),
        (["--hidden", "0"], "--hidden: expected a whole number, 1 or more, but got '0'"),
        (["--hidden", "1_0"], "but got '1_0'"),
        (["--length", "0"], "--length: expected a whole number, 1 or more, but got '0'"),
        (["--length", "857"], "because the Zen of Python has 856 characters, but got 857"),
        (["--lags", "1,x"], "--lags: expected a whole number, 0 or more, but got 'x'"),
        (["--lags", "1,-2"], "but got '-2'"),
        (["--lags", "1,201"], "expected lags from 0 to 200, the length, but got 201"),
        (["--seed", "4294967296"], "4294967295 at most, but got '4294967296'"),
        (["--dtype", "float16"], "invalid choice: 'float16'"),
        (["--nonsense"], "unrecognized arguments: --nonsense; see --help"),
        (["text.txt"], "unrecognized arguments: text.txt"),
    ],
)
def test_bad_options(tmp_path, arguments, message):
    assert message in refused(tmp_path, *arguments)


def npy(array) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"", ": the file is empty"),
        ("a.txt", b"x", ": expected at least 2 characters, but it has 1"),
        ("a.txt", b"ab\ncd\xc3\xa9\xff", ", line 2, column 4: byte 0xff is not UTF-8"),
        ("a.txt", b"\xef\xbb\xbf\r\n\xff", ", line 2, column 1: byte 0xff is not UTF-8"),
        ("a.dat", b"12", ": expected a file that ends in .txt, .csv, .npy, but its ending is"),
        ("a.csv", b"\n\n", ": expected rows of numbers, but there is none"),
        ("a.csv", b"x,y\n", ": expected rows of numbers, but there is none"),
        ("a.csv", b"1,2\n", ": expected at least 2 rows of 1 or more numbers, but it has 1 x 2"),
        ("a.csv", b"x,y\n1,2\n3\n", ", line 3: expected 2 columns, as in line 2, but it has 1"),
        ("a.csv", b"1,2\n\n3,4\n", ", line 2: expected 2 columns, as in line 1, but it has 0"),
        ("a.csv", b"1,2\n3,four\n", ", line 2, column 2: 'four' is not a number"),
        ("a.csv", b"1,2\n3,\n", ", line 2, column 2: '' is not a number"),
        ("a.csv", b"day,2\n3,4\n", ", line 1, column 1: 'day' is not a number"),
        ("a.csv", b"1,2\n3,1_0\n", ", line 2, column 2: '1_0' is not a number"),
        ("a.csv", b"1,2\n3,4\nnan,6\n", ", line 3, column 1: nan is not finite"),
        ("a.csv", b"1,2\n3,1e999\n", ", line 2, column 2: 1e999 is not finite"),
        ("a.csv", b'1,2\n3,"4\n', ", line 2: unexpected end of data"),
        ("a.csv", b"1,2\n\xff,4\n", ", line 2, column 1: byte 0xff is not UTF-8"),
        ("a.npy", b"no array", ": it is not a whole NumPy array file (numpy.save)"),
        ("a.npy", npy(np.ones((9, 9)))[:-8], ": it is not a whole NumPy array file (numpy.save)"),
        ("a.npy", npy(np.array([{}, 1], object)), ": an array of Python objects is not read"),
        ("a.npy", npy(np.ones((2, 2), complex)), ": expected real numbers, but its dtype is comp"),
        ("a.npy", npy(np.array(["a", "b"])), ": expected real numbers, but its dtype is <U1"),
        ("a.npy", npy(np.ones((2, 2, 2))), "shape (T, d) or (T,), but its shape is (2, 2, 2)"),
        ("a.npy", npy(np.float64(1)), "shape (T, d) or (T,), but its shape is ()"),
        ("a.npy", npy(np.ones((5, 0))), "at least 2 rows of 1 or more numbers, but it has 5 x 0"),
        ("a.npy", npy(np.ones(0)), ": expected at least 2 rows of 1 or more numbers"),
        ("a.npy", npy([[1, 2], [3, np.nan]]), ", row 2, column 2: nan is not finite"),
        ("a.npy", npy([1, 2, -np.inf]), ", row 3, column 1: -inf is not finite"),
    ],
)
def test_bad_files(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    found = refused(tmp_path, "--input", str(path))
    assert found.startswith(str(path))
    assert message in found


def test_missing_file_directory_and_unreadable_file(tmp_path, monkeypatch):
    assert "none.csv: there is no such file" in refused(tmp_path, "--input", "none.csv")
    assert "expected a file, but it is a directory" in refused(tmp_path, "--input", str(tmp_path))
    (tmp_path / "a.txt").write_text("abc")

    def deny(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", deny)
    message = refused(tmp_path, "--input", str(tmp_path / "a.txt"))
    assert message.endswith("a.txt: cannot be read: Permission denied")


def test_length_longer_than_a_file(tmp_path):
    (tmp_path / "a.csv").write_text("1\n2\n3\n")
    message = refused(tmp_path, "--input", str(tmp_path / "a.csv"), "--length", "4")
    assert "--length: expected 3 at most, because" in message
    assert message.endswith("has 3 rows, but got 4")


def test_reading_text(tmp_path):
    path = tmp_path / "a.TXT"
    path.write_bytes("\ufeffäb\r\nä".encode())
    sequence = read_sequence(path)
    assert sequence.symbolic
    np.testing.assert_array_equal(sequence.rows, [2, 1, 0, 2])
    assert sequence.width == 3
    zen = read_sequence(None)
    import this

    assert len(zen.rows) == len(codecs.decode(this.s, "rot13")) == 856


@pytest.mark.parametrize("name", ["a.csv", "a.npy"])
def test_reading_numbers_standardizes_columns(tmp_path, name):
    values = np.array([[1e300, 3, 0.1], [-1e300, 5, 0.1], [1e300, 3, 0.1], [-1e300, 5, 0.1]])
    np.savetxt(tmp_path / "a.csv", values, delimiter=",")
    np.save(tmp_path / "a.npy", values)
    sequence = read_sequence(tmp_path / name)
    assert not sequence.symbolic
    expected = np.array([[1, -1, 0], [-1, 1, 0]] * 2)
    np.testing.assert_allclose(sequence.rows, expected, atol=1e-15)


@pytest.mark.parametrize("dtype", [np.int16, np.float16, bool])
def test_one_column_of_any_real_dtype(tmp_path, dtype):
    np.save(tmp_path / "a.npy", np.array([0, 1, 0, 1], dtype))
    sequence = read_sequence(tmp_path / "a.npy")
    np.testing.assert_allclose(sequence.rows, [[-1], [1], [-1], [1]])
    assert sequence.summary == "4 rows of 1 column, standardized"


def test_out_is_a_file_or_below_one(tmp_path, monkeypatch):
    monkeypatch.setattr(_compare, "_measure", lambda *_: pytest.fail("worked before checking"))
    (tmp_path / "taken").write_text("mine")
    for path in (tmp_path / "taken", tmp_path / "taken" / "deeper" / "still"):
        found = run(path)
        assert found.code == 2
        assert found.err == (
            f"lstmgrad: error: --out: {tmp_path / 'taken'} is a file, not a directory\n"
        )
    assert (tmp_path / "taken").read_text() == "mine"


def test_out_that_cannot_be_written_is_found_early(tmp_path, monkeypatch):
    monkeypatch.setattr(_compare, "_measure", lambda *_: pytest.fail("worked before checking"))

    def deny(path, **_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "touch", deny)
    found = run(tmp_path / "new")
    assert found.code == 2
    assert f"--out: cannot write into {tmp_path / 'new'}: Permission denied" in found.err
    assert list(tmp_path.iterdir()) == []


def test_a_directory_in_the_place_of_a_file(tmp_path):
    (tmp_path / "norms.npz").mkdir()
    found = run(tmp_path)
    assert found.code == 2
    assert f"cannot write {tmp_path / 'norms.npz'}: it is a directory" in found.err
    assert [path.name for path in tmp_path.iterdir()] == ["norms.npz"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_in_the_middle_of_writing_leaves_what_was_there(tmp_path, monkeypatch, error):
    (tmp_path / "a").write_text("old")
    write = Path.write_bytes

    def half(path, content):
        write(path, content[:1])
        if path.name.startswith(".b."):
            raise error

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises((CommandError, KeyboardInterrupt)) as caught:
        _outputs.write_whole(tmp_path, {"a": b"new", "b": b"new"})
    if isinstance(error, OSError):
        assert str(caught.value).endswith("No space left on device")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "old"


def test_a_failed_write_ends_the_command_in_one_sentence(tmp_path, monkeypatch):
    def deny(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_compare, "_measure", lambda *_: ([curve(-1.0)], {"initial": 1.0}))
    monkeypatch.setattr(_outputs.os, "replace", deny)
    found = run(tmp_path / "new", "--cells", "rnn", "--train", "0", "--length", "20")
    assert found.code == 2
    assert "RNN" in found.out  # the table is not lost
    assert found.err.endswith("No space left on device\n")
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(_compare, "_measure", interrupt)
    found = run(tmp_path / "new" / "deeper")
    assert (found.code, found.err) == (130, "lstmgrad: interrupted\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: too large"),
        jax.errors.JaxRuntimeError("INTERNAL: Out of memory allocating 4 bytes"),
    ],
)
def test_out_of_memory(tmp_path, monkeypatch, error):
    def fail(options):
        raise error

    monkeypatch.setattr(_main, "compare", fail)
    assert "does not fit into memory; choose a smaller" in refused(tmp_path)


def test_an_error_of_our_own_is_not_disguised(tmp_path, monkeypatch):
    def fail(options):
        raise jax.errors.JaxRuntimeError("INTERNAL: something else")

    monkeypatch.setattr(_main, "compare", fail)
    with pytest.raises(jax.errors.JaxRuntimeError, match="something else"):
        run(tmp_path / "out")


def curve(slope: float, cell="rnn", part="h", stage="initial", log10_norms=None) -> Curve:
    """A straight line over 20 lags, or given norms, with the library's own readings."""
    values = slope * np.arange(21.0) if log10_norms is None else np.asarray(log10_norms)
    log_norms = jnp.asarray(values * math.log(10))
    profile = lg.NormProfile(
        lags=jnp.arange(21),
        log_norms=log_norms,
        errors=jnp.zeros_like(log_norms),
        of=part,
        wrt=part,
        fixed="end",
        rtol=1e-5,
    )
    rate, horizon = lg.decay_rate(profile), lg.horizon(profile, 1e-3)
    return Curve(cell, part, stage, profile, float(rate), float(horizon))


def study(*curves: Curve, steps: int = 0) -> Study:
    losses = {c.cell: {"initial": 1.0, "trained": 0.5} for c in curves}
    return Study(curves, losses, (1, 20), 20, steps, read_sequence(None))


ZERO = np.where(np.arange(21) < 5, 0.0, -np.inf)
NAN = np.where(np.arange(21) < 1, 0.0, np.nan)
START = "At initialization, the norm of the gradient "


@pytest.mark.parametrize(
    ("curves", "sentence"),
    [
        ([curve(-0.45)], "is below 0.001 for good from lag 7 in RNN h."),
        ([curve(-0.1)], "is still 0.001 or more at lag 20 in RNN h."),
        ([curve(1e-9)], "is still 0.001 or more at lag 20 in RNN h."),  # 1, but for rounding
        (
            [curve(-0.45), curve(-0.95, "lstm", "c")],
            "is below 0.001 for good from lag 7 in RNN h and lag 4 in LSTM c; "
            "so the gradient reaches farthest in RNN h.",
        ),
        (
            [curve(-0.45), curve(-0.45, "gru"), curve(-0.95, "lstm", "c")],
            "is below 0.001 for good from lag 7 in RNN h, lag 7 in GRU h and lag 4 in LSTM c.",
        ),
        (
            [curve(-0.45), curve(-0.1, "lstm", "c")],
            "is still 0.001 or more at lag 20 in LSTM c; it is below 0.001 for good from lag 7 in "
            "RNN h; so the gradient reaches farthest in LSTM c.",
        ),
        (
            [curve(0.5), curve(-0.1, "gru")],
            "has grown above 1 at lag 20 in RNN h (10^10.0); it is still 0.001 or more at lag 20 "
            "in GRU h.",
        ),
        (
            [curve(0, log10_norms=ZERO)],
            "is below 0.001 for good from lag 5 in RNN h; it is exactly zero at lag 20 in RNN h.",
        ),
        (
            [curve(0, log10_norms=NAN), curve(-0.45, "gru")],
            "is below 0.001 for good from lag 7 in GRU h; it is not a number in RNN h.",
        ),
        ([curve(0, log10_norms=NAN)], "is not a number in RNN h."),
        (
            [curve(0, log10_norms=np.full(21, np.inf))],
            "has grown above 1 at lag 20 in RNN h (10^inf).",
        ),
    ],
)
def test_the_sentence_says_what_the_table_shows(curves, sentence):
    assert reading(study(*curves)) == START + sentence


def test_the_sentence_reads_the_last_stage():
    sentence = reading(study(curve(-1.0), curve(-0.45, stage="trained"), steps=1))
    assert sentence == (
        "After 1 training step, the norm of the gradient is below 0.001 for good from lag 7 in "
        "RNN h."
    )


def test_numbers_that_are_not_finite_are_named_in_the_table_and_in_json():
    found = study(
        curve(0, log10_norms=ZERO), curve(0, "gru", log10_norms=NAN), curve(0.0, "lstm", "c")
    )
    rows = [line.split() for line in norm_table(found)[3:6]]
    assert [row[3:] for row in rows] == [
        ["0.00", "-inf", "inf", "5"],
        ["nan", "nan", "nan", "nan"],
        ["0.00", "0.00", rows[2][5], ">", "20"],
    ]
    table = json.loads(table_file(found, parse([])), parse_constant=pytest.fail)
    assert table["rows"][0]["log10_norm"] == {"1": 0.0, "20": "-inf"}
    assert table["rows"][0]["decay_rate"] == "inf"
    assert table["rows"][1]["horizon"] == "nan"
    assert table["rows"][2]["horizon"] == "inf"
    assert "'-inf'" in table["nonfinite"]


def test_the_figure_says_how_many_curves_it_shows(tmp_path, monkeypatch):
    many = [curve(-0.01 * i, part=f"h{i}") for i in range(21)]
    monkeypatch.setattr(_compare, "_measure", lambda *_: (many, {"initial": 1.0}))
    arguments = ["--cells", "rnn", "--train", "0", "--length", "20", "--dtype", "float64"]
    found = run(tmp_path, *arguments)
    assert "The figure shows the first 20 of 21 curves; norms.npz has them all." in found.out
    assert len(found.curves()) == 21 + 2
    monkeypatch.setattr(_compare, "_measure", lambda *_: (many[:20], {"initial": 1.0}))
    assert "The figure shows" not in run(tmp_path, *arguments).out


def test_norms_that_missed_their_tolerance_are_counted_below_the_table():
    met = curve(-0.45)
    errors = met.profile.errors.at[jnp.array([3, 7])].set(0.1)
    unmet = met._replace(profile=eqx.tree_at(lambda p: p.errors, met.profile, errors))
    assert not any("too low" in line for line in norm_table(study(met)))
    assert any(line.startswith("2 norms") for line in norm_table(study(met, unmet)))
