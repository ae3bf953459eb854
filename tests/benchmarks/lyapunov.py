"""What Lyapunov exponents cost: ours, a NumPy loop and lyapax, in one run. One table.

    python tests/benchmarks/lyapunov.py [--quick] [--repeats N]

rate network  x' = x + dt (-x + J tanh x), N = 100, gain 4, dt = 0.1, 10 000 Euler steps in float64,
              all exponents and the first ten, made orthonormal every ten steps by everyone; and
              with the intervals that ours chooses.
Lorenz LSTM   30 units in closed loop (tests/data), six exponents over 100 000 steps.

Columns: median time, least and largest; the median ratio, round by round, to ours; compile time;
the largest exponent and the sum, per time unit. One thread for linear algebra, for everyone:
matrices of 100 are faster with one than with two, and threads that wait for each other on a loaded
machine measure the load. lyapax compiles in every call, unless its user wraps it in jax.jit; it is
left out where it is not installed (pip install lyapax).
"""

import argparse
import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before NumPy and JAX are imported
os.environ.setdefault("MKL_NUM_THREADS", "1")

import jax
import jax.numpy as jnp
import numpy as np
from measure import Contender, Timing, interleave, machine, span

import lstmgrad as lg

DT, GAIN, INTERVAL, FIRST = 0.1, 4.0, 10, 10
LORENZ_DT, LSTM_EXPONENTS = 0.01, 6
DATA = Path(__file__).parents[1] / "data" / "lorenz_lstm30.npz"

Result = tuple[float, float]
"""The largest exponent and the sum, per time unit."""


def euler(weights: jax.Array, x: jax.Array, _: Any) -> jax.Array:
    """One step of the rate network.

    Args:
        weights: J.
        x: the state.
    """
    return x + DT * (-x + weights @ jnp.tanh(x))


def summary(exponents: Any, dt: float) -> Result:
    """What the table shows.

    Args:
        exponents: per step, from the largest on.
        dt: time units a step.
    """
    values = np.asarray(exponents) / dt
    return float(values[0]), float(values.sum())


def ours(weights: np.ndarray, start: np.ndarray, steps: int, count: int, interval: int | None):
    """A stream, so that the network runs in the same scan.

    Args:
        weights: J.
        start: x_0.
        steps: T.
        count: of the exponents.
        interval: steps between QRs, None for intervals of our choice.
    """

    def run() -> jax.Array:
        chain = lg.stream(euler, jnp.asarray(weights), jnp.asarray(start), jnp.arange(steps))
        return lg.lyapunov_spectrum(chain, num_exponents=count, interval=interval).exponents

    return run


def numpy_loop(weights: np.ndarray, start: np.ndarray, steps: int, count: int, interval: int):
    """The textbook's loop, with the tangents' equation by hand.

    Args:
        weights: J.
        start: x_0.
        steps: T.
        count: of the exponents.
        interval: steps between QRs.
    """

    def run() -> np.ndarray:
        x, sums = start.copy(), np.zeros(count)
        frame = np.linalg.qr(np.random.default_rng(2).normal(size=(x.size, count)))[0]
        for t in range(1, steps + 1):
            rate = np.tanh(x)
            frame = frame + DT * (weights @ ((1 - rate**2)[:, None] * frame) - frame)
            x = x + DT * (weights @ rate - x)
            if t % interval == 0:
                frame, triangle = np.linalg.qr(frame)
                sums += np.log(np.abs(np.diag(triangle)))
        return sums / steps

    return run


def lyapax_loop(weights: np.ndarray, start: np.ndarray, steps: int, count: int, interval: int):
    """The other JAX library as it is called, which compiles anew; and compiled once for all calls.

    Args:
        weights: J.
        start: x_0.
        steps: T.
        count: of the exponents.
        interval: steps between QRs.
    """
    import lyapax

    def exponents(weights: jax.Array, start: jax.Array) -> jax.Array:
        found = lyapax.lyapunov_spectrum(
            lambda x: euler(weights, x, None), start, 1.0, steps, k=count, renorm_every=interval
        )
        return found.exponents

    data, jitted = (jnp.asarray(weights), jnp.asarray(start)), jax.jit(exponents)
    return lambda: exponents(*data), lambda: jitted(*data)


def lstm(steps: int) -> Callable[[], jax.Array]:
    """The trained LSTM in closed loop.

    Args:
        steps: T.
    """
    cell = lg.cells.lstm(3, 30, dtype=jnp.float64)
    with np.load(DATA) as file:
        data = {name: jnp.asarray(file[name], jnp.float64) for name in file}
    weights = lg.cells.LSTMParams(data["kernel"].T, data["recurrent_kernel"].T, data["bias"])
    params = weights, data["dense_kernel"], data["dense_bias"]
    start = lg.cells.LSTMState(jnp.full(30, 0.1), jnp.zeros(30))

    def closed_loop(params: Any, state: Any, _: Any) -> Any:
        weights, kernel, bias = params
        return cell.step(weights, state, state.h @ kernel + bias)

    def run() -> jax.Array:
        chain = lg.stream(closed_loop, params, start, jnp.arange(steps))
        return lg.lyapunov_spectrum(chain, num_exponents=LSTM_EXPONENTS).exponents

    return run


def table(runs: dict[str, Callable[[], Any]], dt: float, base: str, repeats: int) -> None:
    """Times all runs in turn and prints their lines.

    Args:
        runs: by name, each of which returns exponents per step.
        dt: time units a step.
        base: the run that the others are compared with.
        repeats: rounds at most.
    """
    timings = interleave({name: Contender(((run, 1.0),)) for name, run in runs.items()}, repeats)
    for name, timing in timings.items():
        print(line(name, timing, timings[base], summary(timing.results[0], dt)), flush=True)


def line(name: str, timing: Timing, base: Timing, result: Result) -> str:
    """One line of the table.

    Args:
        name: of the contender.
        timing: its own.
        base: what it is compared with.
        result: what it found.
    """
    low, high = span(np.min(timing.rounds)), span(np.max(timing.rounds))
    compile_time = max(timing.first - timing.median, 0.0)
    return (
        f"{name:<34} {span(timing.median):>8}  {low + '..' + high:>18} {timing.over(base):8.2f} "
        f"{compile_time:8.2f} s {result[0]:10.4f} {result[1]:10.3f}"
    )


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small sizes: does it run?")
    parser.add_argument("--repeats", type=int, default=7, help="rounds at most (7)")
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    size, steps, lstm_steps = (20, 200, 1000) if options.quick else (100, 10_000, 100_000)
    generator = np.random.default_rng(0)
    weights = GAIN * generator.normal(size=(size, size)) / np.sqrt(size)
    task = weights, generator.normal(size=size), steps
    runs = {
        "ours, all": ours(*task, size, INTERVAL),
        "ours, all, intervals of its choice": ours(*task, size, None),
        "ours, first ten": ours(*task, FIRST, INTERVAL),
        "NumPy loop, all": numpy_loop(*task, size, INTERVAL),
        "NumPy loop, first ten": numpy_loop(*task, FIRST, INTERVAL),
    }
    rival = importlib.util.find_spec("lyapax") is not None
    if rival:
        plain, jitted = lyapax_loop(*task, size, INTERVAL)
        runs |= {"lyapax, all": plain, "lyapax in jax.jit, all": jitted}
        runs["lyapax in jax.jit, first ten"] = lyapax_loop(*task, FIRST, INTERVAL)[1]
    print(machine())
    print(
        f"{'contender':<34} {'time':>8}  {'spread':>18} {'x ours':>8} {'compile':>10} "
        f"{'first':>10} {'sum':>10}"
    )
    print(f"rate network of {size} units, {steps} steps, a QR every {INTERVAL}")
    table(runs, DT, "ours, all", max(options.repeats, 1))
    if not rival:
        print("lyapax is not installed, and left out")
    print(f"Lorenz LSTM, {lstm_steps} steps, {LSTM_EXPONENTS} exponents of 60")
    table({"ours": lstm(lstm_steps)}, LORENZ_DT, "ours", max(options.repeats, 1))


if __name__ == "__main__":
    main()
