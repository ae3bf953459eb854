"""Gate activations over time, and the norm that they let through."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Array
from matplotlib.axes import Axes
from matplotlib.cbook import normalize_kwargs
from matplotlib.lines import Line2D

from lstmgrad._norms.profiles import NormProfile
from lstmgrad.plot._curves import BAND, draw_curve
from lstmgrad.plot._style import (
    COLORS,
    DASHES,
    axes_of,
    check_result,
    check_single,
    legend_over_data,
    number_steps,
)
from lstmgrad.plot._symbols import power, symbol
from lstmgrad.plot._values import log10


def tagged_values(
    result: Mapping[str, Array | np.ndarray],
    *,
    profile: NormProfile | None = None,
    ax: Axes | None = None,
    **artist: Any,
) -> Axes:
    """Draws gate activations over time and, beside them, the norm, with its largest fall marked.

    Args:
        result: by name, (T, units) or (T,), as `tagged_values` gives them: the mean over the
            units, inside the band from the 10 % to the 90 % quantile.
        profile: norms of one sequence, such as ‖∂c_t/∂c_0‖ along the cell route; None draws the
            gates alone.
        ax: where to draw; None makes a figure.
        **artist: properties of the activations' lines (`linewidth`, ...), see `Axes.plot`.

    Returns:
        The Axes of the activations. log₁₀ of the norm has an axis of its own on the right, and a
        vertical line marks the step at which it falls most; the legend says which step that is and
        by what factor.

    Raises:
        ValueError: no activations, or of different lengths; the profile is no `NormProfile`, of a
            batch, or longer than the activations; `ax` is no Axes.

    Notes:
        Step t, with the gates that make s_t, is drawn at t. A profile of `backward_norms` is drawn
        against k, the time of the cause; it falls at the same step.

    Example:
        ```python
        values = lg.tagged_values(cell.step, params, trajectory)
        route = lg.routes(cell.step, params, trajectory)["cell"]
        profile = lg.forward_norms(route, of="c", wrt="c")
        lg.plot.tagged_values({"forget": values["forget"]}, profile=profile)
        ```
    """
    gates = _by_unit(result)
    length = len(next(iter(gates.values())))
    if profile is not None:
        _check_profile(profile, length)
    ax = axes_of(ax)
    low, high = 0.0, 1.0
    handles: list[Any] = []
    steps = np.arange(1, length + 1)
    for index, (name, units) in enumerate(gates.items()):
        style = {
            "color": COLORS[1:][index % 4],
            "linestyle": DASHES[index % len(DASHES)],
            "label": name,
            **normalize_kwargs(artist, Line2D),
        }
        (line,) = ax.plot(steps, units.mean(axis=1), **style)
        handles.append(line)
        if units.shape[1] > 1:
            band = np.quantile(units, BAND, axis=1)
            ax.fill_between(steps, *band, color=line.get_color(), alpha=0.25, linewidth=0)
        finite = units[np.isfinite(units)]
        low, high = finite.min(initial=low), finite.max(initial=high)
    twins = ()
    if profile is not None:
        twins = (_norm_beside(ax, profile, length),)
        handles += [*twins[0].lines[:1], *_mark_fall(ax, profile, length, (low, high))]
    legend_over_data(ax, handles, low, high, others=twins)
    ax.set_xlabel("time step $t$")
    ax.set_ylabel("gate activation")
    number_steps(ax)
    return ax


def _norm_beside(ax: Axes, profile: NormProfile, length: int) -> Axes:
    """Draws the profile on a twin of the Axes, which is returned."""
    times = ("t", "0") if profile.fixed == "start" else ("T", "k")
    twin = ax.twinx()
    name = symbol(profile, *times)
    values = log10(profile.log_norms)[None]
    draw_curve(twin, times_of(profile, length), values, name, {"linewidth": 1.2})
    twin.set_ylabel(name)
    return twin


def _mark_fall(
    ax: Axes, profile: NormProfile, length: int, height: tuple[float, float]
) -> list[Line2D]:
    """A vertical line where the norm falls most, with the step and the factor in its label."""
    fall = largest_fall(profile, length)
    if fall is None:
        return []
    first, last, nats = fall
    when = f"$t = {first}$" if first == last else f"$t = {first}$ to ${last}$"
    at = (first + last) / 2
    label = f"largest fall: {when}, $\\times\\,{power(-nats)}$"
    style = {"color": "0.35", "linestyle": (0, (1, 2)), "linewidth": 1.0, "zorder": 1}
    return ax.plot([at, at], height, label=label, **style)


def _check_profile(profile: Any, length: int) -> None:
    """One sequence's norms over the steps of the activations."""
    check_result(profile, NormProfile, "profile", "forward_norms or backward_norms")
    check_single(profile.log_norms, ("L",), "profile")
    last = int(np.max(np.asarray(profile.lags)))
    if last > length:
        raise ValueError(
            f"profile: expected lags of at most {length}, the steps of the activations, but got "
            f"{last}. Both have to be of the same sequence."
        )


def _by_unit(result: Any) -> dict[str, np.ndarray]:
    """The activations as (T, units) each, all of one length."""
    if not isinstance(result, Mapping) or not result:
        raise ValueError(
            "result: expected a dict of at least one array by name, as tagged_values returns "
            f"it, but got {type(result).__name__}."
        )
    arrays = {name: np.asarray(value, np.float64) for name, value in result.items()}
    lengths = {len(value) if value.ndim in (1, 2) else None for value in arrays.values()}
    if None in lengths or len(lengths) > 1:
        shapes = ", ".join(f"{name} {value.shape}" for name, value in arrays.items())
        raise ValueError(
            f"result: expected (T, units) or (T,) with the same T each, but got {shapes}."
        )
    return {name: value.reshape(len(value), -1) for name, value in arrays.items()}


def largest_fall(profile: NormProfile, length: int) -> tuple[int, int, float] | None:
    """Where the norm falls most from one lag to the next, and by how much.

    Args:
        profile: of one sequence.
        length: T.

    Returns:
        The first and the last step of the fall (the same where every lag is in the profile) and
        how many nats are lost, inf where the norm becomes exactly zero; None where it never falls.
    """
    lags, values = np.asarray(profile.lags), np.asarray(profile.log_norms, np.float64)
    with np.errstate(invalid="ignore"):
        falls = values[:-1] - values[1:]
    falls = np.where(np.isnan(falls), -np.inf, falls)
    if not (falls > 0).any():
        return None
    at = int(np.argmax(falls))
    near, far = int(lags[at]), int(lags[at + 1])
    first, last = (near + 1, far) if profile.fixed == "start" else (length - far + 1, length - near)
    return first, last, float(falls[at])


def times_of(profile: NormProfile, length: int) -> np.ndarray:
    """The times whose norms a profile holds: t where the start is fixed, k where the end is.

    Args:
        profile: its lags count from the fixed end.
        length: T.
    """
    lags = np.asarray(profile.lags)
    return lags if profile.fixed == "start" else length - lags
