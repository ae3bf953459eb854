"""What a state still knows of its inputs, and what a gradient can learn from them."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from lstmgrad._gradients.sensitivity import Sensitivity
from lstmgrad._gradients.signal import SignalToNoise
from lstmgrad._spectra.fisher import FisherMemory
from lstmgrad.plot._curves import draw_curve, named_legend
from lstmgrad.plot._palette import drawing
from lstmgrad.plot._style import axes_of, check_result, number_steps
from lstmgrad.plot._symbols import lag_label, part
from lstmgrad.plot._values import log10, members, shared


@drawing
def fisher_memory(
    result: FisherMemory, *, ax: Axes | None = None, label: str | None = None, **artist: Any
) -> Axes:
    """Draws log₁₀ J(k), what the last state says about the input of lag k, and returns the Axes.

    Args:
        result: from `fisher_memory`. A batch, with leading axes from `jax.vmap`, is drawn as its
            median inside the band from the 10 % to the 90 % quantile.
        ax: where to draw; None makes a figure. A further call on the same Axes takes the next color
            and dash pattern.
        label: the curve's name in the legend. Drawing the legend is left to the caller.
        **artist: properties of the line (`color`, `linewidth`, ...), see `Axes.plot`.

    Returns:
        The Axes. Where rounding may have made a value, the line is dotted and faint.

    Raises:
        ValueError: the result is not a `FisherMemory`, or `ax` is not an Axes.

    Example:
        ```python
        lg.plot.fisher_memory(lg.fisher_memory(chain, jnp.ones(3)))
        ```

        >>> ax = lg.plot.fisher_memory(lg.fisher_memory(chain, jnp.array([1.0, 0.0])))
        >>> ax.get_xlabel()
        'lag $T - k$ (steps)'
    """
    check_result(result, FisherMemory, "result", "fisher_memory")
    values = members(log10(result.log_memories), 1)
    ax = axes_of(ax, batch=len(values))
    hidden = members(result._hidden(), 1) > 0
    draw_curve(ax, shared(result.lags, "lags"), values, label, artist, unresolved=hidden)
    number_steps(ax)
    ax.set_xlabel(lag_label("end"))
    ax.set_ylabel(r"Fisher memory $\log_{10}\,J$")
    return ax


@drawing
def sensitivity(result: Sensitivity, *, ax: Axes | None = None, **artist: Any) -> Axes:
    """Draws log₁₀ ‖∂s_t/∂θ‖ over time, beside what is left of the start, ‖∂s_t/∂s_0‖.

    Args:
        result: from `sensitivity`. A batch, with leading axes from `jax.vmap`, is drawn as medians
            inside bands from the 10 % to the 90 % quantile.
        ax: where to draw; None makes a figure.
        **artist: properties of both lines (`linewidth`, ...), see `Axes.plot`.

    Returns:
        The Axes, with a legend. Norms are Frobenius norms, the root of the sum of all squares.

    Raises:
        ValueError: the result is not a `Sensitivity`, or `ax` is not an Axes.

    Example:
        ```python
        lg.plot.sensitivity(lg.sensitivity(chain, of="h"))
        ```

        >>> ax = lg.plot.sensitivity(lg.sensitivity(chain))
        >>> ax.get_xlabel()
        'time step $t$'
    """
    check_result(result, Sensitivity, "result", "sensitivity")
    times = shared(result.times, "times")
    state = part(result.of, "t")
    curves = {
        rf"$\partial {state}/\partial\theta$": result.log_norms,
        rf"$\partial {state}/\partial s_0$": result.state_log_norms,
    }
    batches = {name: members(log10(logs), 1) for name, logs in curves.items()}
    ax = axes_of(ax, batch=len(next(iter(batches.values()))))
    for name, values in batches.items():
        draw_curve(ax, times, values, name, artist)
    named_legend(ax)
    number_steps(ax)
    ax.set_xlabel("time step $t$")
    ax.set_ylabel(r"$\log_{10}\,\Vert\cdot\Vert_F$")
    return ax


@drawing
def signal_to_noise(
    result: SignalToNoise, *, ax: Axes | None = None, label: str | None = None, **artist: Any
) -> Axes:
    """Draws log₁₀ ‖μ‖²/tr Σ by lag, with the number of sequences that this asks for on the right.

    Args:
        result: from `signal_to_noise`. A batch of them, with leading axes from `jax.vmap`, is drawn
            as its median inside the band from the 10 % to the 90 % quantile.
        ax: where to draw; None makes a figure. A further call on the same Axes takes the next color
            and dash pattern.
        label: the curve's name in the legend. Drawing the legend is left to the caller.
        **artist: properties of the line (`color`, `linewidth`, ...), see `Axes.plot`.

    Returns:
        The Axes. Where no signal is seen, the line is dotted and faint, at the most that two
        standard errors allow: at least so many sequences are needed.

    Raises:
        ValueError: the result is not a `SignalToNoise`, or `ax` is not an Axes.

    Example:
        ```python
        lg.plot.signal_to_noise(lg.signal_to_noise(chains, cotangents))
        ```

        >>> batch = jnp.stack([inputs, -inputs, 2 * inputs])
        >>> chains = jax.vmap(lambda one: lg.chain(model, one))(batch)
        >>> several = jax.tree.map(lambda leaf: jnp.stack([leaf] * 3), cotangents)
        >>> ax = lg.plot.signal_to_noise(lg.signal_to_noise(chains, several))
        >>> ax.get_xlabel()
        'lag $T - k$ (steps)'
    """
    check_result(result, SignalToNoise, "result", "signal_to_noise")
    resolved = np.asarray(result.resolved)
    most = np.asarray(result.ratios) + 2 * np.asarray(result.standard_errors)
    with np.errstate(divide="ignore", invalid="ignore"):
        values = members(np.log10(np.where(resolved, result.ratios, most)), 1)
    hidden = ~(members(resolved, 1) > 0) & np.isfinite(values)
    ax = axes_of(ax, batch=len(values))
    first = not ax.lines
    draw_curve(ax, shared(result.lags, "lags"), values, label, artist, unresolved=hidden)
    number_steps(ax)
    ax.set_xlabel(lag_label("end"))
    ax.set_ylabel(r"$\log_{10}\,\Vert\mu\Vert^2/\mathrm{tr}\,\Sigma$ of one sequence")
    if first:
        right = ax.secondary_yaxis("right", functions=(np.negative, np.negative))
        right.set_ylabel(r"$\log_{10}$ of the sequences needed")
    return ax
