"""Networks whose states stop being finite: norms up to there, and from which step on by what."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import lstmgrad as lg
from lstmgrad._chains.blocks import block_between
from lstmgrad.cli._shared.compiler import jit_quickly
from lstmgrad.cli._shared.console import listed

THRESHOLD = 1e-3

SHORT = 400
"""Steps, of all sequences together, up to which they are read faster than good code is compiled."""

SMALL = 250_000
"""Numbers of a network up to which that is so: an LSTM of 256 units gains nothing by it."""

CELL = "cell"
"""The tag of c_{t-1} in c_t = f ⊙ c_{t-1} + ...: the route of the additive path."""


class Broken(NamedTuple):
    """Where one cell stops being finite at one stage.

    Attributes:
        cell: its name.
        stage: the name of the stage.
        where: the first state and the first step Jacobian that are not finite; of several sequences
            those of the one that breaks first.
        broken: how many sequences break.
        total: the sequences.
    """

    cell: str
    stage: str
    where: lg.FirstNonFinite
    broken: int = 1
    total: int = 1

    def sentence(self, title: str) -> str:
        """Returns which part is not finite, from which step on, and what is shown instead.

        Args:
            title: of the cell.
        """
        where, steps = self.where, int(self.where.finite_steps)
        found = []
        if where.state_time >= 0:
            found.append(f"{_parts(where.state_parts)} in the state at step {where.state_time}")
        if where.factor_time >= 0:
            rows = _parts(where.factor_parts)
            found.append(f"{rows} in the derivative of step {where.factor_time}")
        shown = f"norms are those of the {steps} steps before" if steps else "there are no norms"
        among = ""
        if self.total > 1:
            shown = "norms are those of the steps before, each sequence's own"
            among = f" in {self.broken} of {self.total} sequences"
        return f"The {title} stops being finite{among}: first {listed(found)}; {shown}."

    def record(self) -> dict[str, Any]:
        """Returns the entries for the files."""
        where = self.where
        return {
            "cell": self.cell,
            "stage": self.stage,
            "state_step": int(where.state_time),
            "state_parts": [name for name, bad in where.state_parts.items() if bad],
            "derivative_step": int(where.factor_time),
            "derivative_parts": [name for name, bad in where.factor_parts.items() if bad],
            "finite_steps": int(where.finite_steps),
            "sequences": self.broken,
        }


class Where(NamedTuple):
    """Where a network stops being finite: what `Broken` says of it without its name."""

    where: lg.FirstNonFinite
    broken: int = 1
    total: int = 1


def reader(
    chain_of: Callable[[Any, Any], lg.Chain],
    blocks: Iterable[tuple[str, str]],
    params: Any,
    rows: Any,
) -> Callable[[Any], tuple[list[tuple], Where | None]]:
    """Returns the function from parameters to the norms, and to where they end.

    It is compiled when this returns, and has not read anything yet.

    Norms of a network that stops being finite are those at the last step before, and NaN at longer
    lags. Of several sequences it returns a batch, each read to its own end.

    Args:
        chain_of: ``chain_of(params, rows)`` is the chain of one sequence.
        blocks: what is measured, see `read_blocks`.
        params: like those that the function will be given, of any values.
        rows: (N, T, ...), what the network reads.
    """
    blocks, (count, length) = list(blocks), rows.shape[:2]
    quick = count * length <= SHORT and sum(map(jnp.size, jax.tree.leaves(params))) <= SMALL
    jit: Any = jit_quickly if quick else eqx.filter_jit

    @jit
    def analyze(params: Any, rows: Any) -> list[tuple]:
        return read_blocks(chain_of(params, rows), blocks)

    @jit
    def analyze_all(params: Any, rows: Any, lengths: Any) -> list[tuple]:
        def of_one(rows: Any, length: Any) -> list[tuple]:
            return read_blocks(chain_of(params, rows), blocks, length)

        return jax.vmap(of_one)(rows, lengths)

    if count > 1:
        every = analyze_all.lower(params, rows, jnp.full(count, length, jnp.int32)).compile()
        return lambda params: _read_all(every, chain_of, params, rows)
    whole = analyze.lower(params, rows[0]).compile()

    def analyze_one(params: Any, rows: Any) -> list[tuple]:
        return (whole if len(rows) == length else analyze)(params, rows)

    return lambda params: read_while_finite(analyze_one, chain_of, params, rows[0])


def _read_all(
    analyze: Callable[[Any, Any, Any], list[tuple]],
    chain_of: Callable[[Any, Any], lg.Chain],
    params: Any,
    rows: Any,
) -> tuple[list[tuple], Where | None]:
    """The norms of a batch, and where the first of its sequences stops being finite."""
    count, length = rows.shape[:2]
    lengths = jnp.full(count, length, jnp.int32)
    found = jax.device_get(analyze(params, rows, lengths))
    if all(np.all(profile.log_norms < np.inf) for profile, *_ in found):
        return found, None

    @jax.jit
    def locate(params: Any, rows: Any) -> Any:
        return jax.vmap(lambda one: lg.first_non_finite(chain_of(params, one)))(rows)

    where = jax.device_get(locate(params, rows))
    ends = np.asarray(where.finite_steps)
    if (ends == length).all():
        return found, None
    found = jax.device_get(analyze(params, rows, jnp.asarray(ends, jnp.int32)))
    first = jax.tree.map(lambda leaf: leaf[int(np.argmin(ends))], where)
    return found, Where(first, int(np.sum(ends < length)), count)


def read_while_finite(
    analyze: Callable[[Any, Any], list[tuple]],
    chain_of: Callable[[Any, Any], lg.Chain],
    params: Any,
    rows: Any,
) -> tuple[list[tuple], Where | None]:
    """Returns the norms of one sequence, NaN behind where it breaks, and where it does.

    Args:
        analyze: ``analyze(params, rows)`` reads the blocks.
        chain_of: ``chain_of(params, rows)`` is the chain that it reads.
        params: of the network.
        rows: (T, ...), what it reads.
    """
    found = jax.device_get(analyze(params, rows))
    if all(np.all(profile.log_norms < np.inf) for profile, *_ in found):
        return found, None
    locate = jax.jit(lambda params, rows: lg.first_non_finite(chain_of(params, rows)))
    where = jax.device_get(locate(params, rows))
    steps = int(where.finite_steps)
    if steps == len(rows):
        return found, None
    found = jax.device_get(analyze(params, rows[:steps]))
    return [_padded(each, len(rows)) for each in found], Where(where)


def _padded(found: tuple, length: int) -> tuple:
    """A block and its additive path with NaN at the lags that were not reached."""
    profile, rate, horizon, path = found
    more = length + 1 - len(profile.log_norms)
    profile = eqx.tree_at(
        lambda norms: (norms.lags, norms.log_norms, norms.errors),
        profile,
        (
            np.arange(length + 1, dtype=np.asarray(profile.lags).dtype),
            np.pad(profile.log_norms, (0, more), constant_values=np.nan),
            np.pad(profile.errors, (0, more), constant_values=np.nan),
        ),
    )
    return profile, rate, horizon, path if path is None else _padded((*path, None), length)[:3]


def read_blocks(
    chain: lg.Chain, blocks: Iterable[tuple[str, str]], length: Any = None
) -> list[tuple]:
    """Returns (profile, decay rate, horizon, the same through the additive path) for each block.

    The last one is None where a block has no such path: it leads from a cell c to itself. Where c
    is a matrix that is multiplied by its gates alone, the path is the whole block.

    Args:
        chain: of one cell.
        blocks: (part, part with respect to which it is differentiated).
        length: the steps that count, of a batch; None is all of them.
    """
    route = lg.routes(chain).get(CELL)
    if "c" in chain.layout.parts and block_between(chain, "c", "c").chain.copies() is not None:
        route = chain

    def read(along: lg.Chain, of: str, wrt: str) -> tuple:
        profile = lg.backward_norms(along, of=of, wrt=wrt, length=length)
        return profile, lg.decay_rate(profile), lg.horizon(profile, threshold=THRESHOLD)

    return [
        (
            *read(chain, of, wrt),
            read(route, of, wrt) if route is not None and of == wrt and of[0] == "c" else None,
        )
        for of, wrt in blocks
    ]


def _parts(parts: dict[str, Any]) -> str:
    return listed([name for name, bad in parts.items() if bad])
