"""What every input means to a loss, in any range.

    dL/dx_t = λ_t B_t,      λ_t = dL/ds_t,      B_t = ∂s_t/∂x_t

λ_t is pulled back through all later steps while the loss adds its direct part at each of them. It
has one exponent for all its entries; what falls below the range beside the largest of them is
followed by a probe, as rows are in `backward_norms`, and tells which features are not resolved.
"""

import math
from types import ModuleType
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from lstmgrad._chains.base import Chain, check_stored
from lstmgrad._chains.dependence import mutual_groups
from lstmgrad._chains.inputs import InputMap, input_layout, known_steps
from lstmgrad._chains.run import one_step
from lstmgrad._checks import check_not_empty
from lstmgrad._compile import compiled
from lstmgrad._gradients.adjoint import flat_cotangents
from lstmgrad._gradients.probed import at_inputs, nothing, pulled
from lstmgrad._labeled import Axes
from lstmgrad._numeric.scaled import Scaled
from lstmgrad._result import Result
from lstmgrad._types import State
from lstmgrad._writing import chosen, number, seen

LARGEST_LOSS = 1e-3
"""The share of a number that may be lost below the range, up to which the number is resolved."""


class Saliency(Result):
    """The gradient of a loss with respect to every input; that of x_t is at index t-1.

    Attributes:
        gradients: `Scaled` with an exponent for each number: mantissa and exponent (T, d), dL/dx_t
            by feature of the flat input. ``gradients.to_array()`` gives plain numbers. A complex
            feature z = x + iy has ∂L/∂x among the real parts and ∂L/∂y behind them.
        log_abs: (T, d), ln |dL/dx_t|; -inf where it is exactly zero. Where it is not resolved it is
            the level below which nothing is seen.
        resolved: (T, d), whether the number is seen: False where a thousandth of it or more may
            lie below the range of the dtype beside what carries it, and where it is NaN.

    Example:
        >>> lg.saliency(chain, cotangents).resolved.shape
        (6, 2)
    """

    gradients: Scaled
    log_abs: Float[Array, "*batch T d"]
    resolved: Bool[Array, "*batch T d"]

    @property
    def log_norms(self) -> Float[Array, "*batch T"]:
        """Ln ‖dL/dx_t‖ over the features; NaN where one that is not resolved may be most of it."""
        return _log_norms(self.log_abs, self.resolved, jnp)

    _main = ("log_abs", 2)
    _axes = Axes(
        {
            "log_abs": "step feature",
            "resolved": "step feature",
            "gradients": "step feature",
            "log_norms": "step",
        },
        feature=0,
    )

    def _hidden(self) -> np.ndarray:
        return ~np.asarray(self.resolved) & np.isfinite(self.log_abs)

    def _points(self) -> tuple[str, Any]:
        return "step", np.arange(1, self.log_abs.shape[-2] + 1)

    def _subject(self) -> str:
        return "T = {}, {} features".format(*self.log_abs.shape[-2:])

    def _headline(self) -> str:
        found = self._numbers()
        return (
            f"largest ln |dL/dx| {number(found['largest_log_abs'])} at step "
            f"{number(found['step_of_largest'])}, feature {number(found['feature_of_largest'])}"
        )

    def _table(self) -> tuple[list[str], list[list[str]]]:
        norms = _log_norms(self.log_abs, self.resolved, np)
        rows = []
        for i in chosen(len(self.log_abs)):
            top = int(np.argmax(np.where(self.resolved[i], self.log_abs[i], -np.inf)))
            error = 0.0 if self.resolved[i, top] else np.inf
            rows.append(
                [
                    str(i + 1),
                    number(norms[i]),
                    str(top),
                    number(seen(self.log_abs[i, top], error)),
                    f"{np.mean(self.resolved[i]):.0%}",
                ]
            )
        return ["step", "ln norm", "feature", "ln |dL/dx|", "resolved"], rows

    def _numbers(self) -> dict[str, Any]:
        known = np.where(self.resolved, self.log_abs, -np.inf)
        step, feature = np.unravel_index(np.argmax(known), known.shape)
        norms = _log_norms(self.log_abs, self.resolved, np)
        return {
            "largest_log_abs": seen(self.log_abs[step, feature], 0.0),
            "step_of_largest": step + 1,
            "feature_of_largest": feature,
            "log_norm_of_first_step": norms[0],
            "log_norm_of_last_step": norms[-1],
            "resolved_share": np.mean(self.resolved),
        }


@compiled
def saliency(chain: Chain, cotangents: State) -> Saliency:
    """Returns the gradient of a loss with respect to every input, feature by feature.

    dL/dx_t = λ_t ∂s_t/∂x_t, through all later states, where λ_t is what `adjoint` gives.

    Args:
        chain: T factors that know their model and inputs: from `chain` or `linearize`,
            of any declared structure, a slice of such a chain, or one of its `routes`.
        cotangents: ∂L/∂s_t at every t, as for `adjoint`: of a loss on outputs at any steps,
            `loss_cotangents` makes them, and a recorded run of PyTorch has its own.

    Returns:
        `Saliency`, (T, d) numbers in any range. In range they are what `jax.grad` of the loss with
        respect to the inputs gives. The d features are the floating-point and complex leaves of an
        input as one flat vector, in the order of the pytree.

    Raises:
        ValueError: as `adjoint`; inputs without a floating-point or complex array, such as numbers
            of tokens; a chain of no step, or one that does not know its inputs.

    Notes:
        One backward sweep of two vectors, and one vjp of every step; O(T (n + d)) memory. Parts of
        the state that do not act on one another are swept apart, so that none pushes another one
        out of range. A saliency is the slope along one feature, not what its removal does:
        `swap_response` runs the model with another input.

    Example:
        ```python
        cotangents = lg.loss_cotangents(lambda states: loss(states.h[-1]), chain.trajectory)
        lg.plot.saliency(lg.saliency(chain, cotangents))
        ```

        >>> lg.saliency(chain, cotangents).log_abs.shape
        (6, 2)

    References:
        Simonyan, Vedaldi & Zisserman 2014 (arXiv:1312.6034), Section 3.
    """
    chain = check_stored(chain)
    check_not_empty(len(chain))
    step, factors = known_steps(chain)
    inputs = input_layout(factors[1])
    layout, flat = chain.layout, flat_cotangents(cotangents, chain.layout, len(chain))
    reached = InputMap(step, layout, inputs).fed_by(one_step(factors))
    found = nothing(len(chain), inputs, layout.dtype)
    for parts in mutual_groups(layout):
        fed = np.any([reached[part] for part in parts], axis=0)
        if fed.any():
            entering = InputMap(step, layout.restricted(parts), inputs)
            rows = pulled(chain, flat, parts)
            own = at_inputs(entering, factors, rows, fed)
            found = found.plus(own)
    log_abs = found.values.log_abs()
    # Of what is known to be exactly zero the level is -inf.
    hidden = (found.levels > -jnp.inf) & (found.levels > log_abs + math.log(LARGEST_LOSS))
    return Saliency(
        gradients=found.values,
        log_abs=jnp.where(hidden, jnp.maximum(found.levels, log_abs), log_abs),
        resolved=~hidden & ~jnp.isnan(log_abs),
    )


def _log_norms(log_abs: Any, resolved: Any, xp: ModuleType) -> Any:
    """Ln of the norms over the last axis.

    Args:
        log_abs: logarithms, levels where they are not resolved.
        resolved: which of them are.
        xp: `numpy` or `jax.numpy`, that of the arrays.
    """
    known = xp.where(resolved, log_abs, -xp.inf)
    top = xp.max(known, axis=-1, initial=-xp.inf)
    base = xp.where(xp.isfinite(top), top, 0.0)
    found = base + xp.log(xp.sum(xp.exp(2 * (known - base[..., None])), axis=-1)) / 2
    # What lies below this level may be more than all that is seen.
    level = xp.max(xp.where(resolved, -xp.inf, log_abs), axis=-1, initial=-xp.inf)
    return xp.where((level > found) | xp.any(xp.isnan(log_abs), axis=-1), xp.nan, found)
