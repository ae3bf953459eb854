"""The site, built without running anything: what it lists, and whether its links lead somewhere."""

import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest
from test_documents import public_names
from test_readme import EXAMPLES, ROOT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("myst_nb")
    built = tmp_path_factory.mktemp("site")
    options = ["-W", "--keep-going", "-q", "-D", "nb_execution_mode=off", "-D", "run_scripts=0"]
    command = [sys.executable, "-m", "sphinx", *options, str(EXAMPLES), str(built)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return built


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


def test_every_public_name_is_in_the_inventory(site):
    from sphinx.util.inventory import InventoryFile

    with (site / "objects.inv").open("rb") as file:
        listed = InventoryFile.load(file, "", lambda *parts: "".join(parts))
    found = {name for kind, names in listed.items() if kind.startswith("py:") for name in names}
    outside = {"lg.cells.Callable", "lg.cells.public"}
    for name in public_names().keys() - outside:
        assert name.replace("lg.", "lstmgrad.", 1) in found, name


def test_every_link_inside_leads_somewhere(site):
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


def test_the_search_knows_words_of_guides_and_docstrings(site):
    index = (site / "searchindex.js").read_text(encoding="utf-8")
    for word in ("backward_norms", "flossing", "truncat", "chrono"):
        assert word in index
