"""What the norms cost: ours, the rivals, and the products that nobody can avoid.

All in float32, ∂c/∂c of an LSTM. The floor is a single scan of the bare products of the same
shapes; for a stream, of the bare steps. Rivals are compared with ours from the inputs on. The
reference is in float64 along the same rounded trajectory.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from exact import pulled_log_norms
from long_and_wide import (
    long_sequence,
    matrix_free,
    noise,
    pairs_of_times,
    parallel_in_time,
    streamed,
    wide_alone,
)
from measure import (
    Contender,
    Row,
    Timing,
    beyond,
    in_child,
    interleave,
    peak_memory,
    small_product,
)
from rivals import present, problem

import lstmgrad as lg

WIDE = 4096


def profile(hidden: int, length: int, repeats: int) -> None:
    """Every lag of one trajectory.

    Args:
        hidden: units.
        length: T.
        repeats: rounds.
    """
    part = f"profile-{hidden}-{length}"
    task = problem(hidden, length)
    contenders = {name: build(task) for name, build in present().items()}
    timings = interleave(contenders, repeats)
    lags = reference_lags(hidden, length)
    reference = pulled_log_norms(task, lags)
    for name, contender in contenders.items():
        timing = timings[name]
        row = Row(
            part,
            name,
            timing,
            floor=timings["floor"],
            ours=timings["ours with unroll"] if name.startswith("(") else None,
            remark=contender.remark,
            estimated=contender.estimated,
        )
        if name == "floor" and jax.default_backend() == "gpu":
            row = row._replace(remark=achieved(hidden, length, timings))
        if name == "ours":
            found = lg.backward_norms(task.chain(), of="c", wrt="c")
            row = row._replace(compile=timing.first - timing.median)
            row = judged(row, found, lags, reference)
        elif contender.read is not None:
            row = compared(row, contender.read(timing.results), lags, reference)
        if not contender.remark.endswith("steps"):
            memory = in_child("profile", name, hidden, length)
            row = row._replace(peak=beyond(memory))
        row.print()


def reference_lags(hidden: int, length: int) -> list[int]:
    """The lags that the reference is computed at: all, or where an SVD takes long some.

    Args:
        hidden: units.
        length: T.
    """
    every = max(1, round(length * hidden**3 / 2e10))
    return sorted({*range(1, min(20, length) + 1), *range(every, length + 1, every), length})


def judged(row: Row, found: Any, lags: list[int], reference: np.ndarray) -> Row:
    """The row with what the errors of a profile are.

    Args:
        row: to be completed.
        found: a `NormProfile` from lag 0 on.
        lags: of the reference.
        reference: log-norms.
    """
    errors = np.abs(np.asarray(found.log_norms, np.float64)[lags] - reference)
    met = np.asarray(found.resolved)
    over = int(np.sum(met[lags] & (errors > found.rtol)))
    remark = "" if len(lags) == len(met) - 1 else f"{len(lags)} lags checked"
    return row._replace(error=errors.max(), met=met.mean(), over=over, remark=remark)


def compared(row: Row, found: tuple, lags: list[int], reference: np.ndarray) -> Row:
    """The row with the errors of a rival, where it found anything.

    Args:
        row: to be completed.
        found: its lags and log-norms.
        lags: of the reference.
        reference: log-norms.
    """
    exact = dict(zip(lags, reference, strict=True))
    pairs = [(lag, value, exact[lag]) for lag, value in zip(*found, strict=True) if lag in exact]
    errors = [abs(value - right) for _, value, right in pairs if math.isfinite(value)]
    dead = [int(lag) for lag, value, _ in pairs if not math.isfinite(value)]
    remark = ", ".join(filter(None, [row.remark, f"0 from lag {min(dead)} on" if dead else ""]))
    return row._replace(error=max(errors, default=math.nan), remark=remark)


def achieved(hidden: int, length: int, timings: dict[str, Timing]) -> str:
    """The share of the measured rate of a large product that ours and the floor reach.

    Args:
        hidden: units.
        length: T.
        timings: of both.
    """
    size = 8192
    matrix = jnp.ones((size, size), jnp.float32)
    run = jax.jit(lambda a: jnp.matmul(a, a, precision="highest"))
    big = interleave({"product": Contender(((lambda: run(matrix), 1.0),))}, 5)["product"]
    rate = 2 * size**3 / big.median
    share = {
        name: 8 * hidden**3 * length / timings[name].median / rate for name in ("floor", "ours")
    }
    return (
        f"{rate / 1e12:.1f} Tflop/s measured; floor {share['floor']:.1%}, ours {share['ours']:.1%}"
    )


def child(part: str, *arguments: str) -> dict[str, float]:
    """Runs one contender alone, and says what memory that took.

    Args:
        part: of the table.
        arguments: the contender, where there are several, and the sizes.
    """
    sizes = [int(argument) for argument in arguments[-2:]]
    if "PyTorch" in arguments[0]:
        __import__("torch")  # a large library: its own memory is not counted
    base, extra = small_product(), {}
    if part == "profile":
        contender = present()[arguments[0]](problem(*sizes))
        for run, _ in contender.parts:
            jax.block_until_ready(run())
    elif part == "map":
        jax.block_until_ready(lg.norm_map(problem(*sizes).chain(), of="c", wrt="c"))
    elif part == "stream":
        [(run, _)] = streamed(sizes[0], noise(sizes[1])).parts
        jax.block_until_ready(run())
    else:
        extra = wide_alone(*sizes)
    peak = peak_memory()
    return {"peak": peak, "beyond": peak - base, **extra}


def parts(quick: bool, repeats: int) -> dict[str, Callable[[], None]]:
    """The parts of the table by name.

    Args:
        quick: small sizes, to see that everything runs.
        repeats: rounds.
    """
    sizes = [(h, T) for h in (64, 128, 256, 512) for T in (100, 1000)] + [(128, 200)]
    maps, streams, wides, scans = (64, 200), (64, 10**6), (WIDE, 100), [(16, 10**4), (32, 2000)]
    if quick:
        sizes, maps, streams, wides, scans = [(64, 40)], (64, 20), (64, 10**4), (512, 20), [(8, 99)]
    elif jax.default_backend() == "gpu":
        scans = [(h, T) for h in (16, 32, 64) for T in (1000, 10**4, 10**5)]
    table: dict[str, Callable[[], None]] = {
        f"profile-{h}-{T}": lambda h=h, T=T: profile(h, T, repeats) for h, T in sorted(sizes)
    }
    table[f"map-{maps[0]}-{maps[1]}"] = lambda: pairs_of_times(*maps, repeats)
    table[f"stream-{streams[0]}-{streams[1]}"] = lambda: long_sequence(*streams, repeats)
    table[f"wide-{wides[0]}-{wides[1]}"] = lambda: matrix_free(*wides)
    for h, T in scans:
        table[f"parallel-{h}-{T}"] = lambda h=h, T=T: parallel_in_time(h, T, repeats)
    return table
