"""Reads drawn chains and holds every claim against long double: `python tests/fuzz/fuzz.py`.

    python tests/fuzz/fuzz.py --cases 100000 --seed 1     # counts by reading and kind, failures
    python tests/fuzz/fuzz.py --cases 64 --only switching --seed 1
    python tests/fuzz/fuzz.py --cases 1000 --readings lyapunov_spectrum

A case is one drawn chain under one reading. Every failure is printed with what draws it again.
"""

import argparse
import dataclasses
import functools
import sys
import time
from collections import Counter
from typing import Any

import gradients
import jax
import jax.numpy as jnp
import moves
import numpy as np
import spectra
from draws import KINDS
from verdicts import judge, product_norms, table

import lstmgrad as lg

BAD = {"false zero", "NaN", "wrong"}


@dataclasses.dataclass(frozen=True)
class Case:
    """A compiled program: it reads batches of draws of every kind."""

    reading: str
    size: int
    length: int
    dtype: str
    of: str | None
    wrt: str | None
    every: int


def step(params, state, factor):
    """A linear network with two parts, whose input is the factor of the step."""
    flat = jnp.concatenate([state["a"], state["b"]])
    after = jnp.matmul(factor, flat, precision="highest")
    k = state["a"].shape[0]
    return {"a": after[:k], "b": after[k:]}


def chain_of(factors):
    """The implicit chain of the factors."""
    n = factors.shape[-1]
    start = {"a": jnp.zeros(n // 2, factors.dtype), "b": jnp.zeros(n - n // 2, factors.dtype)}
    return lg.chain(lg.Model(step, None, start), factors)


def read_lags(case: Case) -> list[int]:
    """The lags of a reading that takes chosen ones."""
    return [1, case.length]


READINGS = {
    "backward_norms": lambda chain, case: lg.backward_norms(
        chain, of=case.of, wrt=case.wrt, every=case.every
    ),
    "forward_norms": lambda chain, case: lg.forward_norms(
        chain, of=case.of, wrt=case.wrt, every=case.every
    ),
    "matrix_free_norms": lambda chain, case: lg.matrix_free_norms(
        chain, tuple(read_lags(case)), of=case.of, wrt=case.wrt
    ),
    "norm_map": lambda chain, case: lg.norm_map(chain, of=case.of, wrt=case.wrt, every=case.every),
}


GROUPS = {name: group for group in (spectra, moves, gradients) for name in group.READINGS}
"""Readings that bring a draw of their own, and an oracle."""

ALL = [*READINGS, *GROUPS]


@functools.cache
def reader(case: Case):
    """The compiled reading of a batch."""

    def read(factors):
        found = READINGS[case.reading](chain_of(factors), case)
        return found.log_norms, found.errors, found.resolved

    return jax.jit(jax.vmap(read))


def draw_case(rng, readings) -> Any:
    """The shapes and options of one program."""
    reading = str(rng.choice(readings))
    if reading in GROUPS:
        return GROUPS[reading].draw_case(rng, reading)
    size = int(rng.choice([2, 3, 5, 8, 33, 40], p=[0.2, 0.25, 0.25, 0.2, 0.05, 0.05]))
    longest = 6 if reading == "norm_map" else 30 if size > 32 else 90
    parts = [(None, None), ("a", "a"), ("a", "b"), ("b", "b"), (None, "a"), ("b", None)]
    of, wrt = parts[rng.integers(len(parts))]
    return Case(
        reading=reading,
        size=size,
        length=int(rng.choice([3, longest // 3 + 2, longest])),
        dtype=str(rng.choice(["float32", "float64"], p=[0.7, 0.3])),
        of=of,
        wrt=wrt,
        every=int(rng.choice([1, 1, longest // 3])) if reading != "norm_map" else 1,
    )


def judge_batch(case: Any, kind: str, seeds) -> list[tuple[str, float]]:
    """The verdicts of a batch, one for each seed."""
    if case.reading in GROUPS:
        return GROUPS[case.reading].judge_batch(case, kind, seeds)
    draws = [KINDS[kind](np.random.default_rng(s), case.length, case.size) for s in seeds]
    factors = np.stack(draws).astype(case.dtype)
    with jax.enable_x64(case.dtype == "float64"):
        found = [np.asarray(leaf) for leaf in reader(case)(factors)]
    return [judge_one(case, one, *(leaf[i] for leaf in found)) for i, one in enumerate(factors)]


def judge_one(case: Case, factors, log_norms, errors, resolved) -> tuple[str, float]:
    """The verdict on one chain: the worst of its profiles."""
    k, n, eps = case.size // 2, case.size, float(np.finfo(case.dtype).eps)
    where = {"a": slice(0, k), "b": slice(k, n), None: slice(0, n)}
    rows, columns = where[case.of], where[case.wrt]
    fixed = "start" if case.reading == "forward_norms" else "end"
    if case.reading == "norm_map":
        ends = range(case.length + 1)
        profiles = [(factors[:end], np.s_[:], np.s_[end, end::-1]) for end in ends]
    elif case.reading == "matrix_free_norms":
        lags = read_lags(case)
        profiles = [(factors, lags, np.s_[:])]
    else:
        profiles = [(factors, slice(0, None, case.every), np.s_[:])]
    certified = case.reading != "matrix_free_norms" or rows.stop - rows.start <= 24
    worst = "right", 0.0
    order = ["right", "rounding", "not resolved", "wrong", "NaN", "false zero"]
    for part, lags, index in profiles:
        truth = product_norms(part, rows, columns, fixed=fixed, eps=eps)
        truth = dataclasses.replace(
            truth, log_norms=truth.log_norms[lags], log_roundings=truth.log_roundings[lags]
        )
        got = (log_norms[index], errors[index], resolved[index])
        verdict = judge(truth, *got, certified=certified, eps=eps)
        worst = max(worst, verdict, key=lambda found: (order.index(found[0]), found[1]))
    return worst


def run(cases: int, seed: int, kinds, readings, batch: int, failures=None, tell=None):
    """Counts of verdicts, and how far off the worst are.

    Args:
        cases: to draw.
        seed: of all draws.
        kinds: of chains.
        readings: to make.
        batch: draws of a kind that a program reads at once.
        failures: a list that gets (case, kind, seed, verdict, nats) of each one that is bad.
        tell: called with (batches done, of how many) after each of them.
    """
    rng, counts, worst = np.random.default_rng(seed), Counter(), {}
    batches = -(-cases // batch)
    programs = [draw_case(rng, readings) for _ in range(max(1, batches // len(kinds)))]
    for number in range(batches):
        # One program after the other, through all kinds, so that few are compiled at a time.
        case, kind = programs[number * len(programs) // batches], kinds[number % len(kinds)]
        seeds = [[seed, number, i] for i in range(batch)]
        for one, (verdict, size) in zip(seeds, judge_batch(case, kind, seeds), strict=True):
            counts[case.reading, kind, verdict] += 1
            if verdict in BAD:
                worst[case.reading, kind] = max(worst.get((case.reading, kind), 0.0), size)
                if failures is not None:
                    failures.append((case, kind, one, verdict, size))
        if tell is not None:
            tell(number + 1, batches)
    return counts, worst


def main() -> None:
    """Draws, judges, prints the table; exits with 1 if a claim was wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--only", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--readings", nargs="+", choices=ALL, default=ALL)
    options = parser.parse_args()
    began, failures = time.time(), []
    shown = 0

    def tell(done: int, batches: int) -> None:
        nonlocal shown
        for case, kind, seed, verdict, size in failures[shown:]:
            print(f"\n{verdict}, off by {size:.3g}: {kind}, seed {seed}, {case}", flush=True)
        shown = len(failures)
        seconds = time.time() - began
        print(f"\r{done} of {batches} batches in {seconds:.0f} s", end="", file=sys.stderr)

    counts, worst = run(
        options.cases, options.seed, options.only, options.readings, options.batch, failures, tell
    )
    print(f"\n{table(counts, worst)}")
    print(f"{sum(counts.values())} cases in {time.time() - began:.0f} s, {len(failures)} bad")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
