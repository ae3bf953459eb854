"""Networks of several kinds trained side by side: small ones keep one core busy each, not more."""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import jax
import jax.numpy as jnp

T = TypeVar("T")
R = TypeVar("R")

_THREADS = 2


class _StoppedError(Exception):
    """The others are told to end by it; nobody sees it."""


def side_by_side(function: Callable[[T, Callable[[int], None]], R], items: Iterable[T]) -> list[R]:
    """Returns ``[function(item, report) for item in items]``, two of them at a time.

    If one fails, or on Ctrl-C, the others end at their next report.

    Args:
        function: is given an item, and what it has to call now and then: `report` of
            `lg.training.fit`. It must not decompose matrices, which two threads had better not do.
        items: what it is called with.
    """
    stopped = threading.Event()
    wide = jnp.zeros(()).dtype == jnp.float64

    def report(_: int) -> None:
        if stopped.is_set():
            raise _StoppedError

    def call(item: T) -> R:
        report(0)
        with jax.enable_x64(wide):  # which holds for one thread
            return function(item, report)

    with ThreadPoolExecutor(_THREADS) as pool:
        futures = [pool.submit(call, item) for item in items]
        try:
            return [future.result() for future in futures]
        except BaseException:
            stopped.set()
            raise
