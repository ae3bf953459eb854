"""What `lyapunov_spectrum` returns: the exponents with their errors, and where it stands."""

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from lstmgrad._labeled import Axes
from lstmgrad._result import Result, chosen, number


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
        model_state: s_T of a stream, the start of the next one; None where states are stored.
    """

    frame: Float[Array, "*batch n m"]
    num_steps: Int[Array, "*batch"]
    log_sums: Float[Array, "*batch m"]
    variances: Float[Array, "*batch m"]
    roundings: Float[Array, "*batch m"]
    displaced: Float[Array, "*batch m m"]
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
            where the trajectory was NaN.
        standard_errors: (m,), of the time means, from the scatter between blocks of time: zero
            for -inf, inf where the chain is too short for two blocks.
        rounding_errors: (m,), nats per step by which rounding may have displaced the exponent. An
            entry of R that may be nothing but rounding counts with all its digits, ln 1/eps.
        times: (G,), steps counted up to each running estimate, at most 200 of them.
        running_exponents: (G, m), the estimates from the steps up to these times; the last row
            is `exponents`.
        state: to go on from.
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
