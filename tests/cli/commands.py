"""Runs of the command line inside the process: what it returned, printed and wrote."""

import contextlib
import io
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from lstmgrad.cli import main


class Run(NamedTuple):
    code: int
    out: str
    err: str
    directory: Path

    def json(self, name: str) -> dict:
        text = (self.directory / name).read_text("utf-8")
        return json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))

    def arrays(self, name: str) -> dict:
        with np.load(self.directory / name, allow_pickle=False) as file:
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


def help_text(capsys, monkeypatch, *arguments: str) -> str:
    """What --help and --version print, in lines that fit on a terminal."""
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 0
    text = capsys.readouterr().out
    assert all(len(line) <= 80 for line in text.splitlines())
    return text
