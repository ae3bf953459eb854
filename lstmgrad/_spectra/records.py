"""Spectra as records: singular values by lag, and Lyapunov exponents with their errors."""

import math
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from lstmgrad._labeled import Axes
from lstmgrad._result import Result, cut_at_length, up_to_length, upper_bounds
from lstmgrad._types import Fixed, PartName
from lstmgrad._writing import block_name, chosen, number, reading, seen

_RESOLVED = 1e-2


class SingularSpectrum(Result):
    """Singular values against the lag.

    Attributes:
        lags: (L,), t-k = 0, every, 2·every, ...
        log_values: (L, m), the natural logarithms of the singular values of ∂of_t/∂wrt_k in
            descending order; -inf for an exact zero, NaN where the trajectory was NaN.
        errors: (L, m), the estimated error of each logarithm, in nats: the rounding errors of all
            steps, enlarged by how badly conditioned each step is for this value. Inf where the
            arithmetic leaves nothing of the value; where the block lies below the range of the
            dtype beside what carries it, the value is the level below which nothing is seen.
        of: the part of s_t, None for the whole state.
        wrt: the part of s_k, None for the whole state.
        fixed: "start" (k = 0, from `forward_singular_spectrum`) or "end" (t = T, from
            `backward_singular_spectrum`).
        length: steps of the sequence, where it was padded to T (``length=``), otherwise None. At
            longer lags there is nothing: values and errors are NaN there.

    Example:
        >>> lg.backward_singular_spectrum(chain).log_values.shape
        (7, 6)
    """

    lags: Int[Array, "*batch L"]
    log_values: Float[Array, "*batch L m"]
    errors: Float[Array, "*batch L m"]
    of: PartName | None = eqx.field(static=True)
    wrt: PartName | None = eqx.field(static=True)
    fixed: Fixed = eqx.field(static=True)
    length: Any = None  # none, or (*batch,)

    @property
    def resolved(self) -> Bool[Array | np.ndarray, "*batch L m"]:
        """Whether the arithmetic resolves each value: to a hundredth of itself, or zero exactly."""
        return self.errors <= _RESOLVED

    _main = ("log_values", 2)
    _axes = Axes(
        {"log_values": "lag value", "errors": "lag value", "resolved": "lag value"}, lag="lags"
    )

    def _hidden(self) -> np.ndarray:
        return upper_bounds(self.errors, self.log_values)

    def _there(self) -> np.ndarray:
        there = up_to_length(self.lags, self.length)[..., None]
        return np.broadcast_to(there, self.log_values.shape)

    def _points(self) -> tuple[str, Any]:
        return "lag", self.lags

    def _subject(self) -> str:
        times = ("T", "k") if self.fixed == "end" else ("t", "0")
        lags, count = self.log_values.shape[-2:]
        return f"{block_name(self.of, self.wrt, *times)}, {count} values at {lags} lags"

    def _headline(self) -> str:
        if self.length is not None:
            return cut_at_length(self)._headline()
        found = self._numbers()
        values, errors = self.log_values[-1], self.errors[-1]
        return (
            f"ln σ {reading(values[0], errors[0])} to {reading(values[-1], errors[-1])} at lag "
            f"{self.lags[-1]}, {number(found['num_resolved'])} resolved"
        )

    def _table(self) -> tuple[list[str], list[list[str]]]:
        if self.length is not None:
            return cut_at_length(self)._table()
        shown = chosen(self.log_values.shape[1])
        heads = ["lag", *(f"ln σ_{i + 1}" for i in shown), "resolved"]
        rows = [
            [
                str(self.lags[lag]),
                *(reading(self.log_values[lag, i], self.errors[lag, i]) for i in shown),
                str(int(np.sum(self.resolved[lag]))),
            ]
            for lag in chosen(len(self.lags))
        ]
        return heads, rows

    def _numbers(self) -> dict[str, Any]:
        if self.length is not None:
            return cut_at_length(self)._numbers()
        return {
            "largest_log_value": seen(self.log_values[-1, 0], self.errors[-1, 0]),
            "smallest_log_value": seen(self.log_values[-1, -1], self.errors[-1, -1]),
            "longest_lag": self.lags[-1],
            "num_resolved": np.sum(self.resolved[-1]),
        }


class LyapunovState(Result):
    """Where a computation stands, to go on from along the next piece of the sequence.

    Attributes:
        frame: (n, m), orthonormal columns, the tangents at the last state; zero where a tangent
            became exactly zero, which it then stays.
        num_steps: the steps counted so far.
        log_sums: (m,), Σ ln |R_ii| over these steps.
        variances: (m,), the estimated variance of `log_sums`.
        roundings: (m,), the estimated effect of rounding on `log_sums`.
        displaced: (m, m), how far rounding has turned each tangent toward those behind it, below
            the diagonal, in units of the dtype's epsilon.
        strayed: (m,), how far it has turned each out of the frame, along `stray`, in the same
            units; None for m = n.
        stray: (n,), the direction outside the frame in which it did; None for m = n.
        faded: (n,), in which coordinates a tangent may have lost something below the range.
        model_state: s_T of a stream, the start of the next one; None where states are stored.

    Example:
        >>> first = lg.lyapunov_spectrum(chain, num_exponents=2)
        >>> lg.lyapunov_spectrum(chain, first.state).exponents.shape
        (2,)
    """

    frame: Float[Array, "*batch n m"]
    num_steps: Int[Array, "*batch"]
    log_sums: Float[Array, "*batch m"]
    variances: Float[Array, "*batch m"]
    roundings: Float[Array, "*batch m"]
    displaced: Float[Array, "*batch m m"]
    strayed: Float[Array, "*batch m"] | None
    stray: Float[Array, "*batch n"] | None
    faded: Bool[Array, "*batch n"]
    model_state: Any

    _main = ("frame", 2)
    _axes = Axes(
        {
            "frame": "entry exponent",
            "log_sums": "exponent",
            "variances": "exponent",
            "roundings": "exponent",
            "num_steps": "",
        }
    )

    def _subject(self) -> str:
        size, count = self.frame.shape[-2:]
        return f"{count} tangents of {size}"

    def _headline(self) -> str:
        return f"after {self.num_steps} steps"

    def _table(self) -> tuple[list[str], list[list[str]]]:
        shown = chosen(len(self.log_sums))
        rows = [
            [str(i + 1), number(self.log_sums[i]), number(np.sqrt(self.variances[i]))]
            for i in shown
        ]
        return ["i", "sum of ln growth", "standard error"], rows

    def _numbers(self) -> dict[str, Any]:
        return {"num_steps": self.num_steps, "largest_log_sum": np.max(self.log_sums)}


class LyapunovSpectrum(Result):
    """Lyapunov exponents along one trajectory, in nats per step.

    Attributes:
        exponents: (m,), from the largest on; -inf for directions that become exactly zero, NaN
            where the trajectory was NaN. Those that are resolved are in order; one that is not may
            belong elsewhere among them.
        standard_errors: (m,), of the time means, from the scatter between blocks of time: zero
            for -inf, inf where the chain is too short for two blocks.
        rounding_errors: (m,), nats per step by which rounding may have displaced the exponent; inf
            where an entry of R may be nothing but rounding.
        times: (G,), steps counted up to each running estimate, at most 200 of them.
        running_exponents: (G, m), the estimates from the steps up to these times; the last row
            is `exponents`.
        state: to go on from.

    Example:
        >>> lg.lyapunov_spectrum(chain, num_exponents=2).exponents.shape
        (2,)
    """

    exponents: Float[Array, "*batch m"]
    standard_errors: Float[Array, "*batch m"]
    rounding_errors: Float[Array, "*batch m"]
    times: Int[Array, "*batch G"]
    running_exponents: Float[Array, "*batch G m"]
    state: LyapunovState

    @property
    def resolved(self) -> Bool[Array | np.ndarray, "*batch m"]:
        """Whether rounding matters less than the standard error, or than √eps nats per step."""
        eps = float(jnp.finfo(self.state.frame.dtype).eps)
        errors = self.standard_errors
        sampled = (errors < math.inf) & (self.rounding_errors <= errors)
        return sampled | (self.rounding_errors <= math.sqrt(eps))

    _main = ("exponents", 1)
    _axes = Axes(
        {
            "exponents": "exponent",
            "standard_errors": "exponent",
            "rounding_errors": "exponent",
            "resolved": "exponent",
            "running_exponents": "time exponent",
        },
        time="times",
    )

    def _hidden(self) -> np.ndarray:
        return ~np.asarray(self.resolved) & np.isfinite(self.exponents)  # they read too high

    def _points(self) -> tuple[str, Any]:
        return "exponent", np.arange(1, self.exponents.shape[-1] + 1)

    def _subject(self) -> str:
        return f"{self.exponents.shape[-1]} exponents"

    def _headline(self) -> str:
        found = self._numbers()
        return (
            f"largest {number(found['largest_exponent'])} ± "
            f"{number(found['standard_error'], 2)} nats per step over {self.times[-1]} steps, "
            f"{number(found['num_resolved'])} resolved"
        )

    def _table(self) -> tuple[list[str], list[list[str]]]:
        heads = ["i", "exponent", "standard error", "rounding", "resolved"]
        rows = [
            [
                str(i + 1),
                number(self.exponents[i]),
                number(self.standard_errors[i], 2),
                number(self.rounding_errors[i], 2),
                "yes" if self.resolved[i] else "no",
            ]
            for i in chosen(len(self.exponents))
        ]
        return heads, rows

    def _numbers(self) -> dict[str, Any]:
        return {
            "largest_exponent": self.exponents[0],
            "standard_error": self.standard_errors[0],
            "smallest_exponent": self.exponents[-1],
            "num_positive": np.sum(self.exponents > 0),
            "num_resolved": np.sum(self.resolved),
            "num_steps": self.times[-1],
        }
