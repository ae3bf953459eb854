"""Covariant Lyapunov vectors: the directions that belong to the exponents, one for each.

The frames of the QR method show subspaces: only their first columns grow at the rate of an
exponent. The covariant vectors v_i(t) do so one by one, forward and backward in time, and the
dynamics carries each into itself,

    J_t v_i(t-1) = γ_i(t) v_i(t),        λ_i = lim (1/T) Σ ln |γ_i(t)|.

They lie in the frames, v(t) = Q_t C_t with C_t upper triangular, and J_t Q_{t-1} = Q_t R_t makes
C_{t-1} ∝ R_t⁻¹ C_t: run backward, any C forgets where it began (Ginelli et al. 2007).
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from lstmgrad._chains.base import Chain, check_chain
from lstmgrad._chains.sweeps import sweep_forward
from lstmgrad._checks import check_count, check_not_empty
from lstmgrad._compile import compiled
from lstmgrad._labeled import Axes
from lstmgrad._numeric.frame import orthonormal
from lstmgrad._numeric.graded import inverse_of_upper
from lstmgrad._numeric.scaled import LOG_2, Scaled, widen
from lstmgrad._result import Result
from lstmgrad._spectra.frame_sweep import starting_state
from lstmgrad._spectra.records import LyapunovState
from lstmgrad._writing import chosen, number


class LyapunovVectors(Result):
    """Covariant Lyapunov vectors along a trajectory.

    Attributes:
        times: (K,), of the states that the vectors are tangents at, one step apart.
        vectors: (K, n, m), unit columns, from the largest exponent on.
        log_growths: (K-1, m), ln |γ_i| from each of the times to the next; their time means are
            the exponents.

    Example:
        >>> lg.lyapunov_vectors(chain, num_exponents=2, burn_in=1).vectors.shape[1:]
        (6, 2)
    """

    times: Int[Array, "*batch K"]
    vectors: Float[Array, "*batch K n m"]
    log_growths: Float[Array, "*batch steps m"]

    _main = ("vectors", 3)
    _axes = Axes({"vectors": "time entry exponent", "log_growths": "step exponent"}, time="times")

    def _subject(self) -> str:
        times, size, count = self.vectors.shape[-3:]
        return f"{count} vectors of {size} at {times} times"

    def _headline(self) -> str:
        found = self._numbers()
        return f"largest exponent {number(found['largest_exponent'])} nats per step"

    def _table(self) -> tuple[list[str], list[list[str]]]:
        means = np.mean(self.log_growths, axis=0)
        rows = [[str(i + 1), number(means[i])] for i in chosen(len(means))]
        return ["i", "mean growth (nats per step)"], rows

    def _numbers(self) -> dict[str, Any]:
        means = np.mean(self.log_growths, axis=0)
        return {"largest_exponent": means[0], "smallest_exponent": means[-1]}


@compiled
def lyapunov_vectors(
    chain: Chain,
    start: Float[Array | np.ndarray, "n m"] | LyapunovState | None = None,
    *,
    burn_in: int,
    num_exponents: int | None = None,
) -> LyapunovVectors:
    """Returns the first m covariant Lyapunov vectors along a trajectory.

    Args:
        chain: T factors of any kind, streams included.
        start: as for `lyapunov_spectrum`; the `state` of a result saves frames their transient.
        burn_in: steps at the beginning that turn the frames, and as many at the end that turn the
            vectors. Both settle as exp(-(λ_i - λ_{i+1}) t).
        num_exponents: m; None is that of `start`, or all n.

    Returns:
        `LyapunovVectors` at the times from `burn_in` to T - `burn_in`.

    Raises:
        ValueError: as `lyapunov_spectrum`; a `burn_in` of half the chain or more.

    Notes:
        T pushes and QRs, and T triangular solves; every frame is kept, O(T m (n + m)) memory. For
        longer sequences take pieces: ``chain[k:t]`` with the `state` of the exponents of
        ``chain[:k]``.

        Equal exponents have no vectors of their own: theirs are some basis of the subspace that is
        shared. Where a step is singular vectors cannot be carried back, and those of vanished
        directions are not finite.

    Example:
        For a `DenseChain` of copies of one matrix with real eigenvalues they are its eigenvectors.

        >>> factors = jnp.broadcast_to(jnp.array([[2.0, 1.0], [0.0, 0.5]]), (40, 2, 2))
        >>> found = lg.lyapunov_vectors(lg.DenseChain(factors), burn_in=10).vectors[15]
        >>> bool(jnp.allclose(jnp.abs(found[:, 0]), jnp.array([1.0, 0.0]), atol=1e-4))
        True

    References:
        Ginelli, Poggi, Turchi, Chaté, Livi & Politi 2007, Phys. Rev. Lett. 99, 130601.
    """
    check_chain(chain)
    length = len(chain)
    check_not_empty(length)
    why = f"less than half of T = {length}, because as many steps are left out at either end"
    burn_in = check_count(burn_in, "burn_in", 0, most=(length - 1) // 2, why=why)
    state = starting_state(chain, start, num_exponents)
    block = Scaled(state.frame.T, jnp.zeros((), jnp.int32))

    def read(carry: None, block: Scaled) -> tuple[None, Scaled, tuple[Array, Array, Array]]:
        frame, triangle, _ = orthonormal(block)
        return carry, frame, (frame.mantissa, triangle, block.exponent)

    _, (frames, triangles, exponents) = sweep_forward(chain, block, read, None)
    frames = jnp.concatenate([block.mantissa[None], frames])

    def back(after: Array, entry: tuple[Array, Array]) -> tuple[Array, tuple[Array, Array]]:
        triangle, exponent = entry
        vanished = (jnp.diagonal(triangle) == 0)[:, None]
        before = inverse_of_upper(jnp.where(vanished & eye, 1.0, triangle)) @ after
        before = jnp.where(jnp.any(vanished & (before != 0), axis=0), jnp.inf, before)
        size = jnp.linalg.norm(before, axis=0)
        before = before / size[None]
        growth = exponent.astype(size.dtype) * jnp.asarray(LOG_2, size.dtype) - jnp.log(size)
        return before, (before, growth)

    count = triangles.shape[-1]
    eye = np.eye(count, dtype=bool)
    last = jnp.triu(jax.random.normal(jax.random.key(1), (count, count), triangles.dtype))
    last = last / jnp.linalg.norm(last, axis=0)[None]
    with jax.default_matmul_precision("highest"):
        _, (inner, growths) = jax.lax.scan(back, last, (triangles, exponents), reverse=True)
        inner = jnp.concatenate([inner, last[None]])
        kept = slice(burn_in, length - burn_in + 1)
        vectors = jnp.einsum("kan,kab->knb", widen(frames[kept]), inner[kept])
    times = jnp.arange(burn_in, length - burn_in + 1)
    return LyapunovVectors(times, vectors, growths[burn_in : length - burn_in])
