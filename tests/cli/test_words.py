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
from lstmgrad.cli._shared.networks import draw_networks
from lstmgrad.cli.words import _study
from lstmgrad.cli.words._options import Options, parse
from lstmgrad.cli.words._reading import reading
from lstmgrad.cli.words._report import figure, record, tables
from lstmgrad.cli.words._study import Networks, Stage, Study
from lstmgrad.cli.words._task import as_written, first_word

FILES = {"words.png", "words.svg", "words.json"}
SENTENCE = "the cat sat on the mat"
ROWS = [4, 0, 3, 2, 4, 1]
STAGES = {"initial": "at initialization", "trained": "after 200 training steps"}
SMALL = ["--hidden", "3", "--draws", "3"]


@pytest.fixture(scope="module")
def sentence(tmp_path_factory) -> Run:
    directory = tmp_path_factory.mktemp("words") / "made"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_study, "DEFAULT_CELLS", ("lstm+chrono",))
        return run(directory, "words", SENTENCE, *SMALL, "--dtype", "float64", "--train", "400")


@pytest.fixture
def rnn_alone(monkeypatch):
    """One kind, to save compilations."""
    monkeypatch.setattr(_study, "DEFAULT_CELLS", ("rnn",))


def by_copies(name: str) -> list[tuple[float, np.ndarray]]:
    """The loss, and the gradients (T, P) with respect to a copy of the weights for every word.

    For each of three networks at initialization, by `jax.grad` of a Python loop.
    """
    cell, params, keys = draw_networks(name, 5, 6, count=3, hidden=3, seed=0, dtype="float64")

    @jax.jit
    def loss(copies, readout):
        state = cell.initial_state()
        for copy, row in zip(copies, ROWS, strict=True):
            state = cell.step(copy, state, jnp.eye(5)[row])
        scores = readout @ state.h
        return jnp.log(jnp.sum(jnp.exp(scores))) - scores[ROWS[0]]

    gradient = jax.jit(jax.value_and_grad(loss))
    found = []
    for index, key in enumerate(keys):
        drawn = jax.random.split(key)[0]
        readout = jax.nn.initializers.glorot_normal()(drawn, (5, 3), jnp.float64)
        own = jax.tree.map(lambda leaf, index=index: leaf[index], params)
        value, parts = gradient([own] * 6, readout)
        flat = [np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(g)]) for g in parts]
        whole = jax.grad(lambda p, readout=readout: loss([p] * 6, readout))(own)
        whole = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(whole)])
        np.testing.assert_allclose(np.sum(flat, axis=0), whole, rtol=1e-10, atol=1e-15)
        found.append((float(value), np.stack(flat)))
    return found


@pytest.mark.slow
def test_every_word_adds_the_gradient_of_its_own_copy_of_the_weights(sentence):
    found = sentence.json("words.json")["cells"]["lstm+chrono"]["initial"]
    drawn = by_copies("lstm+chrono")
    assert found["loss"] == pytest.approx([loss for loss, _ in drawn], rel=1e-12)
    norms, shares = [], []
    for _, parts in drawn:
        whole = parts.sum(axis=0)
        norms.append(np.log10(np.linalg.norm(parts, axis=1)))
        shares.append(parts @ whole / (whole @ whole))
    np.testing.assert_allclose(np.sum(shares, axis=1), 1, rtol=1e-12)
    # Of three draws: the least, the one in the middle, and the largest.
    for field, values in (
        ("shares", np.array(shares)),
        ("log10_norms", np.array(norms)),
        ("log10_ratios", np.array(norms) - np.array(norms)[:, -1:]),
    ):
        np.testing.assert_allclose(found[field], np.sort(values, axis=0), rtol=0, atol=1e-9)


def test_all_files_are_written_and_the_tables_are_theirs(sentence):
    assert (sentence.code, sentence.err) == (0, "")
    assert {path.name for path in sentence.directory.iterdir()} == FILES
    assert (sentence.directory / "words.png").read_bytes().startswith(b"\x89PNG")
    table = sentence.json("words.json")
    assert (table["format"], table["words"]) == ("lstmgrad words", SENTENCE.split())
    assert table["data"] == "the command line: 6 words, 5 different, one-hot"
    assert (table["draws"], table["training_steps"], table["chance"]) == (3, 400, 0.2)
    lines = sentence.out.splitlines()
    assert all(len(line) <= 80 for line in lines if "Wrote" not in line)
    rows = [line.split() for line in lines if re.match(r" {1,3}\d", line)]
    stages = [stage for stage in ("initial", "trained") for _ in range(6)]
    assert [row[:2] for row in rows] == 2 * [
        [str(t + 1), word] for t, word in enumerate(table["words"])
    ]
    for row, stage in zip(rows, stages, strict=True):
        step, expected = int(row[0]) - 1, []
        for cell in table["cells"].values():
            expected += [100 * cell[stage]["shares"][1][step], cell[stage]["log10_ratios"][1][step]]
        np.testing.assert_allclose([float(x) for x in row[2:]], expected, rtol=0, atol=0.051)
    assert table["reading"] in " ".join(sentence.out.split())
    for cell in table["cells"].values():
        assert np.mean(cell["trained"]["score"]) > 0.3 + np.mean(cell["initial"]["score"])
    found = table["cells"]["lstm+chrono"]["initial"]
    norm, share = found["log10_ratios"][1][0], 100 * found["shares"][1][0]
    assert f"10^{norm:.1f} ({share:.1f}%) in the LSTM+chrono" in table["reading"]
    assert "After 400 training steps, the first word is recalled by" in table["reading"]


def test_the_score_is_that_of_the_library(sentence):
    """Of the untrained networks, for the same first words."""
    options = parse([SENTENCE, *SMALL, "--dtype", "float64"])
    task = first_word(np.array(ROWS), 5, jnp.float64)
    asked = np.asarray(_study.asked_for(task, options).inputs)
    assert asked.shape == (100, 6)
    assert set(asked[:, 0]) == set(range(5))
    assert (asked[:, 1:] == ROWS[1:]).all()
    _, params, keys = draw_networks("lstm+chrono", 5, 6, count=3, hidden=3, seed=0, dtype="float64")
    scores = sentence.json("words.json")["cells"]["lstm+chrono"]["initial"]["score"]
    glorot = jax.nn.initializers.glorot_normal()
    for index, score in enumerate(scores):
        readout = np.asarray(glorot(jax.random.split(keys[index])[0], (5, 3), jnp.float64))
        w_x, w_h, bias = (np.asarray(leaf[index]) for leaf in params)
        h, c = np.zeros((100, 3)), np.zeros((100, 3))
        for step in range(6):
            drive = np.eye(5)[asked[:, step]] @ w_x.T + h @ w_h.T + bias
            i, f, o = (1 / (1 + np.exp(-drive[:, 3 * k : 3 * k + 3])) for k in (0, 1, 3))
            c = f * c + i * np.tanh(drive[:, 6:9])
            h = o * np.tanh(c)
        right = np.argmax(h @ readout.T, axis=1) == asked[:, 0]
        assert score == pytest.approx(right.mean(), abs=1e-12)


def test_the_task_draws_another_first_word_and_nothing_else():
    task = first_word(np.array(ROWS), 5, jnp.float64)
    inputs, targets, weights = task.batch(jax.random.key(0), 500, 5)
    counts = np.bincount(np.asarray(inputs)[:, 0], minlength=5)
    assert (np.abs(counts - 100) < 50).all()
    np.testing.assert_array_equal(np.asarray(inputs)[:, 1:], np.tile(ROWS[1:], (500, 1)))
    np.testing.assert_array_equal(targets[:, -1], inputs[:, 0])
    np.testing.assert_array_equal(weights, np.tile(np.eye(6)[-1], (500, 1)))
    assert task.baseline(5) == (math.log(5), 0.2)
    with pytest.raises(ValueError, match="delay"):
        task.batch(jax.random.key(0), 1, 4)
    own = as_written(np.array(ROWS), jnp.float64)
    assert (own.inputs.tolist(), int(own.targets[-1])) == (ROWS, 4)


def test_the_page_shows_what_is_printed(tmp_path, rnn_alone):
    """Of one kind before training, which gives the same whatever comes beside or after it."""
    page = (Path(__file__).parents[2] / "examples" / "command_line.md").read_text("utf-8")
    (command,) = re.findall(r"`python -m lstmgrad words \"(.*?)\"`", page)
    row = re.compile(r"^ {2,3}\d+  (\w+) +(-?[\d.]+) +(-?[\d.]+)", re.MULTILINE)
    shown = row.findall(page.partition("   t  word")[2].partition("```")[0])[:10]
    got = row.findall(run(tmp_path, "words", command, "--train", "0").out)
    assert [word for word, *_ in got] == [word for word, *_ in shown] == command.split()
    for one, other in zip(got, shown, strict=True):
        assert list(map(float, one[1:])) == pytest.approx(list(map(float, other[1:])), abs=0.11)


def test_a_long_text_of_any_characters_is_not_trained_on(tmp_path, rnn_alone, monkeypatch):
    monkeypatch.setattr(_study, "SHORT", 60)  # which of two compilations it is, to save seconds
    words = [f"w{index % 7}" for index in range(60)]
    words[:4] = ["$a$_{", "\x1b[31m", "日本語" * 9, "e\u0301" * 3]
    path = tmp_path / "speech"
    path.write_text("\ufeff" + "\r\n".join(words), "utf-8")
    found = run(tmp_path / "out", "words", "--file", str(path), *SMALL)
    assert (found.code, found.err) == (0, "")
    assert "none: more than 50 words are trained on only if --train says so" in found.out
    lines = found.out.splitlines()
    assert "\x1b" not in found.out
    assert any("\\x1b[31m" in line for line in lines)
    rows = [line for line in lines if re.match(r" {1,3}\d", line)]
    assert [int(row[:4]) for row in rows] == [*range(1, 13), *range(49, 61)]
    (note,) = [line for line in lines if line.startswith(" ...")]
    assert note.split()[1] == "36"
    table = found.json("words.json")
    assert table["words"] == words
    assert np.shape(table["cells"]["rnn"]["initial"]["shares"]) == (3, 60)
    assert "trained" not in table["cells"]["rnn"]
    assert parse(["--file", str(path), "--train", "3"]).train == 3


def test_two_words_without_quotes_and_without_training(tmp_path, rnn_alone):
    options = ["--hidden", "3", "--draws", "1", "--train", "0"]
    found = run(tmp_path, "words", "two", "words", *options)
    assert (found.code, found.err) == (0, "")
    assert found.json("words.json")["words"] == ["two", "words"]
    shares = found.json("words.json")["cells"]["rnn"]["initial"]["shares"][1]
    assert sum(shares) == pytest.approx(1, abs=1e-5)
    text = " ".join(found.out.split())
    assert "training none" in text
    assert "of one draw" in text
    assert "After" not in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the command line: expected at least 2 words, one to recall and one after it, "),
        (["  "], "but got 0; see --help"),
        (["one"], "but got 1; see --help"),
        (["one one one"], "expected at least 2 different words, so that the first one could be "),
        (["one", "one"], "another, but got one, 2 times; see --help"),
        (["two words", "--file", "a.txt"], "--file: expected words or a file, but got both"),
        (["two words", "--hidden", "0"], "--hidden: expected a whole number, 1 or more"),
        (["two words", "--draws", "0"], "--draws: expected a whole number, 1 or more, but got 0"),
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
        (b" one\n", ": expected at least 2 words, one to recall and one after it, but got 1"),
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
    for name, default in Options._field_defaults.items():
        if name in ("draws", "hidden", "train"):
            assert f"(default: {default}" in " ".join(text.split())


def stage(log10_norms, shares=None, scores=(0.2, 0.2)) -> Stage:
    """Two draws with the same norms and shares."""
    logs = jnp.asarray([log10_norms] * 2) * math.log(10)
    part = jnp.full_like(logs, jnp.nan) if shares is None else jnp.asarray([shares] * 2)
    return Stage(
        lg.Contributions(
            leaf_log_norms=None,
            log_norms=logs,
            shares=part,
            cosines=part,
            residuals=jnp.zeros((2, len(log10_norms) + 1)),
            input_log_norms=None,
            gradient=None,
            input_gradients=None,
        ),
        np.ones(2),
        np.asarray(scores),
    )


def study(*kinds: tuple[str, list[Stage]]) -> Study:
    networks = tuple(
        Networks(
            title.lower(), title, title, dict(zip(("initial", "trained"), found, strict=False))
        )
        for title, found in kinds
    )
    stages = {name: STAGES[name] for name in networks[0].stages}
    length = kinds[0][1][0].shares.shape[-1]
    words = tuple(f"word{index}" for index in range(length))
    return Study(words, networks, stages, 2, {})


def test_numbers_that_are_not_finite_are_named():
    zero, lost = [-math.inf, 0.0], [math.nan, math.nan]
    found = study(
        ("RNN", [stage(zero)]), ("GRU", [stage(lost)]), ("LSTM", [stage([-math.inf] * 2)])
    )
    rows = [line.split() for line in tables(found) if "word0" in line]
    assert rows == [["1", "word0", "nan", "-inf", "nan", "nan", "nan", "nan"]]
    text = reading(found)
    assert "are 0 (nan%) in the RNN, nan (nan%) in the GRU and nan (nan%) in the LSTM" in text
    assert "In the RNN that is less than a thousandth" in text
    assert record(found)["cells"]["rnn"]["initial"]["log10_ratios"][1] == [-math.inf, 0.0]
    figure(found)


def test_sentences_say_what_was_measured():
    kept, fallen = stage([0.0, 0.0], [0.6, 0.4]), stage([-1.0, 0.0], [0.1, 0.9], (1.0, 0.5))
    vanished, grown = stage([-4.5, 0.0], [1e-3, 0.999]), stage([0.0, 0.0], [0.5, 0.5], (1.0, 0.99))
    text = reading(study(("RNN", [vanished, grown]), ("LSTM", [kept, fallen])))
    assert "are 10^-4.5 (0.1%) in the RNN and 10^0.0 (60.0%) in the LSTM" in text
    assert "In the RNN that is less than a thousandth of what the last word adds" in text
    assert "the first word is recalled by 2 of 2 networks (RNN) and 1 (LSTM)." in text
    assert "Its share has grown to 50.0% in the RNN and fallen to 10.0% in the LSTM." in text
    text = reading(study(("LSTM", [kept])))
    assert "over 2 words the gradient does not yet vanish in any of them" in text
    assert "recalled" not in text
