"""Gradients from a lag or from beyond it.

With λ^{l}_k what the losses at t >= k + l mean to s_k, that part of the gradient is

    g_l = Σ_k λ^{l}_k ∂step_k/∂θ,      g_0 = dL/dθ.

For a loss on the last state it is what the steps up to T - l add.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lstmgrad._chains.base import StoredChain, known_run
from lstmgrad._chains.layout import ravel
from lstmgrad._gradients.local import LocalStep, differentiable
from lstmgrad._numeric.scaled import Scaled, log_of, norm_of, normalize


class Gradients(NamedTuple):
    """Gradients of the sequences, from all lags and from the lag asked for on, as directions.

    Attributes:
        log_norms: (N,), ln ‖g‖.
        far_log_norms: (N,), ln ‖g_lag‖.
        cosines: (N, N), between the gradients of two sequences.
        far_cosines: (N, N), between their g_lag.
        cross_cosines: (N, N), between g_lag of the first and g of the second.

    Example:
        >>> batch = jnp.stack([inputs, -inputs])
        >>> found = lg.diagnose(jax.vmap(lambda one: lg.chain(model, one))(batch), lag=5)
        >>> found.readings.gradients.cosines.shape
        (2, 2)
    """

    log_norms: Float[Array, " N"]
    far_log_norms: Float[Array, " N"]
    cosines: Float[Array, "N N"]
    far_cosines: Float[Array, "N N"]
    cross_cosines: Float[Array, "N N"]


def gradient_of(chain: StoredChain, rows: Scaled) -> Scaled:
    """What cotangents of s_1, ..., s_T mean to the parameters, as one flat vector.

    Args:
        chain: T factors.
        rows: (T, n), with an exponent each.
    """
    run = known_run(chain)
    step, params = run.step.parts()
    moving, fixed = differentiable(params)
    part, exponent = LocalStep(step, fixed, chain.layout).pull_all(moving, run.factors, rows)
    return normalize(Scaled(ravel(jax.tree.leaves(part), chain.layout.dtype), exponent))


def log_of_residuals(residuals: Array) -> Array:
    """Ln ‖g_l‖/‖g‖; at least that of the smallest number, where they left the range.

    Args:
        residuals: ‖g_l‖/‖g‖.
    """
    return jnp.log(jnp.maximum(residuals, jnp.finfo(residuals.dtype).tiny))


def early_part(chain: StoredChain, rows: Scaled, last: int) -> Scaled:
    """The gradient, and what the steps up to s_last add to it, on axis 0.

    Args:
        chain: T factors.
        rows: dL/ds_t for t = 1..T.
        last: the last step.
    """
    early = (jnp.arange(1, len(chain) + 1) <= last)[:, None]
    masks = jnp.stack([jnp.ones_like(early), early])

    def of(mask: Array) -> Scaled:
        return gradient_of(chain, Scaled(jnp.where(mask, rows.mantissa, 0), rows.exponent))

    return jax.vmap(of)(masks)


def tails_of(
    chain: StoredChain, rows: Scaled, lag: int, stride: int
) -> tuple[Float[Array, " L"], Scaled]:
    """Ln ‖g_l‖/‖g‖ for l = 0, stride, ..., and g with g_lag on axis 0.

    Args:
        chain: T factors.
        rows: dL/ds_t for t = 1..T.
        lag: of g_lag.
        stride: from one l to the next; it divides the lag.
    """

    def earlier(row: Scaled, factor: Any) -> Scaled:
        return normalize(Scaled(chain.pull(factor, row.mantissa[None])[0], row.exponent))

    def further(rows: Scaled, _: None) -> tuple[Scaled, None]:
        # λ of s_k from losses at k + l or later: that of s_{k+1} from k + l on, through J_{k+1}.
        later = jax.tree.map(
            lambda leaf: jnp.concatenate([leaf[1:], jnp.zeros_like(leaf[:1])]), rows
        )
        factors = jax.tree.map(lambda leaf: jnp.concatenate([leaf[1:], leaf[-1:]]), chain.factors)
        return jax.vmap(earlier)(later, factors), None

    def beyond(carry: tuple, index: Array) -> tuple[tuple, Array]:
        rows, both = carry
        found = gradient_of(chain, rows)
        here = jnp.stack([index == 0, index * stride == lag])
        both = jax.tree.map(
            lambda new, old: jnp.where(here.reshape(2, *[1] * new.ndim), new, old), found, both
        )
        rows, _ = jax.lax.scan(further, rows, length=stride)
        return (rows, both), log_of(norm_of(found.mantissa), found.exponent)

    shape = jax.eval_shape(lambda: gradient_of(chain, rows))
    both = jax.tree.map(lambda leaf: jnp.zeros((2, *leaf.shape), leaf.dtype), shape)
    count = len(chain) // stride + 1
    (_, both), logs = jax.lax.scan(beyond, (rows, both), jnp.arange(count))
    return logs - logs[0], both


def stride_of(lag: int, length: int) -> int:
    """The largest divisor of the lag that leaves some sixty lags.

    Args:
        lag: 1 or more.
        length: T.
    """
    most = max(1, length // 64)
    return max(number for number in range(1, most + 1) if lag % number == 0)


def directions_of(both: Scaled) -> Gradients:
    """Norms and cosines of the gradients of all sequences.

    Args:
        both: (N, 2, parameters), g and g_lag of every sequence.
    """

    def sized(value: Scaled) -> tuple[Array, Array]:
        size = norm_of(value.mantissa)
        return log_of(size, value.exponent), value.mantissa / jnp.where(size > 0, size, 1)

    logs, vectors = jax.vmap(jax.vmap(sized))(both)
    (log_norms, far_log_norms), (units, far_units) = logs.T, jnp.swapaxes(vectors, 0, 1)

    def cosines(one: Array, other: Array) -> Array:
        return jnp.matmul(one, other.T, precision="highest")

    return Gradients(
        log_norms,
        far_log_norms,
        cosines(units, units),
        cosines(far_units, far_units),
        cosines(far_units, units),
    )
