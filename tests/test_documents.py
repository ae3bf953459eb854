"""Every block of code in README and the guides runs, in order, and prints what is shown below it.

So does every example in a docstring. All of them run as a user has them: in float32, with JAX's
own rules of promotion.
"""

import contextlib
import doctest
import inspect
import io
import re
from pathlib import Path
from typing import Any, NamedTuple

import jax
import matplotlib.pyplot as plt
import nbformat
import pytest
from registry import slow
from test_readme import EXAMPLES, PAGES, assert_same_text

import lstmgrad as lg

COSTLY = {"bring_a_model", "diagnose", "many_devices", "norms", "routes", "spectra", "tasks"}
BLOCK = re.compile(
    r"^```(?:python|\{code-cell\} python)\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?",
    re.DOTALL | re.MULTILINE,
)


class Block(NamedTuple):
    """A block of code, the line that it starts at, and what it prints, if that is shown."""

    code: str
    line: int
    printed: str | None


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(found[1], text[: found.start(1)].count("\n"), found[2])
        for found in BLOCK.finditer(text)
    ]


def execute(page: Path) -> dict[str, Any]:
    """Runs the blocks of a page in one namespace, which is returned."""
    names: dict[str, Any] = {}
    for block in blocks_of(page):
        if "import torch" in block.code:
            pytest.importorskip("torch")
        out = io.StringIO()
        code = compile("\n" * block.line + block.code, str(page), "exec")
        with contextlib.redirect_stdout(out):
            exec(code, names)
        if block.printed is not None:
            assert_same_text(out.getvalue(), block.printed, rel=2e-3, absolute=1e-3)
    return names


@pytest.fixture
def as_user(as_installed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with (
        jax.enable_x64(False),
        jax.numpy_dtype_promotion("standard"),
        jax.numpy_rank_promotion("allow"),
    ):
        yield
    plt.close("all")


@pytest.mark.usefixtures("as_user")
@pytest.mark.parametrize(
    "page",
    [
        slow(page, id=page.stem) if page.stem in COSTLY else pytest.param(page, id=page.stem)
        for page in PAGES
        if blocks_of(page)
    ],
)
def test_the_code_of_a_page_runs_and_prints_what_is_shown(page):
    execute(page)
