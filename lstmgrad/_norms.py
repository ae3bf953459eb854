"""How far the gradient reaches: spectral norms of ds_t/ds_k over every lag t-k.

backward_norms  ‖∂s_T/∂s_k‖₂ for k = T, ..., 0   (one end, every start: what training sees)
forward_norms   ‖∂s_t/∂s_0‖₂ for t = 0, ..., T   (one start, every end)
norm_map        ‖∂s_t/∂s_k‖₂ for every pair

All are natural logarithms, so that 10^-3000 is as printable as 10^-3. Two readings of a profile
follow: the horizon (where the norm has sunk below a threshold for good) and the decay rate.
"""

import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from lstmgrad._chain import Chain
from lstmgrad._checks import check_every, check_positive, check_tolerance
from lstmgrad._layout import Layout
from lstmgrad._propagate import sweep_backward, sweep_forward
from lstmgrad._scaled import Scaled, scaled
from lstmgrad._singular import NormReading, norm_reader
from lstmgrad._types import PartName


class _Norms(eqx.Module):
    """What a profile and a map share: which norms met their tolerance."""

    errors: eqx.AbstractVar[Float[Array, "..."]]
    rtol: eqx.AbstractVar[float]

    @property
    def converged(self) -> Bool[Array, "..."]:
        """Whether each norm met the tolerance: rtol, or the dtype's own epsilon."""
        return self.errors <= max(self.rtol, jnp.finfo(self.errors.dtype).eps)


class NormProfile(_Norms):
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
    rtol: float = eqx.field(static=True)


class NormMap(_Norms):
    """Spectral norms for every pair of times.

    Attributes:
        times: (G,), 0, every, 2·every, ..., at most T; both axes of the map.
        log_norms: (G, G), ln ‖∂of_t/∂wrt_k‖₂ with t = times[row], k = times[column]; NaN above the
            diagonal, where k > t and nothing is defined.
        errors: (G, G), the estimated relative error of each norm, as in `NormProfile`.
        of: the part of s_t, None for the whole state.
        wrt: the part of s_k, None for the whole state.
        rtol: the relative error that was asked for.
    """

    times: Int[Array, "*batch G"]
    log_norms: Float[Array, "*batch G G"]
    errors: Float[Array, "*batch G G"]
    of: PartName | None = eqx.field(static=True)
    wrt: PartName | None = eqx.field(static=True)
    rtol: float = eqx.field(static=True)


@eqx.filter_jit
def backward_norms(
    chain: Chain,
    *,
    of: PartName | None = None,
    wrt: PartName | None = None,
    every: int = 1,
    rtol: float = 1e-5,
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
            rows or columns gets an SVD, and so does every block for rtol = 0.

    Returns:
        `NormProfile`, lag 0 first, with an error estimate for each norm.

    Raises:
        ValueError: an unknown part (the known ones are listed), `every` below 1 or above T, a
            negative `rtol`, a stream.

    Notes:
        T pulls of n_of rows, and a few matrix-vector products a lag; O(n_of n) memory beyond the
        chain. Float32 suffices for any T. Differentiable with respect to the parameters inside the
        chain, as accurately as the singular vectors are found.

    Example:
        For `DenseChain` of T copies of g·Q with Q orthogonal, ``log_norms[j] = j ln g``.

    References:
        Pascanu, Mikolov, Bengio 2013 (arXiv:1211.5063), Section 2.1. Golub & Kahan 1965.
    """
    every = check_every(every, len(chain))
    rows, columns = chain.layout.block(of, "of"), chain.layout.block(wrt, "wrt")
    readings = _read_norms(chain, sweep_backward, rows, columns, every, rtol)
    return _profile(readings, every, of, wrt, "end", rtol)


@eqx.filter_jit
def forward_norms(
    chain: Chain,
    *,
    of: PartName | None = None,
    wrt: PartName | None = None,
    every: int = 1,
    rtol: float = 1e-5,
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
            rows or columns gets an SVD, and so does every block for rtol = 0.

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
    every = check_every(every, len(chain))
    rows, columns = chain.layout.block(of, "of"), chain.layout.block(wrt, "wrt")
    readings = _read_norms(chain, sweep_forward, columns, rows, every, rtol)
    return _profile(readings, every, of, wrt, "start", rtol)


@eqx.filter_jit
def norm_map(
    chain: Chain,
    *,
    of: PartName | None = None,
    wrt: PartName | None = None,
    every: int = 1,
    rtol: float = 1e-5,
    progress: Callable[[int, int], Any] | None = None,
) -> NormMap:
    """Returns ‖∂s_t/∂s_k‖₂ for every pair k <= t of a grid of times.

    Row t is `backward_norms` of ``chain[:t]``, read at the k of the grid.

    Args:
        chain: T factors that can be pulled back (not a stream).
        of: the part of s_t; None is the whole state.
        wrt: the part of s_k; None is the whole state.
        every: the spacing of the grid 0, every, 2·every, ... <= T, for both times.
        rtol: as in `backward_norms`.
        progress: called as ``progress(rows_done, rows)`` from the host after each row, for a
            progress bar; None calls nothing.

    Returns:
        `NormMap`, (G, G) with G = T // every + 1.

    Raises:
        ValueError: as `backward_norms`.

    Notes:
        G/2 sweeps of the chain. One sweep's block, (n_of, n), is held at a time: O(n_of n) memory
        beyond the chain and the map.

    Example:
        Row T is `backward_norms`, column 0 is `forward_norms`.
    """
    every = check_every(every, len(chain))
    rows, columns = chain.layout.block(of, "of"), chain.layout.block(wrt, "wrt")
    steps = len(chain) // every
    chain = chain[: steps * every]
    times = jnp.arange(steps + 1) * every

    def row(index: Int[Array, ""]) -> tuple[Float[Array, " G"], Float[Array, " G"]]:
        ending = _until(chain, times[index])
        by_lag = _read_norms(ending, sweep_backward, rows, columns, every, rtol, steps - 1 - index)
        if progress is not None:
            jax.debug.callback(progress, index + 1, steps + 1)
        return by_lag.log_norm[::-1], by_lag.error[::-1]

    log_norms, errors = jax.lax.map(row, jnp.arange(steps + 1))
    below = times[:, None] >= times[None, :]
    log_norms, errors = (jnp.where(below, values, jnp.nan) for values in (log_norms, errors))
    return NormMap(times=times, log_norms=log_norms, errors=errors, of=of, wrt=wrt, rtol=rtol)


@eqx.filter_jit
def horizon(profile: NormProfile, threshold: float = 1e-3) -> Float[Array, "*batch"]:
    """Returns the memory horizon: the first lag from which the norm stays below the threshold.

    min { L : ‖∂s_t/∂s_k‖₂ < threshold for every lag t-k >= L }. The *last* crossing counts, because
    a non-normal product may sink, grow and sink again.

    Args:
        profile: from `backward_norms` or `forward_norms`; a batch of profiles gives a batch.
        threshold: the norm below which a gradient counts as lost, above zero.

    Returns:
        Steps, as a float: +inf if the norm at the longest lag still reaches the threshold (the
        horizon lies beyond the profile), NaN if the profile holds a NaN.

    Raises:
        ValueError: the threshold is not a number above zero.

    Example:
        For norms 0.9^lag and threshold 1e-3 the horizon is 66, as 0.9^65 > 1e-3 > 0.9^66.
    """
    limit = math.log(check_positive(threshold, "threshold"))
    log_norms = profile.log_norms
    above = log_norms >= limit
    first_below = jnp.max(jnp.where(above, profile.lags + 1, 0), axis=-1)
    steps = jnp.where(above[..., -1], jnp.inf, first_below.astype(log_norms.dtype))
    return jnp.where(jnp.any(jnp.isnan(log_norms), axis=-1), jnp.nan, steps)


@eqx.filter_jit
def decay_rate(profile: NormProfile) -> Float[Array, "*batch"]:
    """Returns the rate at which the norm decays, in nats per step; negative where it grows.

    Minus the slope of the least-squares line through (lag, ln norm), over all lags at which the
    norm is not zero.

    Args:
        profile: from `backward_norms` or `forward_norms`; a batch of profiles gives a batch.

    Returns:
        Nats per step: exp(-rate) is the factor by which an average step scales the gradient, and
        1/rate its time constant in steps. +inf if the norm at the longest lag is exactly zero, NaN
        if the profile holds a NaN or fewer than two lags with a norm.

    Example:
        For norms 0.9^lag the rate is -ln 0.9 = 0.105.
    """
    log_norms, lags = profile.log_norms, profile.lags.astype(profile.log_norms.dtype)
    weight = (log_norms > -jnp.inf).astype(log_norms.dtype)
    count = jnp.sum(weight, axis=-1, keepdims=True)
    lags = weight * (lags - jnp.sum(weight * lags, axis=-1, keepdims=True) / count)
    slope = jnp.sum(lags * jnp.where(weight > 0, log_norms, 0.0), axis=-1) / jnp.sum(
        lags**2, axis=-1
    )
    rate = jnp.where(log_norms[..., -1] == -jnp.inf, jnp.inf, -slope)
    return jnp.where(jnp.any(jnp.isnan(log_norms), axis=-1), jnp.nan, rate)


def _profile(readings: NormReading, every: int, of, wrt, fixed: str, rtol: float) -> NormProfile:
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


def _read_norms(
    chain: Chain,
    sweep: Callable[..., tuple[Scaled, NormReading]],
    start: slice,
    part: slice,
    every: int,
    rtol: float,
    skip: int | Int[Array, ""] = 0,
) -> NormReading:
    """The norms of `part` of a block that starts as the unit vectors of `start`, by lag.

    With a traced `skip`, the first `skip` readings of the sweep are not made, and NaN.
    """
    check_tolerance(rtol)
    unit = scaled(jnp.eye(chain.layout.size, dtype=chain.layout.dtype)[start])
    sizes = start.stop - start.start, part.stop - part.start
    frame, read = norm_reader(*sizes, chain.layout.dtype, rtol)

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

    frame, first = read_part(frame, unit)
    unread = jax.tree.map(lambda leaf: jnp.full_like(leaf, jnp.nan), first)
    _, later = sweep(chain, unit, observe, (jnp.zeros_like(skip), frame), every)
    return jax.tree.map(lambda one, rest: jnp.concatenate([one[None], rest]), first, later)


def _until(chain: Chain, time: Int[Array, ""]) -> "_Until":
    indices = jnp.arange(1, len(chain) + 1)
    return _Until(factors=(indices, chain.factors), layout=chain.layout, chain=chain, time=time)


class _Until(Chain):
    """The chain J_1, ..., J_time, 1, ..., 1, for a `time` known only at run time."""

    factors: Any
    layout: Layout = eqx.field(static=True)
    chain: Chain
    time: Int[Array, ""]

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return self.chain.batch_shape

    def push(self, factor: Any, rows: Array) -> Array:
        return self._apply(self.chain.push, factor, rows)

    def pull(self, factor: Any, rows: Array) -> Array:
        return self._apply(self.chain.pull, factor, rows)

    def _apply(self, move: Callable[[Any, Array], Array], factor: Any, block: Array) -> Array:
        index, inner = factor
        return jax.lax.cond(index <= self.time, lambda: move(inner, block), lambda: block)
