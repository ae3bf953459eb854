"""Spectral norms of ds_t/ds_k for every pair of times k <= t."""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from lstmgrad._chains.base import Chain, Copies, StoredChain, check_spacing, check_stored
from lstmgrad._chains.blocks import block_between
from lstmgrad._chains.layout import Layout
from lstmgrad._chains.padded import check_length, repeating_last
from lstmgrad._chains.scans import told_scan
from lstmgrad._compile import compiled, plain_options
from lstmgrad._labeled import Axes
from lstmgrad._norms.reading import read_norms
from lstmgrad._norms.records import Norms
from lstmgrad._progress import Meter, Progress
from lstmgrad._result import up_to_length
from lstmgrad._types import PartName
from lstmgrad._writing import block_name, chosen, number, reading, seen


class NormMap(Norms):
    """Spectral norms for every pair of times.

    Attributes:
        times: (G,), 0, every, 2·every, ..., at most T; both axes of the map.
        log_norms: (G, G), ln ‖∂of_t/∂wrt_k‖₂ with t = times[row], k = times[column]; NaN above the
            diagonal, where k > t and nothing is defined.
        errors: (G, G), the estimated error of each logarithm, as in `NormProfile`.
        of: the part of s_t, None for the whole state.
        wrt: the part of s_k, None for the whole state.
        rtol: the relative error that was asked for.
        length: steps of the sequence, where it was padded to T (``length=``), otherwise None. At
            later times there is nothing: norms and errors are NaN there.

    Example:
        >>> lg.norm_map(chain).log_norms.shape
        (7, 7)
    """

    times: Int[Array, "*batch G"]
    log_norms: Float[Array, "*batch G G"]
    errors: Float[Array, "*batch G G"]
    of: PartName | None = eqx.field(static=True)
    wrt: PartName | None = eqx.field(static=True)
    rtol: float | int = eqx.field(static=True)
    length: Any = None  # none, or (*batch,)

    @property
    def resolved(self) -> Bool[Array | np.ndarray, "*batch G G"]:
        """Whether each norm met the tolerance; True above the diagonal, where there is none."""
        above = self.times[..., None, :] > self.times[..., :, None]
        return super().resolved | above

    _main = ("log_norms", 2)
    _axes = Axes({"log_norms": "t k", "errors": "t k", "resolved": "t k"}, t="times", k="times")

    def _there(self) -> np.ndarray:
        times = np.broadcast_to(self.times, self.log_norms.shape[:-1])
        below = times[..., None, :] <= times[..., :, None]
        return below & up_to_length(times, self.length)[..., None]

    def _points(self) -> tuple[str, Any]:
        return "t", self.times

    def _subject(self) -> str:
        return f"{block_name(self.of, self.wrt, 't', 'k')}, {self.times.shape[-1]} times"

    def _cut(self) -> "NormMap":
        """The times that there are, of one padded sequence."""
        count = int(np.sum(self.times <= self.length))
        values = (self.log_norms[:count, :count], self.errors[:count, :count])
        return eqx.tree_at(
            lambda found: (found.times, found.log_norms, found.errors, found.length),
            self,
            (self.times[:count], *values, None),
        )

    def _headline(self) -> str:
        if self.length is not None:
            return self._cut()._headline()
        found = self._numbers()
        last = reading(self.log_norms[-1, 0], self.errors[-1, 0])
        return (
            f"ln norm {last} from k = 0 to t = {self.times[-1]}, "
            f"at most {number(found['largest_log_norm'])}"
        )

    def _table(self) -> tuple[list[str], list[list[str]]]:
        if self.length is not None:
            return self._cut()._table()
        shown = chosen(len(self.times))

        def entry(i: Any, j: Any) -> str:
            return reading(self.log_norms[i, j], self.errors[i, j]) if j <= i else ""

        rows = [[str(self.times[i]), *(entry(i, j) for j in shown)] for i in shown]
        return ["t \\ k", *(str(self.times[j]) for j in shown)], rows

    def _numbers(self) -> dict[str, Any]:
        if self.length is not None:
            return self._cut()._numbers()
        below = np.tril_indices(len(self.times))
        log_norms, errors = self.log_norms[below], self.errors[below]
        top = np.argmax(log_norms)
        return {
            "log_norm": seen(self.log_norms[-1, 0], self.errors[-1, 0]),
            "largest_log_norm": seen(log_norms[top], errors[top]),
            "resolved_share": np.mean(self.resolved[below]),
        }


@plain_options
def norm_map(
    chain: Chain,
    *,
    of: PartName | None = None,
    wrt: PartName | None = None,
    every: int = 1,
    rtol: float | int = 1e-5,
    progress: Progress | None = None,
    length: int | Int[Array, ""] | None = None,
) -> NormMap:
    """Returns ‖∂s_t/∂s_k‖₂ for every pair k <= t of a grid of times.

    Row t is `backward_norms` of ``chain[:t]``, read at the k of the grid.

    Args:
        chain: T factors that can be pulled back (not a stream).
        of: the part of s_t; None is the whole state.
        wrt: the part of s_k; None is the whole state.
        every: the spacing of the grid 0, every, 2·every, ... <= T, for both times.
        rtol: as in `backward_norms`.
        progress: as for `backward_norms`, ``progress(rows_done, rows)``: after each row, or each
            hundredth of them.
        length: steps of the sequence, where it is padded, as for `backward_norms`: later times
            hold nothing (NaN).

    Returns:
        `NormMap`, (G, G) with G = T // every + 1.

    Raises:
        ValueError: as `backward_norms`.

    Notes:
        G/2 sweeps of the chain. One sweep's block, (n_of, n), is held at a time: O(n_of n) memory
        beyond the chain and the map. A map that goes on where it was killed is a `resume` over
        blocks of rows: `lg.backward_norms` with a traced ``length=`` gives the same bits.

    Example:
        The last row is `backward_norms` and column 0 is `forward_norms`, where `every` divides T.

        >>> rows = lg.norm_map(chain).log_norms
        >>> bool(jnp.allclose(rows[-1][::-1], lg.backward_norms(chain).log_norms, atol=1e-4))
        True
    """
    length = check_length(length, check_stored(chain))
    options = {"of": of, "wrt": wrt, "every": every, "rtol": rtol, "progress": progress}
    return _norm_map(chain, length, **options)


@compiled
def _norm_map(
    chain: Chain, length: Any, *, of: Any, wrt: Any, every: Any, rtol: Any, progress: Any
) -> NormMap:
    every = check_spacing(every, check_stored(chain))
    chain = repeating_last(check_stored(chain), length)
    steps = len(chain) // every
    whole = block_between(chain[: steps * every], of, wrt)
    times = jnp.arange(steps + 1) * every

    def row(index: Int[Array, ""]) -> tuple[Float[Array, " G"], Float[Array, " G"]]:
        block = whole._replace(chain=_until(check_stored(whole.chain), times[index]))
        by_lag = read_norms(block, every, rtol, fixed="end", skip=steps - 1 - index)
        return by_lag.log_norm[::-1], by_lag.error[::-1]

    meter = Meter.of(progress, steps + 1)
    _, rows = told_scan(lambda _, index: (None, row(index)), None, jnp.arange(steps + 1), meter)
    log_norms, errors = rows
    lags = np.subtract.outer(np.arange(steps + 1), np.arange(steps + 1)) * every
    log_norms, errors = (jnp.where(lags >= 0, values, jnp.nan) for values in (log_norms, errors))
    # Known without a sweep: the identity, and zeros before any path arrives.
    zero = whole.is_zero(lags) & (lags >= 0)
    log_norms = jnp.where(zero, -jnp.inf, jnp.where(lags == 0, 0.0, log_norms))
    errors = jnp.where(zero | (lags == 0), 0.0, errors)
    if length is not None:
        there = (times.astype(length.dtype) <= length)[:, None]
        log_norms, errors = (jnp.where(there, x, jnp.nan) for x in (log_norms, errors))
    values = {"times": times, "log_norms": log_norms, "errors": errors, "length": length}
    return NormMap(**values, of=of, wrt=wrt, rtol=rtol)


def _until(chain: StoredChain, time: Int[Array, ""]) -> "_Until":
    indices = jnp.arange(1, len(chain) + 1)
    factors = (indices, chain.factors)
    return _Until(factors=factors, chain=chain, time=time, layout=chain.layout)


class _Until(StoredChain):
    """The chain J_1, ..., J_time, 1, ..., 1, for a `time` known only at run time."""

    factors: Any
    chain: StoredChain
    time: Int[Array, ""]
    layout: Layout = eqx.field(static=True)

    def push(self, factor: Any, rows: Float[Array, "m n"]) -> Float[Array, "m n"]:
        return self._apply(self.chain.push, factor, rows)

    def pull(self, factor: Any, rows: Float[Array, "m n"]) -> Float[Array, "m n"]:
        return self._apply(self.chain.pull, factor, rows)

    def cut(self, bounds: slice) -> "_Until":
        return self._replaced(self.chain.cut(bounds), self.factors[0][bounds])

    def restricted(self, parts: Sequence[PartName]) -> "_Until":
        return self._replaced(self.chain.restricted(parts), self.factors[0])

    @property
    def run(self) -> None:
        return None

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return self.chain.batch_shape

    def log_gains(self) -> Float[Array, "T n"] | None:
        gains = self.chain.log_gains()
        if gains is None:
            return None
        return jnp.where((self.factors[0] <= self.time)[:, None], gains, 0.0)

    def copies(self) -> list[Copies] | None:
        copies = self.chain.copies()
        if copies is None:
            return None
        made = jax.vmap(lambda chain: _until(chain, self.time))
        return [each._replace(chains=made(each.chains)) for each in copies]

    def _replaced(self, chain: Chain, indices: Int[Array, " T"]) -> "_Until":
        chain = check_stored(chain)
        factors = (indices, chain.factors)
        return _Until(factors=factors, chain=chain, time=self.time, layout=chain.layout)

    def _apply(self, move: Callable[[Any, Array], Array], factor: Any, block: Array) -> Array:
        index, inner = factor
        return jax.lax.cond(index <= self.time, lambda: move(inner, block), lambda: block)
