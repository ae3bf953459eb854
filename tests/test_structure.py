"""The rules of the house, read off the source: who imports whom, words, costs of importing."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import lstmgrad as lg

PACKAGE = Path(lg.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

# A room imports from itself and from the rooms of earlier lines, and never from one beside it.
ROOMS = (
    ("ground",),
    ("_numeric",),
    ("_checks",),
    ("cells",),
    ("theory", "tasks", "_chains"),
    ("interop", "_norms", "_spectra", "_routes", "_gradients", "_responses", "_costs"),
    ("training",),
    ("diagnosis",),
    ("plot",),
    ("report",),
    ("face",),
    ("cli",),
)
LINE = {room: line for line, rooms in enumerate(ROOMS) for room in rooms}


def name_of(path: Path) -> str:
    """`cells._lstm` for lstmgrad/cells/_lstm.py, the empty name for the package itself."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def room_of(name: str) -> str:
    """The room of a module: its package, the face for `lstmgrad` itself, or the ground."""
    first, _, inside = name.partition(".")
    if name in ("", "__main__"):
        return "cli" if name else "face"
    return first if inside or (PACKAGE / first).is_dir() else "ground"


def imports_of(tree: ast.AST) -> set[str]:
    """Every dotted name that the code imports, each `from a import b` as `a.b`."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def without_type_checking(tree: ast.Module) -> ast.Module:
    body = [
        node
        for node in tree.body
        if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    ]
    return ast.Module(body, [])


def own_module(imported: str) -> str | None:
    """The module of the package that `lstmgrad.a.b.name` comes from; None for other packages."""
    if imported.split(".")[0] != "lstmgrad":
        return None
    parts = imported.split(".")[1:]
    names = {name_of(path) for path in MODULES}
    while ".".join(parts) not in names:
        parts.pop()
    return ".".join(parts)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_room_imports_only_from_earlier_lines(path):
    room = room_of(name_of(path))
    for imported in imports_of(without_type_checking(ast.parse(path.read_text()))):
        source = own_module(imported)
        if source is not None and room_of(source) != room:
            assert LINE[room_of(source)] < LINE[room], f"{room} imports {imported}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_global_switch_no_private_jax_and_matplotlib_in_one_place(path):
    name, tree = name_of(path), ast.parse(path.read_text())
    # Code alone, without docstrings and comments.
    code = "\n".join(
        ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)
    )
    imports = imports_of(tree)
    # Only a command sets it, for its own process.
    assert "jax.config" not in code or name == "cli._shared.cache"
    assert "rcParams" not in code
    assert not re.search(r"\bplt\.show\b", code)
    assert not any(
        re.match(r"jax\._src|jax\.core|jax\.config|jaxlib", imported) for imported in imports
    )
    if name.split(".")[0] != "plot":
        assert not any(imported.split(".")[0] == "matplotlib" for imported in imports)
    if not name.startswith("cli") and name != "__main__":
        calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
        assert not any(isinstance(call, ast.Name) and call.id == "print" for call in calls)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_module_says_what_it_is(path):
    assert ast.get_docstring(ast.parse(path.read_text()))


def test_the_face_is_complete_and_names_nothing_twice():
    assert len(lg.__all__) == len(set(lg.__all__)) <= 111
    for name in lg.__all__:
        assert hasattr(lg, name)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        lg.nothing  # noqa: B018


def test_the_face_lists_the_public_names_alone():
    assert dir(lg) == sorted(lg.__all__)
    assert {"load", "save", "summary"} <= set(dir(lg))


def in_a_fresh_interpreter(code: str, **variables: str) -> str:
    paths = [str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))} | variables
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env
    )
    return done.stdout.strip()


def test_importing_the_package_imports_neither_matplotlib_nor_optax():
    code = """
import sys, lstmgrad
print(sorted({"matplotlib", "optax", "tqdm"} & set(sys.modules)))
lstmgrad.plot
print("matplotlib" in sys.modules)
"""
    assert in_a_fresh_interpreter(code).split("\n") == ["[]", "True"]


def test_importing_the_package_changes_no_switch():
    code = """
import jax
before = dict(jax.config.values)
import lstmgrad
print(dict(jax.config.values) == before)
"""
    assert in_a_fresh_interpreter(code) == "True"


def test_importing_the_package_costs_little_beyond_jax_and_equinox(tmp_path):
    """In seconds of the processor, with bytecode from an earlier run, as a user has it.

    Without garbage collection: a full one looks at all that JAX made, and falls where it falls.
    """
    code = """
import gc, time, jax, equinox
gc.disable()
start = time.process_time()
import lstmgrad
print(time.process_time() - start)
"""
    variables = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(tmp_path)}
    assert any(float(in_a_fresh_interpreter(code, **variables)) <= 0.15 for _ in range(5))
