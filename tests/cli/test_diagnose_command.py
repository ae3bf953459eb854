"""`diagnose`: what it finds is what the library finds; files, remedies, targets and refusals."""

from pathlib import Path
from typing import Any

import diagnosis_records as records
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from commands import Run, help_text, refused, run

import lstmgrad as lg
from lstmgrad.cli._shared.sequences import read_numbers
from lstmgrad.cli.diagnose import _report
from lstmgrad.cli.diagnose._demos import DEMOS
from lstmgrad.cli.diagnose._inputs import read_batch, read_targets
from lstmgrad.cli.diagnose._study import Study

N, T, D, H, LAG = 4, 40, 3, 4, 35
FILES = {"diagnose.png", "diagnose.svg", "diagnose.html", "diagnose.json"}
GENERATOR = np.random.default_rng(0)
INPUTS = GENERATOR.normal(size=(N, T, D))
LABELS = GENERATOR.integers(0, 3, N)


def tensors() -> dict[str, np.ndarray]:
    """An LSTM as PyTorch draws it, with a head, with its forget gates closed."""
    generator = np.random.default_rng(1)
    shapes = {
        "lstm.weight_ih_l0": (4 * H, D),
        "lstm.weight_hh_l0": (4 * H, H),
        "lstm.bias_ih_l0": (4 * H,),
        "lstm.bias_hh_l0": (4 * H,),
        "head.weight": (3, H),
        "head.bias": (3,),
    }
    found = {
        name: generator.uniform(-0.5, 0.5, shape).astype(np.float32)
        for name, shape in shapes.items()
    }
    found["lstm.bias_ih_l0"][H : 2 * H] -= 2
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("files")
    (path / "model.safetensors").write_bytes(safetensors.numpy.save(tensors()))
    np.save(path / "inputs.npy", INPUTS)
    np.save(path / "labels.npy", LABELS)
    return path


def of_weights(folder: Path) -> list[str]:
    given = ["--weights", str(folder / "model.safetensors"), "--input", str(folder / "inputs.npy")]
    return ["diagnose", *given, "--targets", str(folder / "labels.npy"), "--lag", str(LAG)]


@pytest.fixture(scope="module")
def found(folder) -> Run:
    """A file of weights on inputs and labels, and a remedy written to another file."""
    more = [
        "--strict",
        "--apply",
        "forget-gates",
        "--save-weights",
        str(folder / "better.safetensors"),
    ]
    return run(folder / "out", *of_weights(folder), *more)


def by_the_library() -> lg.diagnosis.Diagnosis:
    model = lg.interop.from_torch(tensors())
    chains = jax.vmap(lambda x: lg.chain(model, x))(jnp.asarray(INPUTS, jnp.float32))
    weight, bias = tensors()["head.weight"], tensors()["head.bias"]

    def loss(states: Any, label: Any) -> Any:
        return -jax.nn.log_softmax(weight @ states.h[-1] + bias)[label]

    cotangents = jax.vmap(
        lambda chain, label: lg.loss_cotangents(lambda s: loss(s, label), chain.trajectory)
    )(chains, jnp.asarray(LABELS))
    return lg.diagnose(chains, cotangents, lag=LAG)


def test_it_finds_what_the_library_finds(found):
    with jax.enable_x64(False):  # as the command computes, by the same compiled program
        expected = by_the_library()
    twin = found.json("diagnose.json")
    assert [entry["rule"] for entry in twin["findings"]] == [finding.rule for finding in expected]
    for entry, finding in zip(twin["findings"], expected, strict=True):
        assert entry["verdict"] == finding.verdict
        for name, evidence in finding.evidence.items():
            got = float(entry["evidence"][name]["value"])
            assert got == pytest.approx(evidence.value, rel=1e-3, abs=1e-6, nan_ok=True)
    assert twin["settings"]["loss"].endswith("labels.npy, by head.weight")


def test_it_prints_and_writes_what_was_found(found):
    assert found.err == ""
    assert {path.name for path in found.directory.iterdir()} == FILES
    assert found.json("diagnose.json")["format"] == "lstmgrad diagnose"
    page = (found.directory / "diagnose.html").read_text("utf-8")
    assert "The forget gates close before the lag" in page
    assert page.count("<img") >= 1
    assert "The forget gates close before the lag [forget-gates, severe]" in found.out
    assert "4 of 4 sequences, 40 steps of 3 numbers" in " ".join(found.out.split())
    assert "* chrono: " in found.out
    assert all(len(line) <= 79 for line in found.out.splitlines() if "/" not in line)


def test_a_severe_finding_is_an_exit_code_with_strict_alone(found):
    assert found.code == 1
    study = Study(records.mixed(), {}, strict=False, weights=None)
    assert _finished(study) == 0
    assert _finished(study._replace(strict=True)) == 1
    calm = records.diagnosis(verdict="clear")
    assert _finished(Study(calm, {}, strict=True, weights=None)) == 0


def _finished(study: Study) -> int:
    from lstmgrad.cli.diagnose._study import finish

    return finish(study)


def test_the_remedy_is_in_the_other_file(found, folder):
    before, after = tensors(), safetensors.numpy.load_file(folder / "better.safetensors")
    assert set(after) == set(before)
    changed = {name for name in before if (before[name] != after[name]).any()}
    assert changed == {"lstm.bias_ih_l0", "lstm.bias_hh_l0"}
    bias = after["lstm.bias_ih_l0"] + after["lstm.bias_hh_l0"]
    forget = bias[H : 2 * H]
    assert np.all((forget >= 0) & (forget <= np.log(LAG)))  # chrono: ln U(1, lag - 1)
    np.testing.assert_allclose(bias[:H], -forget, rtol=1e-6)
    untouched = slice(2 * H, None)
    np.testing.assert_array_equal(
        after["lstm.bias_ih_l0"][untouched], before["lstm.bias_ih_l0"][untouched]
    )
    said = found.out.splitlines()[-1].partition("chrono against forget-gates; changed ")[2]
    assert set(said.split(", ")) == changed


def test_a_remedy_that_there_is_not_is_refused_with_those_there_are(found, folder):
    """The same shapes as before: the compiled program is there."""
    more = ["--apply", "gain", "--save-weights", str(folder / "none.safetensors")]
    where = folder / "none"
    got = run(where, *of_weights(folder), *more)
    assert got.code == 2
    assert "--apply: expected one of forget-gates:chrono, forget-gates:forget-bias" in got.err
    assert got.err.strip().endswith("but got gain")
    assert not (folder / "none.safetensors").exists()
    assert not where.exists()


def test_sentences_about_other_diagnoses():
    def said(diagnosis: Any) -> str:
        return _report.reading(Study(diagnosis, {}, strict=False, weights=None))

    text = said(records.mixed())
    assert text == "The title of forget-gates <&>. 2 more findings, mild or explained by these."
    assert said(records.diagnosis(verdict="clear")) == "Nothing was found to be wrong."
    lines = _report.tables(Study(records.mixed(), {}, strict=False, weights=None))
    assert "open: truncation" in lines
    assert "in order: growth" in lines
    assert all(len(line) <= 79 for line in lines)
    # What another finding explains has its remedies there.
    assert sum("* forget-bias" in line for line in lines) == 2


def test_one_long_sequence_is_cut_into_stretches(tmp_path):
    rows = np.arange(100.0)
    np.save(tmp_path / "long.npy", rows)
    batch = read_batch(tmp_path / "long.npy", length=20, most=3, read=read_numbers)
    assert batch.rows.shape == (3, 20, 1)
    np.testing.assert_array_equal(batch.rows[:, 0, 0], [0, 39, 79])
    assert batch.after is not None
    np.testing.assert_array_equal(batch.after[:, 0], [20, 59, 99])
    np.save(tmp_path / "classes.npy", rows.astype(int) % 7)
    targets = read_targets(tmp_path / "classes.npy", batch)
    np.testing.assert_array_equal(targets, batch.rows[..., 0] % 7)
    assert targets.dtype == np.int64
    whole = read_batch(tmp_path / "long.npy", length=100, most=3, read=read_numbers)
    assert whole.after is None
    (tmp_path / "text.txt").write_text("abcabcabc")
    text = read_batch(tmp_path / "text.txt", length=4, most=9)
    np.testing.assert_array_equal(text.rows, [[0, 1, 2, 0], [1, 2, 0, 1]])


def test_targets_of_several_sequences(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((3, 5, 2)))
    batch = read_batch(tmp_path / "x.npy", length=4, most=2, read=read_numbers)
    assert batch.rows.shape == (2, 4, 2)
    np.save(tmp_path / "y.npy", np.array([[0.5] * 5, [1.5] * 5, [2.0] * 5]))
    np.testing.assert_array_equal(read_targets(tmp_path / "y.npy", batch), [[0.5] * 4, [1.5] * 4])
    (tmp_path / "y.csv").write_text("1\n0\n2\n")
    np.testing.assert_array_equal(read_targets(tmp_path / "y.csv", batch), [1, 0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected one of --weights, --cells and --demo"),
        (["--demo", "healthy", "--cells", "rnn"], "expected one of --weights, --cells and --demo"),
        (["--demo", "healthy", "--input", "x.npy"], "--input: expected no such option beside"),
        (["--cells", "rnn"], "--input: expected a file of what the network reads"),
        (["--cells", "rnn", "--input", "none.csv"], "none.csv: there is no such file"),
        (["--layer", "1", "--demo", "healthy"], "--layer: expected --weights"),
        (["--demo", "healthy", "--clip", "0"], "argument --clip: expected a number above zero"),
        (["--demo", "healthy", "--apply", "gain"], "--apply: expected --save-weights"),
        (
            ["--demo", "healthy", "--lag", "64"],
            "--lag: expected a whole number from 1 to 63, because",
        ),
        (
            ["--demo", "healthy", "--apply", "gain", "--save-weights", "x.pt"],
            "--save-weights: expected --apply, the rule whose remedy is applied, and --weights",
        ),
        (["--weights", "m.pt", "--input", "x", "--hidden", "3"], "--hidden: expected --cells"),
    ],
)
def test_refusals(tmp_path, arguments, message):
    assert message in refused(tmp_path, "diagnose", *arguments)


def test_refusals_of_files(tmp_path, folder):
    def of(name: str, content: Any, *more: str) -> str:
        np.save(tmp_path / f"{name}.npy", content)
        given = [str(tmp_path / f"{name}.npy"), *more]
        weights = ["--weights", str(folder / "model.safetensors")]
        return refused(tmp_path, "diagnose", *weights, "--input", *given)

    assert "expected 3 columns, what" in of("wide", np.zeros((2, 9, 5)))
    assert "expected finite numbers" in of("nan", np.full((2, 9, 3), np.nan))
    assert "expected sequences of 2 steps or more" in of("short", np.zeros((2, 1, 3)))
    assert "--loss next: expected a row behind every sequence" in of(
        "next", np.zeros((2, 9, 3)), "--loss", "next"
    )
    labels = ["--targets", str(folder / "labels.npy")]
    shape = "expected targets of shape (2,) or (2, 9), but got (4,)"
    assert shape in of("other", np.zeros((2, 9, 3)), *labels)
    np.save(tmp_path / "minus.npy", np.array([-1, 0]))
    bad = ["--targets", str(tmp_path / "minus.npy")]
    assert "expected classes from 0 on, but got -1" in of("neg", np.zeros((2, 9, 3)), *bad)


def test_without_jinja_it_is_refused(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "jinja2", None)
    message = refused(tmp_path, "diagnose", "--demo", "healthy")
    assert "jinja2 is not installed; the extra report brings it" in message


def test_help(capsys, monkeypatch):
    text = help_text(capsys, monkeypatch, "diagnose", "--help")
    assert all(name in text for name in DEMOS)


CAUSES = {
    "closed-gates": "forget-gates",
    "flat-output": "saturated-output",
    "small-gain": "gain",
    "exploding": "gain",
    "dead-units": "dead-units",
    "truncated": "truncation",
    "clipped": "clip",
    "healthy": None,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", DEMOS)
def test_demos_show_the_fault_that_was_planted(tmp_path, name):
    found = run(tmp_path / "out", "diagnose", "--demo", name)
    assert (found.code, found.err) == (0, "")
    findings = found.json("diagnose.json")["findings"]
    wrong = [
        entry["rule"]
        for entry in findings
        if entry["verdict"] == "found" and entry["severity"] != "none" and not entry["cause"]
    ]
    assert wrong == ([CAUSES[name]] if CAUSES[name] else [])


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["every", "next"])
def test_a_cell_on_a_text(tmp_path, loss):
    (tmp_path / "book.txt").write_text("to be or not to be that is the question " * 9)
    given = ["--cells", "gru", "--hidden", "5", "--input", str(tmp_path / "book.txt")]
    found = run(tmp_path / "out", "diagnose", *given, "--length", "30", "--loss", loss)
    assert (found.code, found.err) == (0, "")
    twin = found.json("diagnose.json")
    rules = {entry["rule"] for entry in twin["findings"]}
    assert ("signal-to-noise" in rules) == (loss == "next")
    assert twin["settings"]["length"] == 30


@pytest.mark.slow
def test_a_stack_is_diagnosed_layer_by_layer(tmp_path):
    """Its parts are h0, c0, h1 and c1, and the rules about a cell name the layer they speak of."""
    generator, stacked = np.random.default_rng(2), {}
    for layer in range(2):
        shapes = {"weight_ih": (4 * H, H if layer else D), "weight_hh": (4 * H, H)}
        for name, shape in (shapes | {"bias_ih": (4 * H,), "bias_hh": (4 * H,)}).items():
            stacked[f"{name}_l{layer}"] = generator.uniform(-0.4, 0.4, shape).astype(np.float32)
    (tmp_path / "stack.safetensors").write_bytes(safetensors.numpy.save(stacked))
    np.savetxt(tmp_path / "rows.csv", GENERATOR.normal(size=(90, D)), delimiter=",")
    given = [
        "--weights",
        str(tmp_path / "stack.safetensors"),
        "--input",
        str(tmp_path / "rows.csv"),
    ]
    found = run(tmp_path / "out", "diagnose", *given, "--length", "30", "--loss", "next")
    assert (found.code, found.err) == (0, "")
    twin = found.json("diagnose.json")
    assert twin["settings"]["sizes"] == {"h0": H, "c0": H, "h1": H, "c1": H}
    findings = {entry["rule"]: entry for entry in twin["findings"]}
    assert "reach" in findings
    assert "(c0)" in findings["saturated-output"]["evidence"]["log_path"]["text"]
    assert findings["forget-gates"]["evidence"]["mean_forget"]["value"] == pytest.approx(
        0.5, abs=0.1
    )
