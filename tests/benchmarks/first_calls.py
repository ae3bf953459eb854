"""What first calls cost, of functions and of commands: programs, and where the seconds go.

Every call is the first of its kind in a process of its own. Programs are those that XLA was asked
for (with kept ones, most of them are read); seconds are those of tracing, of lowering to StableHLO,
of the compiler, of the processor in all threads, and of the clock. A command is run twice with an
empty directory of kept programs: the second run is what its user mostly sees.
"""

import collections
import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from measure import Row, Timing, in_child

import lstmgrad as lg

HIDDEN, LENGTH, INPUTS = 64, 200, 3

COMMANDS = {
    "recall": ("recall", "--train", "0"),
    "depth": ("depth",),
    "words": ("words", "the cat that sat on the mat was black and"),
}

SMALL = {
    "recall": ("recall", "--train", "0", "--delay", "9", "--longest", "9", "--seeds", "1"),
    "depth": ("depth", "--layers", "3", "--width", "4"),
    "words": ("words", "a b c", "--train", "2", "--draws", "1", "--hidden", "4"),
}

_TRACE, _LOWER, _COMPILE = (
    f"/jax/core/compile/{name}_duration"
    for name in ("jaxpr_trace", "jaxpr_to_mlir_module", "backend_compile")
)


class Programs(NamedTuple):
    """What JAX made since the listener was set.

    Attributes:
        counts: programs by name.
        seconds: by the event, in all threads together.
        by_name: seconds of the compiler by name.
    """

    counts: collections.Counter[str]
    seconds: dict[str, float]
    by_name: dict[str, float]

    def record(self, cpu: float, wall: float) -> dict[str, Any]:
        """One JSON record.

        Args:
            cpu: seconds of the processor.
            wall: seconds of the clock.
        """
        return {
            "programs": self.counts.total(),
            "trace": self.seconds[_TRACE],
            "lower": self.seconds[_LOWER],
            "compile": self.seconds[_COMPILE],
            "cpu": cpu,
            "wall": wall,
            "names": dict(sorted(self.by_name.items(), key=lambda pair: -pair[1])[:8]),
        }


def listen() -> Programs:
    """Counts from here on."""
    found = Programs(
        collections.Counter(), collections.defaultdict(float), collections.defaultdict(float)
    )

    def heard(event: str, duration_secs: float, **kwargs: str | int) -> None:
        found.seconds[event] += duration_secs
        if event == _COMPILE:
            name = str(kwargs.get("fun_name"))
            found.counts[name] += 1
            found.by_name[name] += duration_secs

    jax.monitoring.register_event_duration_secs_listener(heard)
    return found


def calls(hidden: int, length: int) -> dict[str, Callable[[], Any]]:
    """The first calls of an LSTM in float32, everything in front of them done.

    Args:
        hidden: units.
        length: T.
    """
    cell = lg.cells.lstm(INPUTS, hidden, dtype=jnp.float32)
    model = cell.model(cell.init(jax.random.key(0)))
    inputs = jax.random.normal(jax.random.key(1), (length, INPUTS), jnp.float32)
    chain = lg.chain(model, inputs)
    cotangents = lg.loss_cotangents(lambda states: jnp.sum(states.h[-1] ** 2), chain.trajectory)
    jax.block_until_ready((chain, cotangents))
    return {
        "backward_norms": lambda: lg.backward_norms(chain, of="c", wrt="c"),
        "lyapunov_spectrum": lambda: lg.lyapunov_spectrum(chain),
        "forward_singular_spectrum": lambda: lg.forward_singular_spectrum(chain),
        "contributions": lambda: lg.contributions(chain, cotangents),
        "norm_map": lambda: lg.norm_map(chain, of="c", wrt="c"),
        "diagnose": lambda: lg.diagnose(chain),
    }


def call_alone(name: str, hidden: int, length: int) -> dict[str, Any]:
    """One first call, and what a later one takes.

    Args:
        name: of `calls`.
        hidden: units.
        length: T.
    """
    call, found = calls(hidden, length)[name], listen()
    cpu, wall = time.process_time(), time.perf_counter()
    jax.block_until_ready(jax.tree.leaves(call()))
    record = found.record(time.process_time() - cpu, time.perf_counter() - wall)
    wall = time.perf_counter()
    jax.block_until_ready(jax.tree.leaves(call()))
    return {**record, "later": time.perf_counter() - wall}


def command_alone(*arguments: str) -> dict[str, Any]:
    """One run of the command line, from the import of JAX on.

    Args:
        arguments: of the command.
    """
    from lstmgrad.__main__ import run

    found, sys.argv = listen(), ["lstmgrad", *arguments]
    with contextlib.redirect_stdout(io.StringIO()):
        assert run() == 0
    return found.record(time.process_time(), time.perf_counter())


def first_calls(quick: bool) -> None:
    """The rows of the functions.

    Args:
        quick: small sizes.
    """
    hidden, length = (4, 10) if quick else (HIDDEN, LENGTH)
    for name in calls(4, 10):
        record = in_child("call", name, hidden, length)
        if record is not None:
            later = f"later {1e3 * record['later']:.0f} ms; "
            row(f"first-{hidden}-{length}", name, record, later).print()


def commands(quick: bool) -> None:
    """The rows of the commands, the first and the second run of each.

    Args:
        quick: small sizes.
    """
    child = sys.executable, sys.argv[0], "--child", "command"
    for name, arguments in (SMALL if quick else COMMANDS).items():
        with tempfile.TemporaryDirectory() as directory:
            environment = {**os.environ, "LSTMGRAD_CACHE": f"{directory}/programs"}
            for run in ("first", "second"):
                start = time.perf_counter()
                done = subprocess.run(
                    [*child, *arguments, "--out", f"{directory}/out"],
                    capture_output=True,
                    text=True,
                    env=environment,
                    check=True,
                )
                record = json.loads(done.stdout.strip().splitlines()[-1])
                record["wall"] = time.perf_counter() - start
                row(f"command-{run}", name, record).print()


def row(part: str, name: str, record: dict[str, Any], remark: str = "") -> Row:
    """One line of the table.

    Args:
        part: of the table.
        name: of what was called.
        record: from a process of its own.
        remark: in front of what is said of the programs.
    """
    top = ", ".join(f"{name} {seconds:.2f}" for name, seconds in list(record["names"].items())[:2])
    return Row(
        part,
        name,
        Timing(record["wall"], np.asarray([record["wall"]]), []),
        compile=record["compile"],
        remark=f"{remark}{record['programs']} programs; trace {record['trace']:.2f}, lower "
        f"{record['lower']:.2f}, processor {record['cpu']:.2f} s; {top}",
        more={key: record[key] for key in ("programs", "trace", "lower", "cpu", "names")},
    )


def parts(quick: bool, repeats: int) -> dict[str, Callable[[], None]]:
    """The parts of the table by name.

    Args:
        quick: small sizes.
        repeats: a first call has no second round.
    """
    del repeats
    return {"first": lambda: first_calls(quick), "command": lambda: commands(quick)}


def child(part: str, *arguments: str) -> dict[str, Any]:
    """One call or command in a process of its own.

    Args:
        part: "call" or "command".
        arguments: name and sizes, or what follows ``lstmgrad``.
    """
    if part == "command":
        return command_alone(*arguments)
    name, *sizes = arguments
    return call_alone(name, *map(int, sizes))
