"""Signal and noise of the gradient by lag: what the sequences of a batch agree on.

What the step at lag l adds to the gradient of sequence i is g_l(i). Its mean over all sequences,
μ_l, is what there is to learn at that lag, and the scatter about it, of covariance Σ_l, is noise. A
mean over B sequences has the noise tr Σ / B, which is as large as the signal ‖μ‖² after
B = tr Σ / ‖μ‖² sequences. The formulas of both are in `jackknife`.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from lstmgrad._chains.base import Chain, StoredChain, known_run
from lstmgrad._chains.padded import check_length
from lstmgrad._checks import (
    check_array,
    check_arrays,
    check_differentiable,
    check_kind,
    check_not_empty,
)
from lstmgrad._compile import compiled, plain_options
from lstmgrad._gradients.adjoint import pull_cotangents, sources_of
from lstmgrad._gradients.groups import fed_by_parameters
from lstmgrad._gradients.jackknife import LEAST, statistics
from lstmgrad._gradients.local import (
    LocalStep,
    differentiable,
    with_room,
)
from lstmgrad._labeled import Axes
from lstmgrad._numeric.scaled import LOWEST, Scaled, exponent_of, power_below
from lstmgrad._result import Result
from lstmgrad._types import Params, State
from lstmgrad._writing import chosen, number


class SignalToNoise(Result):
    """Signal and noise of the gradient over the sequences of a batch, by lag.

    Attributes:
        lags: (T,), 0, 1, ..., T-1: the step T-lag, which makes s_{T-lag}.
        ratios: (T,), ‖μ‖²/tr Σ of one sequence; it may come out negative where there is no signal,
            and is NaN where the step adds exactly nothing in any sequence, or fewer than three of
            them have this lag.
        standard_errors: (T,), of the ratios, by leaving out one sequence at a time.
        log_norms: (T,), ln of the root mean square over the sequences of ‖g_lag‖.
        num_sequences: (T,), how many sequences have this lag.

    Example:
        >>> batch = jnp.stack([inputs, -inputs, 2 * inputs])
        >>> chains = jax.vmap(lambda one: lg.chain(model, one))(batch)
        >>> several = jax.tree.map(lambda leaf: jnp.stack([leaf] * 3), cotangents)
        >>> lg.signal_to_noise(chains, several).ratios.shape
        (6,)
    """

    lags: Int[Array, "*batch T"]
    ratios: Float[Array, "*batch T"]
    standard_errors: Float[Array, "*batch T"]
    log_norms: Float[Array, "*batch T"]
    num_sequences: Int[Array, "*batch T"]

    @property
    def needed_sequences(self) -> Float[Array | np.ndarray, "*batch T"]:
        """B = tr Σ/‖μ‖², after which signal and noise of a mean are alike; inf without a signal."""
        return _needed(self.ratios)

    @property
    def least_sequences(self) -> Float[Array | np.ndarray, "*batch T"]:
        """The fewest that two standard errors of the ratio allow."""
        return _needed(self.ratios + 2 * self.standard_errors)

    @property
    def resolved(self) -> Bool[Array | np.ndarray, "*batch T"]:
        """Whether the signal is more than two standard errors from none at all."""
        return self.ratios > 2 * self.standard_errors

    _main = ("ratios", 1)
    _axes = Axes(
        {
            "ratios": "lag",
            "standard_errors": "lag",
            "needed_sequences": "lag",
            "least_sequences": "lag",
            "resolved": "lag",
            "log_norms": "lag",
            "num_sequences": "lag",
        },
        lag="lags",
    )

    def _points(self) -> tuple[str, Any]:
        return "lag", self.lags

    def _there(self) -> np.ndarray:
        return np.asarray(self.num_sequences) >= LEAST

    def _subject(self) -> str:
        return f"{self.ratios.shape[-1]} lags"

    def _headline(self) -> str:
        last = int(np.max(np.flatnonzero(self._there()), initial=0))
        first, far = (_count(self, lag) for lag in (0, last))
        return f"{first} sequences needed at lag 0, {far} at lag {self.lags[last]}"

    def _table(self) -> tuple[list[str], list[list[str]]]:
        rows = [
            [
                str(self.lags[i]),
                number(self.log_norms[i]),
                number(self.ratios[i], 3),
                number(self.standard_errors[i], 2),
                _count(self, i),
            ]
            for i in chosen(len(self.lags))
        ]
        return ["lag", "ln norm", "signal/noise", "error", "sequences needed"], rows

    def _numbers(self) -> dict[str, Any]:
        there = np.flatnonzero(self._there())
        last = there[-1] if len(there) else 0
        seen = np.flatnonzero(self.resolved)
        return {
            "ratio_at_lag_0": self.ratios[0],
            "ratio_at_longest_lag": self.ratios[last],
            "needed_at_lag_0": self.needed_sequences[0],
            "needed_at_longest_lag": self.needed_sequences[last],
            "longest_lag_resolved": self.lags[seen[-1]] if len(seen) else np.nan,
            "num_sequences": self.num_sequences[0],
        }


def _needed(ratios: Any) -> Any:
    xp = np if isinstance(ratios, np.ndarray) else jnp  # nothing is compiled to print
    positive = ratios > 0
    nothing = xp.where(xp.isnan(ratios), xp.nan, xp.inf)
    return xp.where(positive, 1 / xp.where(positive, ratios, 1.0), nothing)


def _count(found: SignalToNoise, index: Any) -> str:
    """How many sequences a lag needs, in words; at least how many, where no signal is seen."""
    if np.isnan(found.ratios[index]):
        return "?"
    if found.resolved[index]:
        return number(found.needed_sequences[index], 3)
    return f"> {number(found.least_sequences[index], 3)}"


@plain_options
def signal_to_noise(
    chains: Chain, cotangents: State, *, length: Int[Array | np.ndarray, "N"] | None = None
) -> SignalToNoise:
    """Returns how much of the gradient the sequences of a batch agree on, by lag.

    ‖μ_l‖²/tr Σ_l, where g_l = λ_t ∂step/∂θ is what the step at lag l = T - t adds to dL/dθ, μ_l
    its mean over sequences and Σ_l its covariance; and the number of sequences that a lag needs.

    Args:
        chains: of one model on N sequences, three or more,
            ``jax.vmap(lambda inputs: lg.chain(model, inputs))(batch)``.
        cotangents: ∂L/∂s_t of each sequence, as for `adjoint`, with N on axis 0:
            ``jax.vmap(lambda run: lg.loss_cotangents(loss, run))(chains.trajectory)`` where all
            have the same loss. For losses at many times a lag counts from the end all the same.
        length: (N,), steps of each sequence, where the batch is padded to T: lags count from each
            one's own end, and a lag is read over the sequences that have it.

    Returns:
        `SignalToNoise`, lag 0 first, the last step.

    Raises:
        ValueError: fewer than three sequences, none, or more than one axis of them; a chain that
            does not know its model; no parameter that can be differentiated; cotangents of another
            structure or shape; lengths of another shape.

    Notes:
        The cost of a gradient of each sequence, lag by lag: memory of N gradients at one time, and
        of the adjoint, (N, T, n). Norms hold in any range. Noise is counted in all directions of
        the parameters; a sequence whose contribution is 2^126 times below the largest one of its
        lag, in float32, counts as zero. Errors are those of the jackknife, for sequences that are
        independent.

    Example:
        Equal sequences have no noise: ratios of +inf, and a single one suffices.

        >>> batch = jnp.stack([inputs, -inputs, 2 * inputs])
        >>> chains = jax.vmap(lambda one: lg.chain(model, one))(batch)
        >>> several = jax.tree.map(lambda leaf: jnp.stack([leaf] * 3), cotangents)
        >>> lg.signal_to_noise(chains, several).ratios.shape
        (6,)

    References:
        McCandlish, Kaplan, Amodei & OpenAI Dota Team 2018 (arXiv:1812.06162), Section 2.2 and
        Appendix A.1: the simple noise scale, here of the part of the gradient from each lag.
    """
    count = _check_batch(chains)
    check_arrays(cotangents, "cotangents")
    if length is not None:
        check_array(length, "length")
        length = jnp.asarray(length)
        if length.shape != (count,) or not jnp.issubdtype(length.dtype, jnp.integer):
            raise ValueError(
                f"length: expected {count} whole numbers, one for each sequence, but got "
                f"{length.dtype}{list(length.shape)}."
            )
    return _signal_to_noise(chains, cotangents, length)


def _check_batch(chains: Any) -> int:
    """Chains of one model on several sequences; returns how many."""
    check_kind(chains, Chain, "chains")
    if not isinstance(chains, StoredChain) or chains.run is None:
        raise ValueError(
            "chains: expected those of a model that keep their states, from chain(model, inputs), "
            f"but got a {type(chains).__name__}."
        )
    shape = chains.batch_shape
    if len(shape) != 1 or shape[0] < LEAST:
        raise ValueError(
            f"chains: expected those of {LEAST} sequences or more on one axis in front of the time "
            f"axis, but got {shape or 'one sequence'}. Make them by "
            "jax.vmap(lambda inputs: chain(model, inputs))(batch)."
        )
    return shape[0]


@compiled
def _signal_to_noise(chains: Chain, cotangents: State, length: Any) -> SignalToNoise:
    def pulled(chain: Chain, cotangents: State, length: Any) -> tuple[StoredChain, Scaled, Array]:
        """One sequence: the chain of what the parameters act on, dL/ds_t by lag, and its steps."""
        check_not_empty(len(chain))
        stored, flat = sources_of(chain, cotangents, check_length(length, chain))
        moving, fixed = _parameters(stored)
        check_differentiable(moving)
        part, flat = fed_by_parameters(stored, flat, moving, fixed)
        later = pull_cotangents(part, flat)
        rows = Scaled(later.mantissa[1:], later.exponent[1:])
        rows = jax.vmap(lambda row: with_room(row, part.layout, moving))(rows)
        lags = jnp.arange(len(chain))
        index = len(chain) - 1 - lags if length is None else length - 1 - lags.astype(length.dtype)
        rows = jax.tree.map(lambda leaf: leaf[jnp.maximum(index, 0)], rows)
        return part, rows, index

    parts, rows, index = jax.vmap(pulled, in_axes=(0, 0, None if length is None else 0))(
        chains, cotangents, length
    )
    layout, steps = parts.layout, known_run(parts).step

    def contribution(step: Any, factor: Any, row: Float[Array, " n"]) -> Params:
        function, params = step.parts()
        moving, fixed = differentiable(params)
        return LocalStep(function, fixed, layout).pullback(moving, factor)(row)[0]

    def of_lag(_: None, entry: tuple[Scaled, Array]) -> tuple[None, tuple]:
        rows, index = entry
        there = index >= 0
        exponents = jnp.where(there, jax.vmap(exponent_of)(rows), LOWEST)
        top = jnp.max(exponents)
        weights = jnp.where(there, power_below(exponents - top, rows.mantissa.dtype), 0.0)
        weighted = jnp.where(there[:, None], rows.mantissa * weights[:, None], 0.0)
        factors = jax.tree.map(
            lambda leaf: jax.vmap(lambda one, i: one[jnp.maximum(i, 0)])(leaf, index),
            known_run(parts).factors,
        )
        found = jax.vmap(contribution)(steps, factors, weighted)
        return None, statistics(found, there, top)

    entries = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 1, 0), (rows, index))
    _, found = jax.lax.scan(of_lag, None, entries)
    return SignalToNoise(jnp.arange(len(found[0])), *found)


def _parameters(chain: StoredChain) -> tuple[Params, Params]:
    """The parameters that can be differentiated, and the others."""
    return differentiable(known_run(chain).step.parts()[1])
