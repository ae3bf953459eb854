"""How many directions survive: all singular values of ds_t/ds_0 or ds_T/ds_k, by lag.

The product is never formed: see `factored`.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from lstmgrad._chains.base import (
    Chain,
    Copies,
    StoredChain,
    check_chain,
    check_spacing,
    check_stored,
    identity_rows,
)
from lstmgrad._chains.blocks import Block, block_between
from lstmgrad._chains.padded import check_length, ending_last, repeating_last
from lstmgrad._chains.sweeps import sweep_backward, sweep_forward
from lstmgrad._checks import check_count
from lstmgrad._compile import compiled, plain_options
from lstmgrad._numeric.graded import Graded, log_singular_values
from lstmgrad._numeric.scaled import Scaled, widen
from lstmgrad._spectra.displaced import row_errors
from lstmgrad._spectra.factored import FactoredProduct, apply, level_of_hidden, whole_product
from lstmgrad._spectra.records import SingularSpectrum
from lstmgrad._types import Fixed, PartName

_BATCH = 2**16  # numbers in the matrices that are decomposed side by side


@plain_options
def forward_singular_spectrum(
    chain: Chain,
    *,
    of: PartName | None = None,
    wrt: PartName | None = None,
    every: int = 1,
    num_values: int | None = None,
    length: int | Int[Array, ""] | None = None,
) -> SingularSpectrum:
    """Returns the singular values of ∂s_t/∂s_0 for every t, by lag t, small ones too.

    σ_1 >= σ_2 >= ... of J_t ··· J_1, each to a precision relative to itself: the tail of a product
    lies tens and thousands of orders of magnitude below its norm, and says how many directions of
    s_0 are still told apart at t.

    Args:
        chain: T factors; streams included.
        of: the part of s_t; None is the whole state.
        wrt: the part of s_0; None is the whole state. Other parts of s_0 are held (see `jacobian`).
        every: read the values at lags 0, every, 2·every, ... <= T only.
        num_values: keep the largest m alone; None keeps all min(n_of, n_wrt).
        length: steps of the sequence, where its inputs are padded behind it to T: lags longer than
            it hold nothing (NaN). It may be traced: a batch of unequal sequences is one program.

    Returns:
        `SingularSpectrum`, lag 0 first, with an error estimate for each value.

    Raises:
        ValueError: an unknown part (the known ones are listed), `every` below 1 or above T,
            `num_values` below 1 or above min(n_of, n_wrt), a `length` that is not a whole number
            from 1 to T.

    Notes:
        A push of n_wrt tangents, two passes of Gram-Schmidt (more where rows differ by more than
        the digits), the inverse of a triangle and nine products of n_wrt³ per step; an SVD by
        Jacobi rotations per lag, 0.1 s for n = 200 on one core. O(L n_of n_wrt) memory.
        `every` saves the SVDs, `num_values` saves nothing but memory. Not differentiable in reverse
        mode: see `forward_norms`.

        Accuracy: QR is exact for factors that differ from the given ones by the dtype's epsilon
        relative to each row, J_t + δJ_t. Value i of the product moves by Σ_t |uᵀδJ_t v| / |uᵀJ_t v|
        in its logarithm, where v and u are its own directions at t-1 and t: by an epsilon per step
        where J_t is well conditioned, and by everything where J_t shrinks v by more than 1/epsilon
        relative to the rest. `errors` estimates that sum to an order of magnitude or so, and
        `resolved` tells which values are left. Where one direction overtakes another that had
        shrunk by more than all digits, and is coupled to it, nothing is left of either, which a
        perturbation of the size of the rounding shows that travels along (`displaced`). The
        estimate is too high where directions fall together exactly.
        Factors whose small part is due to small rows, as a saturated layer's diag(φ′) W, lose
        nothing when pushed; from the other side, in `backward_singular_spectrum`, they do.

    Example:
        For `DenseChain` of T copies of diag(2, 1/2), ``log_values[j]`` is (j ln 2, -j ln 2).

        >>> factors = jnp.broadcast_to(jnp.diag(jnp.array([2.0, 0.5])), (6, 2, 2))
        >>> values = lg.forward_singular_spectrum(lg.DenseChain(factors)).log_values
        >>> bool(jnp.allclose(values[-1], 6 * jnp.log(jnp.array([2.0, 0.5])), atol=1e-4))
        True

    References:
        Bojanczyk, Ewerbring, Luk & Van Dooren 1991, An accurate product SVD algorithm. Stewart
        1995, On graded QR decompositions of products of matrices. Demmel & Veselić 1992 for
        Jacobi's relative precision.
    """
    check_chain(chain)
    length = check_length(length, chain)
    options = {"of": of, "wrt": wrt, "every": every, "num_values": num_values}
    return _spectrum(chain, length, **options, fixed="start")


@plain_options
def backward_singular_spectrum(
    chain: Chain,
    *,
    of: PartName | None = None,
    wrt: PartName | None = None,
    every: int = 1,
    num_values: int | None = None,
    length: int | Int[Array, ""] | None = None,
) -> SingularSpectrum:
    """Returns the singular values of ∂s_T/∂s_k for every k, by lag T-k, small ones too.

    σ_1 >= σ_2 >= ... of J_T ··· J_{k+1}: what back-propagation through time does to every direction
    of a cotangent at T.

    Args:
        chain: T factors that can be pulled back (not a stream).
        of: the part of s_T; None is the whole state.
        wrt: the part of s_k; None is the whole state. Other parts of s_k are held (see `jacobian`).
        every: read the values at lags 0, every, 2·every, ... <= T only.
        num_values: keep the largest m alone; None keeps all min(n_of, n_wrt).
        length: steps of the sequence, where it is padded, as for `forward_singular_spectrum`: lags
            count from its own end.

    Returns:
        `SingularSpectrum`, lag 0 first, with an error estimate for each value.

    Raises:
        ValueError: as `forward_singular_spectrum`; a stream.

    Notes:
        As `forward_singular_spectrum`, with pulls of n_of cotangents.

    Example:
        The last entry is that of `forward_singular_spectrum`: both are of ∂s_T/∂s_0.

        >>> backward = lg.backward_singular_spectrum(chain)
        >>> forward = lg.forward_singular_spectrum(chain)
        >>> bool(jnp.allclose(backward.log_values[-1, 0], forward.log_values[-1, 0], atol=1e-3))
        True
    """
    length = check_length(length, check_stored(chain))
    options = {"of": of, "wrt": wrt, "every": every, "num_values": num_values}
    return _spectrum(chain, length, **options, fixed="end")


@compiled
def _spectrum(
    chain: Chain, length: Any, *, of: Any, wrt: Any, every: Any, num_values: Any, fixed: Any
) -> SingularSpectrum:
    """The result, with lag 0: the identity, or zero between different parts."""
    every = check_spacing(every, chain)
    if isinstance(chain, StoredChain):
        chain = (repeating_last if fixed == "start" else ending_last)(chain, length)
    block = block_between(chain, of, wrt)
    most = min(block.shape)
    if num_values is not None:
        why = "all that the block has"
        most = check_count(num_values, "num_values", most=most, why=why)
    values, errors = _values_by_lag(block, every, fixed)
    # What lies on no path from `wrt` to `of` is zero.
    missing = ((0, 0), (0, max(0, min(block.shape) - values.shape[1])))
    values = jnp.pad(values, missing, constant_values=-jnp.inf)
    errors = jnp.pad(errors, missing)
    identity = jnp.where(jnp.arange(values.shape[1]) < block.shared, 0.0, -jnp.inf)
    values = jnp.concatenate([identity.astype(values.dtype)[None], values])[:, :most]
    errors = jnp.concatenate([jnp.zeros_like(errors, shape=(1, errors.shape[1])), errors])[:, :most]
    lags = np.arange(values.shape[0]) * every
    zero = block.is_zero(lags)[:, None]
    values, errors = jnp.where(zero, -jnp.inf, values), jnp.where(zero, 0.0, errors)
    if length is not None:
        there = (jnp.asarray(lags, length.dtype) <= length)[:, None]
        values, errors = (jnp.where(there, x, jnp.nan) for x in (values, errors))
    lags = jnp.asarray(lags)
    return SingularSpectrum(lags, values, errors, of=of, wrt=wrt, fixed=fixed, length=length)


def _values_by_lag(
    block: Block, every: int, fixed: Fixed
) -> tuple[Float[Array, "L m"], Float[Array, "L m"]]:
    """The logarithms of the values and their errors at every lag but 0."""
    gains, copies = block.chain.log_gains(), block.chain.copies()
    if not block.connected:
        dtype = widen(jnp.zeros((), block.chain.layout.dtype)).dtype
        values = jnp.full((len(block.chain) // every, min(block.shape)), -jnp.inf, dtype)
        return values, jnp.zeros_like(values)
    if copies is not None:
        return _sorted([_values_of_copies(each, every, fixed) for each in copies])
    if gains is not None:
        return _diagonal_values(gains if fixed == "start" else gains[::-1], block, every)
    return _read_values(block, every, fixed)


def _values_of_copies(
    copies: Copies, every: int, fixed: Fixed
) -> tuple[Float[Array, "L m"], Float[Array, "L m"]]:
    """The values of some chains, each as often as there are copies of it."""

    def read(chain: Chain) -> tuple[Float[Array, "L m"], Float[Array, "L m"]]:
        return _values_by_lag(block_between(chain, None, None), every, fixed)

    def repeated(values: Float[Array, "chains L m"]) -> Float[Array, "L all"]:
        values = jnp.moveaxis(values, 0, 1)
        return jnp.repeat(values.reshape(len(values), -1), copies.multiplicity, axis=1)

    values, errors = jax.vmap(read)(copies.chains)
    return repeated(values), repeated(errors)


def _sorted(found: list[tuple[Float[Array, "L m"], Float[Array, "L m"]]]):
    """All values in descending order, with their errors."""
    values, errors = (jnp.concatenate(each, axis=1) for each in zip(*found, strict=True))
    order = jnp.argsort(-values, axis=1)
    return jnp.take_along_axis(values, order, axis=1), jnp.take_along_axis(errors, order, axis=1)


def _size(part: slice) -> int:
    return part.stop - part.start


def _read_values(block: Block, every: int, fixed: Fixed):
    """Values and errors by lag of a block that starts from unit vectors at the fixed end."""
    chain = block.chain
    start, part = (block.columns, block.rows) if fixed == "start" else (block.rows, block.columns)
    unit = identity_rows(chain)[start]
    frame = widen(unit)
    size, dtype = frame.shape[0], frame.dtype
    zero = jnp.zeros((), jnp.int32)
    product = whole_product(frame)
    finfo = jnp.finfo(chain.layout.dtype)  # of the factors, which may be in half precision

    def renew(product: FactoredProduct, block: Scaled) -> tuple[FactoredProduct, Scaled]:
        factor = Scaled(widen(block.mantissa).T, block.exponent)
        product = apply(factor, product, finfo)
        return product, Scaled(product.frame.astype(block.mantissa.dtype), zero)

    rounding = jnp.asarray(finfo.eps * math.sqrt(chain.layout.size), dtype)

    def errors_of(product: FactoredProduct) -> Float[Array, " m"]:
        return jnp.maximum(rounding * product.losses, row_errors(product.displaced, rounding))

    def read(product: FactoredProduct, block: Scaled) -> tuple[FactoredProduct, Scaled, tuple]:
        seen, level = product, jnp.full((), -jnp.inf, dtype)
        if _size(part) < chain.layout.size:
            seen = apply(Scaled(product.frame[:, part].T, zero), product, finfo, select=True)
            level = level_of_hidden(product, part, finfo)
        return product, block, (seen.graded, errors_of(seen), level)

    if fixed == "start":
        swept = sweep_forward(chain, Scaled(unit, zero), read, product, every=every, renew=renew)
    else:
        swept = sweep_backward(
            check_stored(chain), Scaled(unit, zero), read, product, every=every, renew=renew
        )
    products, errors, levels = swept[1]
    batch = max(1, _BATCH // max(1, size * _size(part)))

    def values(product: Graded, error: Float[Array, " m"], level: Float[Array, ""]):
        values, errors = log_singular_values(product, error)
        hidden = values < level
        return jnp.where(hidden, level, values), jnp.where(hidden, jnp.inf, errors)

    read_off = products, errors, levels
    if levels.shape[0] <= batch:
        return jax.vmap(values)(*read_off)
    return jax.lax.map(lambda one: values(*one), read_off, batch_size=batch)


def _diagonal_values(gains: Float[Array, "T n"], block: Block, every: int):
    """Values and errors of diagonal products, from logarithms of the factors in order of lag."""
    sums = jnp.cumsum(gains[:, block.rows], axis=0)[every - 1 :: every]
    values = jnp.sort(sums, axis=1)[:, ::-1]
    steps = jnp.arange(1, values.shape[0] + 1, dtype=values.dtype)[:, None] * every
    errors = jnp.where(values == -jnp.inf, 0.0, steps * jnp.finfo(values.dtype).eps)
    return values, jnp.where(jnp.isnan(values), jnp.nan, errors)
