"""How long a call takes, from runs on short slices of its chain.

A slice of a chain is a chain, so the call itself runs on the last k steps. With t(k) = a + b k^p,
the differences of three runs give p, which is 1 or 2 for all readings, and b,

    t(T) ≈ t(k) + b (T^p - k^p),

whatever a call costs beside its steps. The memory is what XLA says of the program for all T steps.
"""

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from lstmgrad._calls import public
from lstmgrad._chains.base import Chain, StoredChain
from lstmgrad._checks import check_kind
from lstmgrad._labeled import Axes
from lstmgrad._leaves import shown
from lstmgrad._result import Result
from lstmgrad._writing import number

FIRST, ENOUGH, REPEATS = 8, 0.2, 5
"""Steps of the shortest slice, seconds that are long enough to be measured, and runs of each."""


class Estimate(Result):
    """What a call costs, from runs on short slices of its chain.

    Attributes:
        seconds: (), of one call, compiled.
        bytes: (), of its results and of what it holds on the way, besides the chain; None where
            the backend does not tell.
        steps: (R,), of the slices that were timed, ascending.
        measured_seconds: (R,), the shortest of a few runs on each.
        power: p, with which the time grows, T^p.
        num_steps: T, of the whole chain.

    Example:
        >>> lg.estimate(lg.backward_norms, chain).num_steps
        6
    """

    seconds: Float[Array, "*batch"]
    bytes: Any
    steps: Int[Array, "*batch R"]
    measured_seconds: Float[Array, "*batch R"]
    power: int = eqx.field(static=True)
    num_steps: int = eqx.field(static=True)

    _main = ("measured_seconds", 1)
    _axes = Axes({"measured_seconds": "steps"}, steps="steps")

    def _points(self) -> tuple[str, Any]:
        return "steps", self.steps

    def _subject(self) -> str:
        return f"T = {self.num_steps}"

    def _headline(self) -> str:
        held = "" if self.bytes is None else f" and {_size(self.bytes)}"
        growth = "T" if self.power == 1 else "T²"
        return (
            f"{_duration(self.seconds)}{held}, growing as {growth}; "
            f"timed on up to {self.steps[-1]} steps"
        )

    def _table(self) -> tuple[list[str], list[list[str]]]:
        timed = zip(self.steps, self.measured_seconds, strict=True)
        rows = [[str(steps), number(seconds, 3), "measured"] for steps, seconds in timed]
        return ["steps", "seconds", ""], [
            *rows[-7:],
            [str(self.num_steps), number(self.seconds, 3), "estimated"],
        ]

    def _numbers(self) -> dict[str, Any]:
        return {
            "seconds": self.seconds,
            "bytes": math.nan if self.bytes is None else self.bytes,
            "power": self.power,
            "longest_slice": self.steps[-1],
        }


@public
def estimate(call: Callable[[Any], Any], chain: Chain) -> Estimate:
    """Returns how long a call takes and what memory it needs, without making it.

    Args:
        call: a function of a chain of any length, as it will be called:
            ``lambda chain: lg.backward_norms(chain, every=100)``. What depends on T is made inside.
        chain: the whole chain, of T steps; a batch of them for a call under `jax.vmap`.

    Returns:
        `Estimate`, which prints as one line.

    Raises:
        ValueError: not a function, not a chain or an empty one; a call that works on all T steps,
            but on no slice of them. What the call itself raises.

    Notes:
        Costs some five compilations, each about as long as that of the call itself: on slices
        of 8 steps and more, the last ones of the chain (of a stream the first ones), until a run
        takes 0.2 s, and of the whole, which is not run but where its steps are that few. A spacing
        ``every=`` needs slices longer than itself.

        The time is that of a compiled call, on a machine as busy as during the runs. Measured on
        two cores, at 2 to 15 times the longest slice: `backward_norms` and `lyapunov_spectrum` took
        0.99 to 1.04 times the estimate, `norm_map` 0.5 to 0.8, `contributions` 0.9, and 1.9 at
        T = 200 000; where the load changes between the runs, a factor of 2 or 3 is possible. Memory
        is XLA's plan of the program, temporaries and results; what libraries take beside it, such
        as LAPACK, is not in it.

    Example:
        A spacing that can be paid:

        ```python
        for every in (1, 10, 100):
            print(every, lg.estimate(lambda chain: lg.norm_map(chain, every=every), chain))
        ```

        A call with a loss makes its cotangents itself:

        ```python
        def call(chain):
            cotangents = lg.loss_cotangents(loss, chain.trajectory)
            return lg.contributions(chain, cotangents)


        print(lg.estimate(call, chain))
        ```

        >>> found = lg.estimate(lg.lyapunov_spectrum, chain)
        >>> bool(found.seconds > 0)
        True
    """
    if not callable(call):
        raise ValueError(f"call: expected a function of a chain, but got {shown(call)}.")
    check_kind(chain, Chain, "chain")
    length = _length(chain)
    if length == 0:
        raise ValueError("chain: expected at least one step, but got T = 0.")
    whole = _compiled(call, chain)
    steps, seconds = _timed(call, chain, length, whole)
    power, total = _extrapolated(steps, seconds, length)
    return Estimate(
        seconds=jnp.asarray(total),
        bytes=_bytes_of(whole),
        steps=jnp.asarray(steps),
        measured_seconds=jnp.asarray(seconds),
        power=power,
        num_steps=length,
    )


def _timed(
    call: Callable[[Any], Any], chain: Chain, length: int, whole: Any
) -> tuple[list[int], list[float]]:
    """The lengths of slices, ascending, and the seconds of a run on each.

    Args:
        call: of a chain.
        chain: of all steps.
        length: T.
        whole: the call, compiled for the whole chain.
    """
    found: dict[int, float] = {}
    refusal: Exception | None = None

    def run(size: int) -> None:
        nonlocal refusal
        try:
            part = chain if size == length else _slice(chain, size)
            program = whole if size == length else _compiled(call, part)
        except (ValueError, TypeError, IndexError) as error:
            refusal = error  # of a slice that is too short, as for a spacing
            return
        found[size] = _shortest(program, part)

    size = min(FIRST, length)
    while True:
        if size == length and not found and length > FIRST:
            size = length // 2  # rather than a run of the whole that is not asked for
            run(size)
            if not found:
                break
        if size not in found:
            run(size)
        if size == length or (size in found and found[size] >= ENOUGH):
            break
        wanted = int(ENOUGH / found[size]) if size in found else 0
        size = min(min(max(wanted, 4), 16) * size, length)
    if not found:
        raise ValueError(
            "call: expected a function of a chain of any length, but it works on no slice: "
            f"{refusal} Make what depends on T inside the call, and every= at most T / 2."
        ) from refusal
    if length not in found:
        for part in (size // 2, size // 4, 3 * size // 4):
            if len(found) < 3 and part > 0 and part not in found:
                run(part)
    return sorted(found), [found[size] for size in sorted(found)]


def _extrapolated(steps: Sequence[int], seconds: Sequence[float], length: int) -> tuple[int, float]:
    """The power of growth, and the seconds for all steps.

    Args:
        steps: of the slices, ascending.
        seconds: of a run on each.
        length: T.
    """
    power = 1
    if len(steps) >= 3:
        (k0, k1, k2), (t0, t1, t2) = steps[-3:], seconds[-3:]
        ratio = (t2 - t1) / max(t1 - t0, 1e-9)
        # Halfway, in the logarithm, between what both powers would give; and not by noise alone.
        both = math.prod((k2**p - k1**p) / (k1**p - k0**p) for p in (1, 2))
        power = 2 if ratio > math.sqrt(both) and t2 / t1 > (k2 / k1) ** 1.25 else 1
    size, last = steps[-1], seconds[-1]
    slope = last / size**power  # at most: what is beside the steps is not negative
    if len(steps) > 1 and last > seconds[-2]:
        slope = min(slope, (last - seconds[-2]) / (size**power - steps[-2] ** power))
    return power, last + slope * (length**power - size**power)


def _compiled(call: Callable[[Any], Any], chain: Chain) -> Any:
    jitted: Any = eqx.filter_jit(call)
    return jitted.lower(chain).compile()


def _shortest(program: Any, chain: Chain) -> float:
    """The seconds of the shortest of a few runs."""
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        jax.block_until_ready(program(chain))
        seconds.append(time.perf_counter() - start)
        if sum(seconds) > 5 * ENOUGH:
            break
    return min(seconds)


def _length(chain: Chain) -> int:
    """T, of a batch, too."""
    return jax.tree.leaves(chain.walk().entries)[0].shape[len(chain.batch_shape)]


def _slice(chain: Chain, size: int) -> Chain:
    """The last steps; the first ones of a stream, for which the model need not run."""
    bounds = slice(-size, None) if isinstance(chain, StoredChain) else slice(size)

    def cut(chain: Chain) -> Chain:
        return chain[bounds]

    for _ in chain.batch_shape:
        cut = jax.vmap(cut)
    return cut(chain)


def _bytes_of(program: Any) -> Float[Array, ""] | None:
    """Temporaries and results of a compiled program; None where the backend does not tell."""
    try:
        plan = program.compiled.memory_analysis()
        return jnp.asarray(float(plan.temp_size_in_bytes + plan.output_size_in_bytes))
    except (AttributeError, NotImplementedError, RuntimeError):
        return None


def _duration(seconds: Any) -> str:
    """Seconds, minutes or hours, in three digits."""
    seconds = float(seconds)
    for limit, unit, name in ((1e-3, 1e-6, "µs"), (1.0, 1e-3, "ms"), (100.0, 1.0, "s")):
        if seconds < limit:
            return f"{number(seconds / unit, 3)} {name}"
    return f"{number(seconds / 60, 3)} min" if seconds < 6000 else f"{number(seconds / 3600, 3)} h"


def _size(size: Any) -> str:
    """Bytes, kB, MB or GB, in three digits."""
    size = float(size)
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= unit:
            return f"{number(size / unit, 3)} {name}"
    return f"{number(size)} bytes"
