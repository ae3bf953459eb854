"""Lyapunov exponents, singular values and eigenvalues."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Array
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cbook import normalize_kwargs
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PathCollection
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.lines import Line2D
from matplotlib.patches import Circle

from lstmgrad._spectra.lyapunov import LyapunovSpectrum
from lstmgrad._spectra.singular import SingularSpectrum
from lstmgrad.plot._drawing import gapped, log10, symbol
from lstmgrad.plot._style import (
    COLORS,
    DASHES,
    axes_of,
    check_result,
    check_single,
    figure_of,
    number_steps,
)

_MARKERS = ("o", "s", "^", "D")
_FEW = 4
"""Curves that differ in dash pattern; more are told apart by the luminance of a color map."""


def spectrum(
    result: LyapunovSpectrum,
    *,
    theory: Sequence[float] | Array | np.ndarray | None = None,
    ax: Axes | None = None,
    label: str | None = None,
    **artist: Any,
) -> Axes:
    """Draws Lyapunov exponents against their number, with standard errors.

    Args:
        result: from `lyapunov_spectrum`, of one trajectory.
        theory: (m,), exponents to draw beside the measured ones, as a line.
        ax: where to draw; None makes a figure. A further call on the same Axes takes the next color
            and marker.
        label: the spectrum's name in the legend.
        **artist: properties of the markers and bars (`color`, `markersize`, ...), see
            `Axes.errorbar`.

    Returns:
        The Axes, with a legend if there is anything to name. Exponents that the arithmetic does not
        resolve have hollow markers; a triangle at the lower edge is an exponent of -inf.

    Raises:
        ValueError: the result is no `LyapunovSpectrum`, or of a batch, `theory` has another length,
            or `ax` is no Axes.

    Example:
        ```python
        lg.plot.spectrum(lg.lyapunov_spectrum(chain, burn_in=100), label="LSTM")
        ```
    """
    check_result(result, LyapunovSpectrum, "result", "lyapunov_spectrum")
    check_single(result.exponents, ("m",), "result")
    values = np.asarray(result.exponents, np.float64)
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
        ax.axhline(0.0, color="0.6", linewidth=0.7, zorder=1)
    turn = len(ax.containers)
    style = {
        "color": COLORS[turn % len(COLORS)],
        "marker": _MARKERS[turn % len(_MARKERS)],
        "markersize": 4 if len(values) <= 50 else 2.5,
        "linestyle": "none",
        "elinewidth": 0.9,
        **normalize_kwargs(artist, Line2D),
    }
    errors = np.asarray(result.standard_errors, np.float64)
    bars = ax.errorbar(index, gapped(values), gapped(errors), label=label, **style)
    line = bars.lines[0]
    color = line.get_color()
    hollow = ~np.asarray(result.resolved) & np.isfinite(values)
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
            label="not resolved",
        )
    lost = np.isneginf(values)
    if lost.any():
        edge = {"transform": ax.get_xaxis_transform(), "clip_on": False, "label": r"$-\infty$"}
        ax.plot(index[lost], np.zeros(lost.sum()), "v", color=color, **edge)
    if theory is not None:
        ax.plot(index, gapped(theory), color=color, linewidth=0.9, label="theory", zorder=1.5)
    _legend(ax)
    number_steps(ax)
    ax.set_xlabel("exponent $i$")
    ax.set_ylabel(r"$\lambda_i$ (nats per step)")
    return ax


def lyapunov_convergence(
    result: LyapunovSpectrum, *, ax: Axes | None = None, **artist: Any
) -> Axes:
    """Draws the running estimates of Lyapunov exponents against the steps that they are made of.

    Args:
        result: from `lyapunov_spectrum`, of one trajectory.
        ax: where to draw; None makes a figure.
        **artist: properties of the lines (`linewidth`, ...), see `Axes.plot`.

    Returns:
        The Axes, with steps on a logarithmic axis and the standard errors at the end. Exponents
        that the arithmetic does not resolve are dotted and faint. Up to four have dash patterns and
        a legend, more a color bar.

    Raises:
        ValueError: the result is no `LyapunovSpectrum`, or of a batch, or `ax` is no Axes.

    Notes:
        An estimate converges like 1/T at best, and like 1/√T where the gains fluctuate: a curve
        that still drifts over the last half of the axis has not.

    Example:
        ```python
        lg.plot.lyapunov_convergence(lg.lyapunov_spectrum(chain, num_exponents=3))
        ```
    """
    check_result(result, LyapunovSpectrum, "result", "lyapunov_spectrum")
    check_single(result.exponents, ("m",), "result")
    ax = axes_of(ax)
    ax.set_xscale("log")
    times = np.asarray(result.times)
    running = np.asarray(result.running, np.float64)
    resolved = np.broadcast_to(np.asarray(result.resolved), running.shape)
    lines = _family(ax, times, running, resolved, r"$\lambda_{}$", "exponent $i$", artist)
    errors = np.asarray(result.standard_errors, np.float64)
    known = np.isfinite(running[-1]) & np.isfinite(errors)
    if known.any():
        colors = [line.get_color() for line, good in zip(lines, known, strict=True) if good]
        ends = np.full(known.sum(), times[-1])
        style = {"fmt": "none", "ecolor": colors, "capsize": 0, "elinewidth": 2}
        ax.errorbar(ends, running[-1][known], errors[known], **style)
    ax.axhline(0.0, color="0.6", linewidth=0.7, zorder=1)
    ax.set_xlabel("steps")
    ax.set_ylabel("running estimate (nats per step)")
    return ax


def singular_values(result: SingularSpectrum, *, ax: Axes | None = None, **artist: Any) -> Axes:
    """Draws log₁₀ of all singular values of ∂s_t/∂s_k against the lag.

    Args:
        result: from `singular_spectrum` or `backward_singular_spectrum`, of one sequence.
        ax: where to draw; None makes a figure.
        **artist: properties of the lines (`linewidth`, ...), see `Axes.plot`.

    Returns:
        The Axes. Where the arithmetic does not resolve a value, its line is dotted and faint. Up to
        four values have dash patterns and a legend, more a color bar.

    Raises:
        ValueError: the result is no `SingularSpectrum`, or of a batch, or `ax` is no Axes.

    Notes:
        Exact zeros (-inf) have no place on the axis: lines end where a value becomes zero.

    Example:
        ```python
        lg.plot.singular_values(lg.singular_spectrum(chain, of="c", wrt="c"))
        ```
    """
    check_result(result, SingularSpectrum, "result", "singular_spectrum")
    check_single(result.log_values, ("L", "m"), "result")
    ax = axes_of(ax)
    values, resolved = log10(result.log_values), np.asarray(result.resolved)
    _family(ax, np.asarray(result.lags), values, resolved, r"$\sigma_{}$", "value $i$", artist)
    at_end = result.fixed == "end"
    ax.set_xlabel(r"lag $T - k$ (steps)" if at_end else r"lag $t$ (steps)")
    whole = symbol(result, *(("T", "k") if at_end else ("t", "0")))
    ax.set_ylabel(whole.replace(r"\Vert\partial", r"\sigma_i(\partial").replace(r"\Vert_2", ")"))
    return ax


def eigenvalues(values: Array | np.ndarray, *, ax: Axes | None = None, **artist: Any) -> Axes:
    """Draws eigenvalues in the complex plane with the unit circle.

    Args:
        values: (T, n) or (n,), as `step_eigenvalues` gives them.
        ax: where to draw; None makes a figure.
        **artist: properties of the points (`s`, `alpha`, `cmap`, ...), see `Axes.scatter`.

    Returns:
        The Axes, with equal scales. Eigenvalues of several steps are colored by the step, and a
        color bar is added.

    Raises:
        ValueError: the values have more than two axes or none, or `ax` is no Axes.

    Example:
        ```python
        lg.plot.eigenvalues(lg.step_eigenvalues(chain))
        ```
    """
    values = np.asarray(values)
    if values.ndim not in (1, 2):
        raise ValueError(
            "values: expected the eigenvalues of one sequence, (T, n) or (n,), but got shape "
            f"{values.shape}."
        )
    ax = axes_of(ax)
    ax.add_patch(Circle((0.0, 0.0), 1.0, fill=False, color="0.5", linewidth=0.9, zorder=1))
    style: dict[str, Any] = {"s": 12 if values.size <= 500 else 4, "linewidths": 0}
    many = values.ndim == 2 and len(values) > 1
    if many:
        style |= {"c": np.repeat(np.arange(1, len(values) + 1), values.shape[1])}
    else:
        style |= {"color": "black"}
    style |= normalize_kwargs(artist, PathCollection)
    if "color" in style:
        style.pop("c", None)
    points = ax.scatter(np.real(values).ravel(), np.imag(values).ravel(), **style)
    if many and points.get_array() is not None:
        figure_of(ax).colorbar(points, ax=ax).set_label("time step $t$")
    ax.set_aspect("equal", adjustable="datalim")
    ax.autoscale_view()
    ax.set_xlabel("real part")
    ax.set_ylabel("imaginary part")
    return ax


def _family(
    ax: Axes,
    x: np.ndarray,
    values: np.ndarray,
    resolved: np.ndarray,
    name: str,
    what: str,
    artist: dict[str, Any],
) -> list[Line2D]:
    """Draws the columns of (L, m) as lines that are told apart, dotted where not resolved."""
    count = values.shape[1]
    few = count <= _FEW
    # Without the yellow end, which is as bright as the paper.
    colors = colormaps["viridis"](np.linspace(0.0, 0.85, count))
    lines, unresolved = [], False
    for index in range(count):
        style = {
            "color": COLORS[index] if few else colors[index],
            "linestyle": DASHES[index] if few else "-",
            "linewidth": 1.3 if count <= 20 else 0.8,
            **normalize_kwargs(artist, Line2D),
        }
        if few:
            style["label"] = name.replace("{}", f"{{{index + 1}}}")
        good = np.where(resolved[:, index], values[:, index], np.nan)
        lines += ax.plot(x, gapped(good), **style)
        # With the last good point, so that no gap is left between the two.
        bad = ~resolved[:, index]
        bad[:-1] |= bad[1:]
        if (bad & np.isfinite(values[:, index])).any():
            faint = {"linestyle": ":", "alpha": 0.6, "label": "not resolved" if few else None}
            ax.plot(x, gapped(np.where(bad, values[:, index], np.nan)), **style | faint)
            unresolved = True
    if few:
        _legend(ax)
    else:
        shades = ScalarMappable(Normalize(0.5, count + 0.5), ListedColormap(colors))
        bar = figure_of(ax).colorbar(shades, ax=ax)
        bar.ax.invert_yaxis()  # as the curves lie, the first on top
        bar.set_label(what + (" (dotted: not resolved)" if unresolved else ""))
    return lines


def _legend(ax: Axes) -> None:
    """A legend of what has a name, each name once, spectra before what goes with them."""
    handles, labels = ax.get_legend_handles_labels()
    order = sorted(range(len(labels)), key=lambda index: handles[index] not in ax.containers)
    named = {labels[index]: handles[index] for index in reversed(order)}
    if named:
        ax.legend(list(named.values())[::-1], list(named)[::-1], fontsize="small", frameon=False)
