"""The panels of findings: the readings that a rule looks at, with its thresholds as lines.

Each is a pair of functions: one draws it, the other one says in words what it shows.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import matplotlib.ticker
import numpy as np
from matplotlib.axes import Axes

from lstmgrad._norms.records import NormProfile
from lstmgrad.diagnosis import Diagnosis
from lstmgrad.plot._curves import Curve, draw_curve
from lstmgrad.plot._norms import norms
from lstmgrad.plot._palette import ACCENT, COLORS, PATH, REFERENCE
from lstmgrad.plot._values import log10

_EDGE = math.atanh(0.9)
"""Where tanh is .9."""


class Panel(NamedTuple):
    """What is drawn for a rule: on which readings, and in words."""

    has: Callable[[Any], bool]
    draw: Callable[[Axes, Diagnosis], Any]
    alt: Callable[[Diagnosis], str]


# -- how much of the gradient comes back -----------------------------------------------------------


def _profiles(result: Diagnosis) -> dict[str, NormProfile]:
    readings = result.readings
    found = {"whole state" if name == "state" else name: x for name, x in readings.norms.items()}
    for part, profile in readings.paths.items():
        of = "" if readings.path is not None else f" of {part}"
        found[f"additive path{of} alone"] = profile
    return found


def _power(decades: float) -> str:
    """A number by its decimal logarithm."""
    if abs(decades) < 1:
        return f"{10**decades:.2g}"
    return "0" if decades == -math.inf else f"10^{decades:.1f}"


def _draw_norms(ax: Axes, result: Diagnosis) -> None:
    count, lines = len(result.readings.norms), {}
    for index, (name, profile) in enumerate(_profiles(result).items()):
        style = {}
        if index >= count:  # a path has the color of its part
            part = list(result.readings.paths)[index - count]
            beside = {"color": lines[part].get_color()} if part in lines else {}
            style = {**PATH, **beside, "markevery": 0.1}
        norms(profile, ax=ax, label=name, **style)
        line = next(line for line in ax.lines[::-1] if isinstance(line, Curve))
        line.set_label(name)
        lines[name] = line
    floor = math.log10(float(np.finfo(result.settings.dtype).eps))
    ax.axhline(floor, **REFERENCE, linestyle="--")
    ax.annotate(
        f"rounding of {result.settings.dtype}",
        (0.99, floor),
        xycoords=("axes fraction", "data"),
        xytext=(0, 2),
        textcoords="offset points",
        color="0.35",
        fontsize="small",
        ha="right",
    )
    _mark_lag(ax, result)
    ax.set_ylabel(r"$\log_{10}\,\Vert\partial s_T/\partial s_k\Vert$")
    ax.legend(loc="best")


def _mark_lag(ax: Axes, result: Diagnosis) -> None:
    ax.axvline(result.settings.lag, **REFERENCE, linestyle=":")
    ax.annotate(
        "lag",
        (result.settings.lag, 1),
        xycoords=("data", "axes fraction"),
        xytext=(-2, -2),
        textcoords="offset points",
        color="0.35",
        fontsize="small",
        ha="right",
        va="top",
    )


def _say_norms(result: Diagnosis) -> str:
    lag, parts = result.settings.lag, []
    for name, profile in _profiles(result).items():
        place = int(np.argmin(np.abs(np.asarray(profile.lags[0]) - lag)))
        middle = float(np.median(log10(profile.log_norms[:, place])))
        parts.append(f"{_power(middle)} for {name if name == 'c' else f'the {name}'}")
    return (
        "The norm of the Jacobian of the last state against the lag, as a power of ten; at the lag "
        f"of {lag} its median is {', '.join(parts)}."
    )


def _draw_shares(ax: Axes, result: Diagnosis) -> None:
    tails = result.readings.tails
    lags = np.arange(tails.shape[1]) * result.readings.stride
    inside = lags < result.settings.length  # beyond it there is nothing
    draw_curve(ax, lags[inside], log10(tails[:, inside]), None, {})
    ax.axhline(-1, **REFERENCE, linestyle="--")
    if result.settings.truncation is not None:
        ax.axvline(result.settings.truncation, color=ACCENT, linewidth=1, label="truncation")
        ax.legend(loc="best")
    _mark_lag(ax, result)
    ax.set(xlabel="steps back $l$", ylabel=r"$\log_{10}\,\Vert g_l\Vert/\Vert g\Vert$")


def _say_shares(result: Diagnosis) -> str:
    tails, lag = result.readings.tails, result.settings.lag
    place = min(lag // result.readings.stride, tails.shape[1] - 1)
    middle = float(np.median(log10(tails[:, place])))
    return (
        "The share of the gradient that comes from so many steps back or more, as a power of ten; "
        f"at the lag of {lag} its median is {_power(middle)}."
    )


# -- distributions ---------------------------------------------------------------------------------


def _draw_values(ax: Axes, values: Any, label: str) -> None:
    flat = np.ravel(np.asarray(values, np.float64))
    flat = flat[np.isfinite(flat)]
    ax.hist(flat, bins=60, density=True, color=COLORS[0])
    ax.set(xlabel=label, ylabel="density")


def _forget(readings: Any) -> tuple[str, Any] | None:
    found = ((name, readings.values.get(name)) for name in ("forget", "update"))
    return next((pair for pair in found if pair[1] is not None), None)


def _draw_gates(ax: Axes, result: Diagnosis) -> None:
    name, values = _forget(result.readings) or ("", None)
    _draw_values(ax, values, f"{name} gate, over units and time")
    needed = 0.5 ** (1 / result.settings.lag)
    ax.axvline(needed, color=ACCENT, linewidth=1, label=f"half-life {result.settings.lag} steps")
    ax.set_xlim(0, 1.02)
    ax.legend(loc="upper center")


def _say_gates(result: Diagnosis) -> str:
    name, values = _forget(result.readings) or ("", np.zeros(1))
    needed = 0.5 ** (1 / result.settings.lag)
    return (
        f"The distribution of the {name} gate over units and time, with mean "
        f"{float(np.mean(values)):.3g}; a half-life of the lag takes {needed:.4g}."
    )


def _draw_cell(ax: Axes, result: Diagnosis) -> None:
    _draw_values(ax, result.readings.values["cell"], "$c$, over units and time")
    for edge in (-_EDGE, _EDGE):
        ax.axvline(edge, color=ACCENT, linewidth=1)


def _say_cell(result: Diagnosis) -> str:
    outside = float(np.mean(np.abs(result.readings.values["cell"]) > _EDGE))
    return (
        "The distribution of the cell state over units and time, with lines where tanh is .9; "
        f"{100 * outside:.3g} % lie beyond them."
    )


def _draw_drive(ax: Axes, result: Diagnosis) -> None:
    _draw_values(ax, result.readings.values["recurrent"], "argument of the activation")


def _say_drive(result: Diagnosis) -> str:
    sizes = np.abs(np.asarray(result.readings.values["recurrent"], np.float64))
    return (
        "The distribution of the arguments of the activation over units and time; their mean "
        f"size is {float(np.mean(sizes)):.3g}."
    )


# -- what the training sees ------------------------------------------------------------------------


def _draw_sizes(ax: Axes, result: Diagnosis) -> None:
    sizes = log10(result.readings.gradients.log_norms)
    sizes = np.sort(sizes[np.isfinite(sizes)])
    ax.plot(sizes, np.arange(1, len(sizes) + 1) / max(1, len(sizes)), "o-", color=COLORS[0], ms=3)
    if result.settings.clip is not None:
        ax.axvline(math.log10(result.settings.clip), color=ACCENT, linewidth=1, label="clip")
        ax.legend(loc="best")
    ax.set(xlabel=r"$\log_{10}\,\Vert g\Vert$ of a sequence", ylabel="share of the sequences")


def _say_sizes(result: Diagnosis) -> str:
    sizes = log10(result.readings.gradients.log_norms)
    return (
        "The norms of the gradients of the sequences, sorted, as powers of ten; the median is "
        f"{_power(float(np.median(sizes)))}."
    )


def _draw_agreement(ax: Axes, result: Diagnosis) -> None:
    cosines = np.asarray(result.readings.gradients.far_cosines, np.float64)
    ax.grid(visible=False)
    image = ax.imshow(cosines, vmin=-1, vmax=1, cmap="PuOr", interpolation="nearest")
    ax.figure.colorbar(image, ax=ax, label="cosine")
    ax.set(xlabel="sequence", ylabel="sequence")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True))


def _say_agreement(result: Diagnosis) -> str:
    cosines = np.asarray(result.readings.gradients.far_cosines, np.float64)
    count = len(cosines)
    others = (np.sum(cosines) - np.trace(cosines)) / max(1, count * (count - 1))
    return (
        "The cosine between the far parts of the gradients of any two sequences; its mean over "
        f"different ones is {float(others):.2g}."
    )


def _draw_spectrum(ax: Axes, result: Diagnosis) -> None:
    with np.errstate(divide="ignore"):
        values = np.log10(np.asarray(result.readings.spectrum, np.float64))
    draw_curve(ax, np.arange(1, values.shape[1] + 1), values, None, {}, marker="o", markersize=2)
    ax.set(xlabel="direction", ylabel=r"$\log_{10}\,\sigma_i/\sigma_1$ at the lag")


def _say_spectrum(result: Diagnosis) -> str:
    second = float(np.median(np.asarray(result.readings.spectrum)[:, 1:2]))
    return (
        "The singular values of the Jacobian at the lag over the largest one; the median of the "
        f"second is {second:.2g}."
    )


def _draw_gains(ax: Axes, result: Diagnosis) -> None:
    gains = np.asarray(result.readings.step_gains, np.float64) / 2
    draw_curve(ax, np.arange(1, gains.shape[1] + 1), gains, None, {})
    ax.axhline(0, **REFERENCE, linestyle="--")
    ax.set(xlabel="step $t$", ylabel="growth of a tangent, nats")


def _say_gains(result: Diagnosis) -> str:
    mean = float(np.mean(result.readings.step_gains)) / 2
    return f"The growth of a random tangent in each step, in nats; its mean is {mean:.2g}."


# -- which of them a diagnosis has ----------------------------------------------------------------


def _always(readings: Any) -> bool:
    return True


def _has(name: str) -> Callable[[Any], bool]:
    return lambda readings: getattr(readings, name) is not None


def _has_value(name: str) -> Callable[[Any], bool]:
    return lambda readings: name in readings.values


NORMS = Panel(_always, _draw_norms, _say_norms)
SHARES = Panel(_always, _draw_shares, _say_shares)
GATES = Panel(lambda readings: _forget(readings) is not None, _draw_gates, _say_gates)
CELL = Panel(_has_value("cell"), _draw_cell, _say_cell)
DRIVE = Panel(_has_value("recurrent"), _draw_drive, _say_drive)
GAINS = Panel(_has("step_gains"), _draw_gains, _say_gains)
SIZES = Panel(_always, _draw_sizes, _say_sizes)
AGREEMENT = Panel(_always, _draw_agreement, _say_agreement)
SPECTRUM = Panel(_has("spectrum"), _draw_spectrum, _say_spectrum)
