"""Results on disk: every file in full, or none at all."""

import contextlib
import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path

from lstmgrad.cli._shared.error import CommandError


@contextlib.contextmanager
def output_directory(path: Path, names: tuple[str, ...]) -> Iterator[None]:
    """Makes the directory, and checks that it can be written to before the work and not after it.

    If the body fails, directories that were made and are still empty are removed again.

    Args:
        path: the directory, which may exist.
        names: the files that will be written there.

    Raises:
        CommandError: the path is a file, the directory cannot be made or written to, or one of the
            names is already taken by a directory.
    """
    made: list[Path] = []
    try:
        with _refusing(path):
            _make(path, made)
            for name in names:
                if (path / name).is_dir():
                    raise CommandError(f"--out: cannot write {path / name}: it is a directory")
            probe = _temporary(path / "probe")
            probe.touch(exist_ok=False)
            probe.unlink()
        yield
    except BaseException:
        for directory in reversed(made):
            with contextlib.suppress(OSError):
                directory.rmdir()
        raise


def write_whole(path: Path, contents: Mapping[str, bytes]) -> None:
    """Writes every file beside its place and then moves them all, so that none is there in part.

    Files are moved only when all have been written, so a full disk leaves earlier files untouched.

    Args:
        path: the directory.
        contents: the content of each file by its name.

    Raises:
        CommandError: something could not be written or moved; no temporary file is left over.
    """
    staged = {name: _temporary(path / name) for name in contents}
    try:
        with _refusing(path):
            # Another run that failed may have taken the empty directory away that it had made.
            path.mkdir(parents=True, exist_ok=True)
            for name, content in contents.items():
                staged[name].write_bytes(content)
            for name, temporary in staged.items():
                os.replace(temporary, path / name)
    except BaseException:
        for temporary in staged.values():
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
        raise


def _make(path: Path, made: list[Path]) -> None:
    if path.exists():
        if not path.is_dir():
            raise CommandError(f"--out: {path} is a file, not a directory")
        return
    _make(path.parent, made)
    try:
        path.mkdir()
    except FileExistsError:
        return  # another run was quicker
    made.append(path)


def _temporary(path: Path) -> Path:
    # In the same directory, because a rename is atomic only within one file system.
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")


@contextlib.contextmanager
def _refusing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise CommandError(f"--out: cannot write into {path}: {reason}") from error
