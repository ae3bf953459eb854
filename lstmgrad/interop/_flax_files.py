"""Parameters of Flax in files: MessagePack, and folders that Orbax writes.

Both hold nested dicts of arrays, without the cell; which of them are a cell's is seen by their
names. A training state has the same names again in the state of its optimizer: these are left out.
"""

import os
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lstmgrad._checks import require

Tree = dict[str, Any]

_DEPTH = 40
"""Of nested modules."""


def read_params(path: str | os.PathLike[str], like: Tree, prefix: str | None) -> Tree:
    """Returns the parameters of a cell from a file.

    Args:
        path: of a MessagePack file, or of the folder of one step that Orbax has written.
        like: nested dicts with the names of the cell's parameters, and their shapes; sizes that are
            not known are 0.
        prefix: the modules around the cell, ``"encoder.lstm"``, or the end of that; None if only
            one place has parameters of these names.

    Raises:
        ImportError: Flax is not installed.
        ValueError: the file is damaged; no place in it, or none that is meant, has parameters of
            these names and shapes, or several have.
        FileNotFoundError: there is no such file.
    """
    path = Path(path)
    tree = _unwrapped(_read_folder(path) if path.is_dir() else _read_file(path), _DEPTH)
    places = dict(_places(tree, like, "", _DEPTH))
    kept = {name: found for name, found in places.items() if "opt_state" not in name.split(".")}
    places = kept or places
    return places[_choose(list(places), prefix, like, path)]


def _read_file(path: Path) -> Any:
    data = path.read_bytes()
    try:
        return require("flax.serialization", "flax").msgpack_restore(data)
    except ImportError:
        raise
    except Exception:
        raise _unreadable(path) from None


def _read_folder(path: Path) -> Any:
    require("flax", "flax")
    orbax = require("orbax.checkpoint", "flax")
    # A manager of checkpoints has a folder for each step, with the item in one of its own.
    path = path / "default" if (path / "default").is_dir() else path
    steps = sorted(int(part.name) for part in path.iterdir() if part.name.isdigit())
    if steps and not (path / "_METADATA").exists():
        raise ValueError(
            f"variables: expected the folder of one step, but {path.name} has those of steps "
            f"{', '.join(map(str, steps))}. Pass path / {str(steps[-1])!r}."
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reader = orbax.PyTreeCheckpointer()
            known = reader.metadata(path.absolute()).item_metadata.tree
            arrays = jax.tree.map(lambda _: orbax.RestoreArgs(restore_type=np.ndarray), known)
            return reader.restore(path.absolute(), restore_args=arrays)
    except Exception:
        raise _unreadable(path) from None


def _unwrapped(tree: Any, depth: int) -> Any:
    """Nested dicts by text, without the wrappers that `nnx.State` puts around each array."""
    if not isinstance(tree, Mapping) or depth == 0:
        return tree
    if set(tree) == {"value"}:
        return _unwrapped(tree["value"], depth - 1)
    return {str(name): _unwrapped(part, depth - 1) for name, part in tree.items()}


def _places(tree: Any, like: Tree, name: str, depth: int) -> Iterator[tuple[str, Tree]]:
    """(dotted name, dict) of all dicts with the names of the cell's parameters."""
    if not isinstance(tree, Mapping) or depth == 0:
        return
    if _names(tree, depth) == _names(like, depth):
        yield name, dict(tree)
    for key, part in tree.items():
        yield from _places(part, like, f"{name}.{key}" if name else key, depth - 1)


def _names(tree: Any, depth: int) -> Any:
    """The names in a tree, as a tree."""
    if isinstance(tree, Mapping) and depth:
        return {str(name): _names(part, depth - 1) for name, part in tree.items()}
    return None if hasattr(tree, "shape") else ""


def _choose(known: list[str], prefix: str | None, like: Tree, path: Path) -> str:
    """The one place that is meant."""
    if not known:
        raise ValueError(
            f"variables: expected parameters {', '.join(map(repr, like))}, those of the cell, but "
            f"{path.name} has them nowhere. The cell may be of another kind, or have other options."
        )
    found = [name for name in known if prefix is None or f".{name}".endswith(f".{prefix}")]
    if len(found) == 1:
        return found[0]
    why = f", because {path.name} has {len(known)} such cells" * (prefix is None)
    raise ValueError(
        f"prefix: expected the modules around the cell, the end of one of "
        f"{', '.join(map(repr, known))}{why}, but got {prefix!r}."
    )


def _unreadable(path: Path) -> ValueError:
    """The error of a file or folder that is damaged or of another kind."""
    what = "folder of one step, written by Orbax" if path.is_dir() else "MessagePack file"
    return ValueError(
        f"variables: expected an intact {what}, with parameters of Flax, but {path.name} is none. "
        "Fetch or copy it again."
    )
