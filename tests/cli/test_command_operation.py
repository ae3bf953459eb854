"""What ends a command from outside: Ctrl-C, a closed pipe, a full disk, another run beside it."""

import contextlib
import io
import os
import resource
import threading
from pathlib import Path

import pytest
from commands import refused, run
from matplotlib.figure import Figure

from lstmgrad.cli import _main, main
from lstmgrad.cli._shared import outputs
from lstmgrad.cli._shared.command import Plan
from lstmgrad.cli._shared.error import CommandError

LEAST = {"words": ["two", "words"], "diagnose": ["--demo", "healthy"]}
"""What a command has to be told."""

every_command = pytest.mark.parametrize("name", sorted(_main.COMMANDS))


@pytest.fixture
def measure_nothing(monkeypatch):
    """Every command with its own options and a measurement that never comes to its end."""

    def interrupt():
        raise KeyboardInterrupt

    plan = Plan(["what will be done"], interrupt)
    for name, command in _main.COMMANDS.items():
        monkeypatch.setitem(_main.COMMANDS, name, command._replace(plan=lambda options: plan))


@every_command
@pytest.mark.usefixtures("measure_nothing")
def test_ctrl_c_is_one_line_and_leaves_nothing(name, tmp_path):
    found = run(tmp_path / "new", name, *LEAST.get(name, []))
    assert (found.code, found.err) == (130, "lstmgrad: interrupted\n")
    assert found.out == "what will be done\n\n"
    assert list(tmp_path.iterdir()) == []


def into(out, name: str, directory: Path) -> tuple[int, str]:
    """Exit code and stderr of a command that prints there."""
    errors = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        code = main([name, *LEAST.get(name, []), "--out", str(directory)])
    # What the interpreter does on exit: nothing is left that fails a second time.
    out.close()
    return code, errors.getvalue()


@every_command
@pytest.mark.usefixtures("measure_nothing")
def test_nobody_reads_the_output(name, tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    assert into(os.fdopen(writer, "w"), name, tmp_path / "new") == (1, "")
    assert list(tmp_path.iterdir()) == []


@every_command
@pytest.mark.usefixtures("measure_nothing")
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")
def test_the_output_goes_to_a_full_disk(name, tmp_path):
    full = os.fdopen(os.open("/dev/full", os.O_WRONLY), "w")
    code, errors = into(full, name, tmp_path / "new")
    assert code == 2
    assert errors == (
        "lstmgrad: error: cannot write to the standard output: No space left on device\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_files_that_no_longer_fit(tmp_path):
    """A limit of the system, as a full disk would be: nothing is left over."""
    outputs.write_whole(tmp_path, {"a": b"old"})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(CommandError, match=f"--out: cannot write into {tmp_path}: File too"):
            outputs.write_whole(tmp_path, {"a": b"new", "b": bytes(2000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"


def test_runs_into_one_directory_leave_whole_files(tmp_path):
    """Also where one of them fails and takes away the empty directory that it had made."""
    directory, names, failed = tmp_path / "deep" / "out", ("a", "b"), []

    def work(letter: bytes) -> None:
        try:
            for turn in range(30):
                writing = outputs.output_directory(directory, names)
                with contextlib.suppress(ZeroDivisionError), writing:
                    if turn % 3 == 2:
                        raise ZeroDivisionError
                    outputs.write_whole(directory, dict.fromkeys(names, 300_000 * letter))
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(letter,)) for letter in (b"x", b"y", b"z")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert sorted(path.name for path in directory.iterdir()) == ["a", "b"]
    for name in names:
        content = (directory / name).read_bytes()
        assert len(content) == 300_000
        assert len(set(content)) == 1


@every_command
def test_the_files_of_the_figure(name, tmp_path, monkeypatch):
    """Chosen by --figures in every command; its other files stay."""
    command = _main.COMMANDS[name]._replace(
        plan=lambda options: Plan([], lambda: None),
        tables=lambda study: [],
        reading=lambda study: "nothing",
        figure=lambda study: Figure(),
        record=lambda study: {},
        others={},
        finish=lambda study: 0,
    )
    monkeypatch.setitem(_main.COMMANDS, name, command)
    for given, starts in (
        ([], {"png": b"\x89PNG", "svg": b"<?xml"}),
        (["--figures", ".PDF,png"], {"pdf": b"%PDF", "png": b"\x89PNG"}),
    ):
        found = run(tmp_path / "-".join(starts), name, *LEAST.get(name, []), *given)
        assert (found.code, found.err) == (0, "")
        written = {path.suffix[1:]: path.read_bytes() for path in found.directory.iterdir()}
        assert written.keys() == {*starts, "json"}
        assert all(written[kind].startswith(start) for kind, start in starts.items())
    message = refused(tmp_path, name, *LEAST.get(name, []), "--figures", "png,eps")
    assert "--figures: expected some of png, svg, pdf, separated by commas, but got" in message
