"""Networks of one kind, and what is read off them at one stage of their training."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import lstmgrad as lg
from lstmgrad._chains.base import StoredChain
from lstmgrad.cli._shared.compiler import jit_quickly
from lstmgrad.cli._shared.kinds import KINDS
from lstmgrad.cli._shared.networks import CHRONO, draw_networks
from lstmgrad.cli.recall._options import Options

Linearize = Callable[..., StoredChain]
"""`lg.linearize`, or one for a declared structure."""

PATH = "cell"
"""The tag of c_{t-1} in c_t = f ⊙ c_{t-1} + ...: the route of the additive path."""

OTHERS = 64
"""Sequences whose first inputs are tried in place of a network's own."""

SWAPPED = 8
"""First inputs that are tried, at most."""

SHORT = 200
"""Steps up to which a sequence is read faster than good code for it is compiled."""

_SEQUENCES, _SCORES = 2**31, 2**31 + 1
"""What random numbers are for; the networks have the numbers below."""


class Reading(NamedTuple):
    """Gradients of the networks of one kind at one stage.

    Attributes:
        norms: ‖∂s_T/∂s_k‖₂ of the part, networks first.
        path: the same through the additive path of the cell alone, ‖diag Π f‖₂; None without one.
    """

    norms: lg.NormProfile
    path: lg.NormProfile | None


class Swaps(NamedTuple):
    """How far h_T moves when the first input is another one, in float64.

    Attributes:
        distances: (networks,), the mean over the other first inputs.
        noise: (networks,), what rounding alone may do.
    """

    distances: np.ndarray
    noise: np.ndarray


def part_of(name: str, options: Options) -> str:
    """Returns the part whose gradient is measured: c where the state has one, h otherwise.

    Args:
        name: as in the options.
        options: what the user asked for.

    Raises:
        CommandError: the part is too large.
    """
    parts = KINDS[name.removesuffix(CHRONO)].parts(options.hidden)
    return "c" if "c" in parts else "h"


def make_networks(
    name: str, task: lg.tasks.Task, options: Options
) -> tuple[lg.cells.Cell, lg.Model, jax.Array]:
    """Returns the cell, the model with all networks on axis 0, and their keys.

    Args:
        name: as in the options.
        task: what they will do.
        options: what the user asked for.
    """
    cell, params, keys = draw_networks(
        name,
        task.input_size,
        length_of(task, options.delay),
        count=options.seeds,
        hidden=options.hidden,
        seed=options.seed,
        dtype=options.dtype,
    )
    return cell, cell.model(params), keys


def length_of(task: lg.tasks.Task, delay: int) -> int:
    """Returns T, the steps of a sequence.

    Args:
        task: which task.
        delay: its delay.
    """
    drawn = jax.eval_shape(lambda: task.draw(jax.random.key(0), delay))
    return drawn.inputs.shape[0]


def size_at(delay: int) -> int:
    """Returns how many sequences a score is the mean of: fewer where they are long.

    Args:
        delay: the delay.
    """
    return int(np.clip(50_000 // delay, 25, 500))


def sequences(task: lg.tasks.Task, options: Options) -> jax.Array:
    """Returns the inputs along which gradients are measured, one sequence for each network.

    More are drawn, for the first inputs that `measure_swaps` takes.

    Args:
        task: which task.
        options: what the user asked for.
    """
    key = jax.random.fold_in(jax.random.key(options.seed), _SEQUENCES)
    size = max(options.seeds, size_at(options.delay))
    return task.batch(key, size, options.delay).inputs


def sequences_far(task: lg.tasks.Task, options: Options) -> jax.Array:
    """Returns the inputs of one sequence of the longest delay for each network.

    Args:
        task: which task.
        options: what the user asked for.
    """
    key = jax.random.fold_in(jax.random.key(options.seed), _SEQUENCES)
    size = max(options.seeds, size_at(options.longest))
    return task.batch(key, size, options.longest).inputs[: options.seeds]


def score_key(options: Options) -> jax.Array:
    """Returns the random key of the sequences that scores are measured on.

    Args:
        options: what the user asked for.
    """
    return jax.random.fold_in(jax.random.key(options.seed), _SCORES)


def norm_reader(
    model: lg.Model, inputs: jax.Array, part: str, linearize: Linearize, every: int = 1
) -> Callable[[lg.Model, jax.Array], Reading]:
    """Returns what reads the norms of models and inputs like these, compiled but not called yet.

    Those of one part by itself, and those of the additive path alone.

    Args:
        model: networks on axis 0 of the parameters, of any values.
        inputs: (networks, T, d), of any values.
        part: which part.
        linearize: what makes their chain out of a trajectory.
        every: read the lags 0, every, 2·every, ...
    """
    jitted = _read_short if inputs.shape[1] <= SHORT else _read_long
    compiled = jitted.lower(model, inputs, part, linearize, every).compile()
    return lambda model, inputs: compiled(model, inputs, part, linearize, every)


def _read_norms(
    model: lg.Model, inputs: jax.Array, part: str, linearize: Linearize, every: int
) -> Reading:
    def of_network(params: Any, inputs: jax.Array) -> Reading:
        chain = lg.chain(model._replace(params=params), inputs, linearize=linearize)
        routes = lg.routes(chain)
        norms = lg.backward_norms(chain, of=part, wrt=part, every=every)
        if PATH not in routes or part != "c":
            return Reading(norms, None)
        return Reading(norms, lg.backward_norms(routes[PATH], of=part, wrt=part, every=every))

    return jax.vmap(of_network)(model.params, inputs)


_read_short: Any = jit_quickly(_read_norms)
_read_long: Any = eqx.filter_jit(_read_norms)


def measure_swaps(model: lg.Model, inputs: jax.Array) -> Swaps | None:
    """Returns how far h_T moves when the first input is another one that the task has.

    Args:
        model: networks on axis 0 of the parameters.
        inputs: from `sequences`.
    """
    rows = np.asarray(inputs, np.float64)
    others = np.unique(rows[:OTHERS, 0], axis=0)[:SWAPPED]
    rows = rows[: len(jax.tree.leaves(model.params)[0])]
    differ = (rows[:, :1] != others).any(axis=-1)
    if not differ.any(axis=1).all():
        return None
    with jax.enable_x64(True):
        params, state = jax.tree.map(_doubled, (model.params, model.state))
        doubled = lg.Model(model.step, params, state)
        swap = _swap_short if rows.shape[1] <= SHORT else _swap_long
        found = jax.device_get(swap(doubled, jnp.asarray(rows), jnp.asarray(others)))
    # Replaced by itself an input moves nothing, which is no distance.
    return Swaps(np.mean(found.distances[..., -1], axis=1, where=differ), found.noise[:, -1])


def _swap_each(model: lg.Model, inputs: jax.Array, others: jax.Array) -> lg.SwapResponse:
    def of_network(params: Any, inputs: jax.Array) -> lg.SwapResponse:
        own = model._replace(params=params)
        return lg.swap_response(own, inputs, at=0, replacements=others, of="h")

    return jax.vmap(of_network)(model.params, inputs)


_swap_short = jit_quickly(_swap_each)
_swap_long = eqx.filter_jit(_swap_each)


def _doubled(leaf: Any) -> Any:
    array = np.asarray(leaf)
    wide = {"f": np.float64, "c": np.complex128}.get(array.dtype.kind, array.dtype)
    return jax.device_put(array.astype(wide))
