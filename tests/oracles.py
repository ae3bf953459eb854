"""Answers that owe nothing to the library: automatic differentiation of the whole unroll, NumPy."""

import decimal
import itertools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from registry import Problem


def eps(dtype: Any) -> float:
    """The relative rounding error of a dtype, as a Python float."""
    return float(jnp.finfo(dtype).eps)


def flatten(state: Any) -> jax.Array:
    """Real and imaginary parts of every floating-point or complex leaf, in pytree order."""
    pieces = []
    for leaf in jax.tree.leaves(state):
        if jnp.iscomplexobj(leaf):
            pieces += [jnp.real(leaf).ravel(), jnp.imag(leaf).ravel()]
        elif jnp.issubdtype(leaf.dtype, jnp.floating):
            pieces.append(jnp.ravel(leaf))
    return jnp.concatenate(pieces)


def add(state: Any, delta: jax.Array) -> Any:
    """The state moved by a flat real vector."""
    leaves, treedef = jax.tree.flatten(state)
    moved, start = [], 0
    for leaf in leaves:
        if jnp.iscomplexobj(leaf):
            real, imag = delta[start : start + leaf.size], delta[start + leaf.size :][: leaf.size]
            start += 2 * leaf.size
            leaf = leaf + jax.lax.complex(real, imag).reshape(leaf.shape)
        elif jnp.issubdtype(leaf.dtype, jnp.floating):
            leaf = leaf + delta[start : start + leaf.size].reshape(leaf.shape)
            start += leaf.size
        moved.append(leaf)
    return jax.tree.unflatten(treedef, moved)


def pairwise_jacobians(problem: Problem) -> np.ndarray:
    """ds_t/ds_k of the whole unroll at [t, :, k, :], by jacrev through one plain scan.

    The states are perturbed at every time at once: s_t = step(s_{t-1}, x_t) + delta_t.
    """
    arrays = jax.tree.map(jnp.asarray, (problem.state, problem.inputs))
    return np.asarray(_pairwise_jacobians(problem.step, problem.params, *arrays))


@eqx.filter_jit
def _pairwise_jacobians(step, params, start, inputs):
    length, flat = jax.tree.leaves(inputs)[0].shape[0], flatten(start)

    def run(deltas):
        def advance(state, entry):
            x, delta = entry
            state = add(step(params, state, x), delta)
            return state, flatten(state)

        first = add(start, deltas[0])
        later = jax.lax.scan(advance, first, (inputs, deltas[1:]))[1]
        return jnp.concatenate([flatten(first)[None], later])

    return jax.jacrev(run)(jnp.zeros((length + 1, flat.size), flat.dtype))


def loop_product(factors: Any) -> np.ndarray:
    """J_T ··· J_1 by a NumPy loop, latest factor on the left."""
    factors = np.asarray(factors)
    product = np.eye(factors.shape[-1])
    for factor in factors:
        product = factor @ product
    return product


def log_norm(matrix: Any) -> float:
    """Ln of the spectral norm, by NumPy; -inf for zero."""
    with np.errstate(divide="ignore"):
        return float(np.log(np.linalg.norm(np.asarray(matrix), 2)))


def loop_log_norms(factors: Any) -> np.ndarray:
    """Ln ‖J_t ··· J_1‖₂ for t = 0..T in float64, rescaled after every factor."""
    factors = np.asarray(factors, np.float64)
    product, log_scale, norms = np.eye(factors.shape[-1]), 0.0, [0.0]
    for factor in factors:
        product = factor @ product
        size = np.linalg.norm(product, 2)
        log_scale += np.log(size)
        product = product / size
        norms.append(log_scale)
    return np.asarray(norms)


def block_log_norms(
    factors: Any, rows: slice = slice(None), columns: slice = slice(None), *, fixed: str = "start"
) -> np.ndarray:
    """Ln ‖(J_t ··· J_1)[rows, columns]‖₂ by lag; with fixed="end", of J_T ··· J_{k+1} by T-k.

    By NumPy's SVD of float64 products, rescaled after every factor.
    """
    factors = np.asarray(factors, np.float64)
    product, log_scale = np.eye(factors.shape[-1]), 0.0
    norms = [log_norm(product[rows, columns])]
    for factor in factors if fixed == "start" else factors[::-1]:
        product = factor @ product if fixed == "start" else product @ factor
        size = np.abs(product).max() or 1.0
        product, log_scale = product / size, log_scale + np.log(size)
        norms.append(log_norm(product[rows, columns]) + log_scale)
    return np.asarray(norms)


def exact_log_singular_values(
    factors: Any, rows: slice = slice(None), columns: slice = slice(None), digits: int = 1500
) -> np.ndarray:
    """Ln of the singular values of (J_T ··· J_1)[rows, columns] in decimal arithmetic, descending.

    The product is formed as it stands, and its rows are rotated until they are orthogonal to 30
    digits: all plain, with `digits` to spare for any spread of the values.
    """
    with decimal.localcontext(prec=digits, Emin=-(10**9), Emax=10**9):
        n = factors[0].shape[0]
        matrix = [[decimal.Decimal(int(i == j)) for j in range(n)] for i in range(n)]
        for factor in factors:
            exact = [[decimal.Decimal(float(entry)) for entry in row] for row in factor]
            columns_of = list(zip(*matrix, strict=True))
            matrix = [[_dot(row, column) for column in columns_of] for row in exact]
        matrix = [row[columns] for row in matrix[rows]]
        if len(matrix) > len(matrix[0]):
            matrix = [list(column) for column in zip(*matrix, strict=True)]
        worst = decimal.Decimal(1)
        while worst > decimal.Decimal("1e-30"):
            worst = decimal.Decimal(0)
            for i, j in itertools.combinations(range(len(matrix)), 2):
                a, b = matrix[i], matrix[j]
                p, q, r = _dot(a, a), _dot(b, b), _dot(a, b)
                if r == 0:
                    continue
                worst = max(worst, abs(r) / (p * q).sqrt())
                zeta = (q - p) / (2 * r)
                tan = (1 if zeta >= 0 else -1) / (abs(zeta) + (1 + zeta * zeta).sqrt())
                cos = 1 / (1 + tan * tan).sqrt()
                matrix[i] = [cos * (x - tan * y) for x, y in zip(a, b, strict=True)]
                matrix[j] = [cos * (y + tan * x) for x, y in zip(a, b, strict=True)]
        squares = [_dot(row, row) for row in matrix]
        logs = [float(square.ln() / 2) if square else -np.inf for square in squares]
    return np.sort(logs)[::-1]


def _dot(a: Any, b: Any) -> decimal.Decimal:
    return sum((x * y for x, y in zip(a, b, strict=True)), decimal.Decimal(0))
