"""Contenders timed in turn in one process, the memory of each in a process of its own, one table.

`python -m tests.benchmarks` prints it (see `__main__.py`); `PRINTED` is what it writes as JSON.

Others load the machine: so every round runs all contenders one after another, ratios are taken
within a round, and what is reported is the median over rounds, with the spread beside it.
"""

import contextlib
import datetime
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

BUDGET = 8.0
"""Seconds that the rounds of one contender may take together, after the first."""

WIDTHS = (18, 27, 10, 17, 8, 8, 8, 8, 8, 5, 5, 0)
HEADS = (
    "part",
    "contender",
    "time",
    "spread",
    "x floor",
    "x ours",
    "compile",
    "peak MB",
    "error",
    "met",
    "over",
    "remarks",
)


PRINTED: list[dict[str, Any]] = []
"""The rows that have been printed, in their order."""


class Contender(NamedTuple):
    """One way to the answer.

    Attributes:
        parts: (run, weight) pairs; the time of the whole is the weighted sum of their times.
        read: from the results of the parts to (lags, log_norms); None where there are none.
        remark: for the last column.
        estimated: whether the parts are a sample, so that the time is an extrapolation.
    """

    parts: tuple[tuple[Callable[[], Any], float], ...]
    read: Callable[[list], tuple[np.ndarray, np.ndarray]] | None = None
    remark: str = ""
    estimated: bool = False


class Timing(NamedTuple):
    """The times of one contender.

    Attributes:
        first: seconds of the first call, compilation included.
        rounds: seconds, one entry a round.
        results: what the first call gave, one entry a part.
    """

    first: float
    rounds: np.ndarray
    results: list

    @property
    def median(self) -> float:
        """Seconds."""
        return float(np.median(self.rounds))

    def over(self, other: "Timing") -> float:
        """The median of the ratios to another contender, each within one round."""
        count = min(len(self.rounds), len(other.rounds))
        return float(np.median(self.rounds[:count] / other.rounds[:count]))


def seconds(contender: Contender) -> tuple[float, list]:
    """The time of one run of a contender, and what it gave.

    Args:
        contender: its parts are run one after another.
    """
    total, results = 0.0, []
    for run, weight in contender.parts:
        start = time.perf_counter()
        results.append(jax.block_until_ready(run()))
        total += weight * (time.perf_counter() - start)
    return total, results


def interleave(contenders: dict[str, Contender], repeats: int) -> dict[str, Timing]:
    """Times contenders in turn, round by round.

    Args:
        contenders: by name. Each gets a first call that is not counted, then one round, and as many
            more as `BUDGET` allows.
        repeats: rounds at most.
    """
    firsts = {name: seconds(contender) for name, contender in contenders.items()}
    rounds: dict[str, list[float]] = {name: [] for name in contenders}
    names = list(contenders)
    for turn in range(repeats):
        # Each round starts from another contender, so that none always follows the same one.
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            spent = sum(rounds[name])
            if turn == 0 or (len(rounds[name]) == turn and spent * (turn + 1) / turn <= BUDGET):
                rounds[name].append(seconds(contenders[name])[0])
    return {
        name: Timing(first, np.asarray(rounds[name]), results)
        for name, (first, results) in firsts.items()
    }


def peak_memory() -> float:
    """The peak of this process so far, in MB: of the device's memory where that is not the host's.

    Not `getrusage` on Linux: its maximum is inherited from the parent process.
    """
    statistics = jax.local_devices()[0].memory_stats()
    if jax.default_backend() != "cpu" and statistics:
        return statistics["peak_bytes_in_use"] / 1e6
    status = Path("/proc/self/status")
    if status.exists():
        lines = status.read_text().splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1e3
    import resource

    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size / (1e6 if sys.platform == "darwin" else 1e3)


def small_product() -> float:
    """The peak memory, in MB, of a process that has run one small jitted product."""
    jax.block_until_ready(jax.jit(jnp.matmul)(jnp.ones((8, 8)), jnp.ones((8, 8))))
    return peak_memory()


def in_child(*arguments: Any) -> dict[str, float] | None:
    """What the same script prints as JSON in a process of its own; None where that died.

    Args:
        arguments: what follows ``--child``.
    """
    command = [sys.executable, sys.argv[0], "--child", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "Error" in line] or ["killed"]
        print(f"  {' '.join(map(str, arguments))} alone: {lines[-1][:200]}", flush=True)
        return None
    return json.loads(done.stdout.strip().splitlines()[-1])


def beyond(memory: dict[str, float] | None) -> float | None:
    """The peak of a process beyond its small product, in MB; None where it died.

    Args:
        memory: what `in_child` gave.
    """
    return None if memory is None else memory["beyond"]


def machine() -> dict[str, Any]:
    """The machine, the versions and the time."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count()
    packages = ("jax", "jaxlib", "equinox", "numpy", "torch", "lyapax")
    versions = {}
    for name in packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return {
        "processor": models[0] if models else platform.processor(),
        "cores": cores,
        "device": f"{jax.devices()[0].device_kind} ({jax.default_backend()})",
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": versions,
        "load": os.getloadavg()[0],
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def print_machine(about: dict[str, Any]) -> None:
    """Prints a line about the machine, and another where others load it.

    Args:
        about: from `machine`.
    """
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    print(
        f"{about['date']}: {about['processor']}, {about['cores']} cores, {about['device']}, "
        f"{versions}, load {about['load']:.2f}"
    )
    if about["load"] > 1.5:
        print("WARNING: others load this machine; times are upper bounds, trust the ratios.")


def print_head() -> None:
    """Prints the head of the table."""
    print_cells(HEADS)
    print_cells(["-" * (width or 8) for width in WIDTHS])


def print_cells(cells: Sequence[str]) -> None:
    """Prints one line of the table: names to the left, numbers to the right.

    Args:
        cells: one for each column.
    """
    aligned = [
        f"{cell:<{width}}" if index < 2 or width == 0 else f"{cell:>{width}}"
        for index, (cell, width) in enumerate(zip(cells, WIDTHS, strict=True))
    ]
    print(" ".join(aligned).rstrip(), flush=True)


class Row(NamedTuple):
    """One line of the table, None where there is nothing to say.

    Attributes:
        part: what is computed.
        name: by whom.
        timing: how fast.
        floor: the time of the products that cannot be avoided.
        ours: the time of ours, that this contender is compared with.
        compile: seconds of compilation.
        peak: MB beyond a process that has run one small product.
        error: the largest error of a log-norm.
        met: the share of the norms that claim to have met their tolerance.
        over: how many of these have not.
        remark: in words.
        estimated: whether the time is extrapolated.
        scale: what the times are multiplied by.
        more: what else is known, for the JSON file.
    """

    part: str
    name: str
    timing: Timing | None = None
    floor: Timing | None = None
    ours: Timing | None = None
    compile: float | None = None
    peak: float | None = None
    error: float | None = None
    met: float | None = None
    over: int | None = None
    remark: str = ""
    estimated: bool = False
    scale: float = 1.0
    more: dict[str, Any] | None = None

    def record(self) -> dict[str, Any]:
        """The numbers of the line, times in seconds, sizes in MB; None where there are none."""
        timing, others = self.timing, {"floor": self.floor, "ours": self.ours}
        ratios = {
            f"times_{name}": None
            if timing is None or one is None
            else self.scale * timing.over(one)
            for name, one in others.items()
        }
        kept = ("part", "name", "compile", "peak", "error", "met", "over", "remark", "estimated")
        return {
            **{name: getattr(self, name) for name in kept},
            "seconds": None if timing is None else self.scale * timing.median,
            "rounds": [] if timing is None else (self.scale * timing.rounds).tolist(),
            **ratios,
            **(self.more or {}),
        }

    def print(self) -> None:
        """Prints the line, and keeps its numbers."""
        PRINTED.append(self.record())
        about, timing, scale = "~" if self.estimated else "", self.timing, self.scale

        def cell(value: Any, text: str) -> str:
            return "" if value is None else text.format(value)

        def ratio(other: Timing | None) -> str:
            if timing is None or other is None:
                return ""
            value = scale * timing.over(other)
            return f"{about}{value:.{2 if value < 100 else 0}f}"

        time_, spread = "", ""
        if timing is not None:
            low, high = (scale * bound(timing.rounds) for bound in (np.min, np.max))
            time_ = f"{about}{span(scale * timing.median)}"
            spread = f"{span(low)}..{span(high)}" if len(timing.rounds) > 1 else "1 run"
        print_cells(
            [
                self.part,
                self.name,
                time_,
                spread,
                ratio(self.floor),
                ratio(self.ours),
                cell(self.compile, "{:.2f} s"),
                cell(self.peak, "{:.0f}"),
                cell(self.error, "{:.1e}"),
                cell(self.met, "{:.0%}"),
                cell(self.over, "{}"),
                self.remark,
            ]
        )


def span(value: float) -> str:
    """A time with its unit.

    Args:
        value: seconds.
    """
    return f"{value:.3g} s" if value >= 1 else f"{value * 1e3:.3g} ms"
