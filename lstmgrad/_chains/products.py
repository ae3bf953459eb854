"""The product of a chain and all its prefixes, sequential in time or parallel.

Φ_t = J_t ··· J_1,  Φ_T = ds_T/ds_0.

The product of matrices is associative, so the prefixes may be formed in any grouping: one after
the other (least arithmetic), by an associative scan (depth log T, about twice the arithmetic, T n²
numbers held), or sequentially inside blocks of time that run beside one another, with an
associative scan over the blocks. A CPU is best at the first; an accelerator with small n and long T
spends the first waiting, step after step, for work too small to fill it.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from lstmgrad._chains.base import Chain, Walk, check_chain, check_stored, identity_rows
from lstmgrad._chains.dense import DenseChain
from lstmgrad._chains.propagate import push_forward
from lstmgrad._chains.sweeps import read_nothing, sweep_forward
from lstmgrad._checks import check_count, check_kind
from lstmgrad._compile import compiled
from lstmgrad._numeric.rows import joined, split
from lstmgrad._numeric.scaled import Scaled, scaled


@dataclasses.dataclass(frozen=True)
class Method:
    """How products over time are formed: `Method.sequential`, `.parallel` or `.blocked(steps)`.

    Attributes:
        product: chain ↦ Φ_T as a `Scaled` with an (n, n) mantissa.
        prefixes: chain ↦ Φ_1, ..., Φ_T as a `Scaled` with a (T, n, n) mantissa, (T,) exponents.
        sequential: one factor after the other: the least arithmetic and memory; the only method
            for a stream.
        parallel: an associative scan over the dense factors: depth log T, O(T n²) memory.

    Example:
        >>> parallel = lg.product(chain, method=lg.Method.parallel).to_array()
        >>> bool(jnp.allclose(parallel, lg.product(chain).to_array(), atol=1e-5))
        True
    """

    product: Callable[[Chain], Scaled]
    prefixes: Callable[[Chain], Scaled]

    sequential: ClassVar["Method"]
    parallel: ClassVar["Method"]

    @staticmethod
    def blocked(block_size: int) -> "Method":
        """Returns the method that is sequential inside blocks of time and parallel over the blocks.

        Args:
            block_size: steps per block, 1 or more. The product holds T / block_size matrices
                instead of T; about √T is a good choice.

        Raises:
            ValueError: the block size is not a whole number of 1 or more.

        Example:
            >>> blocked = lg.product(chain, method=lg.Method.blocked(2)).to_array()
            >>> bool(jnp.allclose(blocked, parallel, atol=1e-5))
            True
        """
        return _blocked(check_count(block_size, "block_size"))


def _sequential_product(chain: Chain) -> Scaled:
    return push_forward(chain, identity_rows(chain))


def _sequential_prefixes(chain: Chain, walk: Walk | None = None) -> Scaled:
    def read(carry: None, block: Scaled) -> tuple[None, Scaled, Scaled]:
        return None, block, _product_of(block)

    return sweep_forward(chain, _identity(chain), read, None, walk=walk)[1]


def _identity(chain: Chain) -> Scaled:
    """The tangents that make a product, with an exponent each: none is lost beside a larger one."""
    return split(scaled(identity_rows(chain)))


def _product_of(tangents: Scaled) -> Scaled:
    block = joined(tangents)
    return Scaled(block.mantissa.T, block.exponent)


def _parallel_prefixes(chain: Chain) -> Scaled:
    return _associative(jax.vmap(scaled)(DenseChain.of(check_stored(chain)).factors))


def _parallel_product(chain: Chain) -> Scaled:
    if len(chain) == 0:
        return scaled(identity_rows(chain))
    return jax.tree.map(lambda leaf: leaf[-1], _parallel_prefixes(chain))


def _associative(factors: Scaled) -> Scaled:
    """Prefix products of a stack of scaled matrices, the latest on the left."""
    return jax.lax.associative_scan(jax.vmap(lambda early, late: late @ early), factors)


Method.sequential = Method(_sequential_product, _sequential_prefixes)
Method.parallel = Method(_parallel_product, _parallel_prefixes)


@functools.cache  # the same object for the same size, so that it is a stable key of compilation
def _blocked(size: int) -> Method:
    def cut(chain: Chain) -> tuple[Any, Chain]:
        """Full blocks of factors, stacked, and the chain of what is left."""
        factors = check_stored(chain).factors
        count = len(chain) // size
        blocks = jax.tree.map(
            lambda leaf: leaf[: count * size].reshape(count, size, *leaf.shape[1:]), factors
        )
        return blocks, chain[count * size :]

    def walk(chain: Chain, factors: Any) -> Walk:
        return chain.walk()._replace(entries=factors)

    def total(chain: Chain, factors: Any) -> Scaled:
        ((_, block), _), _ = sweep_forward(
            chain, _identity(chain), read_nothing, None, walk=walk(chain, factors)
        )
        return _product_of(block)

    def product(chain: Chain) -> Scaled:
        blocks, rest = cut(chain)
        if len(chain) < size:
            return _sequential_product(chain)
        totals = jax.vmap(lambda block: total(chain, block))(blocks)
        whole = jax.tree.map(lambda leaf: leaf[-1], _associative(totals))
        return _sequential_product(rest) @ whole

    def prefixes(chain: Chain) -> Scaled:
        blocks, rest = cut(chain)
        if len(chain) < size:
            return _sequential_prefixes(chain)
        inner = jax.vmap(lambda block: _sequential_prefixes(chain, walk(chain, block)))(blocks)
        totals = _associative(jax.tree.map(lambda leaf: leaf[:, -1], inner))
        before = jax.tree.map(
            lambda one, many: jnp.concatenate([one[None], many]),
            scaled(identity_rows(chain)),
            totals,
        )
        times = jax.vmap(lambda many, one: jax.vmap(lambda late: late @ one)(many))
        full = times(inner, jax.tree.map(lambda leaf: leaf[:-1], before))
        full = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), full)
        last = jax.tree.map(lambda leaf: leaf[-1], before)
        tail = jax.vmap(lambda late: late @ last)(_sequential_prefixes(rest))
        return jax.tree.map(lambda *pieces: jnp.concatenate(pieces), full, tail)

    return Method(product, prefixes)


@compiled
def product(chain: Chain, *, method: Method = Method.sequential) -> Scaled:
    """Returns ds_T/ds_0 = J_T ··· J_1, the whole (n, n) product, at any length.

    Args:
        chain: T factors on a state of flat size n; ``chain[k:t]`` gives ds_t/ds_k.
        method: `Method.sequential`, `.parallel` or `.blocked(block_size)`; the same numbers up to
            rounding.

    Returns:
        `Scaled` with an (n, n) mantissa; the identity for the empty chain.

    Raises:
        ValueError: a method other than `Method.sequential` for a stream.

    Notes:
        Sequentially T pushes of n tangents, O(n²) memory. One exponent serves the whole matrix: the
        top singular value is as good as the dtype, the tail of the spectrum is not (it needs a QR).
        Where groups of units shrink in turn, one of them may be below the range of the other and
        come back. Sequentially each column has its own exponent until the end, so that only what
        falls below the range inside one column is lost; the other methods lose what falls below
        that of a whole matrix.

    Example:
        ``product(chain[k:]) @ product(chain[:k])`` is ``product(chain)``.

        >>> late, early = lg.product(chain[2:]), lg.product(chain[:2])
        >>> whole = lg.product(chain).to_array()
        >>> bool(jnp.allclose(late.to_array() @ early.to_array(), whole, atol=1e-5))
        True

    References:
        Blelloch 1990, Prefix sums and their applications; Martin & Cundy 2018 (arXiv:1709.04057)
        for linear recurrences.
    """
    check_chain(chain)
    check_kind(method, Method, "method")
    return method.product(chain)


@compiled
def prefix_products(chain: Chain, *, method: Method = Method.sequential) -> Scaled:
    """Returns ds_t/ds_0 for every t = 1..T.

    Args:
        chain: T factors on a state of flat size n.
        method: `Method.sequential`, `.parallel` or `.blocked(block_size)`; the same numbers up to
            rounding.

    Returns:
        `Scaled` with mantissas (T, n, n) and exponents (T,), one each; Φ_t is at index t-1.

    Raises:
        ValueError: a method other than `Method.sequential` for a stream.

    Notes:
        O(T n²) memory for the result alone. Use `forward_norms` where only norms are wanted.

    Example:
        The last one is ``product(chain)``.

        >>> last = lg.prefix_products(chain).to_array()[-1]
        >>> bool(jnp.allclose(last, lg.product(chain).to_array(), atol=1e-5))
        True
    """
    check_chain(chain)
    check_kind(method, Method, "method")
    return method.prefixes(chain)
