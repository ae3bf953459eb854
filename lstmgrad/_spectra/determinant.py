"""How each step changes volumes: the logarithm of |det J_t|, from which exponents have no escape.

The sum of all n Lyapunov exponents is the time mean of ln |det J_t|, exactly and at any length. A
determinant is a product of pivots, each with a small relative error, however far they lie apart: so
it is right where a QR of the same matrix has lost its smallest entries to rounding.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lstmgrad._chains.base import Chain, check_chain, identity_rows
from lstmgrad._chains.sweeps import sweep_forward
from lstmgrad._compile import compiled
from lstmgrad._numeric import lapack
from lstmgrad._numeric.scaled import LOG_2, Scaled, scaled, widen


@compiled
def log_abs_det(chain: Chain) -> Float[Array, " T"]:
    """Returns ln |det J_t| for every step, the rate at which volumes of the state space change.

    Args:
        chain: T factors of any kind, streams included.

    Returns:
        (T,), the value of J_t at index t-1: -inf where the step is singular, NaN where the
        trajectory was NaN.

    Raises:
        ValueError: not a chain, or a batch of chains.

    Notes:
        One push of the identity and an LU decomposition of (n, n) per step; memory O(n²) besides
        the chain. The pivots of J_t transposed do not depend on the scale of its rows, so that
        saturated units cost no accuracy, as long as the dtype has numbers as small as their slope.

    Example:
        ``jnp.mean(log_abs_det(chain))`` is ``jnp.sum(lyapunov_spectrum(chain).exponents)``, up to
        what the exponents leave unresolved.

        >>> factors = jnp.broadcast_to(jnp.diag(jnp.array([2.0, 0.5])), (6, 2, 2))
        >>> bool(jnp.allclose(lg.log_abs_det(lg.DenseChain(factors)), 0.0, atol=1e-6))
        True

    References:
        Oseledets 1968. Higham 2002, Accuracy and Stability, Section 9.8 (scaling in LU).
    """
    check_chain(chain)
    return _log_abs_det(chain)


def _log_abs_det(chain: Chain) -> Float[Array, " T"]:
    gains, copies = chain.log_gains(), chain.copies()
    if gains is not None:
        return jnp.sum(gains, axis=1)
    if copies is not None:
        each = [count * jax.vmap(_log_abs_det)(chains) for chains, count in copies]
        return jnp.sum(jnp.concatenate(each), axis=0)
    size, identity = chain.layout.size, scaled(identity_rows(chain))

    def read(carry: None, block: Scaled) -> tuple[None, Scaled, Array]:
        log_det = lapack.log_abs_det(widen(block.mantissa))
        shift = block.exponent.astype(log_det.dtype) * jnp.asarray(size * LOG_2, log_det.dtype)
        return None, identity, log_det + shift

    return sweep_forward(chain, identity, read, None)[1]
