"""Fisher memory: what the state at T, with noise added at every step, still says about an input.

A signal enters the state of step t along v_t, and noise of covariance Q is added at every step. To
first order the state at T is Gaussian with the covariance C, and the Fisher information that it has
about the signal of lag k is

    C = Σ_k Φ_k Q Φ_kᵀ,      J(k) = v_{T-k}ᵀ Φ_kᵀ C⁻¹ Φ_k v_{T-k},      Φ_k = ds_T/ds_{T-k}.

In a chaotic network C spans more than any number of digits, and it is never formed: see
`contractions`.
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from lstmgrad._chains.base import Chain, check_stored
from lstmgrad._chains.padded import check_length, repeating_last
from lstmgrad._checks import check_not_empty, check_positive
from lstmgrad._compile import compiled, plain_options
from lstmgrad._labeled import Axes
from lstmgrad._numeric.graded import inverse_of_upper
from lstmgrad._numeric.scaled import (
    widen,
)
from lstmgrad._result import Result, cut_at_length, up_to_length, upper_bounds
from lstmgrad._spectra.contractions import contractions, entering_directions, pulled
from lstmgrad._types import Inputs
from lstmgrad._writing import chosen, number, reading, seen


class FisherMemory(Result):
    """The Fisher information of the last state about the inputs before it, by lag.

    Attributes:
        lags: (T,), k = 0, 1, ..., T-1: the signal of step T-k.
        log_memories: (T,), ln J(k); J(k) is at most v Q⁻¹ v. -inf where the direction does not
            enter the state, NaN where the trajectory was NaN.
        errors: (T,), the estimated error of each logarithm, in nats; inf where rounding may have
            made it, and the value is then the level below which nothing is seen.
        length: the steps of the sequence, where it was padded to T (``length=``), otherwise None.
            Lags of that many steps or more are NaN.

    Example:
        >>> found = lg.fisher_memory(chain, jnp.array([1.0, 0.0]))
        >>> found.log_memories.shape
        (6,)
    """

    lags: Int[Array, "*batch T"]
    log_memories: Float[Array, "*batch T"]
    errors: Float[Array, "*batch T"]
    length: Any = None  # none, or (*batch,)

    @property
    def total(self) -> Float[Array, "*batch"]:
        """Σ J(k), which is at most n for a direction and noise of norm 1."""
        known = jnp.where(jnp.isposinf(self.errors), 0.0, jnp.exp(self.log_memories))
        if self.length is not None:
            last = jnp.asarray(self.length)[..., None] - 1
            known = jnp.where(self.lags <= last, known, 0.0)
        return jnp.sum(known, axis=-1)

    _main = ("log_memories", 1)
    _axes = Axes({"log_memories": "lag", "errors": "lag", "total": "", "length": ""}, lag="lags")

    def _hidden(self) -> np.ndarray:
        return upper_bounds(self.errors, self.log_memories)

    def _there(self) -> np.ndarray:
        return up_to_length(self.lags, None if self.length is None else self.length - 1)

    def _points(self) -> tuple[str, Any]:
        return "lag", self.lags

    def _subject(self) -> str:
        return f"{self.log_memories.shape[-1]} lags"

    def _cut(self) -> "FisherMemory":
        """The lags that there are, of one padded sequence."""
        return cut_at_length(eqx.tree_at(lambda found: found.length, self, self.length - 1))

    def _headline(self) -> str:
        found = self._numbers()
        return f"total {number(found['total'])}, mean lag {number(found['mean_lag'], 3)}"

    def _table(self) -> tuple[list[str], list[list[str]]]:
        if self.length is not None:
            return self._cut()._table()
        rows = [
            [str(self.lags[i]), reading(self.log_memories[i], self.errors[i]), f"{error:.2g}"]
            for i in chosen(len(self.lags))
            for error in [float(self.errors[i])]
        ]
        return ["lag", "ln J", "error"], rows

    def _numbers(self) -> dict[str, Any]:
        if self.length is not None:
            return self._cut()._numbers()
        known = np.where(np.isposinf(self.errors), 0.0, np.exp(self.log_memories))
        total = np.sum(known)
        return {
            "total": total,
            "mean_lag": np.sum(known * self.lags) / total,
            "log_memory_of_last_input": seen(self.log_memories[0], self.errors[0]),
            "log_memory_of_first_input": seen(self.log_memories[-1], self.errors[-1]),
        }


@plain_options
def fisher_memory(
    chain: Chain,
    direction: Inputs,
    *,
    noise: float | Float[Array | np.ndarray, "..."] = 1.0,
    length: int | Int[Array, ""] | None = None,
) -> FisherMemory:
    """Returns how much the last state says about the input at each lag, against noise.

    J(k) = v_{T-k}ᵀ Φ_kᵀ C⁻¹ Φ_k v_{T-k}, with Φ_k = ds_T/ds_{T-k}, C = Σ_k Φ_k Q Φ_kᵀ and
    v_t = ∂s_t/∂x_t u: the inverse of the variance with which the signal u of step T-k could be
    estimated from s_T, were it the only one.

    Args:
        chain: T factors that can be pulled back (not a stream).
        direction: u, like the input of one step. For a chain without a model, `DenseChain`, v
            itself, (n,).
        noise: Q, the covariance of the noise that every step adds to its state: its variance, above
            zero, in every coordinate; (n,) of each coordinate; or a covariance (n, n), positive
            definite.
        length: steps of the sequence, where its inputs are padded behind it to T: lags count from
            its own end, and those that it does not have are NaN. It may be traced, so a batch of
            unequal sequences is one compiled program.

    Returns:
        `FisherMemory`, lag 0 first: the input of the last step, which has passed through no
        recurrent weight.

    Raises:
        ValueError: a stream; a direction that is not like one input, or (n,) for matrices; noise of
            another shape, or a variance that is not above zero; no step; a `length` that is not a
            whole number from 1 to T.

    Notes:
        Two QRs of size n and (2n, n) per step, O(T n³) operations, and O(T n²) memory. Any range:
        no covariance is formed or inverted. For a nonlinear model it is the information to first
        order in signal and noise, along this trajectory. Smaller J(k) than the square of the
        rounding are not resolved. A covariance that is not positive definite gives NaN.

    Example:
        For s' = W s + v x with W normal and ‖v‖ = 1, `total` tends to 1 as T grows.

        >>> found = lg.fisher_memory(chain, jnp.array([1.0, 0.0]))
        >>> found.log_memories.shape
        (6,)

    References:
        Ganguli, Huh & Sompolinsky 2008, PNAS 105, 18970, Equations 4 to 6, for one matrix W;
        along a trajectory W^k becomes the product of the chain.
    """
    length = check_length(length, check_stored(chain))
    return _fisher_memory(chain, direction, _root_of(noise, chain), length)


@compiled
def _fisher_memory(
    chain: Chain, direction: Inputs, root: Float[Array, "..."], length: Any
) -> FisherMemory:
    chain = check_stored(chain)
    steps = len(chain)
    check_not_empty(steps)
    chain = repeating_last(chain, length)
    size = chain.layout.size
    dtype = widen(jnp.zeros((), chain.layout.dtype)).dtype
    entering = entering_directions(chain, direction).astype(dtype)
    root = _matrix(root, size)
    whitened = jnp.matmul(entering, inverse_of_upper(root.T), precision="highest")
    after, signals = contractions(chain, root, whitened)
    if length is not None:
        past = jnp.arange(1, steps + 1, dtype=length.dtype) > length
        after = jnp.where(past[:, None, None], jnp.eye(size, dtype=dtype)[None], after)
    logs, levels = pulled(after, signals)
    errors = jnp.log1p(jnp.exp(levels - logs))
    hidden = (levels > logs) | ((logs == -jnp.inf) & (levels > -jnp.inf))
    found = 2 * jnp.where(hidden, levels, logs), 2 * jnp.where(hidden, jnp.inf, errors)
    lags = jnp.arange(steps)
    if length is None:
        return FisherMemory(lags, *(x[::-1] for x in found))
    index = length - 1 - lags.astype(length.dtype)
    found = (jnp.where(index >= 0, x[jnp.maximum(index, 0)], jnp.nan) for x in found)
    return FisherMemory(lags, *found, length)


def _root_of(noise: Any, chain: Chain) -> Float[Array, "..."]:
    """G of Q = G Gᵀ in the shape of the noise: a number, a diagonal or a lower triangle."""
    size = chain.layout.size
    if isinstance(noise, bool | int | float | str) or not hasattr(noise, "dtype"):
        noise = check_positive(noise, "noise")
    array = jnp.asarray(noise, widen(jnp.zeros((), chain.layout.dtype)).dtype)
    if array.shape not in ((), (size,), (size, size)):
        raise ValueError(
            f"noise: expected a variance, ({size},) of them or a covariance ({size}, {size}), but "
            f"got shape {array.shape}."
        )
    return jnp.linalg.cholesky(array) if array.ndim == 2 else jnp.sqrt(array)


def _matrix(root: Float[Array, "..."], size: int) -> Float[Array, "n n"]:
    """G as a matrix.

    Args:
        root: a number, a diagonal or a matrix.
        size: n.
    """
    return root if root.ndim == 2 else jnp.diag(jnp.broadcast_to(root, (size,)))
