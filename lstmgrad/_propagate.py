"""Moving a block through a chain and keeping it representable: the only scans over a chain.

Forward:  V ↦ J_T ··· J_1 V.   Backward:  U ↦ U J_T ··· J_1.

After every factor the block is normalized by an exact power of two, so the result is a `Scaled`
that neither under- nor overflows, whatever T.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lstmgrad._chain import Chain
from lstmgrad._checks import check_block
from lstmgrad._scaled import Scaled, normalize, scaled
from lstmgrad._types import PartName

Observe = Callable[[Any, Scaled], tuple[Any, Any]]
"""``observe(carry, block) -> (carry, reading)``, called on the block after each factor."""


def _observe_nothing(carry: None, block: Scaled) -> tuple[None, None]:
    return None, None


def sweep_forward(
    chain: Chain, block: Scaled, observe: Observe = _observe_nothing, carry: Any = None
) -> tuple[Scaled, Any]:
    """Pushes columns (n, m) through J_1, then J_2, ...; returns the block and what was read.

    Reading t-1 is taken after J_t, so that it belongs to time t.
    """
    return _sweep(chain.push, chain.factors, block, observe, carry, reverse=False)


def sweep_backward(
    chain: Chain, block: Scaled, observe: Observe = _observe_nothing, carry: Any = None
) -> tuple[Scaled, Any]:
    """Pulls rows (m, n) back through J_T, then J_{T-1}, ...; returns the block and the readings.

    Reading t-1 is taken after J_t, so that it belongs to time t-1.
    """
    return _sweep(chain.pull, chain.factors, block, observe, carry, reverse=True)


def _sweep(apply, factors, block: Scaled, observe: Observe, carry: Any, *, reverse: bool):
    def body(loop, factor):
        block, carry = loop
        block = normalize(Scaled(apply(factor, block.mantissa), block.exponent))
        carry, reading = observe(carry, block)
        return (block, carry), reading

    (block, _), readings = jax.lax.scan(body, (block, carry), factors, reverse=reverse)
    return block, readings


@eqx.filter_jit
def push_forward(chain: Chain, tangents: Float[Array, "n *m"] | Scaled) -> Scaled:
    """Returns the perturbation of s_T that perturbations of s_0 become: J_T ··· J_1 V.

    Args:
        chain: T factors on a state of flat size n.
        tangents: (n,) or (n, m), columns in the chain's dtype; a `Scaled` continues an earlier
            push.

    Returns:
        `Scaled`, of the shape of the tangents; one exponent serves the whole block.

    Raises:
        ValueError: the shape is not (n,) or (n, m), or the dtype is not the chain's.

    Notes:
        T jvps of m columns, O(n m) memory; differentiable. An exactly vanished perturbation is 0,
        and NaN means that the trajectory was NaN.

    Example:
        ``push_forward(chain[k:], push_forward(chain[:k], v))`` is ``push_forward(chain, v)``.
    """
    len(chain)
    block = _as_block(chain, tangents, "tangents")
    columns = block.mantissa.reshape(chain.layout.size, -1)
    after, _ = sweep_forward(chain, Scaled(columns, block.exponent))
    return Scaled(after.mantissa.reshape(block.mantissa.shape), after.exponent)


@eqx.filter_jit
def pull_back(chain: Chain, cotangents: Float[Array, "*m n"] | Scaled) -> Scaled:
    """Returns what cotangents of s_T become at s_0: U J_T ··· J_1, back-propagation through time.

    Args:
        chain: T factors on a state of flat size n.
        cotangents: (n,) or (m, n), rows in the chain's dtype; a `Scaled` continues an earlier pull.

    Returns:
        `Scaled`, of the shape of the cotangents; one exponent serves the whole block.

    Raises:
        ValueError: the shape is not (n,) or (m, n), or the dtype is not the chain's.

    Notes:
        T vjps of m rows, each one matrix product against the recurrent weights; O(m n) memory;
        differentiable.

    Example:
        ``pull_back(chain[:k], pull_back(chain[k:], u))`` is ``pull_back(chain, u)``.
    """
    len(chain)
    block = _as_block(chain, cotangents, "cotangents")
    rows = block.mantissa.reshape(-1, chain.layout.size)
    before, _ = sweep_backward(chain, Scaled(rows, block.exponent))
    return Scaled(before.mantissa.reshape(block.mantissa.shape), before.exponent)


@eqx.filter_jit
def product(chain: Chain) -> Scaled:
    """Returns ds_T/ds_0 = J_T ··· J_1, the whole (n, n) product, at any length.

    Args:
        chain: T factors on a state of flat size n; ``chain[k:t]`` gives ds_t/ds_k.

    Returns:
        `Scaled` with an (n, n) mantissa; the identity for the empty chain.

    Notes:
        T pulls of n rows, O(n²) memory. One exponent serves the whole matrix: the top singular
        value is as good as the dtype, the tail of the spectrum is not (it needs a QR).

    Example:
        ``product(chain[k:]) @ product(chain[:k])`` is ``product(chain)``.
    """
    return pull_back(chain, jnp.eye(chain.layout.size, dtype=chain.layout.dtype))


@eqx.filter_jit
def jacobian(
    chain: Chain, *, of: PartName | None = None, wrt: PartName | None = None
) -> Float[Array, "n_of n_wrt"]:
    """Returns one block of ds_T/ds_0 as a plain array, e.g. dc_t/dc_k.

    ``jacobian(chain[k:t], of="c", wrt="c")`` is the (c, c) block of ds_t/ds_k = J_t ··· J_{k+1}:
    c_k is varied and every other part of s_k, h_k among them, is held. Likewise "dh_t/dh_k" is the
    (h, h) block at held c_k, which is what reverse-mode differentiation of the unrolled network
    with respect to h_k gives. An LSTM's h_k = o_k ⊙ tanh(c_k) is a function of c_k; the total
    effect of c_k *including* h_k is another number,
    ``jacobian(of, wrt="c") + jacobian(of, wrt="h") @ diag(o_k (1 - tanh² c_k))``.

    Args:
        chain: T factors.
        of: the part of s_T that is differentiated; None is the whole flat state.
        wrt: the part of s_0 that is varied; None is the whole flat state.

    Returns:
        (n_of, n_wrt). Entries beyond the dtype's range become ±inf or 0, as in any float array:
        use `backward_norms` or `product` for long chains.

    Raises:
        ValueError: an unknown part (the known ones are listed).

    Notes:
        T pulls of n_of rows, or T pushes of n_wrt columns where those are fewer.

    Example:
        ``jacobian(chain[k:k])`` is the identity.

    References:
        Pascanu, Mikolov, Bengio 2013 (arXiv:1211.5063), Eqs. 4-5, for a state without parts.
    """
    len(chain)
    rows, columns = chain.layout.block(of, "of"), chain.layout.block(wrt, "wrt")
    identity = jnp.eye(chain.layout.size, dtype=chain.layout.dtype)
    if rows.stop - rows.start <= columns.stop - columns.start:
        block = pull_back(chain, identity[rows])
        return Scaled(block.mantissa[:, columns], block.exponent).to_array()
    block = push_forward(chain, identity[:, columns])
    return Scaled(block.mantissa[rows], block.exponent).to_array()


def _as_block(chain: Chain, value: Any, argument: str) -> Scaled:
    array = jnp.asarray(value.mantissa if isinstance(value, Scaled) else value)
    check_block(array.shape, array.dtype, chain.layout.size, chain.layout.dtype, argument)
    return normalize(value) if isinstance(value, Scaled) else scaled(array)
