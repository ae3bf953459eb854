"""Networks whose states stop being finite: norms up to there, and from which step on by what."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np

import lstmgrad as lg
from lstmgrad.cli._shared.console import listed


class Broken(NamedTuple):
    """Where one cell stops being finite at one stage.

    Attributes:
        cell: its name.
        stage: the name of the stage.
        where: the first state and the first step Jacobian that are not finite.
    """

    cell: str
    stage: str
    where: lg.FirstNonFinite

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
        return f"The {title} stops being finite: first {listed(found)}; {shown}."

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
        }


def read_while_finite(
    analyze: Callable[[Any, Any], list[tuple]],
    chain_of: Callable[[Any, Any], lg.Chain],
    params: Any,
    rows: Any,
) -> tuple[list[tuple], lg.FirstNonFinite | None]:
    """Returns what `read_blocks` found, and where the network stops being finite, if it does.

    Norms are then those at the last step before, and NaN at longer lags.

    Args:
        analyze: ``analyze(params, rows)`` reads the blocks.
        chain_of: ``chain_of(params, rows)`` is the chain that it reads.
        params: of the network.
        rows: (T, d), what it reads.
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
    return [_padded(each, len(rows)) for each in found], where


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


def _parts(parts: dict[str, Any]) -> str:
    return listed([name for name, bad in parts.items() if bad])
