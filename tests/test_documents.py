"""Every block of code in README and the guides runs, in order, and prints what is shown below it.

So does every example in a docstring. All of them run as a user has them: in float32, with JAX's
own rules of promotion.
"""

import contextlib
import doctest
import importlib
import inspect
import io
import json
import os
import re
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import jax
import matplotlib.pyplot as plt
import pytest
from registry import slow
from test_readme import EXAMPLES, PAGES, assert_same_text

import lstmgrad as lg

COSTLY = {"bring_a_model", "many_devices"}
# Costly, too, and all their code is run when the site is built.
RUN_BY_THE_SITE = {"diagnose", "monitor", "norms", "questions", "routes", "spectra", "tasks"}
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
        pytest.param(page, id=page.stem, marks=[pytest.mark.slow] * (page.stem in COSTLY))
        for page in PAGES
        if blocks_of(page) and page.stem not in RUN_BY_THE_SITE
    ],
)
def test_the_code_of_a_page_runs_and_prints_what_is_shown(page):
    execute(page)


@pytest.mark.parametrize("name", sorted(RUN_BY_THE_SITE))
def test_the_site_runs_all_code_of_a_page(name):
    text = (EXAMPLES / "guides" / f"{name}.md").read_text(encoding="utf-8")
    assert "file_format: mystnb" in text
    assert len(blocks_of(EXAMPLES / "guides" / f"{name}.md")) == text.count("```{code-cell}") > 0


def test_the_notebook_has_nothing_printed():
    """It is run when the site is built."""
    notebook = json.loads((EXAMPLES / "quickstart.ipynb").read_text(encoding="utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert code
    for cell in code:
        assert cell["outputs"] == []
        assert cell["execution_count"] is None


MODULES = ("cells", "diagnosis", "interop", "plot", "report", "tasks", "theory", "training")
# Modules and functions whose examples compile little.
QUICK = {"tasks", "theory"}
QUICK |= {"lg.chain", "lg.Model", "lg.DenseChain", "lg.jacobian", "lg.tag", "lg.unroll"}
QUICK |= {"lg.loss_cotangents", "lg.tagged_values", "lg.scaled", "lg.save", "lg.load"}
QUICK |= {"lg.effective_rank", "lg.participation_ratio", "lg.log_condition", "lg.entropy_rate"}
QUICK |= {"lg.isometry_distance", "lg.kaplan_yorke_dimension", "lg.step_eigenvalues"}
QUICK |= {"lg.backward_norms", "lg.decay_rate", "lg.horizon", "lg.summary", "lg.plot.norms"}
QUICK |= {"lg.cells.Cell", "lg.cells.ForgetGate", "lg.cells.chrono", "lg.cells.stack_layers"}
QUICK |= {"lg.cells.layer_input", "lg.cells.plain_layer", "lg.cells.residual_layer"}
QUICK |= {"lg.diagnosis.Evidence", "lg.diagnosis.Prediction", "lg.diagnosis.Reading"}
QUICK |= {"lg.diagnosis.Remedy", "lg.diagnosis.Trial", "lg.diagnosis.Verification"}
QUICK |= {"lg.diagnosis.shown", "lg.diagnosis.verify_loss", "lg.training.Readout"}
QUICK |= {"lg.interop.from_onnx", "lg.interop.from_transformers", "lg.interop.record"}
QUICK |= {"lg.interop.Recording", "lg.interop.RecordedRun", "lg.interop.layer_inputs"}
QUICK |= {"lg.plot.comparison", "lg.plot.memory", "lg.plot.Memory", "lg.plot.page"}

# Frameworks of examples: some are not in the test extra, and some warn when they are imported.
FRAMEWORKS = ("haiku", "keras", "torch", "transformers")


def public_names() -> dict[str, Any]:
    """Every public function and class by its name, `lg.plot.norms`."""
    found = {f"lg.{name}": getattr(lg, name) for name in lg.__all__ if name != "__version__"}
    for room in MODULES:
        module = importlib.import_module(f"lstmgrad.{room}")
        names = getattr(module, "__all__", None) or [
            name for name in vars(module) if name[0] != "_"
        ]
        own = {name: getattr(module, name) for name in names}
        found |= {
            f"lg.{room}.{name}": value
            for name, value in own.items()
            if getattr(value, "__module__", "").startswith(module.__name__)
        }
    return {name: value for name, value in found.items() if not inspect.ismodule(value)}


def docstring(name: str) -> str:
    return inspect.getdoc(public_names()[name]) or ""


def methods(kind: type) -> dict[str, str]:
    """The docstrings of a class's methods by name, each of the class that has it first."""
    own = [base for base in reversed(kind.__mro__) if base.__module__.startswith("lstmgrad")]
    found: dict[str, str] = {}
    for base in own:
        for name, value in tuple(vars(base).items()):
            method = callable(getattr(base, name)) and not isinstance(value, type)
            if name[0] != "_" and method and name not in getattr(base, "__annotations__", {}):
                found.setdefault(name, inspect.getdoc(getattr(base, name)) or "")
    return found


def example_of(name: str) -> str:
    """A docstring, and behind that of a class those of its methods, which go on from there."""
    value = public_names()[name]
    parts = methods(value).values() if inspect.isclass(value) else ()
    return "\n\n".join([docstring(name), *parts])


def example_cases() -> list:
    names = [name for name in public_names() if ">>>" in docstring(name)]
    quick = [name in QUICK or name.split(".")[1] in QUICK for name in names]
    return [
        name if cheap else slow(name)
        for name, cheap in zip(names, quick, strict=True)
        if name != "lg.diagnosis.diagnose"  # is lg.diagnose
    ]


@pytest.fixture(scope="module")
def given() -> dict[str, Any]:
    """What the examples begin with, as the page of the reference says it."""
    with (
        jax.enable_x64(False),
        jax.numpy_dtype_promotion("standard"),
        jax.numpy_rank_promotion("allow"),
    ):
        return execute(EXAMPLES / "api" / "index.md")


def import_frameworks(text: str) -> None:
    """Imports the frameworks of an example without their warnings, or skips the test."""
    os.environ.setdefault("KERAS_BACKEND", "jax")
    for framework in FRAMEWORKS:
        if re.search(rf">>> (import|from) {framework}\b", text):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                pytest.importorskip(framework)


@pytest.mark.usefixtures("as_user")
@pytest.mark.parametrize("name", example_cases())
def test_the_example_of_a_docstring_runs(name, given):
    text = example_of(name)
    import_frameworks(text)
    case = doctest.DocTestParser().get_doctest(text, dict(given), name, None, None)
    runner, wrong = doctest.DocTestRunner(), io.StringIO()
    runner.run(case, out=wrong.write)
    assert not runner.failures, wrong.getvalue()


def is_part(name: str) -> bool:
    """Whether it is a record of parameters or of a state, whose attributes say everything."""
    return name.split(".")[1] in ("cells", "interop") and name.endswith(("Params", "State"))


def test_every_public_name_says_what_it_takes_and_has_an_example():
    for name, value in public_names().items():
        if is_part(name):
            assert "Attributes:" in docstring(name), name
            continue
        assert ">>>" in docstring(name), f"{name} needs an example in >>> form"
        if inspect.isclass(value):
            for method, text in methods(value).items():
                assert ">>>" in text, f"{name}.{method} needs an example in >>> form"
        if inspect.isroutine(value):
            takes = inspect.signature(value).parameters
            assert "Raises:" in docstring(name) or not takes, f"{name}: what does it refuse?"
            assert "Args:" in docstring(name) or not inspect.signature(value).parameters, name
            assert name in ("lg.save", "lg.scaled", "lg.tag") or "Returns:" in docstring(name), name
