"""Whether a claim about a norm is true: the number, its error, and what rounding may add to it.

The truth is the product of the very same factors in NumPy's long double (64 bits, range 1e±4932).
The library's claim leaves out the rounding of the product itself, so that is bounded beside it,
entry by entry: |fl(U J) - U J| <= γ |U| |J|, carried on by |J|. Where this bound is above 5 % of
the norm, no claim is checked, and the reading is counted as such.
"""

import dataclasses
from collections import Counter

import numpy as np

ESTIMATE = 20.0
"""By how much an error that is marked as an estimate may be too small."""


@dataclasses.dataclass(frozen=True)
class Truth:
    """Of one block of one product, at every lag.

    Attributes:
        log_norms: (T+1,), ln of the spectral norm; -inf where the product is exactly zero.
        log_roundings: (T+1,), ln of a bound of what rounding adds.
    """

    log_norms: np.ndarray
    log_roundings: np.ndarray


def product_norms(factors, rows, columns, *, fixed, eps) -> Truth:
    """The norms of one block at every lag, and the rounding of an arithmetic with this epsilon.

    Args:
        factors: (T, n, n), the latest last, in any dtype.
        rows: a slice, of the state that is differentiated.
        columns: a slice, of the state that is varied.
        fixed: "end" pulls the rows back from T, "start" pushes the columns forward from 0.
        eps: of the chain's dtype.
    """
    n = factors.shape[-1]
    factors = np.asarray(factors, np.longdouble)
    if fixed == "end":
        start, part, order = rows, columns, factors[::-1]
    else:
        start, part, order = columns, rows, np.swapaxes(factors, 1, 2)
    block = np.eye(n, dtype=np.longdouble)[start]
    error = np.zeros_like(block)
    gamma = 2 * (np.sqrt(n) + 6) * eps
    norms, roundings = [log_norm(block[:, part])], [-np.inf]
    for factor in order:
        size = np.abs(factor)
        error = error @ size + gamma * (np.abs(block) @ size)
        block = block @ factor
        norms.append(log_norm(block[:, part]))
        roundings.append(log_size(error[:, part]))
    return Truth(np.array(norms), np.array(roundings))


def log_norm(matrix) -> float:
    """Ln of the largest singular value of a long double matrix of any range."""
    top = np.max(np.abs(matrix))
    if top == 0:
        return -np.inf
    return float(np.log(top)) + float(np.log(np.linalg.norm((matrix / top).astype(float), 2)))


def log_size(matrix) -> float:
    """Ln of the Frobenius norm."""
    top = np.max(np.abs(matrix))
    return float(np.log(top * np.sqrt(np.sum((matrix / top) ** 2)))) if top > 0 else -np.inf


def judge(truth: Truth, got, errors, resolved, *, certified: bool, eps: float) -> tuple[str, float]:
    """The worst verdict of a profile, and by how much its worst claim is off, in nats.

    Verdicts: "right", "not resolved" (some lags say so), "rounding" (that of the product itself
    may be above 5 % at most lags, which no reading claims to know), "false zero", "NaN", "wrong".

    Args:
        truth: at the lags of the profile.
        got: log norms.
        errors: as claimed.
        resolved: as claimed.
        certified: whether the errors are proved.
        eps: of the dtype.
    """
    got, errors = np.asarray(got, float), np.asarray(errors, float)
    with np.errstate(over="ignore", invalid="ignore"):
        rounding = np.exp(truth.log_roundings - truth.log_norms)
        rounding = np.where(np.isneginf(truth.log_norms), 0.0, rounding)
        off = np.where(got == truth.log_norms, 0.0, np.abs(got - truth.log_norms))
    if np.any(np.isnan(got)):
        return "NaN", np.inf
    gone = np.isneginf(truth.log_norms)
    unsure = (rounding > 0.05) & ~gone
    size = np.where(np.isinf(got), 0.0, np.abs(got))
    slack = np.log1p(np.where(unsure, 0.0, rounding)) + 8 * eps * (1 + size)
    claimed = errors if certified else ESTIMATE * errors
    hidden = np.isposinf(errors)
    # What is not resolved lies below the level that is told, and is never said to be resolved.
    wrong = hidden & (resolved | (truth.log_norms > got + slack + np.log(2)))
    wrong |= ~hidden & ~unsure & ~gone & (off > claimed + slack)
    zero = np.isneginf(got) & ~gone
    # An exact zero may be read as the rounding that takes its place, and as no more than that.
    wrong |= gone & ~hidden & (got > truth.log_roundings + np.log(2))
    if np.any(zero):
        return "false zero", np.inf
    if np.any(wrong):
        return "wrong", float(np.max(np.where(wrong & ~hidden, off, 0.0)))
    if np.any(hidden):
        return "not resolved", 0.0
    return ("rounding" if np.mean(unsure) > 0.5 else "right"), 0.0


def table(counts: Counter, worst: dict) -> str:
    """What was drawn, what was claimed, what was true: one line for a reading of a kind.

    Args:
        counts: (reading, kind, verdict) -> number of cases.
        worst: (reading, kind) -> by how much the worst wrong claim was off.
    """
    verdicts = ["right", "not resolved", "rounding", "false zero", "NaN", "wrong"]
    lines = [f"{'reading':28}{'kind':14}" + "".join(f"{v:>14}" for v in verdicts)]
    for reading, kind in sorted({key[:2] for key in counts}):
        numbers = "".join(f"{counts[reading, kind, v]:14d}" for v in verdicts)
        note = f"  off by {worst[reading, kind]:.2g}" if (reading, kind) in worst else ""
        lines.append(f"{reading:28}{kind:14}{numbers}{note}")
    total = Counter(key[2] for key in counts.elements())
    lines.append(f"{'all':42}" + "".join(f"{total[v]:14d}" for v in verdicts))
    return "\n".join(lines)
