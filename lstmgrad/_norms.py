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
from jaxtyping import Array, Float, Int

from lstmgrad._chain import Chain
from lstmgrad._checks import check_count, check_positive
from lstmgrad._layout import Layout
from lstmgrad._propagate import sweep_backward, sweep_forward
from lstmgrad._scaled import Scaled, scaled
from lstmgrad._singular import log_spectral_norm
from lstmgrad._types import PartName


class NormProfile(eqx.Module):
    """Spectral norms against the lag.

    Attributes:
        lags: (T+1,), t-k = 0, 1, ..., T.
        log_norms: (T+1,), ln ‖∂of_t/∂wrt_k‖₂; -inf where the Jacobian is exactly zero, NaN where
            the trajectory was NaN. Lag 0 is the identity: 0, or -inf for two different parts.
        of: the part of s_t, None for the whole state.
        wrt: the part of s_k, None for the whole state.
        fixed: "end" (t = T, from `backward_norms`) or "start" (k = 0, from `forward_norms`).
    """

    lags: Int[Array, "*batch lags"]
    log_norms: Float[Array, "*batch lags"]
    of: PartName | None = eqx.field(static=True, default=None)
    wrt: PartName | None = eqx.field(static=True, default=None)
    fixed: str = eqx.field(static=True, default="end")


class NormMap(eqx.Module):
    """Spectral norms for every pair of times.

    Attributes:
        times: (G,), 0, every, 2·every, ..., at most T; both axes of the map.
        log_norms: (G, G), ln ‖∂of_t/∂wrt_k‖₂ with t = times[row], k = times[column]; NaN above the
            diagonal, where k > t and nothing is defined.
        of: the part of s_t, None for the whole state.
        wrt: the part of s_k, None for the whole state.
    """

    times: Int[Array, "*batch G"]
    log_norms: Float[Array, "*batch G G"]
    of: PartName | None = eqx.field(static=True, default=None)
    wrt: PartName | None = eqx.field(static=True, default=None)


@eqx.filter_jit
def backward_norms(
    chain: Chain, *, of: PartName | None = None, wrt: PartName | None = None
) -> NormProfile:
    """Returns ‖∂s_T/∂s_k‖₂ for every k, by lag T-k.

    The rows of the `of` block are pulled back from T, and read at every k:
    U_T = I[of, :], U_{k-1} = U_k J_k, norm_{T-k} = ‖U_k[:, wrt]‖₂.

    Args:
        chain: T factors.
        of: the part of s_T; None is the whole state.
        wrt: the part of s_k; None is the whole state. Other parts of s_k are held (see `jacobian`).

    Returns:
        `NormProfile` of T+1 lags, lag 0 first.

    Raises:
        ValueError: an unknown part (the known ones are listed).

    Notes:
        T pulls of n_of rows and T+1 SVDs; O(n_of n) memory beyond the chain. Float32 suffices for
        any T. Differentiable with respect to the parameters inside the chain.

    Example:
        For `DenseChain` of T copies of g·Q with Q orthogonal, ``log_norms[j] = j ln g``.

    References:
        Pascanu, Mikolov, Bengio 2013 (arXiv:1211.5063), Section 2.1.
    """
    len(chain)
    columns = chain.layout.block(wrt, "wrt")
    start = _identity(chain)[chain.layout.block(of, "of")]
    first, later = _read_norms(chain, sweep_backward, start, lambda rows: rows[:, columns])
    log_norms = jnp.concatenate([first[None], later[::-1]])
    return NormProfile(jnp.arange(len(chain) + 1), log_norms, of, wrt, "end")


@eqx.filter_jit
def forward_norms(
    chain: Chain, *, of: PartName | None = None, wrt: PartName | None = None
) -> NormProfile:
    """Returns ‖∂s_t/∂s_0‖₂ for every t, by lag t.

    The columns of the `wrt` block are pushed forward from 0, and read at every t:
    V_0 = I[:, wrt], V_t = J_t V_{t-1}, norm_t = ‖V_t[of, :]‖₂.

    Args:
        chain: T factors.
        of: the part of s_t; None is the whole state.
        wrt: the part of s_0; None is the whole state. Other parts of s_0 are held (see `jacobian`).

    Returns:
        `NormProfile` of T+1 lags, lag 0 first.

    Raises:
        ValueError: an unknown part (the known ones are listed).

    Notes:
        T pushes of n_wrt columns and T+1 SVDs; O(n n_wrt) memory beyond the chain.

    Example:
        The last entry is that of `backward_norms`: both are ‖∂s_T/∂s_0‖₂.
    """
    len(chain)
    rows = chain.layout.block(of, "of")
    start = _identity(chain)[:, chain.layout.block(wrt, "wrt")]
    first, later = _read_norms(chain, sweep_forward, start, lambda columns: columns[rows])
    log_norms = jnp.concatenate([first[None], later])
    return NormProfile(jnp.arange(len(chain) + 1), log_norms, of, wrt, "start")


@eqx.filter_jit
def norm_map(
    chain: Chain, *, of: PartName | None = None, wrt: PartName | None = None, every: int = 1
) -> NormMap:
    """Returns ‖∂s_t/∂s_k‖₂ for every pair k <= t of a grid of times.

    Row t is `backward_norms` of ``chain[:t]``, read at the k of the grid.

    Args:
        chain: T factors.
        of: the part of s_t; None is the whole state.
        wrt: the part of s_k; None is the whole state.
        every: the spacing of the grid 0, every, 2·every, ... <= T, for both times.

    Returns:
        `NormMap`, (G, G) with G = T // every + 1.

    Raises:
        ValueError: an unknown part, or `every` is not a whole number of 1 or more.

    Notes:
        G/2 sweeps of the chain, O(n_of n) memory beyond the chain and the map.

    Example:
        Row T is `backward_norms`, column 0 is `forward_norms`.
    """
    every = check_count(every, "every")
    times = jnp.arange(0, len(chain) + 1, every)

    def row(time: Int[Array, ""]) -> Float[Array, " G"]:
        by_lag = backward_norms(_until(chain, time), of=of, wrt=wrt).log_norms
        return jnp.where(times <= time, by_lag[::-1][::every], jnp.nan)

    return NormMap(times, jax.lax.map(row, times), of, wrt)


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


def _identity(chain: Chain) -> Float[Array, "n n"]:
    return jnp.eye(chain.layout.size, dtype=chain.layout.dtype)


def _read_norms(
    chain: Chain,
    sweep: Callable[..., Any],
    start: Float[Array, "rows columns"],
    part: Callable[[Array], Array],
) -> tuple[Float[Array, ""], Float[Array, " T"]]:
    """The log-norm of one part of the block, at the start and beside each factor, by time."""

    def observe(carry: None, block: Scaled) -> tuple[None, Array]:
        return None, log_spectral_norm(Scaled(part(block.mantissa), block.exponent))

    block = scaled(start)
    _, first = observe(None, block)
    _, later = sweep(chain, block, observe)
    return first, later


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

    def push(self, factor: Any, columns: Array) -> Array:
        return self._apply(self.chain.push, factor, columns)

    def pull(self, factor: Any, rows: Array) -> Array:
        return self._apply(self.chain.pull, factor, rows)

    def _apply(self, move: Callable[[Any, Array], Array], factor: Any, block: Array) -> Array:
        index, inner = factor
        return jax.lax.cond(index <= self.time, lambda: move(inner, block), lambda: block)
