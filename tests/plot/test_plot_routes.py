"""Plots of routes and gain budgets: what is drawn, held against the numbers that were given."""

import itertools
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import matplotlib.colors
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch

import lstmgrad as lg
from lstmgrad import plot

LENGTH, CLOSED = 100, 60


@pytest.fixture
def ax():
    return Figure(layout="constrained").subplots()


def areas(ax) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Bottom and top of every filled area by label."""
    patches = [patch for patch in ax.patches if isinstance(patch, StepPatch) and patch.get_fill()]
    data = {str(patch.get_label()): patch.get_data() for patch in patches}
    for values, edges, _ in data.values():
        np.testing.assert_array_equal(edges, np.arange(len(values) + 1) + 0.5)
    return {label: (np.asarray(low), np.asarray(top)) for label, (top, _, low) in data.items()}


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


def shares(named: Mapping[str, Any], log_norm: Any = -3.0) -> lg.RouteShares:
    arrays = {name: jnp.asarray(share) for name, share in named.items()}
    return lg.RouteShares(shares=arrays, log_norm=jnp.asarray(log_norm), of="c", wrt="c")


def budget(projection=0.0, **gains) -> lg.GainBudget:
    """Gains given in powers of ten."""
    found = {name: jnp.asarray(gain) * np.log(10) for name, gain in gains.items()}
    total = sum(float(jnp.sum(gain)) for gain in found.values()) + projection * np.log(10)
    return lg.GainBudget(
        station_log_gains=found,
        log_projection=jnp.asarray(projection * np.log(10)),
        log_norm=jnp.asarray(total),
        of=None,
        wrt=None,
    )


def test_shares_are_stacked_upward_and_downward(ax):
    given = {"cell": [0.7, 1.5, 0.25], "forget": [0.3, -0.7, 0.5], "input": [0.0, 0.2, 0.25]}
    rest = {"crossed": [1e-5, 0.0, -1e-9], "untagged": [0.0, 0.0, 0.0]}
    assert plot.route_shares(shares(given | rest), ax=ax) is ax
    drawn = areas(ax)
    assert list(drawn) == list(given)
    np.testing.assert_allclose([top - low for low, top in drawn.values()], list(given.values()))
    for t in range(3):
        spans = sorted(tuple(sorted((low[t], top[t]))) for low, top in drawn.values())
        assert all(this[1] <= after[0] + 1e-15 for this, after in itertools.pairwise(spans))
        assert spans[-1][1] + min(spans[0][0], 0) == pytest.approx(1)
    assert {1.0, 0.0} <= {float(line.get_ydata()[0]) for line in ax.lines}
    assert legend_texts(ax) == [*given, "size: $10^{-1.3}$"]
    assert ax.get_ylabel() == r"share in $\partial c_{T}/\partial c_{0}$"
    assert ax.get_ylim()[0] < -0.7
    assert_legend_above(ax, 1.7)


def test_nothing_to_share(ax):
    nothing = np.full(4, np.nan)
    plot.route_shares(shares({"cell": nothing, "forget": nothing}, -np.inf), ax=ax)
    assert not areas(ax)
    assert legend_texts(ax) == ["size: $0$"]
    ax.figure.draw_without_rendering()


def test_seven_areas_differ_in_gray(ax):
    plot.route_shares(shares({f"r{i}": np.full(3, 1 / 7) for i in range(7)}), ax=ax)
    patches = [patch for patch in ax.patches if isinstance(patch, StepPatch)]
    looks = [(patch.get_facecolor(), patch.get_hatch()) for patch in patches]
    assert len(set(looks)) == 7
    gray = [np.dot(matplotlib.colors.to_rgb(color), (0.299, 0.587, 0.114)) for color, _ in looks]
    assert np.min(np.abs(np.diff(gray))) > 0.1


def test_the_callers_style_wins(ax):
    plot.route_shares(shares({"cell": [1.0, 1.0]}), ax=ax, fc="red", alpha=0.5)
    (patch,) = [patch for patch in ax.patches if isinstance(patch, StepPatch)]
    assert patch.get_facecolor() == matplotlib.colors.to_rgba("red", 0.5)


def test_a_budget_adds_up(ax):
    given = {"recurrent": [-1.0, -0.5, -2.0], "state": [0.25, -0.5, 1.0]}
    named = {"recurrent": "activation", "state": "weights"}
    plot.gain_budget(budget(projection=-1.12, **given), names=named, ax=ax)
    drawn = areas(ax)
    assert list(drawn) == ["activation", "weights"]
    np.testing.assert_allclose([top - low for low, top in drawn.values()], list(given.values()))
    (net,) = [patch for patch in ax.patches if not patch.get_fill()]
    np.testing.assert_allclose(net.get_data().values, np.sum(list(given.values()), axis=0))
    notes = ["onto $s_{0}$: $10^{-1.1}$", "total: $10^{-3.9}$"]
    assert legend_texts(ax) == ["activation", "weights", "sum", *notes]
    assert_legend_above(ax, 1.0)


def test_a_budget_of_whole_steps_needs_no_sum(ax):
    plot.gain_budget(budget(state=[-1.0, 0.5]), ax=ax)
    assert legend_texts(ax) == ["step $t$", "total: $10^{-0.5}$"]


def test_the_step_at_which_the_gradient_becomes_zero(ax):
    plot.gain_budget(budget(recurrent=[0.0, -np.inf, -1.0], state=[0.0, 0.0, 0.5]), ax=ax)
    (mark,) = [line for line in ax.lines if line.get_marker() == "v"]
    np.testing.assert_array_equal(mark.get_xdata(), [2])
    assert "recurrent: exactly 0" in legend_texts(ax)
    assert "total: $0$" in legend_texts(ax)
    ax.figure.draw_without_rendering()


def test_wrong_arguments_are_refused(ax, as_installed):
    with pytest.raises(ValueError, match="result: expected a RouteShares, as route_shares"):
        plot.route_shares({"cell": np.ones(3)}, ax=ax)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="result: expected a GainBudget, as gain_budget"):
        plot.gain_budget(shares({"cell": [1.0]}), ax=ax)  # type: ignore[arg-type]
    assert not ax.lines
    assert not ax.patches
