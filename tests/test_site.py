"""The site: what it lists, and whether its links lead somewhere.

`LSTMGRAD_SITE` names the folder of one that has been built; without it, one is built here that runs
nothing.
"""

import os
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest
from test_documents import public_names
from test_readme import EXAMPLES, ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Built from a copy, because the pages of the scripts are made beside the others."""
    if built := os.environ.get("LSTMGRAD_SITE"):
        return Path(built)
    pytest.importorskip("myst_nb")
    root = tmp_path_factory.mktemp("site")
    truths = Path("tests", "truths", "README.md")
    (root / truths).parent.mkdir(parents=True)
    shutil.copy(ROOT / truths, root / truths)
    left_out = shutil.ignore_patterns("scripts", "__pycache__", ".ipynb_checkpoints")
    shutil.copytree(EXAMPLES, root / "examples", ignore=left_out)
    options = ["-W", "--keep-going", "-q", "-D", "nb_execution_mode=off", "-D", "run_scripts=0"]
    command = [sys.executable, "-m", "sphinx", *options, "examples", "built"]
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, env=env)
    assert done.returncode == 0, done.stderr
    return root / "built"


class Page(HTMLParser):
    """The links of a page, and the places in it that a link may lead to."""

    def __init__(self, path: Path):
        super().__init__()
        self.links: list[str] = []
        self.places: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        given = {name: value for name, value in attrs if value}
        self.places |= {given[name] for name in ("id", "name") if name in given}
        self.links += [given[name] for name in ("href", "src") if name in given]


def assert_every_public_name_is_listed(site):
    from sphinx.util.inventory import InventoryFile

    with (site / "objects.inv").open("rb") as file:
        listed = InventoryFile.load(file, "", lambda *parts: "".join(parts))
    found = {name for kind, names in listed.items() if kind.startswith("py:") for name in names}
    for name in public_names().keys() | {"lg.diagnosis.RULES"}:
        assert name.replace("lg.", "lstmgrad.", 1) in found, name


def assert_every_link_inside_leads_somewhere(site):
    pages = {path: Page(path) for path in site.rglob("*.html")}
    assert len(pages) > 30
    for path, page in pages.items():
        for link in page.links:
            if ":" in link.split("/")[0]:
                continue  # of another site
            target, place = urldefrag(unquote(link))
            where = (path.parent / target.partition("?")[0]).resolve() if target else path
            where = where / "index.html" if where.is_dir() else where
            assert where.exists(), f"{path.name}: {link}"
            if place and where in pages and not place.startswith(":~:"):
                assert place in pages[where].places, f"{path.name}: {link}"


def assert_the_search_knows_guides_and_docstrings(site):
    index = (site / "searchindex.js").read_text(encoding="utf-8")
    for word in ("backward_norms", "flossing", "truncat", "chrono"):
        assert word in index


@pytest.mark.slow
def test_the_site_is_complete_its_links_lead_somewhere_and_its_search_finds(site):
    assert_every_public_name_is_listed(site)
    assert_every_link_inside_leads_somewhere(site)
    assert_the_search_knows_guides_and_docstrings(site)


@pytest.mark.slow
def test_a_notebook_shows_every_figure(monkeypatch):
    """Of each cell, and not of the first one alone: what draws leaves the backend as it was."""
    monkeypatch.delenv("MPLBACKEND")
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    start = "import jax.numpy as jnp\nimport lstmgrad as lg\n"
    start += "profile = lg.backward_norms(lg.DenseChain(jnp.ones((3, 1, 1))))"
    draw = "lg.plot.norms(profile);"
    cells = [nbformat.v4.new_code_cell(code) for code in (start, draw, draw)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    nbclient.NotebookClient(notebook, kernel_name="python3").execute()
    for cell in notebook.cells[1:]:
        assert "image/png" in cell.outputs[0]["data"]
