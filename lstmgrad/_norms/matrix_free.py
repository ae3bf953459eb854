"""Norms of states too wide for any n x n array: singular vectors from pushes and pulls alone.

With U = ds_T/ds_k restricted to the blocks asked for, U Uᵀ x is one pull of the cotangent x through
the chain followed by one push of the result back, so the space of `_singular.dominant` needs a few
vectors of size n, whatever the product would take.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array

from lstmgrad._chains.chain import Chain
from lstmgrad._chains.propagate import pull_back, push_forward
from lstmgrad._checks import check_count, check_kind, check_lags, check_positive
from lstmgrad._compile import compiled
from lstmgrad._norms.profiles import NormProfile
from lstmgrad._numeric.scaled import Scaled, log_of, normalize, widen
from lstmgrad._numeric.spectral_norm import BLIND, dominant, length, start_frame
from lstmgrad._types import PartName


def matrix_free_norms(
    chain: Chain,
    lags: Sequence[int],
    *,
    of: PartName | None = None,
    wrt: PartName | None = None,
    rtol: float | int = 1e-3,
    min_steps: int = BLIND,
    max_steps: int = 100,
) -> NormProfile:
    """Returns ‖∂s_T/∂s_{T-lag}‖₂ for chosen lags, without any matrix.

    For states of thousands of units, where even one (n_of, n) block of `backward_norms` is too
    large or too slow. The lags are taken in increasing order, each starting from the left singular
    vectors of the one before.

    Args:
        chain: T factors that can be pushed and pulled (not a stream).
        lags: increasing whole numbers, 0 <= lag <= T.
        of: the part of s_T; None is the whole state.
        wrt: the part of s_{T-lag}; None is the whole state.
        rtol: the relative error of a norm at which its refinement stops, above zero.
        min_steps: refinements of each lag before its error estimate is believed. The search starts
            blind, and a singular vector that it has hardly met yet leaves no trace in a residual.
        max_steps: refinements after which a lag is given up, and reported as not converged. Each
            costs one pull and one push of one vector over the lag.

    Returns:
        `NormProfile` at the given lags. Without the rows of a matrix to look at, the error estimate
        rests on the Krylov space alone: of two singular values that nearly agree, the search may
        settle on the smaller one, by the small difference between them.

    Raises:
        ValueError: lags not increasing, or outside 0..T; an unknown part; `rtol` not above zero;
            a stream.

    Notes:
        `min_steps` pulls and pushes of a single vector for a lag that converges, O(n) memory
        beyond the chain, whose states take O(T n). Each distinct lag compiles anew.

    Example:
        For small states it agrees with `backward_norms` at the same lags, to `rtol`.

    References:
        Golub & Kahan 1965; Golub & Van Loan, Matrix Computations, Section 10.4.
    """
    check_kind(chain, Chain, "chain")
    lags = check_lags(lags, len(chain))
    return _norms_at(
        chain, lags, of=of, wrt=wrt, rtol=rtol, min_steps=min_steps, max_steps=max_steps
    )


@compiled
def _norms_at(
    chain: Chain, lags: tuple[int, ...], *, of, wrt, rtol, min_steps, max_steps
) -> NormProfile:
    rtol, min_steps = check_positive(rtol, "rtol"), check_count(min_steps, "min_steps", 0)
    max_steps = check_count(max_steps, "max_steps")
    rows, columns = chain.layout.block(of, "of"), chain.layout.block(wrt, "wrt")
    size, dtype = rows.stop - rows.start, chain.layout.dtype
    dtype = widen(jnp.zeros((), dtype)).dtype  # of the vectors; the chain may have half as much
    frame = start_frame(size, dtype)
    log_norms, errors = [], []
    for lag in lags:
        tail = chain[len(chain) - lag :]
        constant = jax.lax.stop_gradient(tail)
        # One power of two brings the operator to the size of 1, so that it can be squared.
        scale = 2 * _pull(constant, rows, columns, frame[0]).exponent

        def gram(x: Array, chain: Chain = constant, scale: Array = scale) -> Array:
            back = _push(chain, rows, columns, _pull(chain, rows, columns, x))
            return Scaled(back.mantissa, back.exponent - scale).to_array()

        nothing_known = jnp.zeros(size, dtype)
        with jax.default_matmul_precision("highest"):
            frame, error = dominant(gram, nothing_known, frame, rtol, min_steps, max_steps)
        right = normalize(_pull(tail, rows, columns, frame[0]))
        log_norms.append(log_of(length(right.mantissa), right.exponent))
        errors.append(error)
    return NormProfile(
        lags=jnp.asarray(lags),
        log_norms=jnp.stack(log_norms),
        errors=jnp.stack(errors),
        of=of,
        wrt=wrt,
        fixed="end",
        rtol=rtol,
    )


def _pull(chain: Chain, rows: slice, columns: slice, x: Array) -> Scaled:
    """X ↦ Uᵀ x."""
    dtype = chain.layout.dtype
    cotangent = jnp.zeros(chain.layout.size, dtype).at[rows].set(x.astype(dtype))
    pulled = pull_back(chain, cotangent)
    return Scaled(widen(pulled.mantissa[columns]), pulled.exponent)


def _push(chain: Chain, rows: slice, columns: slice, y: Scaled) -> Scaled:
    """Y ↦ U y."""
    dtype = chain.layout.dtype
    tangent = jnp.zeros(chain.layout.size, dtype).at[columns].set(y.mantissa.astype(dtype))
    pushed = push_forward(chain, Scaled(tangent, y.exponent))
    return Scaled(widen(pushed.mantissa[rows]), pushed.exponent)
