"""Depth: the gradient's norm through a stack of layers as a product of three factors per layer.

Through a layer h' = φ(W h + b) a cotangent u becomes δ = φ'(z) ⊙ u and then Wᵀδ:

    ‖Wᵀδ‖/‖u‖  =  ‖δ‖/‖u‖  ·  σ_max(W)  ·  ‖Wᵀδ‖/(σ_max(W) ‖δ‖),

the activation's slope, the size of the weights and how well they are aligned with the gradient. The
first is at most max φ' (1/4 for the sigmoid) and the last at most 1, so ten layers leave no more
than (max φ' · σ_max)^10, and thirty factors multiply to what they do leave.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lstmgrad._chains.base import Chain, check_stored
from lstmgrad._compile import compiled
from lstmgrad._labeled import Axes
from lstmgrad._numeric import lapack
from lstmgrad._numeric.scaled import widen
from lstmgrad._result import Result
from lstmgrad._routes.budget import STATE, gain_budget, splitting_tags
from lstmgrad._writing import chosen, number
from lstmgrad.cells._layer import LayerParams


class LayerFactors(Result):
    """Three factors per layer, as logarithms; layer l is at index l-1.

    Attributes:
        log_slopes: (L,), ln ‖φ'(z) ⊙ u‖/‖u‖, of the activation.
        log_weights: (L,), ln σ_max(W).
        log_alignments: (L,), ln ‖Wᵀδ‖/(σ_max(W) ‖δ‖), at most 0; 0 where no gradient arrives.
        log_norm: the sum of all of them: ln ‖dL/dh_0‖/‖dL/dh_L‖, or ln σ_max of dh_L/dh_0.

    Example:
        >>> layer = lg.cells.plain_layer(jnp.tanh)
        >>> weights = jnp.broadcast_to(jnp.eye(3), (4, 3, 3))
        >>> layers = lg.cells.LayerParams(weights, jnp.zeros((4, 3)))
        >>> stack = lg.chain(lg.Model(layer, None, lg.cells.LayerState(0.1 * jnp.ones(3))), layers)
        >>> lg.layer_factors(stack).log_slopes.shape
        (4,)
    """

    log_slopes: Float[Array, "*batch L"]
    log_weights: Float[Array, "*batch L"]
    log_alignments: Float[Array, "*batch L"]
    log_norm: Float[Array, "*batch"]

    _main = ("log_norm", 0)
    _axes = Axes(
        {
            "log_slopes": "layer",
            "log_weights": "layer",
            "log_alignments": "layer",
            "log_norm": "",
        }
    )

    def _subject(self) -> str:
        count = self.log_slopes.shape[-1]
        return f"dh_{count}/dh_0, {count} layers"

    def _headline(self) -> str:
        return f"ln norm {number(self.log_norm)}"

    def _table(self) -> tuple[list[str], list[list[str]]]:
        factors = (self.log_slopes, self.log_weights, self.log_alignments)
        rows = [
            [str(i + 1), *(number(np.exp(factor[i])) for factor in factors)]
            for i in chosen(len(self.log_slopes))
        ]
        return ["layer", "slope", "σ_max", "alignment"], rows

    def _numbers(self) -> dict[str, Any]:
        return {
            "log_norm": self.log_norm,
            "log_slope": np.sum(self.log_slopes),
            "log_weight": np.sum(self.log_weights),
            "log_alignment": np.sum(self.log_alignments),
        }


@compiled
def layer_factors(chain: Chain, cotangent: Float[Array, " n"] | None = None) -> LayerFactors:
    """Returns the factors that the gradient's norm has through a stack of plain layers.

    Args:
        chain: of a stack, ``chain(Model(plain_layer(activation), None, state), layers)``.
        cotangent: (n,), the gradient of a loss with respect to the output; None follows the top
            left singular vector of dh_L/dh_0.

    Returns:
        `LayerFactors`, 3 L numbers that add up to `log_norm`.

    Raises:
        ValueError: the chain is not that of plain layers; as `gain_budget`.

    Notes:
        One gain budget and L norms of matrices.

    Example:
        For one layer: slope, weights, alignment; for ten there are thirty factors.

        >>> layer = lg.cells.plain_layer(jnp.tanh)
        >>> weights = jnp.broadcast_to(jnp.eye(3), (4, 3, 3))
        >>> layers = lg.cells.LayerParams(weights, jnp.zeros((4, 3)))
        >>> stack = lg.chain(lg.Model(layer, None, lg.cells.LayerState(0.1 * jnp.ones(3))), layers)
        >>> lg.layer_factors(stack).log_slopes.shape
        (4,)
    """
    check_stored(chain)
    layers = None if chain.run is None else chain.run.inputs
    if not isinstance(layers, LayerParams) or splitting_tags(chain) != ["branch"]:
        raise ValueError(
            "chain: expected that of a stack of plain layers, chain(Model(step, None, state), "
            "layers) with step = lg.cells.plain_layer(activation), because only those have one "
            "slope and one weight for all of the gradient. Use gain_budget for other steps."
        )
    weights = layers.weight
    budget = gain_budget(chain, cotangent, through=["branch"])
    norms = jax.vmap(lambda weight: lapack.singular_values(widen(weight))[0])(weights)
    log_weights = jnp.log(norms).astype(weights.dtype)
    log_slopes, log_gains = (budget.station_log_gains[label] for label in ("branch", STATE))
    deaths = (budget.log_gains == -jnp.inf).astype(int)
    behind = jax.lax.cumsum(deaths, reverse=True) - deaths
    arrives = (norms > 0) & (log_slopes != -jnp.inf) & (behind == 0)
    return LayerFactors(
        log_slopes=log_slopes,
        log_weights=log_weights,
        log_alignments=jnp.where(arrives, log_gains - log_weights, 0.0),
        log_norm=budget.log_norm,
    )
