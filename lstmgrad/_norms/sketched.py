"""Norms from a few vectors: cheap lower bounds, for numbers that are read again and again.

A few random cotangents are pulled back from T; at a lag they span the directions at T - lag that
the product sees best. An orthonormal frame Q of their span is pushed forward again, and

    ‖(∂s_T/∂s_k) Q‖₂ <= ‖∂s_T/∂s_k‖₂,      Q = orth((Ω ∂s_T/∂s_k)ᵀ),

with equality as soon as fewer directions than vectors survive (Halko, Martinsson & Tropp 2011,
arXiv:0909.4061, Section 4.3 with one power iteration). No decomposition is larger than the number
of vectors.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lstmgrad._chains.base import Chain, check_stored
from lstmgrad._chains.blocks import block_between
from lstmgrad._chains.sweeps import sweep_backward, sweep_from
from lstmgrad._numeric import lapack
from lstmgrad._numeric.rows import joined
from lstmgrad._numeric.scaled import Scaled, log_of, normalize, widen
from lstmgrad._types import PartName


def sketched_log_norms(
    chain: Chain,
    lags: Sequence[int],
    *,
    of: PartName | None = None,
    wrt: PartName | None = None,
    vectors: int = 4,
) -> Float[Array, " L"]:
    """Returns lower bounds of ln ‖∂s_T/∂s_{T-lag}‖₂ at chosen lags.

    Args:
        chain: T factors that can be pulled back (not a stream).
        lags: increasing whole numbers, 1 <= lag <= T.
        of: the part of s_T; None is the whole state.
        wrt: the part of s_{T-lag}; None is the whole state.
        vectors: random vectors, at least 1.

    Returns:
        (L,), natural logarithms, -inf for exact zeros. At long lags, where few directions survive,
        they are the norms themselves; where n directions fare alike, they are too small by some
        tenths of a nat.

    Notes:
        One pull of `vectors` rows over the longest lag, and one push of as many over every lag.
        Not differentiable in reverse mode.
    """
    block = block_between(check_stored(chain), of, wrt)
    if not block.connected:
        return jnp.full(len(lags), -jnp.inf, widen(jnp.zeros((), chain.layout.dtype)).dtype)
    length, longest = len(chain), lags[-1]
    tail = check_stored(block.chain[length - longest :])
    size, dtype = tail.layout.size, tail.layout.dtype
    count = min(vectors, *block.shape)
    normal = np.random.default_rng(0).standard_normal((block.shape[0], count))
    random = jnp.asarray(np.linalg.qr(normal)[0].T, dtype)
    rows = jnp.zeros((count, size), dtype).at[:, block.rows].set(random)
    _, pulled = sweep_backward(
        tail, _with_exponents(rows), lambda carry, rows: (carry, rows, rows.mantissa), None
    )
    places = jnp.asarray(lags) - 1
    frames = jax.vmap(_orthonormal)(pulled[places][:, :, block.columns])

    def log_norm(entry: tuple[Array, Array]) -> Array:
        start, frame = entry
        rows = jnp.zeros((count, size), dtype).at[:, block.columns].set(frame)
        moved = sweep_from(tail, _with_exponents(rows), start)
        return _log_norm(Scaled(widen(moved.mantissa[:, block.rows]), moved.exponent))

    found = jax.lax.map(log_norm, (longest - jnp.asarray(lags), frames))
    return jnp.where(block.is_zero(np.asarray(lags)), -jnp.inf, found)


def _with_exponents(rows: Float[Array, "m n"]) -> Scaled:
    """Rows with an exponent each, which keep their size however far the others are above them."""
    return Scaled(rows, jnp.zeros(len(rows), jnp.int32))


def _orthonormal(rows: Float[Array, "m n"]) -> Float[Array, "m n"]:
    """An orthonormal frame whose span holds that of some rows, each of any size."""
    zeros = jnp.zeros(len(rows), jnp.int32)
    return lapack.qr(widen(normalize(Scaled(rows, zeros)).mantissa).T)[0].T.astype(rows.dtype)


def _log_norm(rows: Scaled) -> Float[Array, ""]:
    """The logarithm of the spectral norm of a few rows with an exponent each."""
    block = normalize(joined(rows))
    with jax.default_matmul_precision("highest"):
        gram = block.mantissa @ block.mantissa.T
    broken = jnp.any(~jnp.isfinite(gram))
    values, _ = lapack.eigh(jnp.where(broken, 0.0, gram))
    largest = jnp.sqrt(jnp.maximum(values[-1], 0.0))
    return jnp.where(broken, jnp.nan, log_of(largest, block.exponent))
