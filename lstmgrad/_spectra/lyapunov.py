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

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from lstmgrad._chains.chain import Chain
from lstmgrad._chains.propagate import sweep_renewed
from lstmgrad._checks import (
    check_burn_in,
    check_every,
    check_exponent_count,
    check_frame,
    check_kind,
)
from lstmgrad._compile import compiled
from lstmgrad._numeric.frame import Sums, orthonormal, renewal
from lstmgrad._numeric.scaled import Scaled, scaled

READINGS = 200
"""Running estimates of one call, at most."""

BLOCKS = 32
"""Blocks of time, at most, whose scatter gives the standard errors."""


class LyapunovState(eqx.Module):
    """Where a computation stands, to go on from along the next piece of the sequence.

    Attributes:
        frame: (n, m), orthonormal columns, the tangents at the last state.
        steps: the steps counted so far.
        log_sums: (m,), Σ ln |R_ii| over these steps.
        variances: (m,), the estimated variance of `log_sums`.
        roundings: (m,), the estimated effect of rounding on `log_sums`.
        model_state: s_T of a stream, the start of the next one; None where states are stored.
    """

    frame: Float[Array, "*batch n m"]
    steps: Int[Array, "*batch"]
    log_sums: Float[Array, "*batch m"]
    variances: Float[Array, "*batch m"]
    roundings: Float[Array, "*batch m"]
    model_state: Any


class LyapunovSpectrum(eqx.Module):
    """Lyapunov exponents along one trajectory, in nats per step.

    Attributes:
        exponents: (m,), from the largest on; -inf for directions that become exactly zero, NaN
            where the trajectory was NaN.
        standard_errors: (m,), of the time means, from the scatter between blocks of time: zero
            for -inf, inf where the chain is too short for two blocks.
        rounding_errors: (m,), nats per step by which rounding may have displaced the exponent. An
            entry of R that may be nothing but rounding counts with all its digits, ln 1/eps.
        times: (G,), steps counted up to each running estimate, at most 200 of them.
        running: (G, m), the estimates from the steps up to these times; the last are `exponents`.
        state: to go on from.
    """

    exponents: Float[Array, "*batch m"]
    standard_errors: Float[Array, "*batch m"]
    rounding_errors: Float[Array, "*batch m"]
    times: Int[Array, "*batch G"]
    running: Float[Array, "*batch G m"]
    state: LyapunovState

    @property
    def resolved(self) -> Bool[Array, "*batch m"]:
        """Whether rounding matters less than the standard error, or than √eps nats per step."""
        eps = jnp.finfo(self.state.frame.dtype).eps
        sampling = jnp.where(jnp.isfinite(self.standard_errors), self.standard_errors, 0.0)
        return self.rounding_errors <= jnp.maximum(sampling, math.sqrt(eps))


@compiled
def lyapunov_spectrum(
    chain: Chain,
    start: Float[Array | np.ndarray, "n m"] | LyapunovState | None = None,
    *,
    num_exponents: int | None = None,
    burn_in: int = 0,
    every: int | None = None,
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
        every: steps between re-orthogonalizations. None chooses them as it goes: as many as the
            directions of the frame, at the rates of recent intervals, need to grow apart by a
            factor eps^(-1/3).

    Returns:
        `LyapunovSpectrum`. Exponents with ``resolved`` False lie below what the arithmetic sees,
        and read too high.

    Raises:
        ValueError: more exponents than the state has dimensions, `every` below 1 or above T, a
            `burn_in` that leaves no step, a start of another shape or dtype.

    Notes:
        T pushes of m tangents, and a QR of (n, m), 4 n m² operations, per interval and for each of
        the running estimates; memory O(n m) besides the chain. Under `jax.vmap` all frames pay for
        a QR where one of them needs it. Differentiable in reverse mode where `every` is given.

        A given `every` is not corrected where it is too long; `resolved` says so, but for a
        direction that loses more than the dtype's whole range in one interval, which reads as -inf.
        -inf stands for tangents that the factors make zero entry by entry; a factor that is
        singular otherwise leaves rounding, which `resolved` denies. It errs on the side of doubt:
        some of the exponents just above the floor are better than it says. `log_abs_det` gives the
        sum of all exponents without a QR, and so that of the unresolved ones by difference.

        Standard errors are those of means over at most 32 blocks of time, none shorter than T/200:
        too small where the dynamics remembers longer than a block. Parts of a continued
        computation have blocks of their own.

    Example:
        For `DenseChain` of T copies of a matrix W, the exponents are ln |eigenvalues of W|.

    References:
        Benettin, Galgani, Giorgilli & Strelcyn 1980, Meccanica 15; Eckmann & Ruelle 1985, Section
        5. For driven recurrent networks: Engelken, Wolf & Abbott 2023 (arXiv:2006.02427); Vogt et
        al. 2022 (arXiv:2006.14123).
    """
    check_kind(chain, Chain, "chain")
    length = len(chain)
    burn_in = check_burn_in(burn_in, length)
    every = None if every is None else check_every(every, length)
    state = starting_state(chain, start, num_exponents)
    counted = length - burn_in
    cell = (every or 1) * math.ceil(counted / (READINGS * (every or 1)))
    renew = renewal(chain.layout.dtype, length, burn_in, cell, every)
    zero = jnp.zeros((), jnp.int32)
    cells = jnp.zeros((math.ceil(counted / cell), *state.log_sums.shape), state.log_sums.dtype)
    rate = jnp.full((), jnp.inf, cells.dtype)  # unknown: the first interval is one step
    sums = Sums(zero, zero, rate, cells, jnp.zeros_like(state.roundings))
    block = Scaled(state.frame.T, zero)
    ((model_state, block), sums), _ = sweep_renewed(chain, block, renew, sums)
    return _spectrum(state, sums, block, model_state, counted, cell)


def starting_state(chain: Chain, start: Any, num_exponents: int | None) -> LyapunovState:
    """The state to start from.

    Args:
        chain: whose tangents the frame holds.
        start: a state, a frame (n, m), or None.
        num_exponents: m, or None.
    """
    size, dtype = chain.layout.size, chain.layout.dtype
    if isinstance(start, LyapunovState):
        check_frame(start.frame.shape, start.frame.dtype, size, dtype, num_exponents)
        return start
    if start is None:
        count = size if num_exponents is None else check_exponent_count(num_exponents, size)
        if count == size:
            start = jnp.eye(size, dtype=dtype)
        else:
            start = jax.random.normal(jax.random.key(0), (size, count), dtype)
    frame = jnp.asarray(start)
    check_frame(frame.shape, frame.dtype, size, dtype, num_exponents)
    block, _, growths = orthonormal(scaled(frame.T))
    zeros = jnp.zeros_like(growths)
    return LyapunovState(block.mantissa.T, jnp.zeros((), jnp.int32), zeros, zeros, zeros, None)


def _spectrum(
    state: LyapunovState, sums: Sums, block: Scaled, model_state: Any, counted: int, cell: int
) -> LyapunovSpectrum:
    dtype = state.log_sums.dtype
    count = sums.cells.shape[0]
    counts = jnp.minimum(cell * jnp.arange(1, count + 1, dtype=jnp.int32), counted)
    times = state.steps + counts
    log_sums = state.log_sums[None] + jnp.cumsum(sums.cells, axis=0)
    running = log_sums / times.astype(dtype)[:, None]
    variances = state.variances + _variance(sums.cells, counted, cell)
    variances = jnp.where(log_sums[-1] == -jnp.inf, 0.0, variances)
    after = LyapunovState(
        frame=block.mantissa.T,
        steps=times[-1],
        log_sums=log_sums[-1],
        variances=variances,
        roundings=state.roundings + sums.roundings,
        model_state=model_state,
    )
    order = jnp.argsort(-running[-1])
    steps = after.steps.astype(dtype)
    return LyapunovSpectrum(
        exponents=running[-1][order],
        standard_errors=(jnp.sqrt(variances) / steps)[order],
        rounding_errors=(after.roundings / steps)[order],
        times=times,
        running=running[:, order],
        state=after,
    )


def _variance(cells: Float[Array, "G m"], counted: int, cell: int) -> Float[Array, " m"]:
    """The variance of the sum over all cells, as if the sums over blocks of them were independent.

    Args:
        cells: sums over cells of time.
        counted: steps in all cells.
        cell: steps in each of them but the last, which may be shorter and is then left out.
    """
    group = max(1, -(-(counted // cell) // BLOCKS))
    blocks = counted // (cell * group)
    if blocks < 2:
        return jnp.full(cells.shape[1:], jnp.inf, cells.dtype)
    sums = jnp.sum(cells[: blocks * group].reshape(blocks, group, -1), axis=1)
    return jnp.var(sums, axis=0, ddof=1) * (counted / (cell * group))
