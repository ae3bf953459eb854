"""Lyapunov exponents and their running estimates."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Array
from matplotlib.axes import Axes
from matplotlib.cbook import normalize_kwargs
from matplotlib.lines import Line2D

from lstmgrad._spectra.records import LyapunovSpectrum
from lstmgrad.plot._curves import (
    NOT_RESOLVED,
    band_of,
    draw_family,
    median_label,
    named_legend,
)
from lstmgrad.plot._headline import headline
from lstmgrad.plot._palette import MARKS, REFERENCE, drawing, line_style, next_turn, turns_of
from lstmgrad.plot._style import (
    axes_of,
    check_result,
    number_steps,
)
from lstmgrad.plot._values import gapped, members


@drawing
def lyapunov_spectrum(
    result: LyapunovSpectrum,
    *,
    theory: Sequence[float] | Array | np.ndarray | None = None,
    ax: Axes | None = None,
    label: str | None = None,
    **artist: Any,
) -> Axes:
    """Draws Lyapunov exponents against their number, with standard errors.

    Args:
        result: from `lyapunov_spectrum`. Of a batch the medians are drawn, with bars from the 10 %
            to the 90 % quantile.
        theory: (m,), exponents to draw as a line beside the measured ones.
        ax: where to draw; None makes a figure. A further call on the same Axes takes the next color
            and marker.
        label: the spectrum's name in the legend.
        **artist: properties of the markers and bars (`color`, `markersize`, ...), see
            `Axes.errorbar`.

    Returns:
        The Axes, with a legend if there is anything to name. Exponents that the arithmetic does not
        resolve have hollow markers; a triangle at the lower edge is an exponent of -inf.

    Raises:
        ValueError: the result is not a `LyapunovSpectrum`, `theory` has another length, or `ax` is
            not an Axes.

    Example:
        ```python
        lg.plot.lyapunov_spectrum(lg.lyapunov_spectrum(chain, burn_in=100), label="LSTM")
        ```

        >>> ax = lg.plot.lyapunov_spectrum(lg.lyapunov_spectrum(chain, num_exponents=2))
        >>> ax.get_xlabel()
        'exponent $i$'
    """
    check_result(result, LyapunovSpectrum, "result", "lyapunov_spectrum")
    values, errors, resolved, count = _of_batch(result, members(result.exponents, 1))
    index = np.arange(1, len(values) + 1)
    if theory is not None:
        theory = np.asarray(theory, np.float64)
        if theory.shape != values.shape:
            raise ValueError(
                f"theory: expected one number for each of the {len(values)} exponents, but got "
                f"shape {theory.shape}."
            )
    ax = axes_of(ax)
    if not ax.containers:
        ax.axhline(0.0, **REFERENCE)
    turn = next_turn(turns_of([str(bars.get_label()) for bars in ax.containers]), label)
    style = {
        "color": line_style(turn)["color"],
        "marker": MARKS[turn % len(MARKS)],
        "markersize": 4 if len(values) <= 50 else 2.5,
        "linestyle": "none",
        "elinewidth": 0.9,
        **normalize_kwargs(artist, Line2D),
    }
    label = median_label(label, count)
    bars = ax.errorbar(index, gapped(values), gapped(errors), label=label, **style)
    color = bars.lines[0].get_color()
    _mark_exceptions(ax, bars.lines[0], index, values, resolved)
    if theory is not None:
        ax.plot(index, gapped(theory), color=color, linewidth=0.9, label="theory", zorder=1.5)
    if np.isfinite(values[0]):
        headline(ax, f"{_first(values, errors)}; {(values > 0).sum()} of {len(values)} above zero")
    named_legend(ax)
    number_steps(ax)
    ax.set_xlabel("exponent $i$")
    ax.set_ylabel(r"$\lambda_i$ (nats per step)")
    return ax


@drawing
def lyapunov_convergence(
    result: LyapunovSpectrum, *, ax: Axes | None = None, **artist: Any
) -> Axes:
    """Draws the running estimates of Lyapunov exponents against the number of steps so far.

    Args:
        result: from `lyapunov_spectrum`. Of a batch the medians are drawn, and at the end bars from
            the 10 % to the 90 % quantile.
        ax: where to draw; None makes a figure.
        **artist: properties of the lines (`linewidth`, ...), see `Axes.plot`.

    Returns:
        The Axes, with steps on a logarithmic axis and the standard errors at the end. Exponents
        that the arithmetic does not resolve are dotted and faint. Up to four exponents have dash
        patterns and a legend; more have a color bar.

    Raises:
        ValueError: the result is not a `LyapunovSpectrum`, or `ax` is not an Axes.

    Notes:
        An estimate converges like 1/T at best, and like 1/√T where the gains fluctuate: a curve
        that still drifts over the last half of the axis has not converged.

    Example:
        ```python
        lg.plot.lyapunov_convergence(lg.lyapunov_spectrum(chain, num_exponents=3))
        ```

        >>> ax = lg.plot.lyapunov_convergence(lg.lyapunov_spectrum(chain, num_exponents=2))
        >>> ax.get_xlabel()
        'steps'
    """
    check_result(result, LyapunovSpectrum, "result", "lyapunov_spectrum")
    ends = members(result.times, 1)
    running = members(result.running_exponents, 2)
    ax, times = axes_of(ax), ends[np.argmax(ends[:, -1])]
    ax.set_xscale("log")
    unresolved = members(~np.asarray(result.resolved), 1)[:, None] > 0
    unresolved = np.broadcast_to(unresolved, running.shape) & np.isfinite(running)
    # In a sequence that ended before, the last estimate stands again.
    running = np.where((ends == times)[..., None], running, np.nan)
    what = r"$\lambda_{}$", "exponent $i$", artist
    lines = draw_family(ax, times, running, *what, unresolved=unresolved)
    last, errors, _, _ = _of_batch(result, running[:, -1])
    if np.isfinite(last[0]):
        headline(ax, _first(last, errors))
    known = np.isfinite(last) & np.isfinite(errors).all(axis=0)
    if known.any():
        colors = [line.get_color() for line, good in zip(lines, known, strict=True) if good]
        at = np.full(known.sum(), times[-1])
        style = {"fmt": "none", "ecolor": colors, "capsize": 0, "elinewidth": 2}
        ax.errorbar(at, last[known], errors[:, known], **style)
    ax.axhline(0.0, **REFERENCE)
    ax.set_xlabel("steps")
    ax.set_ylabel("running estimate (nats per step)")
    return ax


def _first(values: np.ndarray, errors: np.ndarray) -> str:
    """The first exponent with its error, as math text."""
    error = float(np.nan_to_num(errors.max(axis=0)[0]))
    digits = 2 if error <= 0 else min(6, max(0, 1 - int(np.floor(np.log10(error)))))
    return rf"$\lambda_1 = {values[0]:.{digits}f} \pm {error:.{digits}f}$"


def _of_batch(
    result: LyapunovSpectrum, values: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """The exponents as they are drawn: those of one trajectory, or the medians of a batch.

    Args:
        result: whose errors they have.
        values: (B, m), the exponents.

    Returns:
        (m,) exponents; (2, m), how far the bars reach down and up, by standard errors or by the
        band of a batch; (m,) which of the exponents are resolved; the number of trajectories.
    """
    unresolved = (members(~np.asarray(result.resolved), 1) > 0) & np.isfinite(values)
    (low, middle, high), (_, resolved, _) = band_of(values, unresolved)
    if len(values) == 1:
        errors = members(result.standard_errors, 1)[0]
        return values[0], np.stack([errors, errors]), ~unresolved[0], 1
    with np.errstate(invalid="ignore"):
        return middle, np.stack([middle - low, high - middle]), resolved, len(values)


def _mark_exceptions(
    ax: Axes, line: Line2D, index: np.ndarray, values: np.ndarray, resolved: np.ndarray
) -> None:
    """Marks the exponents that are not resolved and those of -inf, in the style of the spectrum."""
    color = line.get_color()
    hollow = ~resolved & np.isfinite(values)
    if hollow.any():
        ax.plot(
            index[hollow],
            values[hollow],
            color=color,
            linestyle="none",
            marker=line.get_marker(),
            markersize=line.get_markersize(),
            markerfacecolor="white",
            zorder=3,
            label=NOT_RESOLVED,
        )
    lost = np.isneginf(values)
    if lost.any():
        edge = {"transform": ax.get_xaxis_transform(), "clip_on": False, "label": r"$-\infty$"}
        ax.plot(index[lost], np.zeros(lost.sum()), "v", color=color, **edge)
