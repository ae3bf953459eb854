"""Networks of several kinds trained side by side: small ones keep one core busy each, not more."""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import jax
import jax.numpy as jnp

from lstmgrad.cli._shared.networks import CHRONO

R = TypeVar("R")

_THREADS = 2


class _StoppedError(Exception):
    """The others are told to end by it; nobody sees it."""


def side_by_side(
    function: Callable[[str, Callable[[int], None]], R], names: Iterable[str]
) -> dict[str, R]:
    """Returns ``{name: function(name, report)}``, two at a time.

    A cell with and without chrono biases goes one after the other, because it has one compiled
    program. If one fails, or on Ctrl-C, the others end at their next report.

    Args:
        function: is given a name, and what it has to call now and then: `report` of
            `lg.training.fit`. It decomposes matrices in `draw_networks` alone, which takes turns.
        names: of cells, perhaps with `CHRONO` behind them.
    """
    stopped = threading.Event()
    wide = jnp.zeros(()).dtype == jnp.float64
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(name.removesuffix(CHRONO), []).append(name)

    def report(_: int) -> None:
        if stopped.is_set():
            raise _StoppedError

    def call(group: list[str]) -> dict[str, R]:
        found = {}
        with jax.enable_x64(wide):  # which holds for one thread
            for name in group:
                report(0)
                found[name] = function(name, report)
        return found

    with ThreadPoolExecutor(_THREADS) as pool:
        longest_first = sorted(groups.values(), key=len, reverse=True)
        futures = [pool.submit(call, group) for group in longest_first]
        try:
            return {name: each for future in futures for name, each in future.result().items()}
        except BaseException:
            stopped.set()
            raise
