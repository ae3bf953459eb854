"""The regularizer of Pascanu, Mikolov and Bengio: how far each step is from an isometry."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lstmgrad._chains.base import Chain, check_stored
from lstmgrad._compile import compiled
from lstmgrad._gradients.adjoint import adjoint
from lstmgrad._numeric.scaled import Scaled, log_of, norm_of, normalize
from lstmgrad._types import State


@compiled
def pascanu_regularizer(chain: Chain, cotangents: State) -> Float[Array, ""]:
    """Returns Ω, which punishes steps that shrink or stretch the gradient passing through them.

    Ω = Σ_t (‖δ_t J_t‖ / ‖δ_t‖ - 1)², t = 1..T, with δ_t = dL/ds_t.

    Args:
        chain: T factors that can be pulled back (not a stream).
        cotangents: ∂L/∂s_t at every t, as `adjoint` takes them.

    Returns:
        A number, 0 and above. A step that no gradient reaches adds nothing, one that swallows it
        adds 1.

    Raises:
        ValueError: as `adjoint`.

    Notes:
        2T vjps of one vector; differentiable. Its gradient here is that of the whole expression;
        the authors hold δ_t and the states, and differentiate J_t alone.

    Example:
        T (ρ - 1)² for ρ times orthogonal matrices, whatever the loss.

        >>> halves = lg.DenseChain(jnp.broadcast_to(0.5 * jnp.eye(2), (4, 2, 2)))
        >>> print(f"{lg.pascanu_regularizer(halves, jnp.zeros((5, 2)).at[-1].set(1.0)):.3f}")
        1.000

    References:
        Pascanu, Mikolov, Bengio 2013 (arXiv:1211.5063), Eq. 9.
    """
    chain = check_stored(chain)
    found = adjoint(chain, cotangents)

    def term(factor, row):
        pulled = normalize(Scaled(chain.pull(factor, row[None])[0], jnp.zeros((), jnp.int32)))
        here = jnp.any(row != 0)
        row = jnp.where(here, row, 1.0)
        gain = jnp.exp(log_of(norm_of(pulled.mantissa), pulled.exponent) - jnp.log(norm_of(row)))
        return jnp.where(here, (gain - 1) ** 2, 0.0)

    return jnp.sum(jax.vmap(term)(chain.factors, found.mantissa[1:]))
