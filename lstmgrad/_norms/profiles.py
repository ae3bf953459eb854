"""How far the gradient reaches: spectral norms of ds_t/ds_k over every lag t-k.

backward_norms  ‖∂s_T/∂s_k‖₂ for k = T, ..., 0   (one end, every start: what training sees)
forward_norms   ‖∂s_t/∂s_0‖₂ for t = 0, ..., T   (one start, every end)

All are natural logarithms, so that 10^-3000 is as printable as 10^-3.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from lstmgrad._chains.base import Chain, StoredChain, check_chain, check_spacing, check_stored
from lstmgrad._chains.blocks import Block, block_between
from lstmgrad._chains.padded import check_length, ending_last, repeating_last
from lstmgrad._compile import compiled, plain_options
from lstmgrad._norms.reading import read_norms
from lstmgrad._norms.records import NormProfile
from lstmgrad._numeric.tracked import NormReading
from lstmgrad._progress import Meter, Progress
from lstmgrad._types import Fixed, PartName


@plain_options
def backward_norms(
    chain: Chain,
    *,
    of: PartName | None = None,
    wrt: PartName | None = None,
    every: int = 1,
    rtol: float | int = 1e-5,
    progress: Progress | None = None,
    length: int | Int[Array, ""] | None = None,
) -> NormProfile:
    """Returns ‖∂s_T/∂s_k‖₂ for every k, by lag T-k.

    The rows of the `of` block are pulled back from T, and read at every k:
    U_T = I[of, :], U_{k-1} = U_k J_k, norm_{T-k} = ‖U_k[:, wrt]‖₂.

    Args:
        chain: T factors that can be pulled back (not a stream).
        of: the part of s_T; None is the whole state.
        wrt: the part of s_k; None is the whole state. Other parts of s_k are held (see `jacobian`).
        every: read the norm at lags 0, every, 2·every, ... <= T only.
        rtol: the relative error of a norm at which its refinement stops. A block of at most 32
            rows or columns gets an SVD, as does one of at most 256 where `every` is 32 or more, and
            every block for rtol = 0.
        progress: called as ``progress(steps_done, T)`` on the host, at most a hundred times on the
            way, less often where it would take more than 2 % of the time, and at last with (T, T).
            None calls nothing. It is a key of compilation: pass the same function. Under `jax.vmap`
            it is called for the whole batch at once, under `jax.grad` on the way forward alone.
        length: steps of the sequence, where its inputs are padded behind it to T: lags count from
            its own end, and those longer than it hold nothing (NaN). It may be traced, so a batch
            of unequal sequences is one compiled program.

    Returns:
        `NormProfile`, lag 0 first, with a proved bound of each norm's error: by traces, a
        Cholesky factorization or an SVD, whichever is the cheapest that succeeds.

    Raises:
        ValueError: an unknown part (the known ones are listed), `every` below 1 or above T, a
            negative `rtol`, a stream, a `length` that is not a whole number from 1 to T.

    Notes:
        T pulls of n_of rows, and a few matrix-vector products per lag; O(n_of n) memory beyond the
        chain; `every` copies the trajectory unless it divides T. Float32 suffices for any T,
        far in saturation, too, as long as it holds the factors. From some 1700 rows on, a bound
        cannot be below 10^-5 in float32 (2 √n eps): with rtol = 1e-4 such norms are resolved.

        Differentiable once with respect to the parameters inside the chain. The slope of a norm
        that was not taken by SVD is good to about √(rtol · σ₁ / (σ₁ - σ₂)), and second derivatives
        leave out how the singular vectors move: use rtol = 0 for both. Reverse-mode
        differentiation stores every block, O(T n_of n).

        Only the parts on a path from `wrt` to `of` are carried; no part beside them matters. Every
        row of the block has its own exponent, and what one row loses below the range of its dtype
        (entries 2^126 times below its largest, float32) is followed by a probe: where that may be
        as large as the norm, the norm is not resolved.

    Example:
        For `DenseChain` of T copies of g·Q with Q orthogonal, ``log_norms[j] = j ln g``.

        >>> rotations = lg.DenseChain(jnp.broadcast_to(0.9 * jnp.eye(2)[::-1], (6, 2, 2)))
        >>> norms = lg.backward_norms(rotations).log_norms
        >>> bool(jnp.allclose(norms, jnp.arange(7) * jnp.log(0.9), atol=1e-5))
        True

    References:
        Pascanu, Mikolov, Bengio 2013 (arXiv:1211.5063), Section 2.1. Golub & Kahan 1965.
    """
    if length is not None:
        length = check_length(length, check_stored(chain))
    options = {"of": of, "wrt": wrt, "every": every, "rtol": rtol, "progress": progress}
    return _backward_norms(chain, length, **options)


@compiled
def _backward_norms(
    chain: Chain, length: Any, *, of: Any, wrt: Any, every: Any, rtol: Any, progress: Any
) -> NormProfile:
    stored = check_stored(chain)
    every = check_spacing(every, stored)
    block = block_between(ending_last(stored, length), of, wrt)
    meter = Meter.of(progress, len(chain))
    readings = read_norms(block, every, rtol, fixed="end", meter=meter)
    return _profile(readings, block, every, of, wrt, "end", rtol, length)


@plain_options
def forward_norms(
    chain: Chain,
    *,
    of: PartName | None = None,
    wrt: PartName | None = None,
    every: int = 1,
    rtol: float | int = 1e-5,
    progress: Progress | None = None,
    length: int | Int[Array, ""] | None = None,
) -> NormProfile:
    """Returns ‖∂s_t/∂s_0‖₂ for every t, by lag t.

    Tangents along the `wrt` block are pushed forward from 0, and read at every t:
    V_0 = I[:, wrt], V_t = J_t V_{t-1}, norm_t = ‖V_t[of, :]‖₂.

    Args:
        chain: T factors; streams included.
        of: the part of s_t; None is the whole state.
        wrt: the part of s_0; None is the whole state. Other parts of s_0 are held (see `jacobian`).
        every: read the norm at lags 0, every, 2·every, ... <= T only.
        rtol: the relative error of a norm at which its refinement stops. A block of at most 32
            rows or columns gets an SVD, as does one of at most 256 where `every` is 32 or more, and
            every block for rtol = 0.
        progress: ``progress(steps_done, T)``, called on the way as for `backward_norms`.
        length: steps of the sequence, where its inputs are padded behind it to T, as for
            `backward_norms`.

    Returns:
        `NormProfile`, lag 0 first, with a proved bound of each norm's error: by traces, a
        Cholesky factorization or an SVD, whichever is the cheapest that succeeds.

    Raises:
        ValueError: an unknown part (the known ones are listed), `every` below 1 or above T, a
            negative `rtol`, a `length` that is not a whole number from 1 to T.

    Notes:
        T pushes of n_wrt tangents, and a few matrix-vector products per lag; O(n n_wrt) memory
        beyond the chain. Differentiable, as `backward_norms`.

    Example:
        The last entry is that of `backward_norms`: both are ‖∂s_T/∂s_0‖₂.

        >>> forward, backward = lg.forward_norms(chain), lg.backward_norms(chain)
        >>> bool(jnp.allclose(forward.log_norms[-1], backward.log_norms[-1], atol=1e-4))
        True
    """
    if length is not None:
        check_chain(chain)
        length = check_length(length, chain)
    options = {"of": of, "wrt": wrt, "every": every, "rtol": rtol, "progress": progress}
    return _forward_norms(chain, length, **options)


@compiled
def _forward_norms(
    chain: Chain, length: Any, *, of: Any, wrt: Any, every: Any, rtol: Any, progress: Any
) -> NormProfile:
    check_chain(chain)
    every = check_spacing(every, chain)
    if isinstance(chain, StoredChain):
        chain = repeating_last(chain, length)
    block = block_between(chain, of, wrt)
    meter = Meter.of(progress, len(chain))
    readings = read_norms(block, every, rtol, fixed="start", meter=meter)
    return _profile(readings, block, every, of, wrt, "start", rtol, length)


def _profile(
    readings: NormReading,
    block: Block,
    every: int,
    of: Any,
    wrt: Any,
    fixed: Fixed,
    rtol: float | int,
    length: Any,
) -> NormProfile:
    lags = np.arange(readings.log_norm.shape[0]) * every
    zero = block.is_zero(lags)
    found = (
        jnp.where(zero, -jnp.inf, readings.log_norm),
        jnp.where(zero, 0.0, readings.error),
    )
    if length is not None:
        found = (jnp.where(jnp.asarray(lags, length.dtype) <= length, x, jnp.nan) for x in found)
    log_norms, errors = found
    return NormProfile(
        lags=jnp.asarray(lags),
        log_norms=log_norms,
        errors=errors,
        of=of,
        wrt=wrt,
        fixed=fixed,
        rtol=rtol,
        length=length,
    )
