"""Results in files: `save` and `load`, exact to the bit.

A file is an npz, so that NumPy reads its arrays without this package. Beside them lies a text,
`lstmgrad.json`: what the file is, the version of the format, and the record as a tree with the
names of the arrays (see `_trees.py`). There is no pickle in it, and nothing in it is ever run.
"""

import io
import json
import os
import secrets
import zipfile
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lstmgrad._calls import public
from lstmgrad._leaves import shown
from lstmgrad._result import Result
from lstmgrad._trees import (
    Stored,
    UnknownKindError,
    decode,
    encode,
    public_name,
    restored,
)

FORMAT = "lstmgrad result"
VERSION = 1
"""Of the format; files of earlier versions can be read."""

_TEXT = "lstmgrad.json"


@public
def save(path: str | os.PathLike[str], result: Any) -> None:
    """Writes a result to a file, exact to the bit, whole or not at all.

    Args:
        path: the file, which is written under exactly this name, ``"norms.npz"`` for example. One
            that exists is replaced.
        result: what an analysis returns: a record, a `Scaled`, an array, or several of them by
            name, such as the dict of `tagged_values`, or ``{"before": one, "after": other}``.

    Raises:
        ValueError: not a result, a traced one, or one with a leaf that is not made of numbers.
        FileNotFoundError: the folder of the file does not exist.
        IsADirectoryError: the path is that of a folder.

    Notes:
        The file is an npz: ``numpy.load(path)["log_norms"]`` reads an array by the name of its
        field, bfloat16 as the uint16 of the same bits and typed random keys as their words.

        Inside a record, dicts, lists, tuples, None and the NamedTuples of `lg.cells` and
        `lg.interop` come back as themselves, and containers of other packages as dicts of what JAX
        finds in them.

    Example:
        ``lg.save("norms.npz", lg.backward_norms(chain))``

        >>> profile = lg.backward_norms(chain)
        >>> lg.save("norms.npz", profile)
        >>> bool(jnp.array_equal(lg.load("norms.npz").log_norms, profile.log_norms))
        True
    """
    target = _target(path)
    if not _is_result(result):
        raise ValueError(
            "result: expected what an analysis returns, such as backward_norms(chain), but got "
            f"{type(result).__name__}."
        )
    arrays: dict[str, Stored] = {}
    tree = encode(result, arrays)
    about = {
        name: {"dtype": stored.dtype, "shape": stored.data.shape, "key": stored.key}
        for name, stored in arrays.items()
    }
    text = json.dumps(
        {"format": FORMAT, "version": VERSION, "result": tree, "arrays": about},
        allow_nan=False,
    )
    draft = target.with_name(f".{target.name[:200]}.{secrets.token_hex(4)}")
    try:
        with open(draft, "xb") as file:
            _write(file, text, arrays)
        os.replace(draft, target)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


@public
def load(path: str | os.PathLike[str]) -> Any:
    """Returns the result in a file that `save` wrote.

    Args:
        path: the file.

    Returns:
        What was saved, with arrays of JAX. An array that JAX would round as it is set, float64
        without `jax_enable_x64`, is one of NumPy.

    Raises:
        FileNotFoundError: there is no such file.
        IsADirectoryError: the path is that of a folder.
        ValueError: the file is not one of `save`, is damaged, or comes from a newer version.

    Notes:
        Safe for files of unknown origin: nothing in a file is run, and no pickle is read.

    Example:
        ``lg.load("norms.npz")`` is what was saved, to the bit.

        >>> lg.save("values.npz", jnp.arange(3))
        >>> lg.load("values.npz").tolist()
        [0, 1, 2]
    """
    source = _path(path)
    if source.is_dir():
        raise IsADirectoryError(f"path: expected a file, but '{path}' is a folder.")
    if not source.exists():
        raise FileNotFoundError(
            f"path: expected a file that save wrote, but '{path}' does not exist."
        )
    with open(source, "rb") as file:
        try:
            about, members = _read(file)
            if about["version"] > VERSION:
                raise UnknownKindError(
                    f"one of version {about['version']}, which is newer than this package: it "
                    f"reads files up to version {VERSION}"
                )
            return _restore(about, members)
        except UnknownKindError as error:
            raise ValueError(
                f"path: expected a file that this package can read, but '{path}' holds {error}. "
                "Update lstmgrad."
            ) from None
        except _ForeignFileError:
            raise ValueError(
                f"path: expected a file that save wrote, but '{path}' is another kind of file."
            ) from None
        except Exception:
            # Whatever the readers of zip, JSON and NumPy may stumble over in a broken file.
            raise ValueError(
                f"path: expected a whole file, but '{path}' is damaged or cut off."
            ) from None


class _ForeignFileError(Exception):
    """A file that was never one of ours."""


def _is_result(result: Any) -> bool:
    """A record or NamedTuple of this package, an array, or a dict of them by name."""
    if type(result) is dict:
        return bool(result) and all(
            type(name) is str and _is_result(value) for name, value in result.items()
        )
    if isinstance(result, jax.Array | np.ndarray):
        return True
    return isinstance(result, Result | tuple) and public_name(type(result)) is not None


def _path(path: Any) -> Path:
    if not isinstance(path, str | os.PathLike) or not isinstance(os.fspath(path), str):
        raise ValueError(f"path: expected a str or a Path, but got {shown(path)}.")
    return Path(path)


def _target(path: Any) -> Path:
    """The file to write: where a link leads to, in a folder that exists."""
    target = Path(os.path.realpath(_path(path)))
    if target.is_dir():
        raise IsADirectoryError(f"path: expected a file, but '{path}' is a folder.")
    if not target.parent.is_dir():
        raise FileNotFoundError(
            f"path: expected a file in a folder that exists, but got '{path}'. Make the folder "
            "first."
        )
    return target


def _write(file: Any, text: str, arrays: dict[str, Stored]) -> None:
    """The same bytes for the same result, whenever it is written."""
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(zipfile.ZipInfo(_TEXT), text.encode())
        for name, stored in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, stored.data, allow_pickle=False)


def _read(file: Any) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The text, and the bytes of every array; all of them are held against their checksums."""
    if file.read(4) != b"PK\x03\x04":
        raise _ForeignFileError
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        if _TEXT not in names:
            raise _ForeignFileError
        about = json.loads(archive.read(_TEXT))
        if about["format"] != FORMAT:
            raise _ForeignFileError
        arrays = {name: archive.read(name) for name in names if name != _TEXT}
    return about, arrays


def _restore(about: dict[str, Any], members: dict[str, bytes]) -> Any:
    def array(name: str) -> Any:
        described = about["arrays"][name]
        data = np.lib.format.read_array(io.BytesIO(members[f"{name}.npy"]), allow_pickle=False)
        if list(data.shape) != described["shape"]:
            raise ValueError(name)
        return restored(Stored(data, described["dtype"], described["key"]))

    result = decode(about["result"], array)
    if not _is_result(result):
        raise _ForeignFileError
    return result
