"""What each step adds to the gradient of the loss at each time: a table of norms over (t, k).

A loss that is a sum over time, L = Σ_t L_t, has a gradient that is a sum over pairs: what step k
adds to dL_t/dθ comes through all steps from k to t, and is lost with them.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from lstmgrad._chains.base import Chain, check_spacing, check_stored, known_run
from lstmgrad._chains.padded import check_length
from lstmgrad._chains.sweeps import sweep_adjoint
from lstmgrad._checks import check_differentiable, check_not_empty
from lstmgrad._compile import compiled, plain_options
from lstmgrad._gradients.adjoint import sources_of
from lstmgrad._gradients.groups import fed_by_parameters
from lstmgrad._gradients.local import (
    LocalStep,
    differentiable,
    log_norm,
    squares,
    together,
    with_room,
)
from lstmgrad._labeled import Axes
from lstmgrad._numeric.scaled import Scaled, scaled, widen
from lstmgrad._result import Result, up_to_length
from lstmgrad._types import State
from lstmgrad._writing import chosen, number


class ContributionMap(Result):
    """Norms of what step k adds to the gradient of the loss at time t.

    Attributes:
        times: (G,), t = every, 2·every, ... <= T: the rows.
        steps: (T,), k = 1, ..., T: the columns; step k makes s_k.
        log_norms: (G, T), ln of the norm over all parameters; -inf where nothing is added, NaN
            where k > t and nothing is defined.
        length: steps of the sequence, where it was padded to T (``length=``), otherwise None: there
            are no later losses, and their rows are NaN.

    Example:
        >>> lg.contribution_map(chain, cotangents, every=2).log_norms.shape
        (3, 6)
    """

    times: Int[Array, "*batch G"]
    steps: Int[Array, "*batch T"]
    log_norms: Float[Array, "*batch G T"]
    length: Any = None  # none, or (*batch,)

    _main = ("log_norms", 2)
    _axes = Axes({"log_norms": "t k"}, t="times", k="steps")

    def _there(self) -> np.ndarray:
        below = np.asarray(self.steps)[..., None, :] <= np.asarray(self.times)[..., :, None]
        there = below & up_to_length(self.times, self.length)[..., None]
        return np.broadcast_to(there, self.log_norms.shape)

    def _points(self) -> tuple[str, Any]:
        return "t", self.times

    def _subject(self) -> str:
        return f"{self.log_norms.shape[-2]} losses, {self.log_norms.shape[-1]} steps"

    def _cut(self) -> "ContributionMap":
        """The losses and the steps that there are, of one padded sequence."""
        rows, columns = int(np.sum(self.times <= self.length)), int(self.length)
        return eqx.tree_at(
            lambda found: (found.times, found.steps, found.log_norms, found.length),
            self,
            (self.times[:rows], self.steps[:columns], self.log_norms[:rows, :columns], None),
        )

    def _headline(self) -> str:
        found = self._numbers()
        first, last = (number(found[f"log_norm_of_{step}_step"]) for step in ("first", "last"))
        return f"last loss: ln norm {first} from first step, {last} from last"

    def _table(self) -> tuple[list[str], list[list[str]]]:
        if self.length is not None:
            return self._cut()._table()
        shown = chosen(len(self.steps))

        def entry(i: Any, j: Any) -> str:
            return number(self.log_norms[i, j]) if self.steps[j] <= self.times[i] else ""

        rows = [
            [str(self.times[i]), *(entry(i, j) for j in shown)] for i in chosen(len(self.times))
        ]
        return ["t \\ k", *(str(self.steps[j]) for j in shown)], rows

    def _numbers(self) -> dict[str, Any]:
        if self.length is not None:
            return self._cut()._numbers()
        last = self.log_norms[-1]
        seen = last[~np.isnan(last)]
        return {
            "log_norm_of_first_step": last[0],
            "log_norm_of_last_step": seen[-1] if len(seen) else last[-1],
            "largest_log_norm": np.max(seen, initial=-np.inf),
        }


@plain_options
def contribution_map(
    chain: Chain,
    cotangents: State,
    *,
    every: int = 1,
    length: int | Int[Array, ""] | None = None,
) -> ContributionMap:
    """Returns the norm of what step k adds to the gradient of the loss at t, for all pairs.

    Args:
        chain: of T steps of a model, as for `contributions`.
        cotangents: ∂L/∂s_t at every t, as for `adjoint`; those at t are taken as the loss at t.
        every: read losses at t = every, 2·every, ... <= T only.
        length: steps of the sequence, where it is padded, as for `contributions`.

    Returns:
        `ContributionMap`.

    Raises:
        ValueError: as `contributions`, but the parameters themselves need a leaf to differentiate;
            `every` below 1 or above T; a `length` that is not a whole number from 1 to T.

    Notes:
        One sweep of G rows through the chain, and G T / 2 gradients of single steps, one after the
        other: O(G n) memory, one gradient and the map.

    Example:
        The sum of row t over k, as vectors, is the gradient of the loss at t.

        >>> lg.contribution_map(chain, cotangents).log_norms.shape
        (6, 6)
    """
    length = check_length(length, check_stored(chain))
    return _contribution_map(chain, cotangents, length, every=every)


@compiled
def _contribution_map(
    chain: Chain, cotangents: State, length: Any, *, every: Any
) -> ContributionMap:
    known_run(check_stored(chain))
    steps, dtype = len(chain), chain.layout.dtype
    check_not_empty(steps)
    every = check_spacing(every, chain)
    chain, flat = sources_of(chain, cotangents, length)
    run = known_run(chain)
    step, params = run.step.parts()
    moving, fixed = differentiable(params)
    check_differentiable(moving)
    chain, flat = fed_by_parameters(chain, flat, moving, fixed)
    sources = jax.vmap(scaled)(flat)
    count, local = steps // every, LocalStep(step, fixed, chain.layout)
    times = (jnp.arange(count) + 1) * every
    # Past the last row where no loss is read, and then nothing is put in.
    moments = jnp.arange(steps + 1)
    rows = jnp.where((moments % every == 0) & (moments > 0), moments // every - 1, count)

    def inject(block: Scaled, source: tuple[Int[Array, ""], Scaled]) -> Scaled:
        row, arriving = source
        return jax.tree.map(lambda old, new: old.at[row].set(new, mode="drop"), block, arriving)

    def observe(factor: Any, block: Scaled) -> Float[Array, " G"]:
        pull = local.pullback(moving, factor)

        def size(one: Scaled) -> Float[Array, ""]:
            def there() -> Float[Array, ""]:
                row, exponent = with_room(one, chain.layout, moving)
                part, _ = pull(row)
                return log_norm(together(squares(part), nothing), exponent)

            return jax.lax.cond(jnp.any(one.mantissa != 0), there, lambda: nothing)

        nothing = jnp.full((), -jnp.inf, widen(block.mantissa).dtype)
        return jax.lax.map(size, block)

    empty = Scaled(jnp.zeros((count, chain.layout.size), dtype), jnp.zeros(count, jnp.int32))
    entries = (rows, sources)
    earlier, last = (jax.tree.map(lambda leaf, s=s: leaf[s], entries) for s in (slice(-1), -1))
    _, sizes = sweep_adjoint(
        chain, inject(empty, last), earlier, inject, observe, watched=run.factors
    )
    there = times[:, None] >= moments[None, 1:]
    if length is not None:
        there &= (times.astype(length.dtype) <= length)[:, None]
    log_norms = jnp.where(there, sizes.T, jnp.nan)
    return ContributionMap(times=times, steps=moments[1:], log_norms=log_norms, length=length)
