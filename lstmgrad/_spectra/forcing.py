"""Training on chaos: how often, or how strongly, the state has to be set to the data.

Where a network is chaotic, λ₁ > 0, its gradients explode however it is built. Two remedies read
their one number off the chain: the data replaces the state every τ steps, before an error has
doubled, or is mixed into it at every step, s ← (1 - α) s + α data, which scales every factor by
1 - α and moves every exponent by ln(1 - α).
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from lstmgrad._calls import public
from lstmgrad._chains.base import Chain, StoredChain, check_chain, identity_rows
from lstmgrad._chains.padded import check_length, repeating_last
from lstmgrad._chains.sweeps import sweep_forward
from lstmgrad._checks import check_kind, check_not_empty
from lstmgrad._compile import compiled, plain_options
from lstmgrad._labeled import Axes
from lstmgrad._numeric import lapack
from lstmgrad._numeric.scaled import LOG_2, Scaled, add, largest, log_of, scaled, widen
from lstmgrad._result import Result
from lstmgrad._spectra.records import LyapunovSpectrum
from lstmgrad._writing import number


class ForcingInterval(Result):
    """How many steps a chaotic network may run before its state is set to the data.

    Attributes:
        interval: τ = ln 2/λ₁, in steps; inf where λ₁ is not above zero and no forcing is needed,
            NaN where it is not resolved.
        standard_error: of τ, in steps; inf where τ is.
        least: the shortest interval that two standard errors of λ₁ allow; inf where they allow none
            above zero.

    Example:
        >>> found = lg.forcing_interval(lg.lyapunov_spectrum(chain))
        >>> bool(found.least <= found.interval)
        True
    """

    interval: Float[Array, "*batch"]
    standard_error: Float[Array, "*batch"]
    least: Float[Array, "*batch"]

    _main = ("interval", 0)
    _axes = Axes({"interval": "", "standard_error": "", "least": ""})

    def _subject(self) -> str:
        return "teacher forcing"

    def _headline(self) -> str:
        if math.isinf(float(self.interval)):
            return f"none needed, or every {number(self.least)} steps at least"
        return f"every {number(self.interval)} ± {number(self.standard_error, 2)} steps"

    def _table(self) -> tuple[list[str], list[list[str]]]:
        row = [number(self.interval), number(self.standard_error, 2), number(self.least)]
        return ["interval (steps)", "standard error", "least"], [row]

    def _numbers(self) -> dict[str, Any]:
        return {
            "interval": self.interval,
            "standard_error": self.standard_error,
            "least": self.least,
        }


@public
def forcing_interval(spectrum: LyapunovSpectrum) -> ForcingInterval:
    """Returns the number of steps after which an error has doubled, τ = ln 2/λ₁, with its error.

    Args:
        spectrum: from `lyapunov_spectrum` of the network that runs by itself, or of the system that
            it is to learn; a batch gives a batch.

    Returns:
        `ForcingInterval`: training sets the state to the data every τ steps.

    Raises:
        ValueError: not a `LyapunovSpectrum`.

    Notes:
        The error is that of λ₁ to first order, ln 2 · error/λ₁².

    Example:
        For λ₁ = ln 2 per step, as of the logistic map at r = 4, the interval is one step.

        >>> doubling = lg.DenseChain(jnp.broadcast_to(2.0 * jnp.eye(2), (6, 2, 2)))
        >>> print(f"{lg.forcing_interval(lg.lyapunov_spectrum(doubling)).interval:.2f}")
        1.00

    References:
        Mikhaeil, Monfared & Durstewitz 2022 (arXiv:2110.07238), Equation 17.
    """
    check_kind(spectrum, LyapunovSpectrum, "spectrum")
    return _forcing_interval(spectrum)


@compiled
def _forcing_interval(spectrum: LyapunovSpectrum) -> ForcingInterval:
    first, error = spectrum.exponents[..., 0], spectrum.standard_errors[..., 0]

    def doubling(rate: Array) -> Array:
        positive = rate > 0
        found = jnp.where(positive, LOG_2 / jnp.where(positive, rate, 1.0), jnp.inf)
        return jnp.where(jnp.isnan(rate), jnp.nan, found)

    known = jnp.asarray(spectrum.resolved)[..., 0]
    interval = jnp.where(known, doubling(first), jnp.nan)
    spread = jnp.where(jnp.isposinf(interval), jnp.inf, interval**2 * error / LOG_2)
    return ForcingInterval(interval, spread, doubling(first + 2 * error))


class Steps(NamedTuple):
    """The sizes of the factors of a chain, from which a growth is read.

    Attributes:
        log_norms: (T,), ln ‖J_t‖₂.
        there: (T,), which of the steps belong to the sequence.
        log_norm_of_mean: ln of the norm of the mean of the J_t.
        log_norm_of_product: ln ‖J_T ··· J_1‖₂.
    """

    log_norms: Float[Array, " T"]
    there: Bool[Array, " T"]
    log_norm_of_mean: Float[Array, ""]
    log_norm_of_product: Float[Array, ""]

    @property
    def length(self) -> Float[Array, ""]:
        """T, the steps of the sequence."""
        return jnp.sum(self.there).astype(self.log_norms.dtype)

    def mean(self, values: Float[Array, " T"]) -> Float[Array, ""]:
        """The mean over the steps of the sequence."""
        return jnp.sum(jnp.where(self.there, values, 0.0)) / self.length


@dataclasses.dataclass(frozen=True)
class Growth:
    """How much a typical step grows a perturbation: the g of `forcing_strength`.

    Attributes:
        log_growth: from the `Steps` of a chain to ln g.
        largest: max ‖J_t‖: no product grows, at the price of more forcing than is needed.
        arithmetic_mean: the mean of the ‖J_t‖.
        geometric_mean: exp of the mean of the ln ‖J_t‖: the product of the norms does not grow.
        mean_jacobian: the norm of the mean of the J_t.
        product: ‖J_T ··· J_1‖^(1/T), which tends to exp λ₁: the least forcing with which the
            product of the whole length does not grow.

    Example:
        >>> most = lg.forcing_strength(chain, growth=lg.Growth.largest)
        >>> bool(most >= lg.forcing_strength(chain, growth=lg.Growth.product))
        True
    """

    log_growth: Callable[[Steps], Float[Array, ""]]

    largest: ClassVar["Growth"]
    arithmetic_mean: ClassVar["Growth"]
    geometric_mean: ClassVar["Growth"]
    mean_jacobian: ClassVar["Growth"]
    product: ClassVar["Growth"]


def _largest(steps: Steps) -> Float[Array, ""]:
    return largest(jnp.where(steps.there, steps.log_norms, -jnp.inf))


def _arithmetic_mean(steps: Steps) -> Float[Array, ""]:
    top = _largest(steps)
    top = jnp.where(jnp.isneginf(top), 0.0, top)
    return top + jnp.log(steps.mean(jnp.exp(steps.log_norms - top)))


def _geometric_mean(steps: Steps) -> Float[Array, ""]:
    return steps.mean(steps.log_norms)


def _mean_jacobian(steps: Steps) -> Float[Array, ""]:
    return steps.log_norm_of_mean


def _product(steps: Steps) -> Float[Array, ""]:
    return steps.log_norm_of_product / steps.length


Growth.largest = Growth(_largest)
Growth.arithmetic_mean = Growth(_arithmetic_mean)
Growth.geometric_mean = Growth(_geometric_mean)
Growth.mean_jacobian = Growth(_mean_jacobian)
Growth.product = Growth(_product)


@plain_options
def forcing_strength(
    chain: Chain, *, growth: Growth = Growth.product, length: int | Int[Array, ""] | None = None
) -> Float[Array, ""]:
    """Returns the least forcing with which a product of the chain's factors does not grow.

    α = max(0, 1 - 1/g): the state is replaced by (1 - α) s + α data before every step, which scales
    every factor by 1 - α.

    Args:
        chain: T factors of any kind, along the trajectory that is trained on.
        growth: how g is read off the factors: `Growth.product`, `.geometric_mean`,
            `.arithmetic_mean`, `.mean_jacobian` or `.largest`.
        length: steps of the sequence, where its inputs are padded behind it to T. It may be traced.

    Returns:
        α, from 0, where nothing grows, to 1; NaN where the trajectory was NaN.

    Raises:
        ValueError: no step; a `growth` that is not a `Growth`; a `length` that is not a whole
            number from 1 to T, or is given for a stream.

    Notes:
        T pushes of n tangents and an SVD of each J_t, O(T n³). Forcing moves all exponents by
        ln(1 - α), exactly, if it leaves the trajectory where it is: the states are then the data's.

    Example:
        Where every J_t doubles what it is given, α = 1/2 by each of the five.

        >>> doubling = lg.DenseChain(jnp.broadcast_to(2.0 * jnp.eye(2), (6, 2, 2)))
        >>> print(f"{lg.forcing_strength(doubling):.2f}")
        0.50

    References:
        Hess, Monfared, Brenner & Durstewitz 2023, Generalized teacher forcing for learning chaotic
        dynamics (arXiv:2306.04406), Section 3: the bound by the largest norm, and the weaker ones
        that suffice on average.
    """
    check_chain(chain)
    length = check_length(length, chain)
    if length is not None and not isinstance(chain, StoredChain):
        raise ValueError(
            "length: expected None for a stream. Leave the padding out of its inputs: "
            "stream(..., inputs[:length])."
        )
    check_kind(growth, Growth, "growth")
    return _forcing_strength(chain, length, growth=growth)


@compiled
def _forcing_strength(chain: Chain, length: Any, *, growth: Growth) -> Float[Array, ""]:
    count = len(chain)
    check_not_empty(count)
    there = jnp.ones(count, bool)
    if isinstance(chain, StoredChain) and length is not None:
        there = jnp.arange(count, dtype=length.dtype) < length
        chain = repeating_last(chain, length)
    identity = scaled(identity_rows(chain))
    wide = Scaled(widen(identity.mantissa), identity.exponent)
    total = jnp.sum(there).astype(wide.mantissa.dtype)

    def read(carry: tuple, block: Scaled) -> tuple[tuple, Scaled, Array]:
        time, mean, product = carry
        matrix = Scaled(widen(block.mantissa).T, block.exponent)
        counts = there[time]
        both = add(mean, Scaled(matrix.mantissa / total, matrix.exponent)), matrix @ product
        mean, product = jax.tree.map(
            lambda new, old: jnp.where(counts, new, old), both, (mean, product)
        )
        return (time + 1, mean, product), identity, _log_norm(matrix)

    nothing = scaled(jnp.zeros_like(wide.mantissa))
    start = jnp.zeros((), jnp.int32), nothing, wide
    (_, (_, mean, product)), log_norms = sweep_forward(chain, identity, read, start)
    steps = Steps(log_norms, there, _log_norm(mean), _log_norm(product))
    growing = growth.log_growth(steps)
    return jnp.maximum(-jnp.expm1(-growing), 0.0)


def _log_norm(matrix: Scaled) -> Float[Array, ""]:
    """Ln of the largest singular value; NaN where an entry is."""
    broken = jnp.any(jnp.isnan(matrix.mantissa))
    top = lapack.singular_values(jnp.where(broken, 0.0, matrix.mantissa))[0]
    return jnp.where(broken, jnp.nan, log_of(top, matrix.exponent))
