"""How far the gradient reaches: spectral norms of ds_t/ds_k over every lag t-k.

backward_norms  ‖∂s_T/∂s_k‖₂ for k = T, ..., 0   (one end, every start: what training sees)
forward_norms   ‖∂s_t/∂s_0‖₂ for t = 0, ..., T   (one start, every end)

All are natural logarithms, so that 10^-3000 is as printable as 10^-3.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from lstmgrad._chains.chain import Chain
from lstmgrad._chains.diagonal import DiagonalChain
from lstmgrad._chains.propagate import sweep_backward, sweep_forward
from lstmgrad._checks import check_every, check_kind, check_tolerance
from lstmgrad._compile import compiled
from lstmgrad._numeric.scaled import Scaled, scaled, widen
from lstmgrad._numeric.spectral_norm import NormReading, norm_reader
from lstmgrad._types import PartName


class Norms(eqx.Module):
    """What a profile and a map share: which norms met their tolerance."""

    errors: eqx.AbstractVar[Float[Array, "..."]]
    rtol: eqx.AbstractVar[float | int]

    @property
    def converged(self) -> Bool[Array, "..."]:
        """Whether each norm met the tolerance: rtol, or the dtype's own epsilon."""
        errors = jnp.asarray(self.errors)
        return errors <= max(self.rtol, jnp.finfo(errors.dtype).eps)


class NormProfile(Norms):
    """Spectral norms against the lag.

    Attributes:
        lags: (L,), t-k = 0, every, 2·every, ...; 0, 1, ..., T by default.
        log_norms: (L,), ln ‖∂of_t/∂wrt_k‖₂; -inf where the Jacobian is exactly zero, NaN where
            the trajectory was NaN. Lag 0 is the identity: 0, or -inf for two different parts.
        errors: (L,), the estimated relative error of each norm, a lower bound of the true one, for
            the given product; the product's own rounding is not in it.
        of: the part of s_t, None for the whole state.
        wrt: the part of s_k, None for the whole state.
        fixed: "end" (t = T, from `backward_norms`) or "start" (k = 0, from `forward_norms`).
        rtol: the relative error that was asked for.
    """

    lags: Int[Array, "*batch L"]
    log_norms: Float[Array, "*batch L"]
    errors: Float[Array, "*batch L"]
    of: PartName | None = eqx.field(static=True)
    wrt: PartName | None = eqx.field(static=True)
    fixed: str = eqx.field(static=True)
    rtol: float | int = eqx.field(static=True)


@compiled
def backward_norms(
    chain: Chain,
    *,
    of: PartName | None = None,
    wrt: PartName | None = None,
    every: int = 1,
    rtol: float | int = 1e-5,
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

    Returns:
        `NormProfile`, lag 0 first, with an error estimate for each norm.

    Raises:
        ValueError: an unknown part (the known ones are listed), `every` below 1 or above T, a
            negative `rtol`, a stream.

    Notes:
        T pulls of n_of rows, and a few matrix-vector products a lag; O(n_of n) memory beyond the
        chain; `every` copies the trajectory unless it divides T. Float32 suffices for any T,
        as long as it holds the factors: far in saturation 1 - tanh² itself is rounding.

        Differentiable once with respect to the parameters inside the chain. The slope of a norm
        that was not taken by SVD is good to about √(rtol · σ₁ / (σ₁ - σ₂)), and second derivatives
        leave out how the singular vectors move: use rtol = 0 for both. Reverse-mode
        differentiation stores every block, O(T n_of n).

        One exponent serves the whole block:
        where `wrt` is a part whose derivatives are more than 2^126 times smaller (float32) than
        those by the rest of the state, it reads as -inf; likewise `of` in `forward_norms`.

    Example:
        For `DenseChain` of T copies of g·Q with Q orthogonal, ``log_norms[j] = j ln g``.

    References:
        Pascanu, Mikolov, Bengio 2013 (arXiv:1211.5063), Section 2.1. Golub & Kahan 1965.
    """
    check_kind(chain, Chain, "chain")
    every = check_every(every, len(chain))
    rows, columns = chain.layout.block(of, "of"), chain.layout.block(wrt, "wrt")
    if isinstance(chain, DiagonalChain):
        readings = _diagonal_norms(chain.log_gains()[::-1], rows, columns, every)
    else:
        readings = read_norms(chain, sweep_backward, rows, columns, every, rtol)
    return _profile(readings, every, of, wrt, "end", rtol)


@compiled
def forward_norms(
    chain: Chain,
    *,
    of: PartName | None = None,
    wrt: PartName | None = None,
    every: int = 1,
    rtol: float | int = 1e-5,
) -> NormProfile:
    """Returns ‖∂s_t/∂s_0‖₂ for every t, by lag t.

    Tangents along the `wrt` block are pushed forward from 0, and read at every t:
    V_0 = I[:, wrt], V_t = J_t V_{t-1}, norm_t = ‖V_t[of, :]‖₂.

    Args:
        chain: T factors; a stream will do.
        of: the part of s_t; None is the whole state.
        wrt: the part of s_0; None is the whole state. Other parts of s_0 are held (see `jacobian`).
        every: read the norm at lags 0, every, 2·every, ... <= T only.
        rtol: the relative error of a norm at which its refinement stops. A block of at most 32
            rows or columns gets an SVD, as does one of at most 256 where `every` is 32 or more, and
            every block for rtol = 0.

    Returns:
        `NormProfile`, lag 0 first, with an error estimate for each norm.

    Raises:
        ValueError: an unknown part (the known ones are listed), `every` below 1 or above T, a
            negative `rtol`.

    Notes:
        T pushes of n_wrt tangents, and a few matrix-vector products a lag; O(n n_wrt) memory
        beyond the chain. Differentiable, as `backward_norms`.

    Example:
        The last entry is that of `backward_norms`: both are ‖∂s_T/∂s_0‖₂.
    """
    check_kind(chain, Chain, "chain")
    every = check_every(every, len(chain))
    rows, columns = chain.layout.block(of, "of"), chain.layout.block(wrt, "wrt")
    if isinstance(chain, DiagonalChain):
        readings = _diagonal_norms(chain.log_gains(), rows, columns, every)
    else:
        readings = read_norms(chain, sweep_forward, columns, rows, every, rtol)
    return _profile(readings, every, of, wrt, "start", rtol)


def _diagonal_norms(
    log_gains: Float[Array, "T n"], rows: slice, columns: slice, every: int
) -> NormReading:
    """The norms of diagonal products, from the logarithms of their factors in order of lag."""
    shared = slice(max(rows.start, columns.start), min(rows.stop, columns.stop))
    sums = jnp.cumsum(log_gains[:, shared], axis=0)
    sums = jnp.concatenate([jnp.zeros_like(sums[:1]), sums])
    log_norms = jnp.max(sums, axis=1, initial=-jnp.inf)[::every]
    return NormReading(log_norms, jnp.zeros_like(log_norms))


def _profile(
    readings: NormReading, every: int, of, wrt, fixed: str, rtol: float | int
) -> NormProfile:
    lags = jnp.arange(readings.log_norm.shape[0]) * every
    return NormProfile(
        lags=lags,
        log_norms=readings.log_norm,
        errors=readings.error,
        of=of,
        wrt=wrt,
        fixed=fixed,
        rtol=rtol,
    )


def read_norms(
    chain: Chain,
    sweep: Callable[..., tuple[Scaled, NormReading]],
    start: slice,
    part: slice,
    every: int,
    rtol: float | int,
    skip: int | Int[Array, ""] = 0,
) -> NormReading:
    """The norms of `part` of a block that starts as the unit vectors of `start`, by lag.

    Args:
        chain: T factors.
        sweep: `sweep_backward` or `sweep_forward`.
        start: the part that the block starts from.
        part: the part that is read.
        every: the lags to read.
        rtol: the tolerance of a reading.
        skip: where it is traced, the first `skip` readings of the sweep are not made, and NaN.
    """
    check_tolerance(rtol)
    unit = scaled(jnp.eye(chain.layout.size, dtype=chain.layout.dtype)[start])
    sizes = start.stop - start.start, part.stop - part.start
    frame, read = norm_reader(*sizes, chain.layout.dtype, rtol, every)

    unread = NormReading(*[jnp.full((), jnp.nan, widen(unit.mantissa).dtype)] * 2)

    def read_part(frame: Any, block: Scaled) -> tuple[Any, NormReading]:
        return read(frame, Scaled(block.mantissa[:, part], block.exponent))

    def observe(carry: tuple, block: Scaled) -> tuple[tuple, NormReading]:
        count, frame = carry
        if isinstance(skip, int):
            frame, reading = read_part(frame, block)
        else:
            frame, reading = jax.lax.cond(
                count >= skip, lambda: read_part(frame, block), lambda: (frame, unread)
            )
        return (count + 1, frame), reading

    _, later = sweep(chain, unit, observe, (jnp.zeros_like(skip), frame), every)
    same = max(start.start, part.start) < min(start.stop, part.stop)
    first = NormReading(
        *(jnp.full(1, value, unread.error.dtype) for value in (0.0 if same else -jnp.inf, 0.0))
    )
    return jax.tree.map(lambda one, rest: jnp.concatenate([one, rest]), first, later)
