"""Chains of factors drawn at random, of the kinds that break a reading: each from one integer.

What norms are hard to read? Those of products whose leading direction changes (switching and
permuted factors, blocks that do not interact), whose singular values nearly agree (near-isometries,
clusters), whose entries leave the range of one exponent (triangular and switching factors, extreme
gains), or that become exactly zero (shifts, dead units).
"""

from collections.abc import Callable

import numpy as np

Draw = Callable[[np.random.Generator, int, int], np.ndarray]
"""``draw(rng, T, n)``: factors (T, n, n) in float64."""


def gaussian(rng, length, n):
    """Independent Gaussian matrices near the critical gain."""
    return rng.uniform(0.5, 2) * rng.standard_normal((length, n, n)) / np.sqrt(n)


def isometries(rng, length, n):
    """Orthogonal matrices but for a relative 1e-9 to 1e-2."""
    rough = 1 + 10.0 ** rng.uniform(-9, -2) * rng.standard_normal((length, 1, n))
    return rotations(rng, length, n) * rough


def rotations(rng, length, n):
    """Random orthogonal matrices."""
    return np.linalg.qr(rng.standard_normal((length, n, n)))[0]


def permutations(rng, length, n):
    """Permutations with gains of every size."""
    gains = 10.0 ** rng.uniform(-3, 1, (length, n))
    return np.stack([np.eye(n)[rng.permutation(n)] * g for g in gains])


def heads(rng, length, n):
    """Two blocks that do not interact, in mixed order, each with rates of its own."""
    k = int(rng.integers(1, n)) if n > 1 else 1
    factors = np.zeros((length, n, n))
    for block in (slice(0, k), slice(k, n)):
        size = block.stop - block.start
        gain = 10.0 ** rng.uniform(-1.5, 0.5)
        factors[:, block, block] = gain * gaussian(rng, length, size)
    order = rng.permutation(n)
    return factors[:, order][:, :, order]


def switching(rng, length, n):
    """Two groups that shrink in turn, by up to 1e-15 per step, mixed within or in any order."""
    k, period = int(rng.integers(1, n)) if n > 1 else 1, int(rng.integers(1, 2 * length))
    first = (np.arange(length) // period + rng.integers(2)) % 2 == 0
    gains = np.ones((length, n))
    gains[first, :k], gains[~first, k:] = 10.0 ** rng.uniform(-15, 0, 2)
    factors = gains[:, :, None] * np.eye(n)
    mixing = rng.integers(3)
    if mixing == 0:
        return factors
    groups = np.zeros((n, n))
    groups[:k, :k], groups[k:, k:] = (rotations(rng, 1, m)[0] for m in (k, n - k))
    if mixing == 1:
        return factors @ groups
    basis = np.eye(n)[rng.permutation(n)]
    return basis @ factors @ basis.T


def triangular(rng, length, n):
    """Triangular matrices whose diagonal shrinks in turn: one row holds entries of every size."""
    factors = rng.standard_normal((length, n, n)) * np.triu(np.ones((n, n)), 1)
    period = int(rng.integers(1, 2 * length))
    shrinks = (np.arange(length)[:, None] // period + np.arange(n)) % 2 == 0
    factors += np.where(shrinks, 10.0 ** rng.uniform(-8, 0), 1.0)[:, :, None] * np.eye(n)
    return factors if rng.random() < 0.5 else np.swapaxes(factors, 1, 2)


def shifts(rng, length, n):
    """Nilpotent matrices: exactly zero after n steps, or sooner."""
    band = np.triu(rng.standard_normal((length, n, n)), 1)
    return band if rng.random() < 0.5 else 1.3 * np.tile(np.eye(n, k=1), (length, 1, 1))


def dying(rng, length, n):
    """Rectified units: rows that are zero at random times."""
    alive = rng.random((length, n, 1)) < rng.uniform(0.3, 1)
    return gaussian(rng, length, n) * alive


def extreme(rng, length, n):
    """Gains from 1e-12 to 1e12, by step and by unit."""
    rows, columns = (10.0 ** rng.uniform(-6, 6, (length, n)) for _ in range(2))
    return rows[:, :, None] * gaussian(rng, length, n) * columns[:, None, :]


def low_rank(rng, length, n):
    """Factors of rank one or two."""
    left = rng.standard_normal((length, n, 2)) * [1.0, rng.choice([0.0, 1.0])]
    return left @ rng.standard_normal((length, 2, n)) / n


def clusters(rng, length, n):
    """Many equal singular values under one basis, with crossings."""
    rate = 10.0 ** rng.uniform(-3, 0)
    logs = rate * rng.standard_normal((length, n)) - rate * rng.random()
    logs[:, n // 2 :] = logs[:, :1]
    basis = rotations(rng, 1, n)[0]
    return basis @ (np.exp(logs)[:, :, None] * basis.T)


def lstm(rng, length, n):
    """Step Jacobians of an LSTM of n // 2 units, h first, with gates from open to saturated.

    c' = f c + i g and h' = o tanh c', with the rates and pre-activations drawn, not run.
    """
    units = n // 2
    reach = 10.0 ** rng.uniform(-0.5, 1)
    f, i, o = 1 / (1 + np.exp(-reach * rng.standard_normal((3, length, units, 1)) - rng.normal()))
    g, c = np.tanh(reach * rng.standard_normal((2, length, units, 1)))
    weights = rng.uniform(0.5, 2) * rng.standard_normal((4, 1, units, units)) / np.sqrt(units)
    c_h = c * f * (1 - f) * weights[0] + g * i * (1 - i) * weights[1] + i * (1 - g**2) * weights[2]
    c_c, squashed = f * np.eye(units), np.tanh(2 * c)
    h_h = squashed * o * (1 - o) * weights[3] + o * (1 - squashed**2) * c_h
    h_c = o * (1 - squashed**2) * c_c
    factors = np.zeros((length, n, n))
    factors[:, : 2 * units, : 2 * units] = np.block([[h_h, h_c], [c_h, c_c]])
    if n % 2:  # one more cell that nothing else sees
        factors[:, -1, -1] = f[:, 0, 0]
    return factors


def mixed(rng, length, n):
    """Every factor of another kind."""
    kinds = [gaussian, isometries, permutations, heads, low_rank, extreme, dying]
    return np.concatenate([kinds[rng.integers(len(kinds))](rng, 1, n) for _ in range(length)])


KINDS: dict[str, Draw] = {
    draw.__name__: draw
    for draw in (
        gaussian, isometries, rotations, permutations, heads, switching, triangular, shifts,
        dying, extreme, low_rank, clusters, lstm, mixed,
    )
}  # fmt: skip
