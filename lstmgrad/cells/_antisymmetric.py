"""The antisymmetric RNN: a step of an ordinary differential equation at the edge of stability.

    h' = h + ε tanh((U - Uᵀ - γ I) h + W x + b)

U - Uᵀ has imaginary eigenvalues, so at γ = 0 the equation neither grows nor decays; γ balances the
growth that the explicit step of size ε brings.
"""

import functools
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from lstmgrad._calls import public
from lstmgrad._checks import check_number, check_positive, resolve_dtype
from lstmgrad._tag import tag
from lstmgrad._types import StepFn
from lstmgrad.cells._cell import (
    GLOROT,
    Cell,
    HiddenState,
    Initializer,
    check_sizes,
    init_weights,
    zero_state,
)


class AntisymmetricRNNParams(NamedTuple):
    """Attributes: weight_ih (h, d) is W, weight_hh (h, h) is U, bias (h,) is b."""

    weight_ih: Float[Array, "h d"]
    weight_hh: Float[Array, "h h"]
    bias: Float[Array, " h"]


@public
def antisymmetric_rnn(
    input_size: int,
    hidden_size: int,
    *,
    step_size: float = 0.1,
    diffusion: float = 0.01,
    recurrent_init: Initializer = GLOROT,
    dtype=None,
) -> Cell:
    """Returns an antisymmetric recurrent cell.

    Args:
        input_size: d.
        hidden_size: h.
        step_size: ε, above 0.
        diffusion: γ, 0 or above.
        recurrent_init: the initializer of U.
        dtype: the dtype of parameters and state; None is JAX's default float.

    Returns:
        `Cell` with `AntisymmetricRNNParams` and `HiddenState(h)`. b is zero.

    Raises:
        ValueError: a size is not a whole number, 1 or more; step_size or diffusion is out of
            range.

    Example:
        With all weights zero, the step Jacobian is (1 - ε γ) I at h = 0.

        >>> unit = lg.cells.antisymmetric_rnn(2, 3)
        >>> lg.chain(unit.model(unit.init(jax.random.key(0))), inputs).trajectory.states.h.shape[0]
        7

    References:
        Chang et al. 2019 (arXiv:1902.09689), Section 3.
    """
    d, h = check_sizes(input_size, hidden_size)
    step_size = check_positive(step_size, "step_size")
    diffusion = check_number(diffusion, "diffusion", 0.0)

    @public
    def init(key: PRNGKeyArray) -> AntisymmetricRNNParams:
        kind = resolve_dtype(dtype)
        return AntisymmetricRNNParams(
            *init_weights(key, 1, (d, h), recurrent_init, kind), jnp.zeros(h, kind)
        )

    def initial_state() -> HiddenState:
        return zero_state(HiddenState, h, dtype)

    return Cell(init, initial_state, antisymmetric_rnn_step(step_size, diffusion))


@functools.cache
def antisymmetric_rnn_step(step_size: float, diffusion: float) -> StepFn:
    """The step for one discretization; the same object for the same numbers.

    Args:
        step_size: ε.
        diffusion: γ.
    """

    def step(
        params: AntisymmetricRNNParams, state: HiddenState, x: Float[Array, " d"]
    ) -> HiddenState:
        matrix = params.weight_hh - params.weight_hh.T
        drive = params.weight_ih @ x + matrix @ state.h - diffusion * state.h + params.bias
        carried = tag(state.h, "carry")
        return HiddenState(carried + step_size * jnp.tanh(tag(drive, "recurrent")))

    return step
