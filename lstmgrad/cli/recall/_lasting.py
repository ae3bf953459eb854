"""Far beyond the delay: when the path of a trained network vanishes, and what its gates did."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import lstmgrad as lg
from lstmgrad.cli.recall._networks import PATH, Reading, norm_reader, sequences_far
from lstmgrad.cli.recall._options import Options

LAGS = 100
"""The lags at which the long profiles are read."""


class Gates(NamedTuple):
    """The forget gates of the unit whose path lasts longest, over a long sequence.

    Attributes:
        means: (networks,), over time.
        spreads: (networks,), the standard deviation over time.
        worst_steps: (networks,), the step at which the path lost most.
        worst_values: (networks,), the gate at that step.
    """

    means: np.ndarray
    spreads: np.ndarray
    worst_steps: np.ndarray
    worst_values: np.ndarray


class Lasting(NamedTuple):
    """What a long sequence leaves of the gradient.

    Attributes:
        reading: norms and additive path, networks first, at about a hundred lags.
        gates: what the forget gates did; None where the cell marks none.
        floor: ln of the smallest number that the dtype keeps in full.
    """

    reading: Reading
    gates: Gates | None
    floor: float

    def lost_from(self) -> np.ndarray:
        """(networks,), the first lag of the profile from which the path is below the floor."""
        assert self.reading.path is not None
        return np.asarray(lg.horizon(self.reading.path, threshold=math.exp(self.floor)), np.float64)

    def expected_from(self) -> np.ndarray:
        """(networks,), the lag at which it would be there if it went on as it does."""
        assert self.reading.path is not None
        last = np.asarray(self.reading.path.log_norms, np.float64)[:, -1]
        longest = float(np.asarray(self.reading.path.lags).flat[-1])
        with np.errstate(divide="ignore"):
            return longest * self.floor / np.minimum(last, -1e-300)


def lasting_reader(
    model: lg.Model, task: lg.tasks.Task, part: str, options: Options
) -> Callable[[], Lasting]:
    """Returns what measures a sequence of the longest delay, compiled but not called yet.

    Args:
        model: trained networks on axis 0 of the parameters.
        task: which task.
        part: which part of the state.
        options: what the user asked for.
    """
    inputs = sequences_far(task, options)
    read_norms = norm_reader(model, inputs, part, lg.linearize, max(1, inputs.shape[1] // LAGS))
    forget = _forget_gates(model, inputs)
    gates = None if forget is None else _gates(np.asarray(forget))
    floor = math.log(float(jnp.finfo(inputs.dtype).tiny))
    return lambda: Lasting(read_norms(model, inputs), gates, floor)


@eqx.filter_jit
def _forget_gates(model: lg.Model, inputs: jax.Array) -> Any:
    """(networks, T, h)."""

    def of_network(params: Any, inputs: jax.Array) -> Any:
        values = lg.tagged_values(lg.chain(model._replace(params=params), inputs))
        forget, cell = values.get("forget"), values[PATH]
        # Only where the tag is the gate itself, one number for each number of the cell.
        return forget if forget is not None and forget.shape == cell.shape else None

    return jax.vmap(of_network)(model.params, inputs)


def _gates(forget: np.ndarray) -> Gates:
    with np.errstate(divide="ignore"):
        kept = np.log(forget.astype(np.float64)).sum(axis=1)
    best = np.take_along_axis(forget, np.argmax(kept, axis=1)[:, None, None], axis=2)[..., 0]
    worst = np.argmin(best, axis=1)
    return Gates(
        best.mean(axis=1, dtype=np.float64),
        best.std(axis=1, dtype=np.float64),
        worst + 1,
        best.min(axis=1),
    )
