"""Results over one another: as if drawn one by one, with a legend."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from plot_records import LAGS, profile

import lstmgrad as lg
from lstmgrad import plot


def test_an_overlay_is_the_calls_one_after_the_other(tmp_path):
    lg.save(tmp_path / "before.npz", profile(-0.5 * LAGS))
    lg.save(tmp_path / "after.npz", profile(-0.1 * LAGS))
    runs = {name: lg.load(tmp_path / f"{name}.npz") for name in ("before", "after")}
    ax = plot.overlay(plot.norms, runs, linewidth=3.0)
    _, known = plt.subplots()
    for name, run in runs.items():
        plot.norms(run, ax=known, label=name, linewidth=3.0)
    for ours, theirs in zip(ax.lines, known.lines, strict=True):
        np.testing.assert_array_equal(ours.get_xydata(), theirs.get_xydata())
        assert ours.get_color() == theirs.get_color()
        assert ours.get_linewidth() == 3.0
    legend = ax.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["before", "after"]
    assert plot.overlay(plot.norms, runs, ax=known) is known
    plt.close("all")


@pytest.mark.parametrize(
    ("draw", "results", "message"),
    [
        (
            plot.norm_map,
            {"a": 1},
            "draw: expected a function that takes label, .* but got norm_map",
        ),
        ("norms", {"a": 1}, "draw: expected a function that takes label, .* but got norms"),
        (plot.norms, {}, "results: expected results by label, .* but got dict of 0"),
        (plot.norms, [1, 2], "results: expected results by label, .* but got list of 2"),
    ],
)
def test_what_does_not_go_over_one_another(draw, results, message, as_installed):
    with pytest.raises(ValueError, match=message):
        plot.overlay(draw, results)
