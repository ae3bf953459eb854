"""The parts of the table beyond one profile: maps, streams, wide states, parallel in time."""

import math
import time
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from exact import pulled_log_norms, pushed_log_norm
from measure import Contender, Row, Timing, beyond, in_child, interleave
from rivals import STEP, Problem, injected_norms, model, problem

import lstmgrad as lg

STRETCH = 10_000
"""Steps of a long sequence that are handled at a time."""


def pairs_of_times(hidden: int, length: int, repeats: int) -> None:
    """`norm_map` against a loop of (b) over the end, compiled once, with a traced end.

    Args:
        hidden: units.
        length: T.
        repeats: rounds.
    """
    part, task = f"map-{hidden}-{length}", problem(hidden, length)
    chain, data = task.chain(), (task.params, task.start, task.inputs)
    row_of = jax.jit(lambda *data: injected_norms(*data)).lower(*data, jnp.asarray(1)).compile()
    ends = jnp.arange(1, length + 1)

    def run() -> lg.NormMap:
        return lg.norm_map(chain, of="c", wrt="c")

    def loop() -> list[jax.Array]:
        return [row_of(*data, end) for end in ends]

    contenders = {"ours": Contender(((run, 1.0),)), "loop": Contender(((loop, 1.0),))}
    timings = interleave(contenders, repeats)
    mine = timings["ours"]
    found, errors, over = mine.results[0], [], 0
    met = np.asarray(found.resolved)[np.tril_indices(length + 1)].mean()
    for end in np.unique(np.linspace(1, length, 9).astype(int)).tolist():
        states = jax.tree.map(lambda leaf, end=end: leaf[: end + 1], task.states)
        upto = Problem(task.params, task.start, task.inputs[:end], states)
        reference = pulled_log_norms(upto, range(1, end + 1))[::-1]
        error = np.abs(np.asarray(found.log_norms, np.float64)[end, :end] - reference)
        errors.append(error.max())
        over += int(np.sum(np.asarray(found.resolved)[end, :end] & (error > found.rtol)))
    memory = in_child("map", hidden, length)
    Row(
        part,
        "ours",
        mine,
        compile=mine.first - mine.median,
        peak=beyond(memory),
        error=max(errors),
        met=float(met),
        over=over,
        remark=f"{length * (length + 1) // 2} pairs, {len(errors)} rows checked",
    ).print()
    Row(part, "loop over (b)", timings["loop"], ours=mine, remark="padded to T").print()
    Row(
        part,
        "loop, no padding",
        timings["loop"],
        ours=mine,
        scale=0.5,
        estimated=True,
        remark="half of it: the ideal",
    ).print()


def long_sequence(hidden: int, length: int, repeats: int) -> None:
    """A stream against the bare steps that push the same block; float64 along the same states.

    Args:
        hidden: units.
        length: T.
        repeats: rounds of a tenth of the sequence; the whole is run once.
    """
    short = max(length // 10, 1000)
    inputs = noise(length)
    for steps, rounds in ((short, repeats), (length, 1)):
        part = f"stream-{hidden}-{steps}"
        contenders = {
            "bare steps": bare_steps(hidden, inputs[:steps]),
            "ours": streamed(hidden, inputs[:steps]),
        }
        timings = interleave(contenders, rounds)
        floor, mine = timings["bare steps"], timings["ours"]
        Row(part, "bare steps", floor).print()
        row = Row(part, "ours", mine, floor=floor)
        if steps < length:
            row._replace(compile=mine.first - mine.median).print()
            continue
        params, start = model(hidden, inputs.shape[1])
        found = mine.results[0]
        exact = pushed_log_norm(params, stretches(params, start, inputs))
        error = abs(float(found.log_norms[-1]) - exact)
        memory = in_child("stream", hidden, length)
        row._replace(
            peak=beyond(memory),
            error=error,
            met=float(np.mean(found.resolved)),
            remark=f"log-norm {exact:.9g}, relative error {error / abs(exact):.1e}",
        ).print()


def noise(length: int, inputs: int = 4) -> jax.Array:
    """Inputs of a long sequence.

    Args:
        length: T.
        inputs: d.
    """
    return jax.random.normal(jax.random.key(1), (length, inputs), jnp.float32)


def streamed(hidden: int, inputs: jax.Array) -> Contender:
    """Ours, read a hundred times.

    Args:
        hidden: units.
        inputs: (T, d).
    """
    params, start = model(hidden, inputs.shape[1])
    every = max(len(inputs) // 100, 1)

    def run() -> lg.NormProfile:
        chain = lg.stream(STEP, params, start, inputs)
        return lg.forward_norms(chain, of="c", wrt="c", every=every)

    return Contender(((run, 1.0),))


def bare_steps(hidden: int, inputs: jax.Array) -> Contender:
    """A scan of model steps that pushes the same block, neither rescaled nor read.

    Args:
        hidden: units.
        inputs: (T, d).
    """
    params, start = model(hidden, inputs.shape[1])
    identity = jnp.eye(hidden, dtype=jnp.float32)

    @jax.jit
    def push(params: Any, start: Any, inputs: jax.Array) -> Any:
        def body(loop: tuple, x: jax.Array) -> tuple[tuple, None]:
            state, block = loop
            after, jvp = jax.linearize(lambda state: STEP(params, state, x), state)
            return (after, jax.vmap(jvp)(block)), None

        block = start._replace(h=jnp.zeros_like(identity), c=identity)
        return jax.lax.scan(body, (start, block), inputs)[0]

    return Contender(((lambda: push(params, start, inputs), 1.0),))


def stretches(params: Any, start: Any, inputs: jax.Array) -> Iterator[tuple[Any, Any]]:
    """The float32 states at the start of each step, and the inputs, some steps at a time.

    Args:
        params: the weights.
        start: s_0.
        inputs: (T, d).
    """
    state = start
    for first in range(0, len(inputs), STRETCH):
        some = inputs[first : first + STRETCH]
        states = lg.unroll(STEP, params, state, some).states
        state = jax.tree.map(lambda leaf: leaf[-1], states)
        yield jax.tree.map(lambda leaf: leaf[:-1], states), some


def matrix_free(hidden: int, lag: int) -> None:
    """One lag of a wide state in a process of its own, and its accuracy where dense is possible.

    Args:
        hidden: units of the wide state.
        lag: T.
    """
    memory = in_child("wide", hidden, lag)
    part = f"wide-{hidden}-{lag}"
    if memory is not None:
        Row(
            part,
            "ours",
            Timing(memory["first"], np.asarray([memory["seconds"]]), []),
            compile=memory["first"] - memory["seconds"],
            peak=memory["beyond"],
            met=memory["met"],
            remark=f"process peak {memory['peak']:.0f} MB, weights {memory['weights']:.0f} MB; "
            f"log-norm {memory['log_norm']:.6g}, own error estimate {memory['error']:.1e}",
        ).print()
    task = problem(min(512, hidden), lag)
    chain = task.chain()

    def run() -> lg.NormProfile:
        return lg.matrix_free_norms(chain, (lag,), of="c", wrt="c")

    timing = interleave({"ours": Contender(((run, 1.0),))}, 3)["ours"]
    found = timing.results[0]
    error = abs(float(found.log_norms[0]) - float(pulled_log_norms(task, [lag])[0]))
    Row(
        f"wide-{task.hidden}-{lag}",
        "ours",
        timing,
        compile=timing.first - timing.median,
        error=error,
        met=float(np.mean(found.resolved)),
        over=int(bool(found.resolved[0]) and error > found.rtol),
        remark=f"against a dense SVD; own error estimate {float(found.errors[0]):.1e}",
    ).print()


def parallel_in_time(hidden: int, length: int, repeats: int) -> None:
    """All prefix products, one after another and by associative scans.

    Args:
        hidden: units.
        length: T.
        repeats: rounds.
    """
    chain = problem(hidden, length).chain()
    methods = {
        "sequential": lg.Method.sequential,
        "parallel": lg.Method.parallel,
        "blocked": lg.Method.blocked(max(math.isqrt(length), 1)),
    }

    def runner(method: Any) -> Contender:
        # One number: the prefixes of one method are not kept while the next one runs.
        take = jax.jit(lambda chain: jnp.sum(lg.prefix_products(chain, method=method).mantissa))
        return Contender(((lambda: take(chain), 1.0),))

    timings = interleave({name: runner(method) for name, method in methods.items()}, repeats)
    for name, timing in timings.items():
        other = timings["sequential"]
        remark = "" if name == "sequential" else f"{timing.over(other):.2f} x sequential"
        Row(f"parallel-{hidden}-{length}", name, timing, remark=remark).print()


def wide_alone(hidden: int, lag: int) -> dict[str, float]:
    """One lag of a wide state, twice.

    Args:
        hidden: units.
        lag: T.
    """
    task = problem(hidden, lag, inputs=4)
    chain, times, found = task.chain(), [], None
    for _ in range(2):
        start = time.perf_counter()
        found = jax.block_until_ready(lg.matrix_free_norms(chain, (lag,), of="c", wrt="c"))
        times.append(time.perf_counter() - start)
    assert found is not None
    return {
        "first": times[0],
        "seconds": times[1],
        "weights": sum(leaf.nbytes for leaf in jax.tree.leaves(task.params)) / 1e6,
        "log_norm": float(found.log_norms[0]),
        "error": float(found.errors[0]),
        "met": float(np.mean(found.resolved)),
    }
