"""Plots of Lyapunov exponents, singular values and eigenvalues, held against what was given."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.patches import Circle

import lstmgrad as lg
from lstmgrad import plot


@pytest.fixture
def ax():
    return Figure(layout="constrained").subplots()


def exponents(values, errors: Any = 0.01, rounding: Any = 0.0, running=None) -> lg.LyapunovSpectrum:
    values = jnp.asarray(values)
    full = jnp.broadcast_to(jnp.asarray(errors), values.shape)
    if running is None:
        running = np.asarray(values) + 1 / np.arange(1.0, 6)[:, None]
    m = values.shape[-1]
    state = lg.LyapunovState(
        frame=jnp.eye(m),
        num_steps=jnp.asarray(50),
        log_sums=50 * values,
        variances=jnp.ones(m),
        roundings=jnp.zeros(m),
        displaced=jnp.zeros((m, m)),
        strayed=None,
        stray=None,
        faded=jnp.zeros(m, bool),
        model_state=None,
    )
    return lg.LyapunovSpectrum(
        exponents=values,
        standard_errors=full,
        rounding_errors=jnp.broadcast_to(jnp.asarray(rounding), values.shape),
        times=10 * jnp.arange(1, 6),
        running_exponents=jnp.asarray(running),
        state=state,
    )


def singular(log10_values, errors: Any = 0.0, fixed: Any = "start") -> lg.SingularSpectrum:
    values = jnp.asarray(log10_values) * np.log(10)
    return lg.SingularSpectrum(
        lags=2 * jnp.arange(len(values)),
        log_values=values,
        errors=jnp.broadcast_to(jnp.asarray(errors), values.shape),
        of="c",
        wrt="c",
        fixed=fixed,
    )


def points(lines) -> list[tuple[float, ...]]:
    return [tuple(map(float, pair)) for line in lines for pair in np.asarray(line.get_xydata())]


def test_a_spectrum_has_errors_and_says_what_is_not_resolved(ax):
    given = exponents([0.5, -1.0, -9.0, -np.inf], [0.1, 0.2, 0.3, 0.0], [0.0, 0.0, 1.0, 1.0])
    assert plot.lyapunov_spectrum(given, theory=[0.4, -1.1, -3.0, -4.0], ax=ax, label="net") is ax
    (bars,) = ax.containers
    assert points(bars.lines[:1])[:3] == [(1, 0.5), (2, -1.0), (3, -9.0)]
    ends = np.asarray([path.vertices[:, 1] for path in bars.lines[2][0].get_paths()[:3]])
    np.testing.assert_allclose(ends, [[0.4, 0.6], [-1.2, -0.8], [-9.3, -8.7]])
    named = {str(line.get_label()): line for line in ax.lines}
    assert points([named["not resolved"]]) == [(3, -9.0)]
    assert named["not resolved"].get_markerfacecolor() == "white"
    np.testing.assert_array_equal(named[r"$-\infty$"].get_xdata(), [4])
    np.testing.assert_allclose(named["theory"].get_ydata(), [0.4, -1.1, -3.0, -4.0])
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts == ["net", "not resolved", r"$-\infty$", "theory"]
    assert "nats per step" in ax.get_ylabel()
    ax.figure.draw_without_rendering()


def test_spectra_on_one_axes_differ(ax):
    for index in range(3):
        plot.lyapunov_spectrum(exponents([0.0, -1.0 - index]), ax=ax, label=str(index))
    lines = [container.lines[0] for container in ax.containers]
    assert len({line.get_marker() for line in lines}) == 3
    assert len({line.get_color() for line in lines}) == 3
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["0", "1", "2"]
    plot.lyapunov_spectrum(exponents([0.0, -1.0]), ax=ax, color="red", ms=9)
    assert ax.containers[3].lines[0].get_color() == "red"
    assert ax.containers[3].lines[0].get_markersize() == 9


def test_a_plain_spectrum_needs_no_legend(ax):
    plot.lyapunov_spectrum(exponents(np.linspace(0, -1, 60), errors=np.inf), ax=ax)
    assert ax.get_legend() is None
    ax.figure.draw_without_rendering()


def test_convergence_of_few_exponents(ax):
    given = exponents([0.5, -1.0], [0.1, 0.2])
    assert plot.lyapunov_convergence(given, ax=ax) is ax
    first, second = (line for line in ax.lines if str(line.get_label()).startswith(r"$\lambda"))
    np.testing.assert_array_equal(first.get_xdata(), given.times)
    np.testing.assert_allclose(second.get_ydata(), given.running_exponents[:, 1])
    assert first.get_linestyle() != second.get_linestyle()
    assert ax.get_xscale() == "log"
    (bars,) = ax.containers
    ends = [path.vertices for path in bars.lines[2][0].get_paths()]
    np.testing.assert_allclose(ends, [[[50, 0.6], [50, 0.8]], [[50, -1.0], [50, -0.6]]])
    assert len(ax.get_legend().get_texts()) == 2


def test_convergence_of_many_exponents_has_a_color_bar(ax):
    values = np.linspace(1, -3, 12)
    plot.lyapunov_convergence(exponents(values, rounding=np.where(values < -2, 1.0, 0.0)), ax=ax)
    assert ax.get_legend() is None
    (bar,) = [other for other in ax.figure.axes if other is not ax]
    assert bar.get_ylabel() == "exponent $i$ (dotted: not resolved)"
    assert bar.get_ylim()[0] > bar.get_ylim()[1]  # the first exponent on top, as its curve
    curves = [line for line in ax.lines if len(line.get_xdata()) == 5]
    dotted = [line for line in curves if line.get_alpha() is not None]
    assert len(dotted) == np.sum(values < -2)
    whole = [line for line in curves if line not in dotted and np.isfinite(line.get_ydata()).all()]
    assert len(whole) == np.sum(values >= -2)


def test_a_running_estimate_that_becomes_zero_ends(ax):
    running = np.array([[0.0, -3], [0, -4], [0, -np.inf], [0, -np.inf], [0, -np.inf]])
    plot.lyapunov_convergence(exponents([0.0, -np.inf], running=running), ax=ax)
    curves = [line for line in ax.lines if len(line.get_xdata()) == 5]
    assert [np.isfinite(line.get_ydata()).sum() for line in curves] == [5, 2]
    assert len(ax.containers[0].lines[2][0].get_paths()) == 1
    ax.figure.draw_without_rendering()


@pytest.mark.parametrize(("fixed", "lag"), [("start", "lag $t$ (steps)"), ("end", "T - k")])
def test_singular_values_by_lag(ax, fixed, lag):
    values = np.array([[0.0, 0.0], [-1.0, -1500.0], [-2.0, -3000.0]])
    errors = np.array([[0, 0], [0, 0], [0, np.inf]])
    assert plot.singular_spectrum(singular(values, errors, fixed), ax=ax) is ax
    top, tail, dotted = ax.lines
    np.testing.assert_array_equal(top.get_xdata(), [0, 2, 4])
    np.testing.assert_allclose(top.get_ydata(), [0, -1, -2], atol=1e-12)
    np.testing.assert_allclose(tail.get_ydata(), [0, -1500, np.nan])
    np.testing.assert_allclose(dotted.get_ydata(), [np.nan, -1500, -3000])
    assert dotted.get_alpha() < 1
    assert dotted._dash_pattern != tail._dash_pattern
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts == [r"$\sigma_{1}$", r"$\sigma_{2}$", "not resolved"]
    assert lag in ax.get_xlabel()
    time = ("t", "0") if fixed == "start" else ("T", "k")
    symbol = rf"\sigma_i(\partial c_{{{time[0]}}}/\partial c_{{{time[1]}}})$"
    assert ax.get_ylabel() == r"$\log_{10}\," + symbol
    ax.figure.draw_without_rendering()


def test_many_singular_values_with_exact_zeros(ax):
    values = -np.arange(4.0)[:, None] * np.arange(10.0)
    values[2:, 8:] = -np.inf
    plot.singular_spectrum(singular(values), ax=ax)
    assert len(ax.lines) == 10
    assert [np.isfinite(line.get_ydata()).sum() for line in ax.lines] == [4] * 8 + [2] * 2
    bar = next(other for other in ax.figure.axes if other is not ax)
    assert bar.get_ylabel() == "value $i$"
    ax.figure.draw_without_rendering()


def test_eigenvalues_and_the_unit_circle(ax):
    values = jnp.asarray([[1j, -0.5 + 0j], [0.25 + 0.5j, 2 + 0j], [0j, 0.1j]])
    assert plot.step_eigenvalues(values, ax=ax) is ax
    (cloud,) = [c for c in ax.collections if isinstance(c, PathCollection)]
    np.testing.assert_allclose(
        np.asarray(cloud.get_offsets()), np.stack([values.real, values.imag], -1).reshape(-1, 2)
    )
    np.testing.assert_array_equal(cloud.get_array(), [1, 1, 2, 2, 3, 3])
    (circle,) = [patch for patch in ax.patches if isinstance(patch, Circle)]
    assert (circle.center, circle.radius) == ((0, 0), 1)
    assert ax.get_aspect() == 1
    assert len(ax.figure.axes) == 2
    ax.figure.draw_without_rendering()
    assert ax.get_xlim()[1] > 2
    assert ax.get_ylim()[0] < -1


def test_eigenvalues_of_one_step_have_one_color(ax):
    plot.step_eigenvalues(np.array([1j, -1j, np.nan]), ax=ax)
    plot.step_eigenvalues(np.array([[0.5j, -0.5j]] * 2), ax=ax, color="red")
    assert len(ax.figure.axes) == 1
    ax.figure.draw_without_rendering()


def test_wrong_arguments_are_refused(ax, as_installed):
    for draw in (plot.lyapunov_spectrum, plot.lyapunov_convergence):
        with pytest.raises(ValueError, match="result: expected a LyapunovSpectrum"):
            draw(singular(np.zeros((2, 2))), ax=ax)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"theory: .* each of the 2 exponents, .* shape \(3,\)"):
        plot.lyapunov_spectrum(exponents([0.0, -1.0]), theory=np.zeros(3), ax=ax)
    with pytest.raises(ValueError, match="result: expected a SingularSpectrum"):
        plot.singular_spectrum(exponents([0.0, -1.0]), ax=ax)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"result: expected eigenvalues, \(T, n\) or \(n,\)"):
        plot.step_eigenvalues(np.zeros(()), ax=ax)
    assert not ax.lines
