"""The README says what is so: its example prints what it shows, its names and files exist."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import lstmgrad as lg

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def run(arguments: list[str], where: Path) -> str:
    """What Python prints on a user's terms: without the switches of the tests."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
        env=env,
        cwd=where,
    )
    return done.stdout


def assert_same_text(got: str, printed: str, rel: float, absolute: float) -> None:
    """Equal but for the last digits of the numbers and the width of their columns."""
    assert NUMBER.sub("#", got).split() == NUMBER.sub("#", printed).split()
    numbers, expected = (list(map(float, NUMBER.findall(text))) for text in (got, printed))
    assert numbers == pytest.approx(expected, rel=rel, abs=absolute)


def test_the_example_prints_what_is_printed_below_it(tmp_path):
    blocks = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", README, re.DOTALL)
    assert len(blocks) == README.count("```python") == 1
    for code, printed in blocks:
        assert_same_text(run(["-c", code], tmp_path), printed, rel=2e-3, absolute=1e-3)


@pytest.mark.slow
def test_the_table_is_that_of_the_command(tmp_path):
    # At initialization and of one cell, because that takes seconds.
    options = ["compare", "--cells", "lstm", "--train", "0", "--out", str(tmp_path)]
    rows = re.compile(r"^(?:cell  s    stage|LSTM  (?:h|c|path) +initial) .*$", re.MULTILINE)
    got = rows.findall(run(["-m", "lstmgrad", *options], tmp_path))
    assert len(got) == 4
    shown = rows.findall(README)
    assert_same_text("\n".join(got), "\n".join(shown), rel=1e-2, absolute=0.02)


def test_every_name_exists_and_every_function_is_on_the_map():
    for dotted in set(re.findall(r"\blg((?:\.\w+)+)", README)):
        found = lg
        for name in dotted[1:].split("."):
            found = getattr(found, name)
    functions = {name for name in lg.__all__ if name.islower() and callable(getattr(lg, name))}
    missing = {name for name in functions - {"scaled"} if f"lg.{name}" not in README}
    assert not missing, "give each a row in README.md, 'Map of the functions'"


def test_every_file_exists():
    links = re.findall(r"\]\(([^)#:]+)\)|src=\"([^\":]+)\"", README)
    assert len(links) >= 5
    for link in map("".join, links):
        assert (ROOT / link).is_file(), link
