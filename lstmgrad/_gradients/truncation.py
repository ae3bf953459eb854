"""How much of the gradient truncated back-propagation through time leaves out.

Truncated after L steps, the loss at t sees the steps t, t-1, ..., t-L+1 only. With λ^l_k the part
of dL/ds_k that comes from the losses l steps later,

    λ^0_k = ∂L/∂s_k,      λ^l_k = λ^{l-1}_{k+1} J_{k+1},      g_L = Σ_{l<L} Σ_k λ^l_k ∂step_k/∂θ,

and its bias is ‖g - g_L‖/‖g‖.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from lstmgrad._calls import public
from lstmgrad._chains.base import Chain, check_stored, known_run
from lstmgrad._chains.padded import check_length
from lstmgrad._checks import check_count, check_differentiable, check_not_empty, check_positive
from lstmgrad._compile import compiled, plain_options
from lstmgrad._gradients.adjoint import pull_cotangents, sources_of
from lstmgrad._gradients.contributions import Contributions
from lstmgrad._gradients.groups import fed_by_parameters
from lstmgrad._gradients.local import LocalStep, differentiable, log_norm, squares, times, together
from lstmgrad._labeled import Axes
from lstmgrad._numeric.scaled import Scaled, normalize, power_below, scaled, widen
from lstmgrad._result import Result
from lstmgrad._types import Params, State
from lstmgrad._writing import chosen, number


class TruncationBias(Result):
    """The bias of truncated back-propagation through time, by its length.

    Attributes:
        lengths: (L+1,), 0, 1, ..., the steps that the gradient of each loss goes back.
        residuals: (L+1,), ‖g - g_L‖/‖g‖: 1 at length 0, and above 1 where the truncated gradient
            is further from the gradient than nothing is; down to the dtype's rounding.

    Example:
        >>> lg.truncation_bias(chain, cotangents).residuals.shape
        (7,)
    """

    lengths: Int[Array, "*batch L"]
    residuals: Float[Array, "*batch L"]

    _main = ("residuals", 1)
    _axes = Axes({"residuals": "length"}, length="lengths")

    def _points(self) -> tuple[str, Any]:
        return "length", self.lengths

    def _subject(self) -> str:
        return f"{self.residuals.shape[-1]} lengths"

    def _headline(self) -> str:
        return f"bias {number(self.residuals[-1], 3)} at length {self.lengths[-1]}"

    def _table(self) -> tuple[list[str], list[list[str]]]:
        rows = [
            [str(self.lengths[i]), number(self.residuals[i], 3)] for i in chosen(len(self.lengths))
        ]
        return ["length", "bias"], rows

    def _numbers(self) -> dict[str, Any]:
        return {"longest_length": self.lengths[-1], "residual": self.residuals[-1]}


@plain_options
def truncation_bias(
    chain: Chain,
    cotangents: State,
    *,
    max_length: int | None = None,
    length: int | Int[Array, ""] | None = None,
) -> TruncationBias:
    """Returns how far the gradient of truncated back-propagation is from the whole one.

    Args:
        chain: of T steps of a model, as for `contributions`.
        cotangents: ∂L/∂s_t at every t, as for `adjoint`.
        max_length: the longest truncation; None is T.
        length: steps of the sequence, where it is padded, as for `contributions`; truncations that
            are longer leave out nothing.

    Returns:
        `TruncationBias`. `truncation_length` reads a length off it.

    Raises:
        ValueError: as `contributions`, but the parameters themselves need a leaf to differentiate;
            `max_length` below 1 or above T; a `length` that is not a whole number from 1 to T.

    Notes:
        One batched pull and one gradient of all T steps at once per length, as matrix products: T
        lengths cost O(T²), so bound `max_length` where T is in the thousands. O(T n) memory and
        two gradients. For a loss on the last state alone the residuals are those of
        `contributions`, which costs a sweep or two.

    Example:
        >>> bias = lg.truncation_bias(chain, cotangents)
        >>> print(f"{bias.residuals[-1]:.3f}")
        0.000

    References:
        Williams & Peng 1990; Tallec & Ollivier 2017 (arXiv:1705.08209), on the bias.
    """
    length = check_length(length, check_stored(chain))
    return _truncation_bias(chain, cotangents, length, max_length=max_length)


@compiled
def _truncation_bias(
    chain: Chain, cotangents: State, length: Any, *, max_length: Any
) -> TruncationBias:
    chain = check_stored(chain)
    known_run(chain)
    most, dtype = len(chain), chain.layout.dtype
    check_not_empty(most)
    if max_length is not None:
        most = check_count(max_length, "max_length", most=most, limit="T")
    chain, direct = sources_of(chain, cotangents, length)
    run = known_run(chain)
    step, params = run.step.parts()
    moving, fixed = differentiable(params)
    check_differentiable(moving)
    chain, direct = fed_by_parameters(chain, direct, moving, fixed)
    local = LocalStep(step, fixed, chain.layout)
    later = pull_cotangents(chain, direct)
    whole = local.pull_all(moving, run.factors, Scaled(later.mantissa[1:], later.exponent[1:]))

    def log_size(part: tuple[Params, Int[Array, ""]]) -> Float[Array, ""]:
        tree, exponent = part
        return log_norm(together(squares(tree), widen(jnp.zeros((), dtype))), exponent)

    def earlier(row: Scaled, factor) -> Scaled:
        return normalize(Scaled(chain.pull(factor, row.mantissa[None])[0], row.exponent))

    def longer(carry: tuple, _: None) -> tuple[tuple, Float[Array, ""]]:
        rows, (rest, exponent) = carry
        part, part_exponent = local.pull_all(moving, run.factors, rows)
        top = jnp.maximum(exponent, part_exponent)
        keep, gain = (power_below(e - top, dtype) for e in (exponent, part_exponent))
        rest = jax.tree.map(jnp.subtract, times(rest, keep), times(part, gain))
        rows = jax.tree.map(
            lambda leaf: jnp.concatenate([leaf[1:], jnp.zeros_like(leaf[:1])]),
            jax.vmap(earlier)(rows, chain.factors),
        )
        return (rows, (rest, top)), log_size((rest, top))

    start = (jax.vmap(scaled)(direct[1:]), whole)
    _, log_sizes = jax.lax.scan(longer, start, length=most)
    size = log_size(whole)
    residuals = jnp.exp(jnp.concatenate([size[None], log_sizes]) - size)
    return TruncationBias(lengths=jnp.arange(most + 1), residuals=residuals)


@public
def truncation_length(
    bias: TruncationBias | Contributions, *, tolerance: float = 0.1
) -> Float[Array, "*batch"]:
    """Returns the shortest truncation from which on the bias stays within the tolerance.

    Args:
        bias: from `truncation_bias`; from `contributions` where the loss is on the last state.
        tolerance: the largest ‖g - g_L‖/‖g‖ to accept, above zero.

    Returns:
        Steps, as a float: +inf if the longest truncation that was measured is not enough, NaN if
        there is no gradient.

    Raises:
        ValueError: another kind of record; a tolerance that is not above zero.

    Example:
        For a gradient to which each step adds half as much as the next, g_L lacks 2^-L of it, and
        the length for 0.1 is 4.

        >>> bool(lg.truncation_length(lg.truncation_bias(chain, cotangents), tolerance=0.1) <= 6)
        True
    """
    if not isinstance(bias, TruncationBias | Contributions):
        raise ValueError(
            "bias: expected an lstmgrad TruncationBias or Contributions, but got "
            f"{type(bias).__name__}: truncation_bias and contributions make them."
        )
    residuals, tolerance = bias.residuals, check_positive(tolerance, "tolerance")
    above = ~(residuals <= tolerance)
    index = jnp.max(jnp.where(above, jnp.arange(1, above.shape[-1] + 1), 0), axis=-1)
    steps = jnp.where(above[..., -1], jnp.inf, index.astype(residuals.dtype))
    return jnp.where(jnp.any(jnp.isnan(residuals), axis=-1), jnp.nan, steps)
