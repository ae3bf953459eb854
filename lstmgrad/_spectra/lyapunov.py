"""Lyapunov exponents: the mean rates, in nats per step, at which perturbations grow or shrink.

A frame of m orthonormal tangents is pushed through the chain. Left alone, all of them would turn
into the direction that grows fastest; so every few steps they are made orthonormal again,

    J_{t+k} ··· J_{t+1} Q_t = Q_{t+k} R_{t+k},        λ_i = (1/T) Σ ln |R_ii|,

and the i-th diagonal entry is what the i-th direction gains beyond those before it (Benettin et al.
1980). What the arithmetic cannot see: a direction that shrinks within one interval below the
rounding of the largest one is noise, |R_ii| ~ eps · R_11, and its exponent reads too high, however
long the chain. Intervals are therefore kept short enough that a third of the digits is spent, and
where a single step spends them all, the result says so.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from lstmgrad._chains.base import Chain, StoredChain, check_chain
from lstmgrad._chains.padded import check_length, repeating_last
from lstmgrad._checks import check_count, check_not_empty
from lstmgrad._compile import compiled, plain_options
from lstmgrad._numeric.frame_errors import Displacement
from lstmgrad._progress import Meter, Progress, portions, tell_all
from lstmgrad._spectra.copied import joined_sweeps
from lstmgrad._spectra.end import End, spectrum_of
from lstmgrad._spectra.frame_sweep import Plan, starting_state, swept, swept_whole
from lstmgrad._spectra.records import LyapunovSpectrum, LyapunovState

READINGS = 200
"""Running estimates of one call, at most."""


@plain_options
def lyapunov_spectrum(
    chain: Chain,
    start: Float[Array | np.ndarray, "n m"] | LyapunovState | None = None,
    *,
    num_exponents: int | None = None,
    burn_in: int = 0,
    interval: int | None = None,
    progress: Progress | None = None,
    length: int | Int[Array, ""] | None = None,
) -> LyapunovSpectrum:
    """Returns the first m Lyapunov exponents along a trajectory, in nats per step.

    λ_i = lim (1/T) ln σ_i(J_T ··· J_1), by the QR method on the full state, (h, c) of an LSTM.

    Args:
        chain: T factors of any kind, driven by inputs or autonomous. A stream needs memory for its
            inputs and one frame only.
        start: the frame at s_0, (n, m) columns in the chain's dtype, which is made orthonormal; or
            the `state` of an earlier result, whose sums are then continued. None is the identity
            for m = n, and a fixed random frame for m < n.
        num_exponents: m; None is that of `start`, or all n.
        burn_in: steps at the beginning that turn the frame and are not counted. To let the state
            alone settle, slice the chain: ``chain[k:]``.
        interval: steps between re-orthogonalizations. None chooses them as it goes: as many as the
            directions of the frame, at the rates of recent intervals, need to grow apart by a
            factor eps^(-1/3).
        progress: ``progress(steps_done, T)``, called on the way as for `backward_norms`.
        length: steps of the sequence, where its inputs are padded behind it to T: later ones are
            not counted. It may be traced, so a batch of unequal sequences is one compiled program.

    Returns:
        `LyapunovSpectrum`. Exponents with ``resolved`` False lie below what the arithmetic sees,
        and read too high, or their directions were lost.

    Raises:
        ValueError: more exponents than the state has dimensions, `interval` below 1 or above T,
            a `burn_in` that leaves no step, a start of another shape or dtype, a `length` that is
            not a whole number from 1 to T, or is given for a stream.

    Notes:
        T pushes of m tangents, a probe and, for m < n, a stray that says what rounding does outside
        the frame; and a QR of (n, m), 4 n m² operations, with three products and an inverse for its
        errors, per interval and for each of the running estimates;
        memory O(n m + m²) besides the chain. Under `jax.vmap` all frames pay for
        a QR where one of them needs it. Differentiable in reverse mode where `interval` is given.
        Without a `start`, a diagonal chain needs no QR: its exponents are the means of ln |a_t|;
        and a matrix that is multiplied on one side has those of one of its rows, d_v times each.

        A given `interval` is not corrected where it is too long; `resolved` says so: what rounding
        does inside an interval is carried along by one more tangent. -inf stands for tangents that
        the factors make zero entry by entry, and for as many as there are more tangents than
        coordinates that are not zero; a factor that is singular otherwise leaves rounding, which
        `resolved` denies. So it is where a coordinate came near the end of the dtype's range and
        may matter again later, unless a factor takes it through half of the range at once; and
        where a tangent, or a direction outside the frame, has outgrown a tangent before it by more
        than all digits, as groups of units may that shrink in turn, unless the factors keep them
        apart. It errs on the side of doubt: some of the exponents just above the floor are better
        than it says. `log_abs_det` gives the sum of all exponents without a QR, and so that of the
        unresolved ones by difference.

        Standard errors are those of means over at most 32 blocks of time, none shorter than T/200:
        too small where the dynamics remembers longer than a block. Parts of a continued
        computation have blocks of their own. With `length`, blocks and running estimates are laid
        out for T, and estimates behind the end repeat the last one; a traced length that the
        burn-in leaves no step of has exponents of NaN.

    Example:
        For `DenseChain` of T copies of a matrix W, the exponents are ln |eigenvalues of W|.

        >>> factors = jnp.broadcast_to(jnp.diag(jnp.array([2.0, 0.5])), (6, 2, 2))
        >>> found = lg.lyapunov_spectrum(lg.DenseChain(factors)).exponents
        >>> bool(jnp.allclose(found, jnp.log(jnp.array([2.0, 0.5])), atol=1e-5))
        True

    References:
        Benettin, Galgani, Giorgilli & Strelcyn 1980, Meccanica 15; Eckmann & Ruelle 1985, Section
        5. For driven recurrent networks: Engelken, Wolf & Abbott 2023 (arXiv:2006.02427); Vogt et
        al. 2022 (arXiv:2006.14123).
    """
    check_chain(chain)
    length = check_length(length, chain)
    if length is not None and not isinstance(chain, StoredChain):
        raise ValueError(
            "length: expected None for a stream, whose state at the end would be that behind the "
            "padding. Leave the padding out of its inputs: stream(..., inputs[:length])."
        )
    options = {"num_exponents": num_exponents, "burn_in": burn_in, "interval": interval}
    return _exponents(chain, start, length, **options, progress=progress)


@compiled
def _exponents(
    chain: Chain,
    start: Any,
    length: Any,
    *,
    num_exponents: Any,
    burn_in: Any,
    interval: Any,
    progress: Any,
) -> LyapunovSpectrum:
    steps = len(chain)
    check_not_empty(steps)
    why = "so that a step is left to count"
    burn_in = check_count(burn_in, "burn_in", 0, most=steps - 1, limit="T - 1", why=why)
    if interval is not None:
        interval = check_count(interval, "interval", most=steps, limit="T")
    if isinstance(chain, StoredChain):
        chain = repeating_last(chain, length)
    state = starting_state(chain, start, num_exponents)
    most = steps - burn_in
    counted = jnp.int32(most) if length is None else length.astype(jnp.int32) - burn_in
    cell = (interval or 1) * math.ceil(most / (READINGS * (interval or 1)))
    gains, copies = chain.log_gains(), chain.copies()
    meter = Meter.of(progress, steps)
    if gains is not None and start is None:
        tell_all(meter)
        return _diagonal_spectrum(gains[burn_in:], state, counted, cell)
    plan = Plan(counted, burn_in, cell, interval, length, meter)
    if copies is not None and start is None:
        plans = [plan._replace(meter=own) for own in portions(meter, *[1] * len(copies))]
        sweeps = [
            jax.vmap(functools.partial(swept_whole, plan=own))(each.chains)
            for each, own in zip(copies, plans, strict=True)
        ]
        joined = joined_sweeps(sweeps, [each.multiplicity for each in copies], state.frame.shape[1])
        displaced = Displacement(joined.displaced, state.strayed)
        end = End(*joined[:3], displaced, state.stray, joined.faded, None)
        return spectrum_of(state, end, counted, cell)
    return spectrum_of(state, swept(chain, state, plan), counted, cell)


def _diagonal_spectrum(
    gains: Float[Array, "counted n"], state: LyapunovState, counted: Int[Array, ""], cell: int
) -> LyapunovSpectrum:
    """The exponents of diagonal factors: the means of ln |a_t|, entry by entry.

    Args:
        gains: ln |a_t| of the steps behind the burn-in.
        state: that a sweep would start from, whose frame says how many exponents are wanted.
        counted: how many of these steps count, the first ones.
        cell: steps of one sum.
    """
    dtype, (size, wanted) = state.log_sums.dtype, state.frame.shape
    gains = gains.astype(dtype)
    gains = jnp.where((jnp.arange(len(gains), dtype=jnp.int32) < counted)[:, None], gains, 0.0)
    filled = jnp.pad(gains, ((0, -len(gains) % cell), (0, 0))).reshape(-1, cell, size)
    cells = jnp.sum(filled, axis=1)
    best = jnp.argsort(-jnp.sum(gains, axis=0))[:wanted]
    frame = jnp.eye(size, dtype=state.frame.dtype)[:, best]
    eps = jnp.asarray(jnp.finfo(dtype).eps, dtype)
    finite = jnp.where(jnp.isneginf(gains), 0.0, jnp.abs(gains))
    roundings = eps * (counted.astype(dtype) + jnp.sum(finite, axis=0))[best]
    displaced = Displacement(state.displaced, state.strayed)
    end = End(frame, cells[:, best], roundings, displaced, state.stray, state.faded, None)
    return spectrum_of(state, end, counted, cell)
