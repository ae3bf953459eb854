"""Products of drawn factors in decimal arithmetic with as many digits as their spread asks for.

Nothing is clever here: the product as it stands, rows rotated until they are orthogonal, columns
made orthogonal one after the other. With digits to spare, what is left of an exact dependence lies
below anything a product could hold, and is zero.
"""

import decimal
import itertools
from collections.abc import Iterator

import numpy as np

Matrix = list[list[decimal.Decimal]]


def digits_for(factors) -> int:
    """Digits that hold all singular values of the product side by side.

    Args:
        factors: (T, n, n).
    """
    factors = np.asarray(factors, float)
    n, total = factors.shape[-1], 80.0
    for factor in factors:
        sizes = np.abs(factor[factor != 0])
        if not sizes.size:
            continue
        top = np.log10(np.max(sizes))
        sign, log_det = np.linalg.slogdet(factor / 10**top)
        ratios = n * (top - np.log10(np.min(sizes)))
        total += min(-log_det / np.log(10), ratios) if sign else ratios
        total += np.log10(n) + 1
    return int(min(total, 6000))


def products(factors, fixed: str) -> Iterator[Matrix]:
    """The product at lag 1, 2, ..., T, in the decimal context of the caller.

    Args:
        factors: (T, n, n), the latest last.
        fixed: "start" (J_t ··· J_1), or "end" (J_T ··· J_t, transposed).
    """
    n = np.shape(factors)[-1]
    columns = [[decimal.Decimal(int(i == j)) for i in range(n)] for j in range(n)]
    ordered = factors if fixed == "start" else [factor.T for factor in factors[::-1]]
    for factor in ordered:
        rows = [[decimal.Decimal(float(entry)) for entry in row] for row in factor]
        columns = [[_dot(row, column) for row in rows] for column in columns]
        yield columns


def log_values(factors, lags, fixed: str) -> np.ndarray:
    """Ln of the singular values at these lags, in descending order; -inf where they are zero.

    Args:
        factors: (T, n, n).
        lags: from 1 on.
        fixed: as for `products`.
    """
    digits = digits_for(factors)
    with decimal.localcontext(prec=digits, Emin=-(10**9), Emax=10**9):
        at = {lag: m for lag, m in enumerate(products(factors, fixed), 1) if lag in set(lags)}
        return np.array([_singular(at[lag], digits) for lag in lags])


def log_lengths(factors, start, times) -> np.ndarray:
    """Ln of what each pushed column has beside those before it, at these times.

    Args:
        factors: (T, n, n).
        start: (n, m), the columns at time 0.
        times: from 0 on.
    """
    digits = digits_for(factors)
    with decimal.localcontext(prec=digits, Emin=-(10**9), Emax=10**9):
        columns = [[decimal.Decimal(float(entry)) for entry in column] for column in start.T]
        found = {0: _lengths(columns, digits)}
        for time, factor in enumerate(factors, 1):
            rows = [[decimal.Decimal(float(entry)) for entry in row] for row in factor]
            columns = [[_dot(row, column) for row in rows] for column in columns]
            if time in times:
                found[time] = _lengths(columns, digits)
        return np.array([found[time] for time in times])


def _lengths(columns: Matrix, digits: int) -> list[float]:
    """By Gram and Schmidt; a column of which next to nothing is left is zero."""
    done, logs = [], []
    for column in columns:
        size, rest = _dot(column, column), column
        for unit, square in done:
            share = _dot(unit, rest) / square
            rest = [x - share * y for x, y in zip(rest, unit, strict=True)]
        left = _dot(rest, rest)
        if left <= size.scaleb(40 - 2 * digits):
            logs.append(-np.inf)
        else:
            logs.append(float(left.ln() / 2))
            done.append((rest, left))
    return logs


def _singular(matrix: Matrix, digits: int) -> np.ndarray:
    rows = sorted(matrix, key=lambda row: -_dot(row, row))
    worst = decimal.Decimal(1)
    while worst > decimal.Decimal("1e-20"):
        worst = decimal.Decimal(0)
        for i, j in itertools.combinations(range(len(rows)), 2):
            a, b = rows[i], rows[j]
            p, q, r = _dot(a, a), _dot(b, b), _dot(a, b)
            if r == 0 or q < p.scaleb(20 - 2 * digits):
                continue
            worst = max(worst, abs(r) / (p * q).sqrt())
            zeta = (q - p) / (2 * r)
            tan = (1 if zeta >= 0 else -1) / (abs(zeta) + (1 + zeta * zeta).sqrt())
            cos = 1 / (1 + tan * tan).sqrt()
            rows[i] = [cos * (x - tan * y) for x, y in zip(a, b, strict=True)]
            rows[j] = [cos * (y + tan * x) for x, y in zip(a, b, strict=True)]
    squares = [_dot(row, row) for row in rows]
    least = max(squares).scaleb(30 - 2 * digits)
    return np.sort([float(s.ln() / 2) if s > least else -np.inf for s in squares])[::-1]


def _dot(a: list, b: list) -> decimal.Decimal:
    return sum((x * y for x, y in zip(a, b, strict=True)), decimal.Decimal(0))
