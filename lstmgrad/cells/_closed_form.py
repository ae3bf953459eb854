"""The closed-form continuous-time cell (CfC): a gate between two candidates that moves with time.

    z = 1.7159 tanh(⅔ (W [x; h] + b))                    a layer that all three heads look at
    g = tanh(W_g z + b_g),    k = tanh(W_k z + b_k),    f = W_f z + b_f
    h' = σ(-f Δt) ⊙ g + (1 - σ(-f Δt)) ⊙ k

It approximates the solution of a liquid time-constant network over the time Δt since the last
input. The routes are those of the heads: "fast" through g, "slow" through k, "time" through f.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from lstmgrad._calls import public
from lstmgrad._checks import check_count, check_positive, resolve_dtype
from lstmgrad._tag import tag
from lstmgrad._types import StepFn
from lstmgrad.cells._cell import (
    GLOROT,
    Cell,
    HiddenState,
    Initializer,
    check_sizes,
    init_stacked,
    zero_state,
)


class CfCParams(NamedTuple):
    """A shared layer of b units, and three heads on it.

    Attributes:
        weight_ih: (b, d), of the shared layer.
        weight_hh: (b, h), of the shared layer.
        bias: (b,), of the shared layer.
        weight_heads: (3h, b), stacked in the order g, k, f.
        bias_heads: (3h,).
    """

    weight_ih: Float[Array, "b d"]
    weight_hh: Float[Array, "b h"]
    bias: Float[Array, " b"]
    weight_heads: Float[Array, "3*h b"]
    bias_heads: Float[Array, " 3*h"]


@public
def cfc(
    input_size: int,
    hidden_size: int,
    *,
    backbone_size: int = 128,
    step_size: float = 1.0,
    recurrent_init: Initializer = GLOROT,
    dtype=None,
) -> Cell:
    """Returns a closed-form continuous-time cell.

    Args:
        input_size: d.
        hidden_size: h.
        backbone_size: b, the units of the shared layer.
        step_size: Δt, the time between two inputs, above 0.
        recurrent_init: the initializer of the shared layer's weights on h.
        dtype: the dtype of parameters and state; None is JAX's default float.

    Returns:
        `Cell` with `CfCParams` (heads in the order g, k, f) and `HiddenState(h)`. Biases are zero.

    Raises:
        ValueError: a size is not a whole number, 1 or more; the time is not above zero.

    Notes:
        The authors' code and `ncps` write σ(-u) as 1 - σ(u), with u = f Δt + c, and c is a head
        that time does not multiply: at a fixed Δt, f + c/Δt is the same gate. Their shared layer
        has 0.666 for 2/3: multiply its weights and bias by 0.999. They are equal after that, in the
        mode that `ncps` calls "default".

    Example:
        At zero weights h' is 0, whatever h was.

        >>> unit = lg.cells.cfc(2, 3)
        >>> lg.chain(unit.model(unit.init(jax.random.key(0))), inputs).trajectory.states.h.shape[0]
        7

    References:
        Hasani et al. 2022 (Nature Machine Intelligence 4, 992; arXiv:2106.13898). LeCun et
        al. 1998, Efficient BackProp, for the shared layer's activation.
    """
    d, h = check_sizes(input_size, hidden_size)
    width = check_count(backbone_size, "backbone_size")
    step = cfc_step(check_positive(step_size, "step_size"))

    @public
    def init(key: PRNGKeyArray) -> CfCParams:
        kind = resolve_dtype(dtype)
        key_ih, key_hh, key_heads = jax.random.split(key, 3)
        return CfCParams(
            init_stacked(GLOROT, key_ih, 1, (width, d), kind),
            init_stacked(recurrent_init, key_hh, 1, (width, h), kind),
            jnp.zeros(width, kind),
            init_stacked(GLOROT, key_heads, 3, (h, width), kind),
            jnp.zeros(3 * h, kind),
        )

    def initial_state() -> HiddenState:
        return zero_state(HiddenState, h, dtype)

    return Cell(init, initial_state, step)


@functools.cache
def cfc_step(step_size: float) -> StepFn:
    """The step for one time between inputs; the same object for the same time.

    Args:
        step_size: Δt.
    """

    def step(params: CfCParams, state: HiddenState, x: Float[Array, " d"]) -> HiddenState:
        drive = params.weight_ih @ x + params.weight_hh @ state.h + params.bias
        z = 1.7159 * jnp.tanh(2 / 3 * drive)
        g, k, f = jnp.split(params.weight_heads @ z + params.bias_heads, 3)
        g, k, f = tag(g, "fast"), tag(k, "slow"), tag(f, "time")
        fast = jax.nn.sigmoid(-step_size * f)
        return HiddenState(fast * jnp.tanh(g) + (1 - fast) * jnp.tanh(k))

    return step
