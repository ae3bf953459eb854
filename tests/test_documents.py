"""Every block of code in the guides runs, in order, and prints what is printed below it.

Blocks run as a user has them: in float32, with JAX's own rules of promotion.
"""

import contextlib
import io
import re
from pathlib import Path
from typing import NamedTuple

import jax
import pytest
from test_readme import assert_same_text

EXAMPLES = Path(__file__).parents[1] / "examples"
PAGES = sorted([*EXAMPLES.glob("*.md"), *EXAMPLES.glob("guides/*.md"), *EXAMPLES.glob("api/*.md")])
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


@pytest.fixture
def as_user(as_installed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with (
        jax.enable_x64(False),
        jax.numpy_dtype_promotion("standard"),
        jax.numpy_rank_promotion("allow"),
    ):
        yield


@pytest.mark.usefixtures("as_user")
@pytest.mark.parametrize(
    "page", [page for page in PAGES if blocks_of(page)], ids=lambda page: page.stem
)
def test_the_code_of_a_page_runs_and_prints_what_is_shown(page):
    names: dict = {}
    for block in blocks_of(page):
        if "import torch" in block.code:
            pytest.importorskip("torch")
        out = io.StringIO()
        code = compile("\n" * block.line + block.code, str(page), "exec")
        with contextlib.redirect_stdout(out):
            exec(code, names)
        if block.printed is not None:
            assert_same_text(out.getvalue(), block.printed, rel=2e-2, absolute=2e-3)
