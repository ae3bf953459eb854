"""What Lyapunov exponents cost: ours, a NumPy loop and lyapax.

rate network  x' = x + dt (-x + J tanh x), gain 4, dt = 0.1, Euler steps in float64, all exponents
              and the first ten, made orthonormal every ten steps by everyone; and with the
              intervals that ours chooses.
Lorenz LSTM   30 units in closed loop (tests/data), six exponents.

The error is the largest difference to the exponents of the NumPy loop from the same first frame,
per time unit; lyapax has a first frame of its own. One thread for linear algebra, for everyone:
matrices of 100 are faster with one than with two, and threads that wait for each other on a loaded
machine measure the load. lyapax compiles in every call, unless its user wraps it in jax.jit; it is
left out where it is not installed (pip install lyapax).
"""

import functools
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from measure import Contender, Row, beyond, in_child, interleave, peak_memory, small_product

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


def first_frame(size: int, count: int) -> np.ndarray:
    """The orthonormal tangents that ours and the NumPy loop start from.

    Args:
        size: N.
        count: of the tangents.
    """
    return np.linalg.qr(np.random.default_rng(2).normal(size=(size, count)))[0]


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
        frame = first_frame(len(start), count)
        return lg.lyapunov_spectrum(chain, start=frame, interval=interval).exponents

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
        frame = first_frame(x.size, count)
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


def network(size: int) -> tuple[np.ndarray, np.ndarray]:
    """J and x_0 of a rate network.

    Args:
        size: N.
    """
    generator = np.random.default_rng(0)
    weights = GAIN * generator.normal(size=(size, size)) / np.sqrt(size)
    return weights, generator.normal(size=size)


def rate_runs(size: int, steps: int) -> dict[str, Callable[[], Any]]:
    """The contenders on a rate network by name.

    Args:
        size: N.
        steps: T.
    """
    task, first = (*network(size), steps), min(FIRST, size)
    runs: dict[str, Callable[[], Any]] = {
        "ours, all": ours(*task, size, INTERVAL),
        "ours, all, own intervals": ours(*task, size, None),
        "ours, first ten": ours(*task, first, INTERVAL),
        "NumPy loop, all": numpy_loop(*task, size, INTERVAL),
        "NumPy loop, first ten": numpy_loop(*task, first, INTERVAL),
    }
    if importlib.util.find_spec("lyapax") is not None:
        plain, jitted = lyapax_loop(*task, size, INTERVAL)
        runs |= {"lyapax, all": plain, "lyapax in jax.jit, all": jitted}
        runs["lyapax in jax.jit, ten"] = lyapax_loop(*task, first, INTERVAL)[1]
    return runs


def in_double(function: Callable) -> Callable:
    """The function, run with float64."""

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        with jax.enable_x64(True):
            return function(*arguments)

    return call


@in_double
def rate(size: int, steps: int, repeats: int) -> None:
    """All contenders on a rate network.

    Args:
        size: N.
        steps: T.
        repeats: rounds at most.
    """
    runs = rate_runs(size, steps)
    timings = interleave({name: Contender(((run, 1.0),)) for name, run in runs.items()}, repeats)
    for name, timing in timings.items():
        memory = in_child("rate", name, size, steps)
        found = np.asarray(timing.results[0]) / DT
        loop = "NumPy loop, first ten" if len(found) < size else "NumPy loop, all"
        exact = np.asarray(timings[loop].results[0]) / DT
        Row(
            f"rate-{size}-{steps}",
            name,
            timing,
            ours=timings["ours, all"],
            compile=None if "NumPy" in name else max(timing.first - timing.median, 0.0),
            peak=beyond(memory),
            error=None if "lyapax" in name else float(np.max(np.abs(found - exact))),
            remark=f"largest {found[0]:.4f}, sum {found.sum():.3f}",
        ).print()


@in_double
def lorenz(steps: int, repeats: int) -> None:
    """Ours on the trained LSTM.

    Args:
        steps: T.
        repeats: rounds at most.
    """
    timing = interleave({"ours": Contender(((lstm(steps), 1.0),))}, repeats)["ours"]
    largest, total = summary(timing.results[0], LORENZ_DT)
    Row(
        f"lorenz-30-{steps}",
        "ours, first six",
        timing,
        compile=max(timing.first - timing.median, 0.0),
        remark=f"largest {largest:.4f}, sum {total:.3f}",
    ).print()


@in_double
def child(_: str, name: str, size: str, steps: str) -> dict[str, float]:
    """Runs one contender alone, and says what memory that took.

    Args:
        _: the part.
        name: of the contender.
        size: N.
        steps: T.
    """
    base = small_product()
    jax.block_until_ready(rate_runs(int(size), int(steps))[name]())
    return {"beyond": peak_memory() - base}


def parts(quick: bool, repeats: int) -> dict[str, Callable[[], None]]:
    """The parts of the table by name.

    Args:
        quick: small sizes.
        repeats: rounds.
    """
    sizes = [(20, 200)] if quick else [(50, 10_000), (100, 10_000), (256, 1000), (256, 4000)]
    steps = 1000 if quick else 100_000
    table: dict[str, Callable[[], None]] = {
        f"rate-{size}-{T}": lambda size=size, T=T: rate(size, T, repeats) for size, T in sizes
    }
    table[f"lorenz-30-{steps}"] = lambda: lorenz(steps, repeats)
    return table
