"""Products, pushes and pulls of drawn chains, held against long double entry by entry.

They claim no errors, so what they may lose is bounded beside them: the rounding of every factor,
and what falls below the range of the dtype beside the largest entry of the same tangent, both
carried on by |J|. Tangents and cotangents have an exponent each until the end.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from draws import KINDS

import lstmgrad as lg

READINGS = ["product", "push_forward", "pull_back"]


@dataclasses.dataclass(frozen=True)
class Case:
    """A compiled program: it moves batches of draws of every kind."""

    reading: str
    size: int
    length: int
    dtype: str


def draw_case(rng, reading: str) -> Case:
    """The shapes of one program.

    Args:
        rng: of the draw.
        reading: which.
    """
    size, length = int(rng.choice([2, 3, 5, 8, 17])), int(rng.choice([0, 3, 30, 120]))
    return Case(reading, size, length, str(rng.choice(["float32", "float64"])))


@functools.cache
def mover(case: Case):
    """The compiled program.

    Args:
        case: which.
    """
    identity = np.eye(case.size, dtype=case.dtype)

    def move(factors):
        chain = lg.DenseChain(factors)
        if case.reading == "product":
            return lg.product(chain)
        return getattr(lg, case.reading)(chain, identity)

    return jax.jit(jax.vmap(move))


def judge_batch(case: Case, kind: str, seeds) -> list[tuple[str, float]]:
    """The verdicts of a batch, one for each seed.

    Args:
        case: the program.
        kind: of the chains.
        seeds: of the draws.
    """
    length = max(1, case.length)
    draws = [KINDS[kind](np.random.default_rng(s), length, case.size) for s in seeds]
    factors = np.stack(draws)[:, : case.length].astype(case.dtype)
    with jax.enable_x64(case.dtype == "float64"):
        found = mover(case)(jnp.asarray(factors))
        mantissas, exponents = np.asarray(found.mantissa), np.asarray(found.exponent)
    finfo = np.finfo(case.dtype)
    return [
        judge(*truth_of(one, finfo, back=case.reading == "pull_back"), mantissa, int(exponent))
        for one, mantissa, exponent in zip(factors, mantissas, exponents, strict=True)
    ]


def truth_of(factors, finfo, *, back: bool) -> tuple[np.ndarray, np.ndarray]:
    """The product, and a bound of what an arithmetic may add to each of its entries.

    Args:
        factors: (T, n, n).
        finfo: of the arithmetic.
        back: whether it is formed from the end.
    """
    n = factors.shape[-1]
    block, error = np.eye(n, dtype=np.longdouble), np.zeros((n, n), np.longdouble)
    gamma, tiny = 2 * (n + 2) * np.longdouble(finfo.eps), n * np.longdouble(finfo.tiny)
    # Columns are moved forward by J, rows back, which is forward by its transpose.
    ordered = [factor.T for factor in factors[::-1]] if back else factors
    for factor in np.asarray(ordered, np.longdouble):
        size = np.abs(factor)
        before = np.max(np.abs(block), axis=0)
        error = size @ error + gamma * (size @ np.abs(block)) + tiny * before
        block = factor @ block
        error = error + tiny * np.max(np.abs(block), axis=0)
    error = error + tiny * np.max(np.abs(block), initial=0.0)  # under one exponent at the end
    return (block.T, error.T) if back else (block, error)


def judge(truth, bound, mantissa, exponent: int) -> tuple[str, float]:
    """The verdict on one product.

    Args:
        truth: (n, n), in long double.
        bound: of the error of each entry.
        mantissa: as found.
        exponent: as found.
    """
    got = np.ldexp(np.asarray(mantissa, np.longdouble), exponent)
    if not np.all(np.isfinite(got)):
        return "NaN", np.inf
    with np.errstate(divide="ignore", invalid="ignore"):
        beyond = np.where(truth == got, 0.0, np.abs(got - truth) / bound)
    if not np.all(beyond <= 1):
        return "wrong", float(np.max(beyond))
    unsure = bound[truth != 0] > 0.05 * np.abs(truth[truth != 0])
    return ("rounding" if np.sum(unsure) > unsure.size / 2 else "right"), 0.0
