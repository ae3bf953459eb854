"""`words`: what each word adds, against gradients of copies of the weights, and what is refused."""

import math
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from commands import Run, help_text, refused, run

import lstmgrad as lg
from lstmgrad.cli._shared.kinds import CELLS
from lstmgrad.cli.words import _study
from lstmgrad.cli.words._report import reading, tables
from lstmgrad.cli.words._study import Read, Study

FILES = {"words.png", "words.svg", "words.json"}


SENTENCE = "the cat sat on the mat"


SMALL = ["--hidden", "3"]


@pytest.fixture(scope="module")
def sentence(tmp_path_factory) -> Run:
    directory = tmp_path_factory.mktemp("words") / "made"
    return run(directory, "words", SENTENCE, *SMALL, "--dtype", "float64")


@pytest.fixture
def rnn_alone(monkeypatch):
    """One cell, to save compilations."""
    monkeypatch.setattr(_study, "CELLS", {"rnn": CELLS["rnn"]})


def by_copies(name: str) -> tuple[float, np.ndarray]:
    """The loss, and the gradients (T, P) with respect to a copy of the weights for every step."""
    words = SENTENCE.split()
    vocabulary = sorted(set(words))
    rows = [vocabulary.index(word) for word in words]
    kind = CELLS[name]
    cell = kind.make(len(vocabulary), 3, dtype=jnp.float64)
    cell_key, readout_key = jax.random.split(
        jax.random.split(jax.random.fold_in(jax.random.key(0), kind.number))[0]
    )
    params = cell.init(cell_key)
    shape = (len(vocabulary), 3)
    readout = jax.nn.initializers.glorot_normal()(readout_key, shape, jnp.float64)

    def loss(copies):
        state = cell.initial_state()
        for copy, row in zip(copies, rows, strict=False):
            state = cell.step(copy, state, jnp.eye(len(vocabulary))[row])
        scores = readout @ state.h
        return jnp.log(jnp.sum(jnp.exp(scores))) - scores[rows[-1]]

    value, gradients = jax.jit(jax.value_and_grad(loss))([params] * (len(words) - 1))
    flat = [np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(g)]) for g in gradients]
    return float(value), np.stack(flat)


def test_every_word_adds_the_gradient_of_its_own_copy_of_the_weights(sentence):
    found = sentence.json("words.json")["cells"]["lstm"]
    loss, parts = by_copies("lstm")
    whole = parts.sum(axis=0)
    norms = np.log10(np.linalg.norm(parts, axis=1))
    assert found["loss"] == pytest.approx(loss, rel=1e-12)
    np.testing.assert_allclose(found["log10_norms"], norms, rtol=0, atol=1e-10)
    np.testing.assert_allclose(found["shares"], parts @ whole / (whole @ whole), atol=1e-10)
    assert sum(found["shares"]) == pytest.approx(1, abs=1e-12)
    left = [np.linalg.norm(parts[: 5 - last].sum(axis=0)) for last in range(6)]
    expected = np.array(left) / np.linalg.norm(whole)
    np.testing.assert_allclose(found["residuals"], expected, atol=1e-10)


def test_all_files_are_written_and_the_table_is_theirs(sentence):
    assert (sentence.code, sentence.err) == (0, "")
    assert {path.name for path in sentence.directory.iterdir()} == FILES
    assert (sentence.directory / "words.png").read_bytes().startswith(b"\x89PNG")
    table = sentence.json("words.json")
    assert (table["format"], table["words"]) == ("lstmgrad words", SENTENCE.split())
    assert table["data"] == "the command line: 6 words, 5 different, one-hot"
    lines = sentence.out.splitlines()
    assert all(len(line) <= 80 for line in lines if "Wrote" not in line)
    rows = [line.split() for line in lines if line[:4].strip().isdigit()]
    assert [row[:2] for row in rows] == [[str(t + 1), w] for t, w in enumerate(table["words"][:5])]
    for row, step in zip(rows, range(5), strict=True):
        expected = []
        for cell in table["cells"].values():
            expected += [100 * cell["shares"][step], cell["log10_norms"][step]]
        np.testing.assert_allclose([float(x) for x in row[2:]], expected, rtol=0, atol=0.0051)
    reading = " ".join(sentence.out.split())
    assert table["reading"] in reading
    norms = table["cells"]["gru"]["log10_norms"]
    assert f"10^{norms[0] - norms[-1]:.1f} in the GRU" in table["reading"]


def test_training_lowers_the_loss_and_words_need_no_quotes(sentence, tmp_path, rnn_alone):
    options = [*SMALL, "--dtype", "float64", "--train", "30"]
    after = run(tmp_path, "words", *SENTENCE.split(), *options)
    assert "30 steps of Adam on the next word, 16 windows of 5 each" in after.out
    assert "After 30 training steps, the norm of what the first word adds" in after.out
    assert after.json("words.json")["words"] == SENTENCE.split()
    losses = [found.json("words.json")["cells"]["rnn"]["loss"] for found in (sentence, after)]
    assert losses[1] < losses[0]


def test_the_readme_shows_what_is_printed(tmp_path, rnn_alone):
    """Of one cell, which gives the same whichever run beside it."""
    readme = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
    (command,) = re.findall(r"`python -m lstmgrad words \"(.*?)\"`", readme)
    row = re.compile(r"^ {2,3}\d+  (\w+) +(-?[\d.]+) +(-?[\d.]+)", re.MULTILINE)
    shown = row.findall(readme.partition("   t  word")[2].partition("```")[0])
    got = row.findall(run(tmp_path, "words", command).out)
    assert [word for word, *_ in got] == [word for word, *_ in shown] == command.split()[:-1]
    for one, other in zip(got, shown, strict=True):
        assert list(map(float, one[1:])) == pytest.approx(list(map(float, other[1:])), abs=0.02)


def test_a_long_text_of_any_characters(tmp_path, rnn_alone):
    words = [f"w{index % 7}" for index in range(60)]
    words[:4] = ["$a$_{", "\x1b[31m", "日本語" * 9, "e\u0301" * 3]
    path = tmp_path / "speech"
    path.write_text("\ufeff" + "\r\n".join(words), "utf-8")
    found = run(tmp_path / "out", "words", "--file", str(path), *SMALL)
    assert (found.code, found.err) == (0, "")
    lines = found.out.splitlines()
    assert "\x1b" not in found.out
    assert any("\\x1b[31m" in line for line in lines)
    rows = [line for line in lines if line[:4].strip().isdigit()]
    assert [int(row[:4]) for row in rows] == [*range(1, 13), *range(48, 60)]
    (note,) = [line for line in lines if line.startswith(" ...")]
    assert note.split()[1] == "35"
    assert found.json("words.json")["words"] == words
    assert len(found.json("words.json")["cells"]["rnn"]["shares"]) == 59


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the command line: expected at least 2 words, one to predict and one before it, "),
        (["  "], "but got 0; see --help"),
        (["one"], "but got 1; see --help"),
        (["two words", "--file", "a.txt"], "--file: expected words or a file, but got both"),
        (["two words", "--hidden", "0"], "--hidden: expected a whole number, 1 or more"),
        (["two words", "--train", "x"], "--train: expected a whole number, 0 or more"),
        (["two words", "--cells", "rnn"], "unrecognized arguments: --cells rnn; see --help"),
        (["--file", "none.txt"], "none.txt: there is no such file"),
    ],
)
def test_bad_options(tmp_path, arguments, message):
    assert message in refused(tmp_path, "words", *arguments)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, ": expected a file, but it is a directory"),
        (b"", ": the file is empty"),
        (b" one\n", ": expected at least 2 words, one to predict and one before it, but got 1"),
        (b"one two\nth\xff", ", line 2, column 3: byte 0xff is not UTF-8"),
    ],
)
def test_bad_files(tmp_path, content, message):
    path = tmp_path / "speech.md"
    path.mkdir() if content is None else path.write_bytes(content)
    assert refused(tmp_path, "words", "--file", str(path)).startswith(f"{path}{message}")


def test_help(capsys, monkeypatch):
    text = help_text(capsys, monkeypatch, "words", "--help")
    assert text.startswith("usage: lstmgrad words")
    assert "--train STEPS" in text


def study(*log_norms: list[float]) -> Study:
    """Cells with given norms and no shares."""
    length = len(log_norms[0])
    cells = {
        name: Read(
            1.0,
            lg.Contributions(
                leaf_log_norms=None,
                log_norms=jnp.asarray(values),
                shares=jnp.full(length, jnp.nan),
                cosines=jnp.full(length, jnp.nan),
                residuals=jnp.zeros(length + 1),
                input_log_norms=None,
                gradient=None,
                input_gradients=None,
            ),
        )
        for name, values in zip(("rnn", "gru", "lstm"), log_norms, strict=False)
    }
    words = tuple(f"word{index}" for index in range(length + 1))
    return Study(words, cells, "at initialization", {})


def test_numbers_that_are_not_finite_are_named():
    zero, lost = [-math.inf, 0.0], [math.nan, math.nan]
    found = study(zero, lost, [-math.inf] * 2)
    rows = [line.split() for line in tables(found) if "word0" in line]
    assert rows == [["1", "word0", "nan", "-inf", "nan", "nan", "nan", "-inf"]]
    assert reading(found).startswith(
        "At initialization, the norm of what the first word adds, divided by that of the last word "
        "read, is 0 in the RNN, nan in the GRU and nan in the LSTM."
    )


def test_a_single_word_has_nothing_to_compare_with():
    assert reading(study([0.0])).startswith("A single word adds all of the gradient")
