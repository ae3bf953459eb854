"""Singular values and Lyapunov exponents of drawn chains, held against decimal arithmetic.

Claims are those of what is resolved: a value to twenty times its error, for errors are estimates;
an exact zero where the product has one. What is not resolved claims nothing but that it is no zero.
"""

import dataclasses
import functools

import exact
import jax
import numpy as np
from draws import KINDS
from verdicts import ESTIMATE

import lstmgrad as lg

READINGS = ["forward_singular_spectrum", "backward_singular_spectrum", "lyapunov_spectrum"]


@dataclasses.dataclass(frozen=True)
class Case:
    """A compiled program: it reads batches of draws of every kind."""

    reading: str
    size: int
    length: int
    dtype: str
    every: int = 1
    burn_in: int = 0
    num_exponents: int | None = None
    interval: int | None = None


def draw_case(rng, reading: str) -> Case:
    """The shapes and options of one program.

    Args:
        rng: of the draw.
        reading: which.
    """
    size = int(rng.choice([2, 3, 4, 5, 6, 8, 12], p=[0.15, 0.2, 0.25, 0.15, 0.1, 0.1, 0.05]))
    # The truth takes as many digits as the factors may spread: 16 s for 200 of size 4.
    length = int(rng.choice([3, 15] if size > 5 else [3, 20, 60]))
    dtype = str(rng.choice(["float32", "float64"]))
    if reading != "lyapunov_spectrum":
        return Case(reading, size, length, dtype, every=max(1, length // 3))
    return Case(
        reading,
        size,
        length,
        dtype,
        burn_in=int(rng.choice([0, 0, length // 3])),
        num_exponents=int(rng.choice([size, size, max(1, size // 2)])),
        interval=[None, None, 1, 3, length][rng.integers(5)],
    )


@functools.cache
def reader(case: Case):
    """The compiled reading of a batch.

    Args:
        case: which.
    """

    def read(factors):
        chain = lg.DenseChain(factors)
        if case.reading == "lyapunov_spectrum":
            found = lg.lyapunov_spectrum(
                chain,
                num_exponents=case.num_exponents,
                burn_in=case.burn_in,
                interval=case.interval,
            )
            return found.exponents, found.rounding_errors, found.resolved
        found = getattr(lg, case.reading)(chain, every=case.every)
        return found.log_values[1:], found.errors[1:], found.resolved[1:]

    return jax.jit(jax.vmap(read))


def judge_batch(case: Case, kind: str, seeds) -> list[tuple[str, float]]:
    """The verdicts of a batch, one for each seed.

    Args:
        case: the program.
        kind: of the chains.
        seeds: of the draws.
    """
    draws = [KINDS[kind](np.random.default_rng(s), case.length, case.size) for s in seeds]
    factors = np.stack(draws).astype(case.dtype)
    with jax.enable_x64(case.dtype == "float64"):
        found = [np.asarray(leaf) for leaf in reader(case)(factors)]
    eps = float(np.finfo(case.dtype).eps)
    ranked = case.reading != "lyapunov_spectrum"
    return [
        judge(truth_of(case, one), *(leaf[i] for leaf in found), eps=eps, ranked=ranked)
        for i, one in enumerate(factors)
    ]


def truth_of(case: Case, factors) -> np.ndarray:
    """What the reading has to be.

    Args:
        case: the program.
        factors: (T, n, n).
    """
    if case.reading != "lyapunov_spectrum":
        fixed = "start" if case.reading.startswith("forward") else "end"
        lags = range(case.every, case.length + 1, case.every)
        return exact.log_values(factors, lags, fixed)
    with jax.enable_x64(case.dtype == "float64"):
        start = lg.lyapunov_spectrum(
            lg.DenseChain(np.eye(case.size, dtype=case.dtype)[None]),
            num_exponents=case.num_exponents,
        ).state.frame
    before, after = exact.log_lengths(factors, np.asarray(start), [case.burn_in, case.length])
    with np.errstate(invalid="ignore"):
        rates = (after - before) / (case.length - case.burn_in)
    return np.sort(np.where(np.isneginf(after), -np.inf, rates))[::-1]


def judge(truth, got, errors, resolved, *, eps: float, ranked: bool) -> tuple[str, float]:
    """The verdict on one reading, and by how many nats its worst claim is off.

    Args:
        truth: logarithms.
        got: logarithms.
        errors: as claimed.
        resolved: as claimed.
        eps: of the dtype.
        ranked: whether value i is said to be the one at place i. Otherwise what is resolved is said
            to be some of the values, in order.
    """
    got, errors = np.asarray(got, float), np.asarray(errors, float)
    if np.any(np.isnan(got)):
        return "NaN", np.inf
    size = np.where(np.isfinite(got), np.abs(got), 0.0)
    claimed = ESTIMATE * errors + 8 * eps * (1 + size)
    if not ranked:
        truth = truth[_places(truth, got, claimed, resolved)]
    if np.any(np.isneginf(got) & ~np.isneginf(truth)):
        return "false zero", np.inf
    with np.errstate(invalid="ignore"):
        off = np.where(got == truth, 0.0, np.abs(got - truth))
    wrong = resolved & ~(off <= claimed)
    if np.any(wrong):
        return "wrong", float(np.max(off[wrong]))
    return ("right" if np.all(resolved) else "not resolved"), 0.0


def _places(truth, got, claimed, resolved) -> np.ndarray:
    """For each value its place among the true ones: the first free one that it fits, or its own.

    Args:
        truth: logarithms, in descending order.
        got: logarithms, in descending order.
        claimed: how far each may be off.
        resolved: those that claim anything.
    """
    places, free = np.arange(len(got)), 0
    for i in np.flatnonzero(resolved):
        with np.errstate(invalid="ignore"):
            fits = (truth == got[i]) | (np.abs(truth - got[i]) <= claimed[i])
        found = np.flatnonzero(fits[free:])
        if not found.size:
            return np.arange(len(got))
        places[i] = free + found[0]
        free = places[i] + 1
    return places
