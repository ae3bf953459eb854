"""Tagged values over time, such as gate activations, and the norm that they let through."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Array
from matplotlib.axes import Axes
from matplotlib.cbook import normalize_kwargs
from matplotlib.lines import Line2D

from lstmgrad._norms.records import NormProfile
from lstmgrad._quantiles import BAND
from lstmgrad.plot._curves import NOT_RESOLVED, band_of, draw_curve, note
from lstmgrad.plot._headline import headline
from lstmgrad.plot._palette import drawing, line_style, turns_of
from lstmgrad.plot._style import (
    axes_of,
    check_result,
    legend_over_data,
    number_steps,
)
from lstmgrad.plot._symbols import power, symbol, times
from lstmgrad.plot._values import by_lag, unresolved


@drawing
def tagged_values(
    result: Mapping[str, Array | np.ndarray],
    *,
    profile: NormProfile | None = None,
    ax: Axes | None = None,
    **artist: Any,
) -> Axes:
    """Draws tagged values over time and, beside them, a norm with its largest fall marked.

    Args:
        result: from `tagged_values`, all or some of it: (T, units) or (T,) by name. Each is drawn
            as the mean over its units inside the band from the 10 % to the 90 % quantile. Of a
            batch, (..., T, units), the mean over the units is drawn as its median over the
            sequences, in their band.
        profile: norms of one sequence, or of the same batch, such as ‖∂c_t/∂c_0‖ along the cell
            route; None draws the tagged values alone.
        ax: where to draw; None makes a figure.
        **artist: properties of the tagged values' lines (`linewidth`, ...), see `Axes.plot`.

    Returns:
        The Axes of the tagged values. log₁₀ of the norm has an axis of its own on the right, and a
        vertical line marks the step at which it falls most; the legend gives that step and the
        factor. No fall is marked in a batch.

    Raises:
        ValueError: there are no tagged values, or they differ in length; the profile is not a
            `NormProfile`, or is longer than the tagged values; `ax` is not an Axes.

    Notes:
        Step t, with the gates that make s_t, is drawn at t. A profile from `backward_norms` is
        drawn against k, the time of the cause; it falls at the same step. Where the arithmetic
        does not resolve the norm, its line is dotted and faint, and no fall is read from it.

    Example:
        ```python
        values = lg.tagged_values(chain)
        profile = lg.forward_norms(lg.routes(chain)["cell"], of="c", wrt="c")
        lg.plot.tagged_values({"forget": values["forget"]}, profile=profile)
        ```

        >>> ax = lg.plot.tagged_values(lg.tagged_values(chain))
        >>> ax.get_xlabel()
        'time step $t$'
    """
    values = _by_unit(result)
    count, length, _ = next(iter(values.values())).shape
    if profile is not None:
        _check_profile(profile, length)
    ax = axes_of(ax)
    low, high = 0.0, 1.0
    handles: list[Any] = []
    steps = np.arange(1, length + 1)
    turns = turns_of(list(values))
    for turn, (name, units) in zip(turns, values.items(), strict=True):
        style = {
            **line_style(turn),
            "label": name,
            **normalize_kwargs(artist, Line2D),
        }
        means = units.mean(axis=-1)
        (least, middle, most), _ = band_of(means)
        (line,) = ax.plot(steps, middle, **style)
        handles.append(line)
        if units[0].size > length or count > 1:
            band = (least, most) if count > 1 else np.quantile(units[0], BAND, axis=1)
            ax.fill_between(steps, *band, color=line.get_color(), alpha=0.25, linewidth=0)
        finite = units[np.isfinite(units)] if count == 1 else means[np.isfinite(means)]
        low, high = finite.min(initial=low), finite.max(initial=high)
    if len(values) <= 3 and all(np.isfinite(units).all() for units in values.values()):
        means = ", ".join(f"{name} {units.mean():.2g}" for name, units in values.items())
        headline(ax, f"Mean {means}")
    twins = ()
    if profile is not None:
        twin = _draw_norm_beside(ax, profile, length)
        twins = (twin,)
        faint = [line for line in twin.lines if line.get_label() == NOT_RESOLVED]
        handles += [twin.lines[0], *faint]
        if np.ndim(profile.log_norms) == 1:
            handles += _mark_fall(ax, profile, length, (low, high))
    handles += [note(f"medians of {count}")] if count > 1 else []
    legend_over_data(ax, handles, low, high, others=twins)
    ax.set_xlabel("time step $t$")
    ax.set_ylabel("tagged value")
    number_steps(ax)
    return ax


def largest_fall(profile: NormProfile, length: int) -> tuple[int, int, float] | None:
    """Finds where the norm falls most from one lag to the next, and by how much.

    Args:
        profile: for one sequence. Falls to or from norms that are not resolved do not count.
        length: T.

    Returns:
        The first and the last step of the fall (the same where every lag is in the profile) and
        how many nats are lost, inf where the norm becomes exactly zero; None where it never falls.
    """
    lags, values = np.asarray(profile.lags), np.asarray(profile.log_norms, np.float64)
    values = np.where(unresolved(profile), np.nan, values)
    with np.errstate(invalid="ignore"):
        falls = values[:-1] - values[1:]
    falls = np.where(np.isnan(falls), -np.inf, falls)
    if not (falls > 0).any():
        return None
    at = int(np.argmax(falls))
    near, far = int(lags[at]), int(lags[at + 1])
    first, last = (near + 1, far) if profile.fixed == "start" else (length - far + 1, length - near)
    return first, last, float(falls[at])


def _draw_norm_beside(ax: Axes, profile: NormProfile, length: int) -> Axes:
    """Draws the profile on a twin of the Axes, which is returned."""
    twin = ax.twinx()
    twin.spines["right"].set_visible(True)
    twin.grid(visible=False)
    name = symbol(profile, *times(profile.fixed))
    lags, values, hidden = by_lag(profile)
    # t where the start is fixed, k where the end is.
    at = lags if profile.fixed == "start" else length - lags
    style = {"color": "black", "linestyle": "-", "linewidth": 1.0}
    line = draw_curve(twin, at, values, None, style, unresolved=hidden)
    line.set_label(name)
    twin.set_ylabel(name)
    return twin


def _mark_fall(
    ax: Axes, profile: NormProfile, length: int, height: tuple[float, float]
) -> list[Line2D]:
    """Draws a vertical line where the norm falls most, labeled with the step and the factor."""
    fall = largest_fall(profile, length)
    if fall is None:
        return []
    first, last, nats = fall
    when = f"$t = {first}$" if first == last else f"$t = {first}$ to ${last}$"
    at = (first + last) / 2
    what = "largest resolved fall" if unresolved(profile).any() else "largest fall"
    label = f"{what}: {when}, $\\times\\,{power(-nats)}$"
    style = {"color": "0.35", "linestyle": (0, (1, 2)), "linewidth": 1.0, "zorder": 1}
    return ax.plot([at, at], height, label=label, **style)


def _check_profile(profile: Any, length: int) -> None:
    """Refuses all but norms over the steps of the tagged values."""
    check_result(profile, NormProfile, "profile", "forward_norms or backward_norms")
    last = int(np.max(np.asarray(profile.lags)))
    if last > length:
        raise ValueError(
            f"profile: expected lags of at most {length}, the steps of the tagged values, but got "
            f"{last}. Take both from the same sequence."
        )


def _by_unit(result: Any) -> dict[str, np.ndarray]:
    """Returns the tagged values as (B, T, units) each, all of one length."""
    if not isinstance(result, Mapping) or not result:
        raise ValueError(
            "result: expected a dict of at least one array by name, as tagged_values returns it, "
            f"but got {type(result).__name__}."
        )
    arrays = {name: np.asarray(value, np.float64) for name, value in result.items()}
    wide = {name: value[:, None] if value.ndim == 1 else value for name, value in arrays.items()}
    shapes = {value.shape[:-1] for value in wide.values()}
    if len(shapes) > 1 or () in shapes:
        found = ", ".join(f"{name} {value.shape}" for name, value in arrays.items())
        raise ValueError(
            "result: expected (T, units), (..., T, units) of a batch, or (T,), with the same T for "
            f"each, but got {found}."
        )
    return {name: value.reshape(-1, *value.shape[-2:]) for name, value in wide.items()}
