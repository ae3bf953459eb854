"""How far inputs reach: ‖∂s_T/∂x_t‖₂ for t = T, ..., 1, by lag T-t."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from lstmgrad._calls import public
from lstmgrad._chains.base import Chain, check_spacing, check_stored
from lstmgrad._chains.inputs import InputBlock, input_block, known_steps
from lstmgrad._chains.padded import check_length, ending_last
from lstmgrad._checks import check_not_empty
from lstmgrad._compile import compiled
from lstmgrad._norms.reading import read_norms
from lstmgrad._norms.records import NormProfile
from lstmgrad._numeric.scaled import scaled
from lstmgrad._numeric.tracked import NormReading, norm_reader
from lstmgrad._types import PartName


@public
def input_norms(
    chain: Chain,
    *,
    of: PartName | None = None,
    wrt: PartName | None = None,
    every: int = 1,
    rtol: float | int = 1e-5,
    length: int | Int[Array, ""] | None = None,
) -> NormProfile:
    """Returns ‖∂s_T/∂x_t‖₂ for every input x_t, by lag T-t.

    An input acts on the state of its own step, and through that on all later ones:
    ∂s_T/∂x_t = J_T ··· J_{t+1} B_t with B_t = ∂s_t/∂x_t. The rows of the `of` block are pulled back
    from T as for `backward_norms`, U_T = I[of, :], U_{t-1} = U_t J_t, and at every t the norm of
    U_t B_t is read.

    Args:
        chain: T factors that know their model and inputs: from `chain` or `linearize`,
            of any declared structure, a slice of such a chain, or one of its `routes`: the input
            then enters by every way, and goes on by this route.
        of: the part of s_T; None is the whole state.
        wrt: the part of the input, for inputs that are a dict, tuple or record; None is all of
            x_t that has a derivative, as one flat vector of d features.
        every: read the norm at lags 0, every, 2·every, ... < T only.
        rtol: the relative error of a norm at which its refinement stops, as for `backward_norms`.
        length: steps of the sequence, where its inputs are padded behind it to T, as for
            `backward_norms`.

    Returns:
        `NormProfile` with lags 0 to T-1, that of ∂s_T/∂x_T first; `wrt` is "x", or the part's name.

    Raises:
        ValueError: an unknown part of the state or the inputs; inputs without a floating-point or
            complex array, such as numbers of tokens; a chain of no step, or one that does not know
            its inputs; `every`, `rtol` and `length` as for `backward_norms`.

    Notes:
        T pulls of n_of rows, each of them once more to the input; O(n_of (n + d)) memory beyond the
        chain. Differentiable, and in any range, as `backward_norms`; a norm of zero at lag 1 or
        more counts as resolved where no path of the step leads from the input to `of`. A complex
        feature is two real ones.

    Example:
        For s' = W s + B x the norm at every lag is ‖W^lag B‖₂.

        >>> lg.input_norms(chain, of="c").log_norms.shape
        (6,)
    """
    chain = check_stored(chain)
    check_not_empty(len(chain))
    if length is not None:
        length = check_length(length, chain)
    return _input_norms(chain, length, of=of, wrt=wrt, every=every, rtol=rtol)


@compiled
def _input_norms(
    chain: Chain, length: Any, *, of: Any, wrt: Any, every: Any, rtol: Any
) -> NormProfile:
    stored = check_stored(chain)
    every = check_spacing(every, stored)
    steps = len(stored)
    found = input_block(stored, of, wrt)
    lifted = check_stored(found.block.chain)
    # Between the inputs lie one step fewer than there are.
    between = None if length is None else length - 1
    block = found.block._replace(chain=ending_last(lifted, between))
    later = read_norms(block, every, rtol, fixed="end")
    lags = np.arange(later.log_norm.shape[0]) * every
    zero = block.is_zero(lags)
    _, factors = known_steps(stored)
    last = jax.tree.map(lambda leaf: leaf[steps - 1 if length is None else length - 1], factors)
    first = _direct(found, last, rtol, later)
    log_norms, errors = (
        jnp.where(zero, known, values).at[0].set(own)
        for known, values, own in zip((-jnp.inf, 0.0), later, first, strict=True)
    )
    if length is not None:
        there = jnp.asarray(lags, length.dtype) < length
        log_norms, errors = (jnp.where(there, x, jnp.nan) for x in (log_norms, errors))
    return NormProfile(
        lags=jnp.asarray(lags),
        log_norms=log_norms,
        errors=errors,
        of=of,
        wrt="x" if wrt is None else wrt if isinstance(wrt, str) else f"x[{wrt}]",
        fixed="end",
        rtol=rtol,
        length=between,
    )


def _direct(found: InputBlock, factor: Any, rtol: float | int, like: NormReading) -> NormReading:
    """The norm of what the last input does within its own step.

    Args:
        found: the block.
        factor: s_{T-1} and x_T.
        rtol: the tolerance of the reading.
        like: readings of the dtype that is wanted.
    """
    dtype = like.log_norm.dtype
    if not found.direct:
        return NormReading(jnp.full((), -jnp.inf, dtype), jnp.zeros((), dtype))
    rows = found.entering(factor)
    frame, read = norm_reader(len(rows), rows.shape[1], rows.dtype, rtol, every=1)
    _, reading = read(frame, scaled(rows))
    return NormReading(reading.log_norm, jnp.log1p(reading.error))
