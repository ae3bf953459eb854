"""Moving a block through a chain and keeping it representable: the only scans over a chain.

Forward:  v ↦ J_T ··· J_1 v.   Backward:  u ↦ u J_T ··· J_1.

After every factor the block is normalized by an exact power of two, so the result is a `Scaled`
that neither under- nor overflows, whatever T.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lstmgrad._chains.chain import Chain
from lstmgrad._checks import check_block, check_kind, check_scalar
from lstmgrad._compile import compiled
from lstmgrad._numeric.scaled import Scaled, normalize, scaled
from lstmgrad._types import PartName

Observe = Callable[[Any, Scaled], tuple[Any, Any]]
"""``observe(carry, block) -> (carry, reading)``, called on the block (m, n) as the sweep goes."""

Renew = Callable[[Any, Scaled], tuple[Any, Scaled, Any]]
"""``renew(carry, block) -> (carry, block, reading)``, which may replace the block on its way."""

Inject = Callable[[Scaled, Any], Scaled]
"""``inject(block, source) -> block``, what arrives at one time put into the block (m, n)."""


def sweep_forward(chain: Chain, block: Scaled, observe: Observe, carry: Any, every: int = 1):
    """Pushes tangents, rows (m, n), through J_1, J_2, ..., J_T.

    Returns the block at the end and the readings; with `every`, reading j is taken at time
    (j+1)·every, and factors past the last multiple of `every` are left out.
    """
    renew = _keeping(observe)
    ((_, block), _), readings = _sweep(chain, chain.push, block, renew, carry, every, reverse=False)
    return block, readings


def sweep_backward(chain: Chain, block: Scaled, observe: Observe, carry: Any, every: int = 1):
    """Pulls cotangents, rows (m, n), back through J_T, J_{T-1}, ..., J_1.

    Returns the block at the start and the readings; with `every`, reading j is taken at time
    T - (j+1)·every, and factors before the last of these times are left out.
    """
    renew = _keeping(observe)
    ((_, block), _), readings = _sweep(chain, chain.pull, block, renew, carry, every, reverse=True)
    return block, readings


def sweep_renewed(chain: Chain, block: Scaled, renew: Renew, carry: Any):
    """Pushes tangents, rows (m, n), through J_1, ..., J_T, and renews them after every factor.

    Returns ((memory, block), carry) at the end, where the memory is what the chain carries besides
    its block (the state, for a stream); and the readings.
    """
    return _sweep(chain, chain.push, block, renew, carry, 1, reverse=False)


def _keeping(observe: Observe) -> Renew:
    def renew(carry: Any, block: Scaled) -> tuple[Any, Scaled, Any]:
        carry, reading = observe(carry, block)
        return carry, block, reading

    return renew


def _sweep(chain, move, block: Scaled, renew: Renew, carry: Any, every: int, *, reverse: bool):
    def factor_by_factor(loop, entry):
        memory, block = loop
        memory, factor = chain.visit(memory, entry)
        block = normalize(Scaled(move(factor, block.mantissa), block.exponent))
        return (memory, block), None

    def stretch(loop, entries):
        moving, carry = loop
        if every == 1:
            moving, _ = factor_by_factor(moving, entries)
        else:
            moving, _ = jax.lax.scan(factor_by_factor, moving, entries, reverse=reverse)
        memory, block = moving
        carry, block, reading = renew(carry, block)
        return ((memory, block), carry), reading

    count, entries = len(chain) // every, chain.factors
    if every > 1:
        used = slice(len(chain) - count * every, None) if reverse else slice(0, count * every)
        entries = jax.tree.map(
            lambda leaf: leaf[used].reshape(count, every, *leaf.shape[1:]), entries
        )
    loop = ((chain.begin(), block), carry)
    loop, readings = jax.lax.scan(stretch, loop, entries, reverse=reverse)
    if reverse:
        readings = jax.tree.map(lambda leaf: leaf[::-1], readings)
    return loop, readings


def sweep_adjoint(
    chain: Chain,
    block: Scaled,
    sources: Any,
    inject: Inject,
    observe: Callable[[Any, Scaled], Any],
) -> tuple[Scaled, Any]:
    """Pulls cotangents back while more of them arrive on the way.

    Args:
        chain: T factors that can be pulled back.
        block: what arrives at time T, rows (m, n).
        sources: a pytree with T on axis 0; entry t is what arrives at time t < T.
        inject: ``inject(block, source) -> block``, called at each of these times.
        observe: ``observe(factor, block) -> reading``, called before each pull with the factor J_t
            and the block at time t.

    Returns:
        The block at time 0, and the readings of times 1, ..., T stacked along axis 0.
    """

    def back(block: Scaled, entry: Any) -> tuple[Scaled, Any]:
        factor, source = entry
        reading = observe(factor, block)
        block = normalize(Scaled(chain.pull(factor, block.mantissa), block.exponent))
        return inject(block, source), reading

    return jax.lax.scan(back, block, (chain.factors, sources), reverse=True)


def _observe_nothing(carry: None, block: Scaled) -> tuple[None, None]:
    return None, None


@compiled
def push_forward(chain: Chain, tangents: Float[Array | np.ndarray, "n *m"] | Scaled) -> Scaled:
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
    check_kind(chain, Chain, "chain")
    len(chain)
    block = _as_block(chain, tangents, "tangents")
    rows = block.mantissa.reshape(chain.layout.size, -1).T
    after, _ = sweep_forward(chain, Scaled(rows, block.exponent), _observe_nothing, None)
    return Scaled(after.mantissa.T.reshape(block.mantissa.shape), after.exponent)


@compiled
def pull_back(chain: Chain, cotangents: Float[Array | np.ndarray, "*m n"] | Scaled) -> Scaled:
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
    check_kind(chain, Chain, "chain")
    len(chain)
    block = _as_block(chain, cotangents, "cotangents")
    rows = block.mantissa.reshape(-1, chain.layout.size)
    before, _ = sweep_backward(chain, Scaled(rows, block.exponent), _observe_nothing, None)
    return Scaled(before.mantissa.reshape(block.mantissa.shape), before.exponent)


@compiled
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
        T pushes of n_wrt tangents, or T pulls of n_of cotangents where those are fewer.

    Example:
        ``jacobian(chain[k:k])`` is the identity.

    References:
        Pascanu, Mikolov, Bengio 2013 (arXiv:1211.5063), Eqs. 4-5, for a state without parts.
    """
    check_kind(chain, Chain, "chain")
    len(chain)
    rows, columns = chain.layout.block(of, "of"), chain.layout.block(wrt, "wrt")
    identity = jnp.eye(chain.layout.size, dtype=chain.layout.dtype)
    fewer_rows = rows.stop - rows.start < columns.stop - columns.start
    if fewer_rows and chain.reversible:
        block = pull_back(chain, identity[rows])
        return Scaled(block.mantissa[:, columns], block.exponent).to_array()
    block = push_forward(chain, identity[:, columns])
    return Scaled(block.mantissa[rows], block.exponent).to_array()


def _as_block(chain: Chain, value: Any, argument: str) -> Scaled:
    array = jnp.asarray(value.mantissa if isinstance(value, Scaled) else value)
    check_block(array.shape, array.dtype, chain.layout.size, chain.layout.dtype, argument)
    if not isinstance(value, Scaled):
        return scaled(array)
    exponent = jnp.asarray(value.exponent)
    check_scalar(exponent.shape, f"{argument}.exponent")
    return normalize(Scaled(array, exponent.astype(jnp.int32)))
