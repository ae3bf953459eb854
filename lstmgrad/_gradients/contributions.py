"""What each time step adds to the gradient.

The gradient with respect to the parameters is a sum over the steps that use them,

    dL/dθ = Σ_t g_t,      g_t = λ_t ∂step(θ, s_{t-1}, x_t)/∂θ,      λ_t = dL/ds_t,

and a step that the gradient does not reach adds nothing to it. Its *share*, ⟨g_t, g⟩/‖g‖² with
g = dL/dθ, adds up to 1 over time; it may be negative where a step works against the others.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from lstmgrad._chains.base import Chain, check_stored, known_run
from lstmgrad._chains.padded import check_length
from lstmgrad._checks import check_differentiable, check_not_empty
from lstmgrad._compile import compiled, plain_options
from lstmgrad._gradients.adjoint import sources_of
from lstmgrad._gradients.groups import (
    groups_of,
    inner_products,
    shared_exponents,
)
from lstmgrad._gradients.local import LocalStep, differentiable, log_norm, plain, together
from lstmgrad._gradients.totals import lowered, summed
from lstmgrad._labeled import Axes
from lstmgrad._numeric.scaled import power_below
from lstmgrad._progress import Meter, Progress, portions
from lstmgrad._result import Result, up_to_length
from lstmgrad._types import Inputs, Params, State
from lstmgrad._writing import chosen, number

SHARES = (2, 1, 1)
"""Of the time: the sweep for λ_t, the sums of what is added, and their inner products with g."""


class Contributions(Result):
    """What each step adds to a gradient; step t, which makes s_t, is at index t-1.

    Leaves of the parameters and inputs that are not floating-point or complex arrays are None.

    Attributes:
        leaf_log_norms: like the parameters, (T,) per leaf, ln of the Frobenius norm of g_t's leaf.
        log_norms: (T,), ln ‖g_t‖ over all leaves.
        shares: (T,), ⟨g_t, g⟩/‖g‖², which add up to 1; NaN where the gradient is zero.
        cosines: (T,), of the angle between g_t and g; NaN where one of them is zero.
        residuals: (T+1,), ‖g - g_L‖/‖g‖ by L = 0, ..., T, where g_L is the sum over the last L
            steps: 1 at L = 0 and 0 at L = T.
        input_log_norms: like the inputs, (T,) per leaf, ln ‖dL/dx_t‖.
        gradient: like the parameters, g = Σ_t g_t, what `jax.grad` gives.
        input_gradients: like the inputs, (T, ...), dL/dx_t; what the dtype cannot hold is 0.
        length: steps of the sequence, where it was padded to T (``length=``), otherwise None. Later
            steps have no norms and no cosines (NaN), and shares and gradients of zero; `residuals`
            count from the sequence's own end.

    Example:
        >>> found = lg.contributions(chain, cotangents)
        >>> print(f"{found.shares.sum():.3f}")
        1.000
    """

    leaf_log_norms: Params
    log_norms: Float[Array, "*batch T"]
    shares: Float[Array, "*batch T"]
    cosines: Float[Array, "*batch T"]
    residuals: Float[Array, "*batch L"]
    input_log_norms: Inputs
    gradient: Params
    input_gradients: Inputs
    length: Any = None  # none, or (*batch,)

    @property
    def cumulative_shares(self) -> Float[Array, "*batch L"]:
        """The share of the last L steps together, by L = 0, ..., T: from 0 to 1."""
        sums = jnp.cumsum(self.shares[..., ::-1], axis=-1)
        return _from_the_end(jnp.concatenate([0 * sums[..., :1], sums], axis=-1), self.length)

    _main = ("log_norms", 1)
    _axes = Axes(
        {
            "log_norms": "step",
            "shares": "step",
            "cosines": "step",
            "leaf_log_norms": "step",
            "input_log_norms": "step",
            "residuals": "length",
        },
        length=0,
    )

    def _there(self) -> np.ndarray:
        steps = np.broadcast_to(self._points()[1], self.log_norms.shape)
        return up_to_length(steps, self.length)

    def _points(self) -> tuple[str, Any]:
        return "step", np.arange(1, self.log_norms.shape[-1] + 1)

    def _subject(self) -> str:
        return f"T = {self.log_norms.shape[-1]}"

    def _cut(self) -> "Contributions":
        """The steps of one padded sequence; tables and numbers read no more than these."""
        steps = ("log_norms", "shares", "cosines")
        cut = [getattr(self, name)[: int(self.length)] for name in steps]
        return eqx.tree_at(
            lambda found: (*(getattr(found, name) for name in steps), found.length),
            self,
            (*cut, None),
        )

    def _headline(self) -> str:
        found = self._numbers()
        return (
            f"share of the first step {number(found['share_of_first_step'], 3)}, of the last "
            f"{number(found['share_of_last_step'], 3)}"
        )

    def _table(self) -> tuple[list[str], list[list[str]]]:
        if self.length is not None:
            return self._cut()._table()
        rows = [
            [
                str(i + 1),
                number(self.log_norms[i]),
                number(self.shares[i], 3),
                number(self.cosines[i], 3),
            ]
            for i in chosen(len(self.log_norms))
        ]
        return ["step", "ln norm", "share", "cosine"], rows

    def _numbers(self) -> dict[str, Any]:
        if self.length is not None:
            return self._cut()._numbers()
        quarter = max(1, len(self.shares) // 4)
        return {
            "share_of_first_step": self.shares[0],
            "share_of_first_quarter": np.sum(self.shares[:quarter]),
            "share_of_last_step": self.shares[-1],
            "log_norm_of_first_step": self.log_norms[0],
            "largest_log_norm": np.max(self.log_norms),
            "step_of_largest_norm": np.argmax(self.log_norms) + 1,
        }


@plain_options
def contributions(
    chain: Chain,
    cotangents: State,
    *,
    progress: Progress | None = None,
    length: int | Int[Array, ""] | None = None,
) -> Contributions:
    """Returns what each time step adds to the gradient with respect to parameters and inputs.

    Args:
        chain: of T steps of a model, from `chain` or `linearize`, of any declared structure, or a
            slice of such a chain.
        cotangents: ∂L/∂s_t at every t, as for `adjoint`.
        progress: ``progress(steps_done, T)``, called on the way as for `backward_norms`.
        length: steps of the sequence, where its inputs are padded behind it to T: later steps add
            nothing, whatever they and their cotangents hold. It may be traced, so a batch of
            unequal sequences is one compiled program.

    Returns:
        `Contributions`. Their sum over time is `jax.grad` of the loss through the whole run.

    Raises:
        ValueError: as `adjoint`; the chain does not know its model; neither parameters nor inputs
            have a leaf to differentiate; a `length` that is not a whole number from 1 to T.

    Notes:
        Less than twice the time of `jax.grad`: one backward sweep for λ_t, and products of matrices
        over some 60 steps at a time. What a step adds to a matrix that it multiplies with is an
        outer product, whose factors tell its norm; what it adds to weights of other uses, as in a
        convolution, is multiplied out. Memory of some four times the states, (T, n), and of a few
        gradients: the parts are never held together. Norms are good for any T; steps far below the
        largest one keep their logarithm though they vanish in the sum. A residual comes from a sum
        of squares: where steps cancel, to less than 3·10^-4 of their norms together (10^-8 in
        float64), it reads as that. Within one step the norm of a leaf is lost (-inf) if it is more
        than 10^-23 below the largest entry of λ_t (10^-190 in float64), as gates far beyond
        saturation make it. Parts of the state that do not act on one another, such as the layers of
        a stack, are swept apart, so that the gradient of one cannot push that of another out of
        range: L layers cost up to (L + 1) / 2 times as much.

    Example:
        ```python
        cotangents = lg.loss_cotangents(lambda states: loss(states.h[-1]), chain.trajectory)
        lg.contributions(chain, cotangents).shares[0]  # of the first step
        ```

        >>> found = lg.contributions(chain, cotangents)
        >>> def loss(params):
        ...     return lg.unroll(model.step, params, model.state, inputs).states.h[-1].sum()
        >>> bool(jnp.allclose(found.gradient.bias, jax.grad(loss)(model.params).bias, atol=1e-5))
        True

    References:
        Pascanu, Mikolov, Bengio 2013 (arXiv:1211.5063), Equations 3 to 5.
    """
    length = check_length(length, check_stored(chain))
    return _contributions(chain, cotangents, length, progress=progress)


@compiled
def _contributions(chain: Chain, cotangents: State, length: Any, *, progress: Any) -> Contributions:
    known_run(check_stored(chain))
    check_not_empty(len(chain))
    chain, flat = sources_of(chain, cotangents, length)
    run, dtype = known_run(chain), chain.layout.dtype
    step, params = run.step.parts()
    moving, fixed = differentiable(params)
    x_moving, _ = differentiable(run.inputs)
    check_differentiable(moving, x_moving)
    swept, added, seen = portions(Meter.of(progress, len(chain)), *SHARES)
    groups = groups_of(chain, flat, moving, fixed, swept)
    shared = shared_exponents(groups, (moving, x_moving))
    exponents, (leaf_exponents, x_exponents), _ = shared
    found = summed(groups, run, moving, shared, added)
    parts = jax.tree.unflatten(jax.tree.structure(moving), found.parts)
    x_parts, x_squares = found.beside

    ceilings = jax.lax.cummax(exponents)
    direction = [
        total * power_below(top - ceilings[-1], dtype).astype(total.dtype)
        for total, top in zip(found.totals, found.tops, strict=True)
    ]
    local = LocalStep(step, fixed, chain.layout)
    direction = jax.tree.unflatten(jax.tree.structure(moving), direction)

    def along(factor: Any) -> Float[Array, " n"]:
        return local.along(moving, direction, factor)

    inner = inner_products(groups, along, run.factors, exponents, seen)
    part = together(lowered(parts, leaf_exponents, exponents), inner)
    whole = found.sums[-1].astype(inner.dtype)
    # By mantissas: large logarithms are rounded. No exponent is above that of the whole sum.
    below = power_below(exponents - ceilings[-1], inner.dtype)
    rest = jnp.sqrt(found.sums.astype(inner.dtype) / whole)
    rest *= power_below(ceilings - ceilings[-1], inner.dtype)
    rest = jnp.concatenate([rest[::-1], 0 * rest[-1:]])
    gradient = list(map(plain, found.totals, found.tops))

    def there(values: Any) -> Any:
        """NaN at the steps that there are not."""
        if length is None:
            return values
        steps = jnp.arange(len(chain), dtype=length.dtype) < length
        return jax.tree.map(lambda leaf: jnp.where(steps, leaf, jnp.nan), values)

    return Contributions(
        leaf_log_norms=there(jax.tree.map(log_norm, parts, leaf_exponents)),
        log_norms=there(log_norm(part, exponents)),
        shares=inner / whole * below,
        cosines=there(inner / jnp.sqrt(whole) / jnp.sqrt(part)),
        residuals=_from_the_end(rest, length),
        input_log_norms=there(jax.tree.map(log_norm, x_squares, x_exponents)),
        gradient=jax.tree.unflatten(jax.tree.structure(moving), gradient),
        input_gradients=jax.tree.map(plain, x_parts, x_exponents),
        length=length,
    )


def _from_the_end(values: Float[Array, "*batch L"], length: Any) -> Float[Array, "*batch L"]:
    """What the last L steps before T make together, as that of the last L of a sequence.

    Args:
        values: by L = 0, ..., T, with axes of a batch in front.
        length: of the sequence; None is T. More steps than it has make what all of them do.
    """
    if length is None:
        return values
    last, length = values.shape[-1] - 1, jnp.asarray(length)[..., None]
    steps = jnp.arange(last + 1, dtype=length.dtype)
    steps = jnp.broadcast_to(steps, values.shape)
    return jnp.take_along_axis(values, jnp.minimum(steps + last - length, last), axis=-1)
