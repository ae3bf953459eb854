"""The rules of the house, read off the source: floors, forbidden words, what importing costs."""

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

# A module imports only from a strictly lower floor.
FLOORS = {
    "_types": 0,
    "_compile": 1.5,
    "_tag": 0,
    "_tagged": 1,
    "_checks._models": 0.5,
    "_checks._numbers": 0.5,
    "_checks._chains": 0.6,
    "_checks": 1,
    "_layout": 2,
    "_scaled": 2,
    "_graded": 3,
    "cells._cell": 2,
    "_trajectory": 3,
    "cells._mgu": 3,
    "cells._minimal": 3,
    "cells._orthogonal": 3,
    "cells._oscillator": 3,
    "cells._antisymmetric": 3,
    "cells._xlstm": 3,
    "cells._lru": 3,
    "cells._rg_lru": 3,
    "cells._selective_ssm": 3,
    "cells._rnn": 3,
    "cells._gru": 3,
    "cells._lstm": 3,
    "cells._layer": 3,
    "cells._leaky": 3.2,
    "cells._coupled": 3.2,
    "cells._lstm_1997": 3.2,
    "cells._peephole": 3.2,
    "cells._conv_lstm": 3.4,
    "cells._initializers": 3.6,
    "cells._registry": 3.6,
    "cells": 4,
    "interop._checks": 3,
    "interop._model": 3.5,
    "interop._weights": 3.5,
    "interop._equinox": 3.7,
    "interop._linen": 3.7,
    "interop._nnx": 3.7,
    "interop._haiku": 3.7,
    "interop._keras": 3.7,
    "interop._torch": 3.7,
    "interop": 4,
    "_chain": 4,
    "_stream": 5,
    "_diagonal": 5,
    "_propagate": 5,
    "_singular": 5,
    "_frame": 3,
    "_lyapunov": 6,
    "_lyapunov_vectors": 6.5,
    "_determinant": 6,
    "_dimension": 6,
    "_adjoint": 6,
    "_end_vectors": 5.5,
    "_gain_budget": 6,
    "_layer_factors": 6.5,
    "_parts": 5,
    "_contributions": 6.5,
    "_contribution_map": 6.5,
    "_truncation": 6.6,
    "_routes": 6,
    "_tagged_values": 6,
    "_route_shares": 6,
    "_norms": 6,
    "_spectra": 6,
    "_eigenvalues": 6,
    "_regularizer": 6.5,
    "_rank": 2,
    "theory._quadrature": 0,
    "theory._bounds": 2,
    "theory._gates": 2,
    "theory._mean_field": 2,
    "theory._products": 3,
    "theory": 4,
    "_product": 6,
    "_norm_map": 6.5,
    "_decay": 6.5,
    "_wide": 6.5,
    "_drawing": 7,
    "plot._style": 7.1,
    "plot._curves": 7.2,
    "plot._page": 7.2,
    "plot._norms": 7.3,
    "plot._routes": 7.3,
    "plot._contributions": 7.3,
    "plot._gates": 7.3,
    "plot._spectra": 7.3,
    "plot._maps": 7.3,
    "plot._comparison": 7.4,
    "plot": 8,
    "": 7.5,
    "cli": 9,
    "__main__": 10,
}


def name_of(path: Path) -> str:
    """`cells._lstm` for lstmgrad/cells/_lstm.py, the empty name for the package itself."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def floor_of(name: str) -> float:
    return FLOORS["cli" if name.startswith("cli") else name]


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
def test_imports_come_from_lower_floors(path):
    name = name_of(path)
    for imported in imports_of(without_type_checking(ast.parse(path.read_text()))):
        source = own_module(imported)
        if source is None or (name.startswith("cli") and source.startswith("cli")):
            continue
        assert floor_of(source) < floor_of(name), f"{name or 'lstmgrad'} imports {imported}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_global_switch_no_private_jax_and_matplotlib_in_one_place(path):
    name, tree = name_of(path), ast.parse(path.read_text())
    # Code alone, without docstrings and comments.
    code = "\n".join(
        ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)
    )
    imports = imports_of(tree)
    assert "jax.config" not in code
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


def test_the_face_is_complete_and_sorted():
    assert list(lg.__all__) == sorted(lg.__all__)
    for name in lg.__all__:
        assert hasattr(lg, name)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        lg.nothing  # noqa: B018


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
