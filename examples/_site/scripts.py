"""A page for each script of `examples/` and `examples/gallery/`, made from the script itself.

The page has the script's docstring, its figure and its code. Every script is run in the build, at
its small size unless the tag `full` is given (`python -m sphinx -t full ...`): a script that fails
fails the build, as does a number of the gallery that is not as near to the paper's as its script
states. The figure shown is that of the full size, which is kept in `examples/figures`.
"""

import ast
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from tables import beyond, rows_of

import lstmgrad

SOURCE = Path(__file__).parents[1]
ROOT = SOURCE.parent
PAGES = SOURCE / "scripts"
HEADINGS = ("Papers, reproduced", "Examples")
ALT = re.compile(r"\n\s*\nAlt: (.+)\Z", re.DOTALL)


@dataclass(frozen=True)
class Script:
    """A script and what it says of itself."""

    path: Path
    title: str
    text: str
    alt: str

    @property
    def name(self) -> str:
        """Without its number: that of its page and of its figure."""
        return re.sub(r"^\d+_", "", self.path.stem)

    @property
    def short(self) -> str:
        """Its name in words, for the table of contents."""
        return self.name.replace("_", " ").capitalize()

    @classmethod
    def read(cls, path: Path) -> "Script":
        """The title is the first line of the docstring; a last paragraph `Alt:` is the alt text."""
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        title, _, text = docstring.partition("\n")
        alt = ALT.search(text)
        title = title.rstrip(".:")
        return cls(path, title, ALT.sub("", text), " ".join(alt[1].split()) if alt else title)


@dataclass(frozen=True)
class Run:
    """What came of a run: its figure, what it printed, how long it took; why there was none."""

    figure: Path
    printed: str
    seconds: float
    without: str = ""


def missing(script: Script) -> str:
    """The package that the script imports and that is not installed, or nothing."""
    for node in ast.walk(ast.parse(script.path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        for name in names:
            package = name.partition(".")[0]
            if package and find_spec(package) is None:
                return package
    return ""


def digest(*paths: Path) -> str:
    """Changes with what is in the files, and with the library."""
    found = hashlib.sha256()
    for path in [*paths, *sorted(Path(lstmgrad.__file__).parent.rglob("*.py"))]:
        found.update(path.read_bytes())
    return found.hexdigest()[:20]


def execute(script: Script, kept: Path, full: bool) -> Run:
    """Runs a script unless that was done before, and keeps what came of it."""
    lacks = missing(script)
    size = "full" if full else "small"
    folder = kept / f"{script.name}-{size}-{digest(script.path)}"
    figure, printed, seconds = (folder / name for name in ("figure.png", "printed", "seconds"))
    if lacks:
        return Run(figure, "", 0.0, lacks)
    if not seconds.exists():
        folder.mkdir(parents=True, exist_ok=True)
        start = time.monotonic()
        command = [sys.executable, script.path, *([] if full else ["--small"]), figure]
        environment = os.environ | {"MPLBACKEND": "Agg"}
        done = subprocess.run(
            command, capture_output=True, text=True, encoding="utf-8", env=environment, cwd=folder
        )
        if done.returncode or not figure.exists():
            raise ExtensionError(f"{script.path} failed:\n{done.stdout}\n{done.stderr}")
        if script.path.parent.name == "gallery" and (far := beyond(rows_of(done.stdout))):
            raise ExtensionError(f"{script.path} is not as near as stated: {far}\n{done.stdout}")
        printed.write_text(done.stdout, encoding="utf-8")
        seconds.write_text(str(time.monotonic() - start), encoding="utf-8")
    return Run(figure, printed.read_text(encoding="utf-8"), float(seconds.read_text()))


def page(script: Script, run: Run, figures: Path, full: bool) -> str:
    """The page of a script, in MyST; its figure is copied beside it."""
    large = figures / f"{script.name}.png"
    table = figures / f"{script.name}.txt"
    printed = run.printed if full else table.read_text("utf-8") if table.exists() else ""
    source = run.figure if full or not large.exists() else large
    command = f"python {script.path.relative_to(ROOT)} {script.name}.png"
    note = f"`{command}` draws this figure."
    if run.without:
        note += f" {run.without} is not installed here, so the script was not run for this page."
    elif full:
        note += f" It took {run.seconds:.0f} s here."
    elif source == large:
        note += " For this page the script was run with `--small`, to see that it works."
    else:
        note += " Here it is that of a tiny run, with `--small`."
    parts = [f"# {script.title}", script.text.strip()]
    if source.exists():
        shutil.copy(source, PAGES / f"{script.name}.png")
        parts.append(f"```{{image}} {script.name}.png\n:alt: {script.alt}\n```")
    parts.append(note)
    if printed:
        parts.append(f"```text\n{printed.rstrip()}\n```")
    parts.append(
        f"```{{literalinclude}} ../{script.path.relative_to(SOURCE)}\n:language: python\n```"
    )
    return "\n\n".join(parts) + "\n"


def card(script: Script) -> str:
    """A script in the list: its figure and its title, which lead to its page."""
    lines = [f":::{{grid-item-card}} {script.title}", f":link: {script.name}", ":link-type: doc"]
    if (PAGES / f"{script.name}.png").exists():
        lines += [f":img-top: {script.name}.png", f":img-alt: {script.alt}"]
    return "\n".join([*lines, ":::"])


def generate(app: Sphinx) -> None:
    """Runs the scripts, as many at once as there are cores, and writes their pages."""
    full = app.tags.has("full")
    shutil.rmtree(PAGES, ignore_errors=True)
    PAGES.mkdir()
    groups = [
        [Script.read(path) for path in sorted(SOURCE.glob(pattern))]
        for pattern in ("gallery/*.py", "[0-9]*.py")
    ]
    scripts = [script for group in groups for script in group]
    kept = Path(app.doctreedir) / "scripts"
    if app.config.run_scripts:
        with ThreadPoolExecutor(1 if full else os.cpu_count()) as pool:
            runs = list(pool.map(lambda script: execute(script, kept, full), scripts))
    else:
        runs = [Run(kept / "none", "", 0.0) for _ in scripts]
    for script, run in zip(scripts, runs, strict=True):
        text = page(script, run, SOURCE / "figures", full)
        (PAGES / f"{script.name}.md").write_text(text, encoding="utf-8")
    text = "# Gallery\n\n"
    for heading, group in zip(HEADINGS, groups, strict=True):
        if group:
            cards = "\n\n".join(map(card, group))
            text += f"## {heading}\n\n::::{{grid}} 1 2 2 3\n:gutter: 3\n\n{cards}\n::::\n\n"
    pages = "\n".join(f"{script.short} <{script.name}>" for script in scripts)
    text += f"```{{toctree}}\n:hidden:\n\n{pages}\n```\n"
    (PAGES / "index.md").write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Makes the pages before Sphinx looks for them."""
    app.add_config_value("run_scripts", True, "env", bool)
    # With another library everything is read, and run, again.
    library = digest()
    app.add_config_value("library", library, "env", str)
    app.config.nb_execution_cache_path = str(SOURCE.parent / ".jupyter_cache" / library)
    app.connect("builder-inited", generate)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
