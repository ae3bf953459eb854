"""Comparisons of norms for a page: held against the numbers given, and to what can be read."""

import numpy as np
import pytest
from matplotlib.text import Text
from plot_records import LAGS, profile

from lstmgrad import plot
from lstmgrad.plot._comparison import vertical_range


def two_panels() -> dict:
    return {
        "at initialization": [("falls", profile(-15.0 * LAGS)), ("stays", profile(-0.15 * LAGS))],
        "trained": [("falls", profile(12.0 * LAGS)), ("stays", profile(-0.2 * LAGS))],
    }


def test_comparison_stays_readable_beside_a_curve_that_falls_to_1e_300():
    figure = plot.comparison(two_panels())
    top, bottom = figure.axes
    low, high = top.get_ylim()
    assert -14 < low < -12 < 12 < high < 14
    assert bottom.get_ylim() == (low, high)
    assert {str(line.get_marker()) for line in top.lines} == {"None", "v"}
    assert {str(line.get_marker()) for line in bottom.lines} == {"None", "^"}
    (mark,) = [line for line in top.lines if line.get_marker() == "v"]
    np.testing.assert_allclose(np.asarray(mark.get_xydata()), [[0, low]])
    assert [ax.get_title(loc="left") for ax in figure.axes] == list(two_panels())
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert sorted(texts) == ["falls", "leaves panel", "stays", "threshold $10^{-3}$"]


def test_comparison_fits_a_column_and_nothing_overlaps():
    named = [(f"LSTM ${part}$", profile(-0.1 * LAGS)) for part in "hcxy"]
    figure = plot.comparison({"at initialization": named, "after 300 training steps": named})
    assert_fits_a_column(figure)
    texts = [text for ax in figure.axes for text in (ax.xaxis.label, ax.yaxis.label)]
    assert min(float(text.get_fontsize()) for text in texts) >= 7


@pytest.mark.parametrize("name", ["residual", "antisymmetric_rnn", "antisymmetric_rnn_of_two"])
def test_comparison_of_twenty_long_names_fits_a_column(name):
    named = [(f"{name} $h$", profile(-0.1 * i * LAGS)) for i in range(20)]
    figure = plot.comparison({"at initialization": named})
    assert_fits_a_column(figure)
    (ax,) = figure.axes
    assert ax.get_window_extent().height >= 1.5 * figure.dpi


def assert_fits_a_column(figure):
    assert figure.get_size_inches()[0] == 3.3
    figure.draw_without_rendering()
    boxes = [figure.legends[0].get_window_extent()]
    for ax in figure.axes:
        titles = [text for text in ax.findobj(Text) if text.get_text() == ax.get_title(loc="left")]
        boxes += [ax.get_window_extent(), titles[0].get_window_extent()]
    for index, box in enumerate(boxes):
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.x1
        assert not any(box.overlaps(other) for other in boxes[index + 1 :])


def test_comparison_says_which_curve_is_no_number():
    broken = profile(np.where(LAGS > 0, np.nan, 0))
    figure = plot.comparison({"trained": [("good", profile(-LAGS)), ("bad", broken)]})
    assert figure.axes[0].get_title(loc="left") == "trained\nnot a number: bad"


def test_vertical_range_holds_the_threshold_and_the_tamest_curve():
    assert vertical_range([np.array([0.0, -0.1])], -3.0)[0] < -3
    assert vertical_range([np.array([0.0, -50.0]), np.array([0.0, -300.0])], -3.0)[0] < -50
    assert vertical_range([np.array([0.0, 50.0]), np.array([0.0, 300.0])], -3.0)[1] > 50
    low, high = vertical_range([np.array([0.0])], 0.0)
    assert low < 0 < high


def test_comparison_says_once_what_is_not_resolved():
    named = [("h", profile(-0.3 * LAGS)), ("c", profile(-3.0 * LAGS, hidden=LAGS > 2))]
    figure = plot.comparison({"at initialization": [named[0], named[0]], "trained": named})
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert sorted(texts) == ["h", "h", "leaves panel", "not resolved", "threshold $10^{-3}$"]
    assert_fits_a_column(figure)
    (solid,) = [line for line in figure.axes[1].lines if line.get_label() == "c"]
    assert np.isfinite(solid.get_ydata()).sum() == 3
    # The triangle stands where the dotted part leaves.
    (mark,) = [line for line in figure.axes[1].lines if line.get_marker() == "v"]
    low = figure.axes[1].get_ylim()[0]
    (lag,) = np.asarray(mark.get_xdata())
    assert lag == np.flatnonzero(low < -3.0 * LAGS)[-1]
    assert lag > 2


@pytest.mark.parametrize("value", [-np.inf, np.inf, np.nan])
def test_a_profile_without_a_finite_norm_is_drawn_as_nothing(value):
    figure = plot.comparison({"a": [("x", profile(np.full(21, value)))]})
    figure.draw_without_rendering()


@pytest.mark.parametrize("panels", [{}, {"a": []}])
def test_a_comparison_of_nothing(panels, as_installed):
    with pytest.raises(ValueError, match="panels: expected at least one panel"):
        plot.comparison(panels)
