"""Plots of tagged values, held against the numbers given and against a gate shut by hand."""

import functools
from typing import Any

import jax.numpy as jnp
import numpy as np
import plot_records
import pytest
from matplotlib.figure import Figure
from registry import H, problem, slow

import lstmgrad as lg
from lstmgrad import plot
from lstmgrad.plot._tagged_values import largest_fall

LENGTH, CLOSED = 100, 60


@pytest.fixture
def ax():
    return Figure(layout="constrained").subplots()


def legend_texts(ax) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


def assert_legend_above(ax, top: float) -> None:
    """Also where a caller sets a title and the layout takes its room."""
    ax.set_title("a title")
    ax.figure.draw_without_rendering()
    box = ax.get_legend().get_window_extent()
    assert box.y0 >= ax.transData.transform((0, top))[1]
    assert box.y1 <= ax.get_window_extent().y1
    assert box.x0 >= ax.get_window_extent().x0
    assert box.x1 <= ax.get_window_extent().x1


def profile(log10_norms: Any, every=1, fixed="start", **rest: Any) -> lg.NormProfile:
    return plot_records.profile(log10_norms, "c", "c", fixed, every=every, **rest)


@functools.cache
def closed_by_hand():
    """An LSTM whose forget gates are shut at one step: chain, cell route and gate values."""
    free = problem("lstm", length=LENGTH)

    def step(params, state, x):
        bias = params.bias.at[H : 2 * H].add(x[-1])
        return free.step(params._replace(bias=bias), state, x[:-1])

    shut = jnp.zeros((LENGTH, 1)).at[CLOSED - 1].set(-20.0)
    given = free._replace(step=step, inputs=jnp.concatenate([free.inputs, shut], axis=1))
    chain = lg.linearize(step, given.params, given.run())
    return lg.routes(chain)["cell"], lg.tagged_values(chain)


@pytest.mark.parametrize("norms", [slow(lg.forward_norms), lg.backward_norms])
def test_a_gate_closed_by_hand_is_marked_at_that_step(ax, norms):
    route, values = closed_by_hand()
    forget, given = {"forget": values["forget"]}, norms(route, of="c", wrt="c")
    assert plot.tagged_values(forget, profile=given, ax=ax) is ax
    gate, mark = ax.lines
    (twin,) = [other for other in ax.figure.axes if other is not ax]
    (norm,) = twin.lines

    np.testing.assert_array_equal(gate.get_xdata(), np.arange(1, LENGTH + 1))
    np.testing.assert_allclose(gate.get_ydata(), np.mean(values["forget"], axis=1))
    assert gate.get_xdata()[np.argmin(gate.get_ydata())] == CLOSED
    assert gate.get_ydata().min() < 1e-7
    np.testing.assert_array_equal(mark.get_xdata(), [CLOSED, CLOSED])

    times, decades = norm.get_data()
    order = np.argsort(times)
    falls = np.abs(np.diff(decades[order]))
    assert times[order][1:][np.argmax(falls)] == CLOSED
    assert 17 < np.max(falls) * np.log(10) < 23
    assert np.delete(falls, np.argmax(falls)).max() < 2
    size = f"{-np.max(falls):.1f}"
    assert mark.get_label() == rf"largest fall: $t = {CLOSED}$, $\times\,10^{{{size}}}$"
    assert legend_texts(ax)[::2] == ["forget", mark.get_label()]
    assert_legend_above(ax, 1.0)
    top = np.nanmax(decades)
    assert ax.get_legend().get_window_extent().y0 >= twin.transData.transform((0, top))[1]


def test_tagged_values_alone_are_mean_and_band(ax):
    units = np.linspace(0, 1, 11)[None, :] * np.linspace(0.5, 1, 7)[:, None]
    plot.tagged_values({"many": units, "one": 0.3 * np.ones(7)}, ax=ax, lw=3)
    many, one = ax.lines
    np.testing.assert_allclose(many.get_ydata(), units.mean(axis=1))
    np.testing.assert_allclose(one.get_ydata(), 0.3)
    assert many.get_linewidth() == 3
    assert many.get_color() != one.get_color()
    (band,) = ax.collections
    at_end = band.get_paths()[0].vertices
    at_end = at_end[at_end[:, 0] == 7, 1]
    np.testing.assert_allclose([at_end.min(), at_end.max()], [0.1, 0.9])
    assert len(ax.figure.axes) == 1


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (profile([0.0, -1, -5, -6]), (2, 2, 4.0)),
        (profile([0.0, -1, -5, -6], fixed="end"), (9, 9, 4.0)),
        (profile([0.0, -1, -5], every=5), (6, 10, 4.0)),
        (profile([0.0, -1, -5], every=5, fixed="end"), (1, 5, 4.0)),
        (profile([0.0, -9, -10, -np.inf, -np.inf]), (3, 3, np.inf)),
        (profile([-np.inf, 0.0, np.nan, -1.0, -1.5]), (4, 4, 0.5)),
        (profile([0.0, 1.0, 2.0]), None),
        (profile([-np.inf, -np.inf]), None),
    ],
)
def test_the_largest_fall(ax, given, expected):
    found = largest_fall(given, 10)
    if expected is not None:
        expected = pytest.approx((*expected[:2], expected[2] * np.log(10)))
    assert found == expected
    plot.tagged_values({"forget": np.full((10, 2), 0.5)}, profile=given, ax=ax)
    marks = [line for line in ax.lines if str(line.get_label()).startswith("largest")]
    assert [mark.get_xdata()[0] for mark in marks] == ([np.mean(found[:2])] if found else [])
    ax.figure.draw_without_rendering()


def test_no_fall_is_read_where_the_norm_is_not_resolved(ax):
    hidden = np.arange(5) >= 3
    given = profile([0.0, -1.0, -3.0, -40.0, -41.0], hidden=hidden)
    assert largest_fall(given, 4) == pytest.approx((2, 2, 2 * np.log(10)))
    plot.tagged_values({"forget": np.full((4, 2), 0.5)}, profile=given, ax=ax)
    texts = legend_texts(ax)
    assert "not resolved" in texts
    assert r"largest resolved fall: $t = 2$, $\times\,10^{-2.0}$" in texts
    (twin,) = [other for other in ax.figure.axes if other is not ax]
    norm, faint = twin.lines
    np.testing.assert_allclose(norm.get_ydata(), [0, -1, -3, np.nan, np.nan])
    np.testing.assert_allclose(faint.get_ydata(), [np.nan, np.nan, -3, -40, -41])
    ax.figure.draw_without_rendering()


def test_wrong_arguments_are_refused(ax, as_installed):
    with pytest.raises(ValueError, match="result: expected a dict of at least one array"):
        plot.tagged_values({}, ax=ax)
    with pytest.raises(ValueError, match=r"same T for each, but got a \(3, 2\), b \(4, 2\)"):
        plot.tagged_values({"a": np.ones((3, 2)), "b": np.ones((4, 2))}, ax=ax)
    with pytest.raises(ValueError, match=r"\(T, units\), .* or \(T,\), .* a \(\)"):
        plot.tagged_values({"a": np.ones(())}, ax=ax)
    with pytest.raises(ValueError, match=r"lags of at most 2, the steps of the tagged .* 3"):
        plot.tagged_values({"a": np.ones(2)}, profile=profile([0.0, -1, -2, -3]), ax=ax)
    with pytest.raises(ValueError, match="profile: expected a NormProfile"):
        plot.tagged_values({"a": np.ones(2)}, profile=np.ones(2), ax=ax)  # type: ignore[arg-type]
    assert not ax.lines
