"""README and the pages of the site say what is so: their names, files and tables."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import lstmgrad as lg

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
PAGES = [ROOT / "README.md", *sorted(EXAMPLES.glob("*.md")), *sorted(EXAMPLES.glob("[ag]*/*.md"))]
README = PAGES[0].read_text(encoding="utf-8")
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


@pytest.mark.slow
def test_the_table_is_that_of_the_command(tmp_path):
    # At initialization and of one cell, because that takes seconds.
    options = ["compare", "--cells", "lstm", "--train", "0", "--out", str(tmp_path)]
    rows = re.compile(r"^(?:cell  s    stage|LSTM  (?:h|c|path) +initial) .*$", re.MULTILINE)
    got = rows.findall(run(["-m", "lstmgrad", *options], tmp_path))
    assert len(got) == 4
    shown = rows.findall((EXAMPLES / "command_line.md").read_text(encoding="utf-8"))
    assert_same_text("\n".join(got), "\n".join(shown), rel=1e-2, absolute=0.02)


def test_the_readme_is_short_and_has_the_commands():
    assert README.count("\n") <= 160
    for name in ("recall", "test", "site"):
        assert f"<!-- command: {name} -->\n```sh\n" in README


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_name_exists(page):
    for dotted in set(re.findall(r"\blg((?:\.\w+)+)", page.read_text(encoding="utf-8"))):
        found = lg
        for name in dotted[1:].split("."):
            found = getattr(found, name)


def test_every_public_name_is_in_the_reference():
    reference = "\n".join(page.read_text(encoding="utf-8") for page in EXAMPLES.glob("api/*.md"))
    described = set(re.findall(r"^\.\. auto(?:function|class):: (\w+)$", reference, re.MULTILINE))
    modules = set(re.findall(r"^\.\. automodule:: lstmgrad\.(\w+)$", reference, re.MULTILINE))
    missing = set(lg.__all__) - described - modules - {"__version__", "scaled"}
    assert not missing, "give each a line in the page of its question in examples/api"
    functions = {name for name in lg.__all__ if name.islower() and callable(getattr(lg, name))}
    missing = {name for name in functions - {"scaled"} if f"lg.{name}" not in reference}
    assert not missing, "give each a row in the table of that page, too"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_file_exists(page):
    text = page.read_text(encoding="utf-8")
    links = re.findall(
        r"\]\(([^)#:]+)(?:#[^)]*)?\)|(?:src=\"|^```\{image\} )([^\":\n]+)", text, re.M
    )
    for link in map("".join, links):
        if "scripts/" not in link:  # these pages are made in the build
            assert (page.parent / link).exists(), link
