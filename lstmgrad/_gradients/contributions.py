"""What each time step adds to the gradient.

The gradient with respect to the parameters is a sum over the steps that use them,

    dL/dθ = Σ_t g_t,      g_t = λ_t ∂step(θ, s_{t-1}, x_t)/∂θ,      λ_t = dL/ds_t,

and a step that the gradient does not reach adds nothing to it. Its *share*, ⟨g_t, g⟩/‖g‖² with
g = dL/dθ, adds up to 1 over time; it may be negative where a step works against the others.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lstmgrad._chains.chain import linearize
from lstmgrad._chains.trajectory import Trajectory
from lstmgrad._checks import check_differentiable
from lstmgrad._compile import compiled
from lstmgrad._gradients.adjoint import adjoint
from lstmgrad._gradients.local import (
    LocalStep,
    differentiable,
    log_norms,
    plain,
    squares,
    times,
    together,
    with_room,
)
from lstmgrad._numeric.scaled import power_below
from lstmgrad._types import Inputs, Params, State, StepFn


class Contributions(eqx.Module):
    """What each step adds to a gradient; step t, which makes s_t, is at index t-1.

    Leaves of the parameters and inputs that are no floating-point or complex arrays are None.

    Attributes:
        log_norms: like the parameters, (T,) a leaf, ln of the Frobenius norm of g_t's leaf.
        log_norm: (T,), ln ‖g_t‖ over all leaves.
        shares: (T,), ⟨g_t, g⟩/‖g‖², which add up to 1; NaN where the gradient is zero.
        cosines: (T,), of the angle between g_t and g; NaN where one of them is zero.
        residuals: (T+1,), ‖g - g_L‖/‖g‖ by L = 0, ..., T, where g_L is the sum over the last L
            steps: 1 at L = 0 and 0 at L = T.
        input_log_norms: like the inputs, (T,) a leaf, ln ‖dL/dx_t‖.
        gradient: like the parameters, g = Σ_t g_t, what `jax.grad` gives.
        input_gradient: like the inputs, (T, ...), dL/dx_t; smaller ones than the dtype holds are 0.
    """

    log_norms: Params
    log_norm: Float[Array, "*batch T"]
    shares: Float[Array, "*batch T"]
    cosines: Float[Array, "*batch T"]
    residuals: Float[Array, "*batch L"]
    input_log_norms: Inputs
    gradient: Params
    input_gradient: Inputs

    @property
    def cumulative_shares(self) -> Float[Array, "*batch L"]:
        """The share of the last L steps together, by L = 0, ..., T: from 0 to 1."""
        sums = jnp.cumsum(self.shares[..., ::-1], axis=-1)
        return jnp.concatenate([jnp.zeros_like(sums[..., :1]), sums], axis=-1)


@compiled
def contributions(
    step: StepFn, params: Params, trajectory: Trajectory, cotangents: State
) -> Contributions:
    """Returns what each time step adds to the gradient of a loss.

    Args:
        step: the step function of the model.
        params: its parameters.
        trajectory: as for `linearize`.
        cotangents: ∂L/∂s_t at every t, as for `adjoint`.

    Returns:
        `Contributions`. Their sum over time is `jax.grad` of the loss through the whole run.

    Raises:
        ValueError: as `linearize` and `adjoint`; neither parameters nor inputs have a leaf to
            differentiate.

    Notes:
        Three to four times the time of `jax.grad`: one backward sweep for λ_t, and a forward sweep
        that reads every part and every sum once more for their norms. Memory of the adjoint,
        (T, n), and of a few gradients: the parts are never held together. Norms are good for any T;
        parts far below the largest one keep their logarithm though they vanish in the sum.

    Example:
        ```python
        cotangents = lg.loss_cotangents(lambda states: loss(states.h[-1]), trajectory)
        lg.contributions(cell.step, params, trajectory, cotangents).shares[0]  # of the first step
        ```

    References:
        Pascanu, Mikolov, Bengio 2013 (arXiv:1211.5063), Equations 3 to 5.
    """
    chain = linearize(step, params, trajectory)
    moving, fixed = differentiable(params)
    inputs = jax.tree.map(jnp.asarray, trajectory.inputs)
    x_moving, _ = differentiable(inputs)
    check_differentiable(moving, x_moving)
    behind = jax.tree.map(lambda leaf: leaf[1:], adjoint(chain, cotangents))
    rows, exponents = jax.vmap(lambda row: with_room(row, moving, x_moving))(behind)
    local, dtype = LocalStep(step, fixed), chain.layout.dtype

    # The sum has the largest exponent so far, which is known beforehand.
    ceilings = jax.lax.cummax(exponents)
    earlier = jnp.concatenate([ceilings[:1], ceilings[:-1]])
    keep, gain = (power_below(e - ceilings, dtype) for e in (earlier, exponents))

    def forward(total: Params, entry: tuple) -> tuple[Params, tuple]:
        factor, row, keep, gain = entry
        part, x_part = local.pullback(moving, factor)(row)
        total = jax.tree.map(jnp.add, times(total, keep), times(part, gain))
        return total, (squares(part), squares(total), x_part)

    nothing = jax.tree.map(jnp.zeros_like, moving)
    total, (parts, sums, x_parts) = jax.lax.scan(
        forward,
        nothing,
        (chain.factors, rows, keep, gain),
        unroll=2,  # a tenth faster
    )
    inner = jax.vmap(lambda *entry: local.along(moving, total, *entry))(chain.factors, rows)
    part, earlier = together(parts, inner), together(sums, inner)
    whole = earlier[-1]
    # By mantissas: large logarithms are rounded. No exponent is above that of the whole sum.
    below = power_below(exponents - ceilings[-1], inner.dtype)
    rest = jnp.sqrt(earlier / whole) * power_below(ceilings - ceilings[-1], inner.dtype)
    rest = jnp.concatenate([rest[::-1], 0 * rest[-1:]])
    return Contributions(
        log_norms=log_norms(parts, exponents),
        log_norm=log_norms(part, exponents),
        shares=inner / whole * below,
        cosines=inner / jnp.sqrt(whole) / jnp.sqrt(part),
        residuals=rest,
        input_log_norms=log_norms(jax.vmap(squares)(x_parts), exponents),
        gradient=plain(total, ceilings[-1]),
        input_gradient=plain(x_parts, exponents),
    )
