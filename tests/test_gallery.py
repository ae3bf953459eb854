"""Reproductions of papers: each runs, and is within the difference that it states.

At its small size, where a script leaves out the rows that take the whole training. Its full size is
what `examples/figures/NAME.txt` was printed by, and that table is held against the same limits.
"""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
SCRIPTS = sorted((EXAMPLES / "gallery").glob("*.py"))


def rows_of(printed: str) -> dict[str, tuple[float, float, float, float]]:
    """What the table says: paper, here, difference and what was stated, by the quantity."""
    lines = printed.split("\n\n")[0].splitlines()
    assert lines[0].split() == ["paper", "here", "difference", "stated"]
    rows = {}
    for line in lines[1:]:
        *words, paper, here, difference, stated = line.split()
        rows[" ".join(words)] = float(paper), float(here), float(difference), float(stated)
    return rows


def assert_as_stated(rows: dict[str, tuple[float, float, float, float]]) -> None:
    assert rows
    for what, (paper, here, difference, stated) in rows.items():
        assert abs(difference) <= stated < 5, what
        # The difference is rounded to fewer digits than the rest.
        assert difference == pytest.approx(here - paper, rel=0.1, abs=2e-3), what


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_the_table_of_the_full_size_is_as_stated(script):
    kept = EXAMPLES / "figures" / f"{script.stem}.txt"
    assert_as_stated(rows_of(kept.read_text(encoding="utf-8")))
    assert kept.with_suffix(".png").exists()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_says_what_it_compares(script):
    text = ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or ""
    begins = [paragraph.partition(":")[0] for paragraph in text.split("\n\n")[1:]]
    assert begins[:5] == ["Claim", "Paper's numbers", "Here", "Difference", "Run time"]
    assert begins[5] in ("Reference", "References")
    assert begins[6:] == ["Alt"]


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_reproduction_is_as_near_as_it_states(script, tmp_path):
    figure = tmp_path / "figure.png"
    done = subprocess.run(
        [sys.executable, script, "--small", figure],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=os.environ | {"MPLBACKEND": "Agg", "PYTHONIOENCODING": "utf-8"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert_as_stated(rows_of(done.stdout))
    assert figure.read_bytes().startswith(b"\x89PNG")
