"""Pushing, pulling, and a block of the product as a plain array."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lstmgrad._chains.base import Chain, StoredChain, check_chain, check_stored, identity_rows
from lstmgrad._chains.blocks import block_between, whole_block
from lstmgrad._chains.layout import Layout
from lstmgrad._chains.sweeps import read_nothing, sweep_backward, sweep_forward
from lstmgrad._checks import check_array
from lstmgrad._compile import compiled
from lstmgrad._numeric.rows import joined, split
from lstmgrad._numeric.scaled import Scaled, normalize, scaled
from lstmgrad._types import PartName


@compiled
def push_forward(chain: Chain, tangents: Float[Array | np.ndarray, "n *m"] | Scaled) -> Scaled:
    """Returns the perturbation of s_T that perturbations of s_0 become: J_T ··· J_1 V.

    Args:
        chain: T factors on a state of flat size n.
        tangents: (n,) or (n, m), columns in the chain's dtype; a `Scaled` continues an earlier
            push.

    Returns:
        `Scaled`, of the shape of the tangents; one exponent serves the whole block. On their way
        the tangents have one each: none of them is lost because another one was far larger.

    Raises:
        ValueError: the shape is not (n,) or (n, m), or the dtype is not the chain's.

    Notes:
        T jvps of m columns, O(n m) memory; differentiable. An exactly vanished perturbation is 0,
        and NaN means that the trajectory was NaN.

    Example:
        ``push_forward(chain[k:], push_forward(chain[:k], v))`` is ``push_forward(chain, v)``.

        >>> found = lg.push_forward(chain, jnp.ones(6)).to_array()
        >>> bool(jnp.allclose(found, lg.jacobian(chain) @ jnp.ones(6), atol=1e-5))
        True
    """
    check_chain(chain)
    block = _as_block(chain, tangents, "tangents")
    rows = block.mantissa.reshape(chain.layout.size, -1).T
    start = split(Scaled(rows, block.exponent))
    ((_, after), _), _ = sweep_forward(chain, start, read_nothing, None)
    after = joined(after)
    return Scaled(after.mantissa.T.reshape(block.mantissa.shape), after.exponent)


@compiled
def pull_back(chain: Chain, cotangents: Float[Array | np.ndarray, "*m n"] | Scaled) -> Scaled:
    """Returns what cotangents of s_T become at s_0: U J_T ··· J_1, back-propagation through time.

    Args:
        chain: T factors on a state of flat size n.
        cotangents: (n,) or (m, n), rows in the chain's dtype; a `Scaled` continues an earlier pull.

    Returns:
        `Scaled`, of the shape of the cotangents; one exponent serves the whole block. On their way
        the cotangents have one each: none of them is lost because another one was far larger.

    Raises:
        ValueError: the shape is not (n,) or (m, n), or the dtype is not the chain's.

    Notes:
        T vjps of m rows, each one matrix product against the recurrent weights; O(m n) memory;
        differentiable.

    Example:
        ``pull_back(chain[:k], pull_back(chain[k:], u))`` is ``pull_back(chain, u)``.

        >>> found = lg.pull_back(chain, jnp.ones(6)).to_array()
        >>> bool(jnp.allclose(found, jnp.ones(6) @ lg.jacobian(chain), atol=1e-5))
        True
    """
    chain = check_stored(chain)
    block = _as_block(chain, cotangents, "cotangents")
    rows = block.mantissa.reshape(-1, chain.layout.size)
    start = split(Scaled(rows, block.exponent))
    ((_, before), _), _ = sweep_backward(chain, start, read_nothing, None)
    before = joined(before)
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
        T pushes of n_wrt tangents, or T pulls of n_of cotangents where those are fewer, through the
        parts on a path from `wrt` to `of` alone.

    Example:
        ``jacobian(chain[k:k])`` is the identity.

        >>> bool(jnp.array_equal(lg.jacobian(chain[3:3]), jnp.eye(6)))
        True

    References:
        Pascanu, Mikolov, Bengio 2013 (arXiv:1211.5063), Eqs. 4-5, for a state without parts.
    """
    check_chain(chain)
    block = block_between(chain, of, wrt)
    part, rows, columns = block.chain, block.rows, block.columns
    if not block.connected:  # zero at lag 0, too: two parts without a path are different parts
        return jnp.zeros(block.shape, chain.layout.dtype)
    identity = identity_rows(part)
    if rows.stop - rows.start < columns.stop - columns.start and isinstance(part, StoredChain):
        pulled = pull_back(part, identity[rows])
        values = Scaled(pulled.mantissa[:, columns], pulled.exponent)
    else:
        pushed = push_forward(part, identity[:, columns])
        values = Scaled(pushed.mantissa[rows], pushed.exponent)
    return whole_block(values.to_array(), block, chain, of, wrt)


def _as_block(chain: Chain, value: Any, argument: str) -> Scaled:
    array = value.mantissa if isinstance(value, Scaled) else value
    check_array(array, argument)
    array = jnp.asarray(array)
    _check_block(array.shape, array.dtype, chain.layout, argument)
    array = array.astype(chain.layout.dtype)
    if not isinstance(value, Scaled):
        return scaled(array)
    exponent = jnp.asarray(value.exponent)
    _check_scalar(exponent.shape, f"{argument}.exponent")
    return normalize(Scaled(array, exponent.astype(jnp.int32)))


def _check_block(shape: tuple, dtype: Any, layout: Layout, argument: str) -> None:
    """Tangents are (n,) or (n, m), cotangents (n,) or (m, n), in the dtype of chain or state."""
    size = layout.size
    axis = 0 if argument == "tangents" else -1
    wanted = "(n,) or (n, m)" if argument == "tangents" else "(n,) or (m, n)"
    if len(shape) not in (1, 2) or shape[axis] != size:
        raise ValueError(
            f"{argument}: expected shape {wanted} with n = {size}, the flat size of the state, "
            f"but got {shape}. For a batch, use jax.vmap."
        )
    if not layout.accepts(dtype):
        raise ValueError(
            f"{argument}: expected dtype {layout.dtype}, the chain's, but got {dtype}. Cast it."
        )


def _check_scalar(shape: tuple, argument: str) -> None:
    """One number for the whole block."""
    if shape:
        raise ValueError(
            f"{argument}: expected one exponent for the whole block, but got shape {shape}. For a "
            "batch, use jax.vmap."
        )
