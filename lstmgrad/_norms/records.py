"""Norms against the lag as a record, and the two numbers that a person reads off them."""

import math
from types import ModuleType
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from lstmgrad._labeled import Axes
from lstmgrad._numeric.tracked import SVD_ROUNDING
from lstmgrad._result import Result, cut_at_length, up_to_length, upper_bounds
from lstmgrad._types import Fixed, PartName
from lstmgrad._writing import block_name, chosen, number, seen

THRESHOLD = 1e-3
"""The norm below which a gradient counts as lost, unless another one is given."""


class Norms(Result):
    """What a profile and a map share: which norms are resolved."""

    log_norms: eqx.AbstractVar[Float[Array, "..."]]
    errors: eqx.AbstractVar[Float[Array, "..."]]
    rtol: eqx.AbstractVar[float | int]

    @property
    def resolved(self) -> Bool[Array | np.ndarray, "..."]:
        """Whether each norm met its tolerance: rtol, or what an SVD leaves in its dtype."""
        svd = SVD_ROUNDING * float(jnp.finfo(self.errors.dtype).eps)
        return self.errors <= max(self.rtol, svd)

    def _hidden(self) -> np.ndarray:
        return upper_bounds(self.errors, self.log_norms)


class NormProfile(Norms):
    """Spectral norms against the lag.

    Attributes:
        lags: (L,), t-k = 0, every, 2·every, ...; 0, 1, ..., T by default.
        log_norms: (L,), ln ‖∂of_t/∂wrt_k‖₂; -inf where the Jacobian is exactly zero, NaN where
            the trajectory was NaN. Lag 0 is the identity: 0, or -inf for two different parts. Of
            an input it is ∂of_T/∂x_T, what it does within its own step.
        errors: (L,), a bound of the error of each logarithm, in nats; the value is a lower bound of
            the true one for the given product, whose own rounding is not included. inf where the
            norm may lie below the range of the dtype beside what carries it: the value is then the
            level below which nothing is seen.
        of: the part of s_t, None for the whole state.
        wrt: the part of s_k, None for the whole state; "x" for the inputs, from `input_norms`.
        fixed: "end" (t = T, from `backward_norms`) or "start" (k = 0, from `forward_norms`).
        rtol: the relative error that was asked for.
        certified: whether the errors are proved (see `lstmgrad.backward_norms`), and not estimates,
            as those of `lstmgrad.matrix_free_norms` are for more than a few rows.
        length: the longest lag of the sequence, where it was padded to T (``length=``), otherwise
            None. At longer lags there is nothing: norms and errors are NaN there, and horizon, rate
            and table leave them out.

    Example:
        >>> lg.backward_norms(chain).lags.tolist()
        [0, 1, 2, 3, 4, 5, 6]
    """

    lags: Int[Array, "*batch L"]
    log_norms: Float[Array, "*batch L"]
    errors: Float[Array, "*batch L"]
    of: PartName | None = eqx.field(static=True)
    wrt: PartName | None = eqx.field(static=True)
    fixed: Fixed = eqx.field(static=True)
    rtol: float | int = eqx.field(static=True)
    certified: bool = eqx.field(static=True, default=True)
    length: Any = None  # none, or (*batch,)

    _main = ("log_norms", 1)
    _axes = Axes({"log_norms": "lag", "errors": "lag", "resolved": "lag", "length": ""}, lag="lags")

    def _there(self) -> np.ndarray:
        return up_to_length(self.lags, self.length)

    def _points(self) -> tuple[str, Any]:
        return "lag", self.lags

    def _subject(self) -> str:
        times = ("T", "k") if self.fixed == "end" else ("t", "0")
        return f"{block_name(self.of, self.wrt, *times)}, {self.log_norms.shape[-1]} lags"

    def _headline(self) -> str:
        if self.length is not None:
            return cut_at_length(self)._headline()
        found = self._numbers()
        last = f"ln norm {number(found['log_norm'])} at lag {self.lags[-1]}"
        if np.isposinf(self.errors[-1]):
            last = f"not resolved at lag {self.lags[-1]}"
        return f"{last}, horizon {number(found['horizon'])}"

    def _table(self) -> tuple[list[str], list[list[str]]]:
        if self.length is not None:
            return cut_at_length(self)._table()
        heads = ["lag", "ln norm", "error", "resolved"]
        found = "yes" if self.certified else "estimated"
        rows = [
            [str(self.lags[i]), number(self.log_norms[i]), number(self.errors[i], 2), yes]
            for i in chosen(len(self.lags))
            for yes in [found if self.resolved[i] else "no"]
        ]
        return heads, rows

    def _numbers(self) -> dict[str, Any]:
        if self.length is not None:
            return cut_at_length(self)._numbers()
        curve = (self.lags, self.log_norms, self.errors)
        with np.errstate(divide="ignore", invalid="ignore"):
            return {
                "log_norm": seen(self.log_norms[-1], self.errors[-1]),
                "longest_lag": self.lags[-1],
                "horizon": horizon_of(*curve, math.log(THRESHOLD), np),
                "decay_rate": decay_rate_of(*curve, np),
                "resolved_share": np.mean(self.resolved),
            }


def horizon_of(
    lags: Any, log_norms: Any, errors: Any, limit: float, xp: ModuleType, length: Any = None
) -> Any:
    """Computes the first lag from which the norms stay below a threshold.

    Args:
        lags: (L,), with axes of a batch in front, like the rest.
        log_norms: (L,), natural logarithms.
        errors: (L,), inf where the value is only the level below which nothing is seen.
        limit: the logarithm of the threshold.
        xp: `numpy` or `jax.numpy`, that of the arrays.
        length: the longest lag that there is, with the axes of the batch; None is that of the rest.
    """
    lags, log_norms, errors, _ = _ended(lags, log_norms, errors, xp, length)
    count = log_norms.shape[-1]
    above = log_norms >= limit
    index = xp.max(xp.where(above, xp.arange(1, count + 1), 0), axis=-1, keepdims=True)
    steps = xp.take_along_axis(lags, xp.minimum(index, count - 1), axis=-1)[..., 0]
    steps = xp.where(above[..., -1], xp.inf, steps.astype(log_norms.dtype))
    # The level below which nothing is seen is no help where it lies above the threshold.
    last = xp.take_along_axis(errors, xp.maximum(index - 1, 0), axis=-1)[..., 0]
    hidden = (last == xp.inf) & xp.any(above, axis=-1)
    return xp.where(hidden | xp.any(xp.isnan(log_norms), axis=-1), xp.nan, steps)


def decay_rate_of(
    lags: Any, log_norms: Any, errors: Any, xp: ModuleType, length: Any = None
) -> Any:
    """Computes minus the slope of the least-squares line through the norms that are seen.

    Args:
        lags: (L,), with axes of a batch in front, like the rest.
        log_norms: (L,), natural logarithms.
        errors: (L,), inf where the value is only the level below which nothing is seen.
        xp: `numpy` or `jax.numpy`, that of the arrays.
        length: as for `horizon_of`.
    """
    lags, log_norms, errors, there = _ended(lags, log_norms, errors, xp, length)
    seen = (log_norms > -xp.inf) & (errors < xp.inf) & there
    weight, lags = seen.astype(log_norms.dtype), lags.astype(log_norms.dtype)
    count = xp.sum(weight, axis=-1, keepdims=True)
    lags = weight * (lags - xp.sum(weight * lags, axis=-1, keepdims=True) / count)
    slope = xp.sum(lags * xp.where(seen, log_norms, 0.0), axis=-1) / xp.sum(lags**2, axis=-1)
    rate = xp.where(log_norms[..., -1] == -xp.inf, xp.inf, -slope)
    return xp.where(xp.any(xp.isnan(log_norms), axis=-1), xp.nan, rate)


def _ended(lags: Any, log_norms: Any, errors: Any, xp: ModuleType, length: Any) -> tuple:
    """The curve with its last point at all longer lags, and which lags there are."""
    if length is None:
        return lags, log_norms, errors, True
    there = lags <= xp.asarray(length).astype(lags.dtype)[..., None]
    last = xp.sum(there, axis=-1, keepdims=True, dtype=lags.dtype) - 1
    index = xp.minimum(xp.cumsum(xp.ones_like(lags), axis=-1) - 1, last)
    curve = (xp.take_along_axis(x, index, axis=-1) for x in (lags, log_norms, errors))
    return *curve, there
