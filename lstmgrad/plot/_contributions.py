"""What each time step adds to the gradient, and what truncation leaves out."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cbook import normalize_kwargs
from matplotlib.patches import Rectangle, StepPatch
from matplotlib.ticker import FixedLocator

from lstmgrad._gradients.contributions import Contributions
from lstmgrad._gradients.truncation import TruncationBias
from lstmgrad._result import up_to_length
from lstmgrad.plot._curves import band_of, draw_curve, median_label
from lstmgrad.plot._headline import decimal, headline
from lstmgrad.plot._palette import ACCENT, COLORS, REFERENCE, drawing
from lstmgrad.plot._style import (
    axes_of,
    check_result,
    legend_over_data,
    number_steps,
)
from lstmgrad.plot._values import gapped, log10, members

_MOST = 0.9
"""The share of the gradient whose steps a title counts."""

_FEW = 40
"""Up to so many steps can be told apart one by one, with words below them and points on them."""


@drawing
def contributions(
    result: Contributions,
    *,
    labels: Sequence[str] | None = None,
    ax: Axes | None = None,
    label: str | None = None,
    **artist: Any,
) -> Axes:
    """Draws log₁₀ ‖g_t‖, the norm of what step t adds to the gradient, against t.

    Args:
        result: from `contributions`. A batch, with leading axes from `jax.vmap`, is drawn as its
            median inside the band from the 10 % to the 90 % quantile.
        labels: T labels to write below the steps instead of their numbers, such as the words that
            the network reads.
        ax: where to draw; None makes a figure. A further call on the same Axes takes the next color
            and dash pattern.
        label: the curve's name in the legend. Drawing the legend is left to the caller.
        **artist: properties of the line (`color`, `linewidth`, ...), see `Axes.plot`.

    Returns:
        The Axes.

    Raises:
        ValueError: the result is not a `Contributions`, there are more or fewer labels than steps,
            or `ax` is not an Axes.

    Notes:
        A step that adds exactly zero has no place on the axis: the line breaks there, and a cross
        marks the last point before.

    Example:
        ```python
        ax = lg.plot.contributions(rnn, labels=words, label="RNN")
        lg.plot.contributions(lstm, labels=words, label="LSTM", ax=ax).legend()
        ```

        >>> ax = lg.plot.contributions(lg.contributions(chain, cotangents))
        >>> ax.get_xlabel()
        'time step $t$'
    """
    check_result(result, Contributions, "result", "contributions")
    values = members(log10(result.log_norms), 1)
    ax = axes_of(ax, batch=len(values))
    steps = np.arange(1, values.shape[1] + 1)
    few = {"marker": "o", "markersize": 4} if len(steps) <= _FEW else {}
    draw_curve(ax, steps, values, label, artist, **few)
    middle = band_of(values)[0][1]
    if np.isfinite(middle[[0, -1]]).all():
        ratio = decimal(middle[0] - middle[-1])
        headline(ax, f"Step 1 adds {ratio} of what step {len(steps)} adds")
    name_steps(ax, len(steps), labels)
    ax.set_ylabel(r"$\log_{10}\,\Vert g_t\Vert$, what step $t$ adds to $dL/d\theta$")
    return ax


@drawing
def contribution_shares(
    result: Contributions,
    *,
    labels: Sequence[str] | None = None,
    ax: Axes | None = None,
    **artist: Any,
) -> Axes:
    """Draws each step's share in the gradient as bars, and the share from it to the end as a line.

    Args:
        result: from `contributions`. Of a batch medians are drawn, the bars with a whisker from the
            10 % to the 90 % quantile and the line in such a band; medians need not add up to 1.
        labels: T labels to write below the steps instead of their numbers, such as the words that
            the network reads.
        ax: where to draw; None makes a figure.
        **artist: properties of the bars (`color`, `alpha`, ...), see `Axes.bar`, or `Axes.stairs`
            for more than 40 steps.

    Returns:
        The Axes. The line at t is the share of the steps t, t+1, ..., T together, which is what
        truncation to the last T-t+1 steps keeps. Read from the right, it starts near 0 and ends
        at 1.

    Raises:
        ValueError: the result is not a `Contributions`, there are more or fewer labels than steps,
            or `ax` is not an Axes.

    Example:
        ```python
        lg.plot.contribution_shares(lg.contributions(chain, cotangents))
        ```

        >>> ax = lg.plot.contribution_shares(lg.contributions(chain, cotangents))
        >>> ax.get_xlabel()
        'time step $t$'
    """
    check_result(result, Contributions, "result", "contributions")
    ax = axes_of(ax)
    batch = members(result.shares, 1)
    steps = np.arange(1, batch.shape[1] + 1)
    from_step = members(_from_each_step(result), 1)
    if result.length is not None:
        there = up_to_length(steps[None], np.ravel(result.length))
        batch, from_step = (np.where(there, x, np.nan) for x in (batch, from_step))
    (low, shares, high), _ = band_of(batch)
    (least, together, most), _ = band_of(from_step)
    style: dict[str, Any] = {"color": COLORS[0], "label": median_label("step $t$", len(batch))}
    few: dict[str, Any] = {}
    if len(steps) <= _FEW:
        bars = ax.bar(steps, shares, width=0.8, **style | normalize_kwargs(artist, Rectangle))
        few = {"marker": "o", "markersize": 3}
    else:  # as many separate bars would take seconds
        style |= normalize_kwargs(artist, StepPatch)
        bars = ax.stairs(shares, np.arange(len(steps) + 1) + 0.5, fill=True, **style)
    line_label = median_label("steps $t$ to $T$ together", len(batch))
    (line,) = ax.plot(steps, together, color=ACCENT, label=line_label, **few)
    if len(batch) > 1:
        ax.vlines(steps, gapped(low), gapped(high), color="0.35", linewidth=0.8, zorder=3)
        band = {"color": ACCENT, "alpha": 0.2, "linewidth": 0}
        ax.fill_between(steps, gapped(least), gapped(most), **band)
    ax.axhline(1.0, **REFERENCE)
    ax.axhline(0.0, color="black", linewidth=0.6)
    drawn = np.concatenate([low, shares, high, least, most])
    drawn = drawn[np.isfinite(drawn)]
    legend_over_data(ax, [bars, line], drawn.min(initial=0.0), drawn.max(initial=1.0))
    last = _steps_until(together[::-1] >= _MOST)
    if last is not None:
        headline(ax, f"{100 * _MOST:.0f} % come from the last {last + 1} of {len(steps)} steps")
    name_steps(ax, len(steps), labels)
    ax.set_xlim(0.5, len(steps) + 0.5)
    ax.set_ylabel(r"share in the gradient $dL/d\theta$")
    return ax


@drawing
def truncation_bias(
    result: TruncationBias | Contributions,
    *,
    ax: Axes | None = None,
    label: str | None = None,
    **artist: Any,
) -> Axes:
    """Draws log₁₀ of the bias of truncated back-propagation against the truncation length.

    Args:
        result: from `truncation_bias`, or from `contributions` for a loss on the last state alone.
            A batch, with leading axes from `jax.vmap`, is drawn as its median inside the band from
            the 10 % to the 90 % quantile.
        ax: where to draw; None makes a figure. A further call on the same Axes takes the next color
            and dash pattern.
        label: the curve's name in the legend. Drawing the legend is left to the caller.
        **artist: properties of the line (`color`, `linewidth`, ...), see `Axes.plot`.

    Returns:
        The Axes: ‖g - g_L‖/‖g‖, where g_L goes back over L steps. The curve starts at log₁₀ 1 = 0,
        where all of the gradient is missing, and ends in rounding or at the exact zero of the whole
        length.

    Raises:
        ValueError: the result is neither a `TruncationBias` nor a `Contributions`, or `ax` is not
            an Axes.

    Example:
        ```python
        lg.plot.truncation_bias(lg.truncation_bias(chain, cotangents))
        ```

        >>> ax = lg.plot.truncation_bias(lg.truncation_bias(chain, cotangents))
        >>> ax.get_xlabel()
        'truncation length $L$ (steps)'
    """
    if not isinstance(result, Contributions):
        check_result(result, TruncationBias, "result", "truncation_bias")
    with np.errstate(divide="ignore", invalid="ignore"):
        values = np.log10(members(result.residuals, 1))
    ax = axes_of(ax, batch=len(values))
    draw_curve(ax, np.arange(values.shape[1]), values, label, artist)
    length = _steps_until(band_of(values)[0][1] <= -1)
    if length is not None:
        headline(ax, f"10 % is missing at $L = {length}$ of {values.shape[1] - 1} steps")
    number_steps(ax)
    ax.set_xlabel("truncation length $L$ (steps)")
    ax.set_ylabel(r"$\log_{10}\,\Vert g - g_L\Vert/\Vert g\Vert$")
    return ax


def _steps_until(reached: np.ndarray) -> int | None:
    """The first index from which something holds for good; None where it never does."""
    if not reached[-1]:
        return None
    misses = np.flatnonzero(~reached)
    return int(misses[-1]) + 1 if misses.size else 0


def _from_each_step(result: Contributions) -> np.ndarray:
    """The share of the steps t to the end together, (..., T) by t; zero behind the end."""
    shares = np.asarray(result.shares, np.float64)
    return np.cumsum(shares[..., ::-1], axis=-1)[..., ::-1]


def name_steps(ax: Axes, length: int, labels: Sequence[str] | None) -> None:
    """Writes numbers or names below the steps; of many names, only as many as there is room for.

    Args:
        ax: the Axes.
        length: T.
        labels: T names; None writes numbers.
    """
    if labels is None:
        # An earlier call on the same Axes may have written names, which stay.
        if not isinstance(ax.xaxis.get_major_locator(), FixedLocator):
            number_steps(ax)
            ax.set_xlabel("time step $t$")
        return
    if len(labels) != length:
        raise ValueError(
            f"labels: expected one label for each of the {length} steps, but got {len(labels)}."
        )
    every = math.ceil(length / _FEW)
    ax.set_xticks(
        np.arange(1, length + 1, every),
        [str(label) for label in labels[::every]],
        rotation=45 if every == 1 else 90,
        ha="right" if every == 1 else "center",
        rotation_mode="anchor" if every == 1 else "default",
        fontsize="small",
    )
