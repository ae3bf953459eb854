"""Compiled programs on disk: kept between processes, pruned, and never a reason to fail."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from commands import help_text

import lstmgrad as lg
from lstmgrad.cli._shared import cache

# A program of its own, and how many were read and written.
PROGRAM = """
import collections, sys
import jax
from lstmgrad.cli._shared.cache import keep_programs

events = collections.Counter()
jax.monitoring.register_event_listener(lambda name, **_: events.update([name.split("/")[-1]]))
keep_programs(sys.argv[1:])
result = sum(jax.jit(lambda x: 2 * x + 1)(jax.numpy.arange(3.0)).tolist())
print(events["cache_hits"], events["cache_misses"], result)
"""


def process(directory: Path | str, *arguments: str, **variables: str) -> tuple[int, int]:
    """What a process read from the directory and wrote into it; it prints nothing else."""
    paths = [str(Path(lg.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    env = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        cache.VARIABLE: str(directory),
        **variables,
    }
    command = [sys.executable, "-c", PROGRAM, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=True)
    assert done.stderr == ""
    read, written, result = done.stdout.split()
    assert float(result) == 9
    return int(read), int(written)


def programs(directory: Path) -> list[Path]:
    return sorted(directory.rglob("*-cache"))


def test_a_second_process_reads_what_the_first_has_compiled(tmp_path):
    read, written = process(tmp_path)
    assert read == 0
    assert written == len(programs(tmp_path)) > 0
    assert process(tmp_path) == (written, 0)
    if hasattr(os, "getuid"):
        assert not any(path.parent.stat().st_mode & 0o077 for path in programs(tmp_path))
    # What is damaged is compiled and written again, and nobody hears of it.
    for path in programs(tmp_path):
        path.write_bytes(path.read_bytes()[:100])
    assert process(tmp_path) == (0, written)
    assert process(tmp_path) == (written, 0)


@pytest.mark.slow
def test_what_is_not_wanted_is_neither_read_nor_written(tmp_path):
    _, written = process(tmp_path)
    assert process(tmp_path, cache.OPTION) == (0, 0)
    assert process("", HOME=str(tmp_path / "home")) == (0, 0)
    assert process("0", HOME=str(tmp_path / "home")) == (0, 0)
    assert not (tmp_path / "home").exists()
    # The user's own setting of JAX is left alone, and other flags are other programs.
    assert process(tmp_path, JAX_COMPILATION_CACHE_DIR=str(tmp_path / "own"))[0] == 0
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_cpu_enable_fast_min_max=true"
    assert process(tmp_path, XLA_FLAGS=flags) == (0, written)


@pytest.mark.slow
def test_processes_at_the_same_time_do_not_disturb_each_other(tmp_path):
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(process, [tmp_path] * 3))
    assert process(tmp_path)[1] == 0


@pytest.fixture
def settings(monkeypatch):
    """What JAX is told, without telling it."""
    told = {}
    monkeypatch.setattr(cache.jax.config, "update", told.__setitem__)
    monkeypatch.setattr(cache.warnings, "showwarning", cache.warnings.showwarning)
    monkeypatch.setattr(cache.warnings, "filterwarnings", lambda *_, **__: None)
    return told


def test_where_the_programs_lie(tmp_path, monkeypatch, settings):
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "new"))
    cache.keep_programs(["depth", "--layers", "2"])
    assert Path(settings["jax_compilation_cache_dir"]).parent == tmp_path / "new"
    assert Path(settings["jax_compilation_cache_dir"]).is_dir()
    monkeypatch.delenv(cache.VARIABLE)
    monkeypatch.setattr(cache.platformdirs, "user_cache_path", lambda *_, **__: tmp_path / "user")
    assert cache.cache_directory() == tmp_path / "user" / "programs"
    monkeypatch.setenv(cache.VARIABLE, "~/some")
    assert cache.cache_directory() == Path.home() / "some"


@pytest.mark.parametrize("why", ["a file", "open to others"])
def test_a_directory_that_will_not_do_is_left_alone(why, tmp_path, monkeypatch, settings, capsys):
    base = tmp_path / "base"
    monkeypatch.setenv(cache.VARIABLE, str(base))
    if why == "a file":
        base.write_text("mine")
    elif not hasattr(os, "getuid"):
        pytest.skip("no modes here")
    else:
        cache.keep_programs([])
        Path(settings.pop("jax_compilation_cache_dir")).chmod(0o777)
        settings.clear()
    cache.keep_programs([])
    assert settings == {}
    assert capsys.readouterr().err == (
        f"lstmgrad: no programs are kept: LSTMGRAD_CACHE={base} cannot be made, or others may "
        "write into it\n"
    )


def test_what_was_not_read_for_long_goes_first(tmp_path):
    (tmp_path / "some").mkdir()
    for age, name in enumerate(("new", "middle", "old")):
        path = tmp_path / "some" / f"jit_{name}-0-cache"
        path.write_bytes(bytes(10))
        os.utime(path, (1e9 - age, 1e9 - age))
    (tmp_path / "some" / "else").write_bytes(bytes(100))
    cache.prune(tmp_path, 25)
    assert [path.name for path in programs(tmp_path)] == ["jit_middle-0-cache", "jit_new-0-cache"]
    cache.prune(tmp_path, 0)
    assert [path.name for path in tmp_path.rglob("*")] == ["some", "else"]
    cache.prune(tmp_path / "missing")


def test_every_command_takes_the_option(capsys, monkeypatch):
    for command in ("recall", "diagnose", "compare", "words", "depth"):
        text = help_text(capsys, monkeypatch, command, "--help")
        assert cache.OPTION in text
        assert cache.VARIABLE in text
