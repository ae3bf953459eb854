"""Compiled programs that are kept from one run of the command line to the next.

JAX writes each program that XLA has compiled into a file, whose name is a hash of the program, the
versions, XLA's flags and the device, and finds it there next time. What it leaves to others is
here: where the files lie, how much they may take, and what becomes of damaged ones. Nothing of
this is ever an error: without the files a program is compiled anew.

A file holds machine code that will be run, so it has to be the user's own.
"""

import contextlib
import glob
import hashlib
import os
import platform
import re
import stat
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import platformdirs

VARIABLE = "LSTMGRAD_CACHE"
"""Names another directory; none is used where it is empty or "0"."""

OPTION = "--no-cache"

MEGABYTES = 100
"""A run leaves so many of what earlier ones have kept: the programs of some hundred other runs."""

_WARNING = r"Error (reading|writing) persistent compilation cache entry for '(?P<program>[^']+)'"
_PROGRAMS = "*-cache"


def keep_programs(arguments: Sequence[str]) -> None:
    """Sets where JAX keeps programs, for this process, before anything has been compiled.

    Where JAX has been told already, by its own ``JAX_COMPILATION_CACHE_DIR``, that is left alone.

    Args:
        arguments: of the command line. `OPTION` is obeyed here and not by the commands, because
            a process has one cache, and it is looked for with the first program.
    """
    if OPTION in arguments:
        jax.config.update("jax_enable_compilation_cache", False)
        return
    base = cache_directory()
    if base is None or "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    directory = base / _machine()
    if not _is_own(directory):
        if VARIABLE in os.environ:
            why = "cannot be made, or others may write into it"
            print(f"lstmgrad: no programs are kept: {VARIABLE}={base} {why}", file=sys.stderr)
        return
    prune(base)
    _heal(directory)
    jax.config.update("jax_compilation_cache_dir", str(directory))
    # Nearly all programs are small, and reading one takes a tenth of compiling it.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def cache_directory() -> Path | None:
    """Returns the directory of all kept programs; None where there is to be none."""
    named = os.environ.get(VARIABLE)
    if named is None:
        return platformdirs.user_cache_path("lstmgrad", appauthor=False) / "programs"
    return None if named in ("", "0") else Path(named).expanduser().absolute()


def prune(base: Path, limit: int = MEGABYTES * 10**6) -> None:
    """Removes the programs that have not been read for the longest time, down to a limit.

    Args:
        base: the directory of all kept programs.
        limit: bytes that may stay.
    """
    found = []
    for path in base.rglob(_PROGRAMS):
        with contextlib.suppress(OSError):  # another run may have removed it
            status = path.stat()
            found.append((max(status.st_atime, status.st_mtime), status.st_size, path))
    for _, size, path in sorted(found, reverse=True):
        limit -= size
        if limit < 0:
            _remove(path)


def _is_own(directory: Path) -> bool:
    """Whether it is a directory, made if missing, that nobody but the user can write into."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = directory.stat()
    except OSError:
        return False
    if not hasattr(os, "getuid"):
        return True
    return status.st_uid in (os.getuid(), 0) and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _machine() -> str:
    """Differs between processors: a home directory may be shared by several kinds of them."""
    features = [platform.machine(), platform.processor()]
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        wanted = ("model name", "flags", "Features")
        features += [line for line in dict.fromkeys(lines) if line.startswith(wanted)]
    return hashlib.sha256("\n".join(features).encode()).hexdigest()[:16]


def _heal(directory: Path) -> None:
    """Silences JAX's warnings, and removes what it could not read, which it never writes over."""
    shown: Any = warnings.showwarning

    def show(message: Any, *rest: Any) -> None:
        found = re.match(_WARNING, str(message))
        if found is None:
            shown(message, *rest)
            return
        for path in _of_program(directory, found["program"]):
            _remove(path)

    warnings.filterwarnings("always", message=_WARNING)
    warnings.showwarning = show


def _of_program(directory: Path, name: str) -> Iterator[Path]:
    return directory.glob(f"{glob.escape(name)}-{_PROGRAMS}")


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()
