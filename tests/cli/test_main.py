"""The entry point: exit codes, failures in one sentence, whole files or none."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from commands import Run, refused, run

from lstmgrad.cli import _main, main
from lstmgrad.cli._shared import outputs
from lstmgrad.cli._shared.error import CommandError
from lstmgrad.cli.compare import _cells


def test_out_is_a_file_or_below_one(tmp_path, monkeypatch):
    monkeypatch.setattr(
        _cells, "train_cell", lambda *_, **__: pytest.fail("worked before checking")
    )
    (tmp_path / "taken").write_text("mine")
    for path in (tmp_path / "taken", tmp_path / "taken" / "deeper" / "still"):
        found = run(path, "compare")
        assert found.code == 2
        assert found.err == (
            f"lstmgrad: error: --out: {tmp_path / 'taken'} is a file, not a directory\n"
        )
    assert (tmp_path / "taken").read_text() == "mine"


def test_out_that_cannot_be_written_is_found_early(tmp_path, monkeypatch):
    monkeypatch.setattr(
        _cells, "train_cell", lambda *_, **__: pytest.fail("worked before checking")
    )

    def deny(path, **_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "touch", deny)
    found = run(tmp_path / "new", "compare")
    assert found.code == 2
    assert f"--out: cannot write into {tmp_path / 'new'}: Permission denied" in found.err
    assert list(tmp_path.iterdir()) == []


def test_a_directory_in_the_place_of_a_file(tmp_path):
    (tmp_path / "compare.npz").mkdir()
    found = run(tmp_path, "compare")
    assert found.code == 2
    assert f"cannot write {tmp_path / 'compare.npz'}: it is a directory" in found.err
    assert [path.name for path in tmp_path.iterdir()] == ["compare.npz"]


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
        outputs.write_whole(tmp_path, {"a": b"new", "b": b"new"})
    if isinstance(error, OSError):
        assert str(caught.value).endswith("No space left on device")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "old"


def test_a_failed_write_ends_the_command_in_one_sentence(tmp_path, monkeypatch):
    def deny(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(outputs.os, "replace", deny)
    found = run(tmp_path / "new", "depth", "--layers", "1", "--width", "1")
    assert found.code == 2
    assert "1 layer, 3 factors" in found.out  # the table is not lost
    assert found.err.endswith("No space left on device\n")
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c(tmp_path, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(_cells, "train_cell", interrupt)
    found = run(tmp_path / "new" / "deeper", "compare")
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
    def fail(command, arguments):
        raise error

    monkeypatch.setattr(_main, "run", fail)
    assert "does not fit into memory; choose a smaller" in refused(tmp_path)


def test_an_error_of_our_own_is_not_disguised(tmp_path, monkeypatch):
    def fail(command, arguments):
        raise jax.errors.JaxRuntimeError("INTERNAL: something else")

    monkeypatch.setattr(_main, "run", fail)
    with pytest.raises(jax.errors.JaxRuntimeError, match="something else"):
        run(tmp_path / "out")


def test_as_a_program_on_a_machine_without_x64(tmp_path):
    environment = {**os.environ, "COLUMNS": "80"}
    environment.pop("JAX_ENABLE_X64", None)
    arguments = ["compare", "--cells", "rnn", "--train", "0", "--hidden", "3", "--dtype", "float64"]
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
    assert Run(0, "", "", tmp_path).arrays("compare.npz")["rnn_h_initial"].dtype == np.float64


def test_python_m_refuses_in_one_sentence(tmp_path):
    program = [sys.executable, "-m", "lstmgrad", "compare", "--input", "none.txt", "--out", "out"]
    done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "lstmgrad: error: none.txt: there is no such file\n"
    assert list(tmp_path.iterdir()) == []


def test_recall_is_the_bare_command_by_name(capsys):
    for arguments in (["--cells", "foo"], ["recall", "--cells", "foo"]):
        assert main(arguments) == 2
        assert "unknown cell 'foo'" in capsys.readouterr().err
    assert jax.config.read("jax_enable_x64")  # as the tests had set it
