"""Tasks in two threads: small networks keep one core busy each, and so does the compiler."""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np

from lstmgrad.cli._shared.networks import CHRONO

Report = Callable[[int], None]
"""What a task has to call now and then, as `lg.training.fit` does."""

_THREADS = 2


class _StoppedError(Exception):
    """The others are told to end by it; nobody sees it."""


def by_cell(names: Iterable[str]) -> list[list[str]]:
    """Returns the names of each cell, with and without chrono biases: they have one program.

    The longest lists come first, because they take longest.

    Args:
        names: of cells, perhaps with `CHRONO` behind them.
    """
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(name.removesuffix(CHRONO), []).append(name)
    return sorted(groups.values(), key=len, reverse=True)


def side_by_side(tasks: Iterable[Callable[[Report], Any]]) -> list[Any]:
    """Returns what the tasks return; two run at a time, and they begin in their order.

    If one fails, or on Ctrl-C, the others end at their next report.

    Args:
        tasks: each is given its `Report`. They draw weights in turns, under `DRAWING`; other
            decompositions are none of theirs, but for those in the step of a cell.
    """
    stopped = threading.Event()
    wide = jax.dtypes.canonicalize_dtype(float) == np.float64

    def report(_: int) -> None:
        if stopped.is_set():
            raise _StoppedError

    def call(task: Callable[[Report], Any]) -> Any:
        report(0)
        with jax.enable_x64(wide):  # which holds for one thread
            return task(report)

    with ThreadPoolExecutor(_THREADS) as pool:
        futures = [pool.submit(call, task) for task in tasks]
        try:
            return [future.result() for future in futures]
        except BaseException:
            stopped.set()
            raise
