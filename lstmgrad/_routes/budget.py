"""Which step lost the gradient, and to what.

A cotangent u_T on its way back, u_{t-1} = u_t J_t, gains or loses at every step, and the logarithms
add up to what is left at the start,

    ln ‖u_0‖/‖u_T‖ = Σ_t ln ‖u_{t-1}‖/‖u_t‖.

Where the step has tagged values on the way, each of its gains splits further, at the cotangents of
these values: for a plain RNN, h' = φ(z) with the tag on z, into that of the activation,
‖φ'(z) ⊙ u_t‖/‖u_t‖, and that of the weights behind it.
"""

import functools
import operator
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lstmgrad._chains.base import Chain, StoredChain, check_stored, known_run
from lstmgrad._chains.blocks import block_between
from lstmgrad._chains.factors import in_single, nan_with
from lstmgrad._chains.layout import ravel
from lstmgrad._chains.modes import pulling
from lstmgrad._chains.sweeps import read_mantissa, sweep_backward
from lstmgrad._checks import check_not_empty
from lstmgrad._compile import compiled
from lstmgrad._labeled import Axes
from lstmgrad._leaves import shown
from lstmgrad._numeric.scaled import Scaled, log_of, norm_of, normalize, scaled
from lstmgrad._result import Result
from lstmgrad._routes.end_vectors import end_vectors
from lstmgrad._routes.tagged import AtTag, run_tagged, straight_tag_names
from lstmgrad._types import PartName
from lstmgrad._writing import block_name, chosen, number

STATE = "state"
"""The label of the last gain within a step, on arriving at the state before it."""


class GainBudget(Result):
    """The logarithm of a gradient's norm as a sum over steps, and over stations within a step.

    Attributes:
        station_log_gains: by station in alphabetical order, (T,), the gain on arriving there at
            step t, at index t-1: at the cotangent of each tag named in `through`, and, as "state",
            at s_{t-1}. -inf where the gradient dies; 0 at the steps that it does not live to see,
            and at a tag that all of it bypasses.
        log_projection: ln of the part of u_0 that lies in `wrt`; 0 for the whole state, NaN for a
            cotangent of zero and where that part lies below the range of the dtype.
        log_norm: Σ log_gains + log_projection: ln σ, or for a loss ln ‖dL/dwrt_0‖/‖dL/dof_T‖.
        of: the part of s_T, None for the whole state.
        wrt: the part of s_0, None for the whole state.

    Example:
        >>> lg.gain_budget(chain).log_gains.shape
        (6,)
    """

    station_log_gains: dict[str, Float[Array, "*batch T"]]
    log_projection: Float[Array, "*batch"]
    log_norm: Float[Array, "*batch"]
    of: PartName | None = eqx.field(static=True)
    wrt: PartName | None = eqx.field(static=True)

    @property
    def log_gains(self) -> Float[Array | np.ndarray, "*batch T"]:
        """The gain of every step, all its stations together."""
        return functools.reduce(operator.add, self.station_log_gains.values())

    _main = ("log_norm", 0)
    _axes = Axes(
        {
            "station_log_gains": "step",
            "log_gains": "step",
            "log_projection": "",
            "log_norm": "",
        }
    )

    def _subject(self) -> str:
        gains = self.station_log_gains[STATE]
        return f"{block_name(self.of, self.wrt, 'T', '0')}, T = {gains.shape[-1]}"

    def _headline(self) -> str:
        found = self._numbers()
        return (
            f"ln norm {number(found['log_norm'])}, least gain {number(found['least_log_gain'])} at "
            f"step {number(found['step_of_least_gain'])}"
        )

    def _table(self) -> tuple[list[str], list[list[str]]]:
        gains = {**self.station_log_gains, "together": self.log_gains}
        rows = [
            [str(i + 1), *(number(gain[i]) for gain in gains.values())]
            for i in chosen(len(gains["together"]))
        ]
        return ["step", *(f"ln gain, {name}" for name in gains)], rows

    def _numbers(self) -> dict[str, Any]:
        gains = self.log_gains
        return {
            "log_norm": self.log_norm,
            "log_projection": self.log_projection,
            "least_log_gain": np.min(gains),
            "step_of_least_gain": np.argmin(gains) + 1,
            "largest_log_gain": np.max(gains),
        }


@compiled
def gain_budget(
    chain: Chain,
    cotangent: Float[Array, " n"] | None = None,
    *,
    of: PartName | None = None,
    wrt: PartName | None = None,
    through: Sequence[str] = (),
) -> GainBudget:
    """Returns what the gradient gains or loses at every step.

    Args:
        chain: T factors that can be pulled back (not a stream).
        cotangent: (n,), the gradient of a loss with respect to the flat s_T; None follows the top
            left singular vector of the (of, wrt) block, so that the budget is that of its norm.
        of: the part of s_T; None is the whole state.
        wrt: the part of s_0; None is the whole state.
        through: names of tags to split each step at, in any order. Every path through the step
            should cross each of them once: what bypasses a tag is gained again at the next station.

    Returns:
        `GainBudget`.

    Raises:
        ValueError: an unknown part or tag (the known ones are listed), a tag inside a loop, a chain
            without steps or of another kind than `linearize` gives where `through` is used; a
            cotangent of the wrong shape or dtype; a stream.

    Notes:
        One SVD and n_of pulls for the singular vector, one more pull of a single vector, and with
        `through` one vjp per step, all steps at once in O(T n) memory. Forward in time the same
        total is split otherwise, because other vectors are measured on the way.

    Example:
        ``gain_budget(chain, through=["recurrent"])`` of a plain RNN: "recurrent" is the
        activation's derivative, "state" the recurrent weights.

        >>> budget = lg.gain_budget(chain, of="c", wrt="c")
        >>> total = lg.backward_norms(chain, of="c", wrt="c").log_norms[-1]
        >>> bool(jnp.allclose(budget.log_norm, total, atol=1e-3))
        True
    """
    check_stored(chain)
    block = block_between(chain, of, wrt)
    check_not_empty(len(chain))
    wanted = _check_through(through, splitting_tags(chain), STATE)
    u, _ = end_vectors(chain, cotangent, block)
    part = check_stored(block.chain)
    factors = known_run(part).factors if wanted else part.factors
    last = scaled(u[None])
    _, earlier = sweep_backward(part, last, read_mantissa, None)
    behind = jnp.concatenate([earlier[:-1, 0][::-1], last.mantissa])

    def along(factor: Any, row: Array) -> tuple[Array, dict[str, Array]]:
        stops, before = _stations(part, factor, row, wanted)
        gains, here, end = {}, _log_length(row), _log_length(before)
        for label, vector in {**stops, STATE: before}.items():
            there = _log_length(vector)
            there = jnp.where((there == -jnp.inf) & (end != -jnp.inf), here, there)
            gains[label] = jnp.where(here == -jnp.inf, 0.0, there - here)
            here = there
        return before, gains

    before, log_gains = jax.vmap(along)(factors, behind)
    start, whole = before[0][block.columns], _log_length(before[0])
    projection = jnp.where(whole == -jnp.inf, 0.0, _log_length(start) - whole)
    hidden = (projection == -jnp.inf) & ~block.is_zero(len(chain))
    projection = jnp.where(jnp.any(u != 0) & ~hidden, projection, jnp.nan)
    total = sum(jnp.sum(gain) for gain in log_gains.values())
    return GainBudget(
        station_log_gains=log_gains,
        log_projection=projection,
        log_norm=total + projection,
        of=of,
        wrt=wrt,
    )


def splitting_tags(chain: Chain) -> list[str] | None:
    """The tags that a step can be split at; None for a chain without a step of its own."""
    if chain.run is None:
        return None
    return straight_tag_names(*chain.run.step.parts(), *chain.run.example())


def _stations(
    chain: StoredChain, factor: Any, row: Array, wanted: tuple[str, ...]
) -> tuple[dict[str, Array], Array]:
    """The cotangents of the wanted tags, the latest first, and of the state before the step."""
    if not wanted:
        return {}, chain.pull(factor, row[None])[0]
    step, params = known_run(chain).step.parts()
    layout = chain.layout
    params, state, x = in_single(step, params, *factor)
    shapes: list[tuple[str, jax.ShapeDtypeStruct]] = []

    def stops_at(name: str, reference: Any, moving: Any) -> bool:
        # One and the same value does not move with the parts on the path: another layer's tag.
        return name in wanted and moving is not reference

    def after(flat: Array, at_tag: AtTag) -> Array:
        moving = layout.unravel(flat, state)
        return layout.ravel(run_tagged(step, params, state, moving, x, at_tag))

    def recording(name: str, reference: Any, moving: Any) -> Any:
        if stops_at(name, reference, moving):
            shapes.append((name, jax.ShapeDtypeStruct(moving.shape, moving.dtype)))
        return moving

    jax.eval_shape(lambda flat: after(flat, recording), layout.ravel(state))

    def moved(flat: Array, deltas: list[Array]) -> Array:
        following = iter(deltas)

        def adding(name: str, reference: Any, moving: Any) -> Any:
            return moving + next(following) if stops_at(name, reference, moving) else moving

        return after(flat, adding)

    deltas = [jnp.zeros(zero.shape, zero.dtype) for _, zero in shapes]
    with jax.default_matmul_precision("highest"):
        why = "gain_budget(through=) pulls back to tagged values"
        behind, vjp = pulling(moved, layout.ravel(state), deltas, why=why)
        before, found = vjp(nan_with(behind, row))
    # In the order of the tags on the path, whatever other layers call theirs.
    passed = dict.fromkeys(name for name, _ in shapes)
    stops: dict[str, list[Array]] = {name: [] for name in [*reversed(passed), *wanted]}
    for (name, _), cotangent in zip(shapes, found, strict=True):
        stops[name].append(cotangent)
    nothing = jnp.zeros(1, row.dtype)
    return {name: ravel(parts or nothing) for name, parts in stops.items()}, before


def _log_length(vector: Float[Array, " n"]) -> Float[Array, ""]:
    value = normalize(Scaled(vector, jnp.zeros((), jnp.int32)))
    return log_of(norm_of(value.mantissa), value.exponent)


def _check_through(names: Any, known: list[str] | None, reserved: str) -> tuple[str, ...]:
    """Tags that a step can be split at; returns them in the order of the step."""
    wanted = (names,) if isinstance(names, str) else tuple(names)
    if wanted and known is None:
        raise ValueError(
            "through: expected no tags, because this chain has no step to split, "
            f"but got {shown(names)}. Use chain(model, inputs)."
        )
    for name in wanted:
        if name not in (known or ()) or name == reserved:
            what = ", ".join(map(repr, known or ())) or "none"
            raise ValueError(
                "through: expected tags of the step that are in no loop or custom derivative rule "
                f"and not called {reserved!r} ({what}), but got {name!r}."
            )
    return tuple(name for name in known or () if name in wanted)
