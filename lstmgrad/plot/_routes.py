"""What the gradient comes through, and what it gains or loses on the way, at every step."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cbook import normalize_kwargs
from matplotlib.lines import Line2D
from matplotlib.patches import StepPatch

from lstmgrad._routes.budget import STATE, GainBudget
from lstmgrad._routes.shares import RouteShares
from lstmgrad.plot._curves import band_of, draw_curve, note
from lstmgrad.plot._headline import decimal, headline
from lstmgrad.plot._palette import area_style, drawing, line_style, turns_of
from lstmgrad.plot._style import (
    axes_of,
    check_result,
    legend_over_data,
    number_steps,
)
from lstmgrad.plot._symbols import fraction, part, power
from lstmgrad.plot._values import gapped, log10, members

_SEEN = 1e-3
"""Shares and gains below this are thinner than a line on any page."""


@drawing
def route_shares(result: RouteShares, *, ax: Axes | None = None, **artist: Any) -> Axes:
    """Draws the share of each route in the gradient as stacked areas over time.

    Args:
        result: from `route_shares`. Of a batch there is a curve for each route instead, the median
            in its band from the 10 % to the 90 % quantile: medians do not add up to 1.
        ax: where to draw; None makes a figure.
        **artist: properties of the areas (`alpha`, `linewidth`, ...), see `Axes.stairs`; of the
            lines of a batch.

    Returns:
        The Axes. Positive shares are stacked upward and negative ones downward: at every step, what
        stands above zero minus what hangs below is 1, the line. The legend gives the size of what
        is shared.

    Raises:
        ValueError: the result is not a `RouteShares`, or `ax` is not an Axes.

    Notes:
        Routes that stay below a thousandth at every step, like "untagged" and "crossed" where the
        tags are complete, are neither drawn nor in the legend. Where the gradient is exactly zero
        there is nothing to share, and nothing is drawn.

    Example:
        ```python
        shares = lg.route_shares(chain, lg.routes(chain), of="c", wrt="c")
        lg.plot.route_shares(shares)
        ```

        >>> ax = lg.plot.route_shares(lg.route_shares(chain, lg.routes(chain)))
        >>> ax.get_xlabel()
        'time step $t$'
    """
    check_result(result, RouteShares, "result", "route_shares")
    ax = axes_of(ax)
    parts = {name: members(share, 1) for name, share in result.shares.items()}
    seen = {name: share for name, share in parts.items() if np.any(np.abs(share) >= _SEEN)}
    handles, (low, high) = _draw(ax, seen, {}, artist)
    middles = {name: gapped(band_of(share)[0][1]) for name, share in seen.items()}
    means = {name: np.nanmean(x) for name, x in middles.items() if np.isfinite(x).any()}
    if means:
        most = max(means, key=means.__getitem__)
        headline(ax, f"{100 * means[most]:.0f} % through {most}, on average")
    ax.axhline(1.0, color="black", linewidth=0.9)
    ax.axhline(0.0, color="black", linewidth=0.6)
    handles.append(note(f"size: {_size(result.log_norm)}"))
    handles += _counted(result.log_norm)
    legend_over_data(ax, handles, min(low, 0.0), max(high, 1.0))
    ax.set_ylabel(f"share in {fraction(result, 'T', '0')}")
    return ax


@drawing
def gain_budget(
    result: GainBudget,
    *,
    names: Mapping[str, str] | None = None,
    ax: Axes | None = None,
    **artist: Any,
) -> Axes:
    """Draws log₁₀ of what the gradient gains or loses at every step, as stacked bars.

    Args:
        result: from `gain_budget`. Of a batch there is a curve for each station instead, the median
            in its band from the 10 % to the 90 % quantile.
        names: names for the stations in the legend instead of their tags, such as
            ``{"recurrent": "activation", "state": "weights"}`` for a plain RNN.
        ax: where to draw; None makes a figure.
        **artist: properties of the bars (`alpha`, `linewidth`, ...), see `Axes.stairs`; of the
            lines of a batch.

    Returns:
        The Axes: gains upward and losses downward, in one color per station, with their sum at each
        step as a line if there is more than one station. The legend gives the total, and before it
        the factor of the projection onto a part of s_0, which no bar shows.

    Raises:
        ValueError: the result is not a `GainBudget`, or `ax` is not an Axes.

    Notes:
        A triangle at the lower edge marks the station and the step at which the gradient becomes
        exactly zero (-inf).

    Example:
        ```python
        budget = lg.gain_budget(chain, through=["recurrent"])
        lg.plot.gain_budget(budget, names={"recurrent": "activation", "state": "weights"})
        ```

        >>> ax = lg.plot.gain_budget(lg.gain_budget(chain))
        >>> ax.get_xlabel()
        'time step $t$'
    """
    check_result(result, GainBudget, "result", "gain_budget")
    ax = axes_of(ax)
    gains = {name: members(log10(gain), 1) for name, gain in result.station_log_gains.items()}
    called = {STATE: "$s_{t-1}$" if len(gains) > 1 else "step $t$", **(names or {})}
    handles, (low, high) = _draw(ax, gains, called, artist)
    totals = {name: float(np.median(gain.sum(axis=1))) for name, gain in gains.items()}
    least = min(totals, key=totals.__getitem__)
    if np.isfinite(totals[least]) and totals[least] < 0:
        name = called.get(least, least)
        headline(ax, f"In all, {name} leaves {decimal(totals[least])}")
    ax.axhline(0.0, color="black", linewidth=0.6)
    for area, gain in zip(list(handles), gains.values(), strict=True):
        # Of a batch, where it does in any of the sequences.
        dead = np.flatnonzero(np.isneginf(gain).any(axis=0)) + 1
        if dead.size:
            color = area.get_color() if isinstance(area, Line2D) else area.get_facecolor()
            style = {"color": color, "markeredgecolor": "black", "clip_on": False}
            edge, label = ax.get_xaxis_transform(), f"{area.get_label()}: exactly 0"
            handles += ax.plot(dead, 0 * dead, "v", transform=edge, label=label, **style)
    each = np.sum(list(gains.values()), axis=0)
    if len(gains) > 1 and len(each) == 1:
        net = ax.stairs(each[0], _edges(each.shape[1]), color="black", linewidth=0.9, label="sum")
        handles.append(net)
    if np.any(np.abs(result.log_projection) >= _SEEN):
        onto = f"onto ${part(result.wrt, '0')}$: {_size(result.log_projection)}"
        handles.append(note(onto))
    handles.append(note(f"total: {_size(result.log_norm)}"))
    handles += _counted(result.log_norm)
    legend_over_data(ax, handles, low, high)
    ax.set_ylabel("gain at step $t$ ($\\log_{10}$)")
    return ax


def _draw(
    ax: Axes, parts: dict[str, np.ndarray], called: Mapping[str, str], artist: dict[str, Any]
) -> tuple[list[Any], tuple[float, float]]:
    """Draws the parts of every step, stacked for one sequence and as curves for a batch.

    Args:
        ax: the Axes.
        parts: (B, T) each, by name.
        called: the names in the legend, where they differ.
        artist: the caller's properties of areas or lines.

    Returns:
        The artists for the legend, and the bottom and top of what is drawn.
    """
    if all(len(part) == 1 for part in parts.values()):
        return _stack(ax, {name: part[0] for name, part in parts.items()}, called, artist)
    ax.set_xlabel("time step $t$")
    number_steps(ax)
    handles, ends = [], [0.0]
    for turn, (name, batch) in zip(turns_of(list(parts)), parts.items(), strict=True):
        steps = np.arange(1, batch.shape[1] + 1)
        style = {"linewidth": 1.3, **line_style(turn), **artist}
        handles.append(draw_curve(ax, steps, batch, None, style))
        handles[-1].set_label(called.get(name, name))  # one note says of how many
        low, _, high = gapped(band_of(batch)[0])
        ends += [np.nanmin(low, initial=0.0), np.nanmax(high, initial=0.0)]
    return handles, (float(min(ends)), float(max(ends)))


def _size(log_norm: Any) -> str:
    """What is shared out, as a power of ten; the median of a batch."""
    (_, middle, _), _ = band_of(members(log_norm, 0))
    return f"${power(middle)}$"


def _counted(log_norm: Any) -> list[Line2D]:
    """The entry of the legend that says of how many sequences the medians are."""
    return [] if np.ndim(log_norm) == 0 else [note(f"medians of {np.size(log_norm)}")]


def _stack(
    ax: Axes, parts: dict[str, np.ndarray], called: Mapping[str, str], artist: dict[str, Any]
) -> tuple[list[Any], tuple[float, float]]:
    """Draws the parts of every step stacked on one another.

    Args:
        ax: the Axes.
        parts: (T,) each, by name.
        called: the names in the legend, where they differ.
        artist: the caller's properties of the areas.

    Returns:
        The artists for the legend, and the bottom and top of the stacks.
    """
    ax.set_xlabel("time step $t$")
    number_steps(ax)
    if not parts:
        return [], (0.0, 0.0)
    bottoms, tops = _stacked(np.stack(list(parts.values())))
    edges, handles = _edges(tops.shape[1]), []
    for index, (name, turn) in enumerate(zip(parts, turns_of(list(parts)), strict=True)):
        style = {**area_style(turn), **normalize_kwargs(artist, StepPatch)}
        label = called.get(name, name)
        handles.append(
            ax.stairs(tops[index], edges, baseline=bottoms[index], fill=True, label=label, **style)
        )
    ax.set_xlim(edges[0], edges[-1])
    return handles, (float(min(tops.min(), 0.0)), float(max(tops.max(), 0.0)))


def _edges(length: int) -> np.ndarray:
    """Returns where the steps begin and end: step t reaches from t - 1/2 to t + 1/2."""
    return np.arange(length + 1) + 0.5


def _stacked(parts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Stacks bars, positive parts upward and negative ones downward.

    Args:
        parts: (R, T), one part per row; what is not finite has no height.

    Returns:
        Where each part begins and where it ends, (R, T) each.
    """
    parts = np.where(np.isfinite(parts), parts, 0.0)
    up, down = np.maximum(parts, 0.0), np.minimum(parts, 0.0)
    bottoms = np.where(parts >= 0, np.cumsum(up, axis=0) - up, np.cumsum(down, axis=0) - down)
    return bottoms, bottoms + parts
