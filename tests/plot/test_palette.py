"""The style: the same color for the same network everywhere, apart in gray; in a context."""

import importlib.resources
import itertools

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from plot_records import LAGS, profile

from lstmgrad import plot
from lstmgrad.plot._curves import Curve
from lstmgrad.plot._palette import COLORS, DASHES, line_style, turn_of, turns_of
from lstmgrad.plot._style import figure_of


def gray(color):
    """CIE lightness, 0 to 100."""
    linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in to_rgb(color)]
    return 116 * np.cbrt(np.dot((0.2126, 0.7152, 0.0722), linear)) - 16


def test_neighbors_differ_in_gray_and_twenty_five_lines_differ_at_all():
    levels = [gray(color) for color in COLORS]
    assert min(abs(a - b) for a, b in itertools.pairwise(levels)) > 12
    assert max(levels) < 75  # the paper is at 100
    assert len({tuple(map(str, line_style(turn).values())) for turn in range(25)}) == 25
    assert len(set(map(str, DASHES))) == 5


def test_the_sheet_is_data_that_matplotlib_finds_by_its_name():
    assert importlib.resources.files("lstmgrad.plot").joinpath("paper.mplstyle").is_file()
    with plt.style.context(["default", "lstmgrad.plot.paper"]):
        named = dict(mpl.rcParams)
    with plot.style():
        assert dict(mpl.rcParams) == named
    assert mpl.rcParams["figure.figsize"] != named["figure.figsize"]


@pytest.mark.parametrize(
    ("label", "turn"),
    [
        ("LSTM", 0),
        ("LSTM $c$", 0),
        ("LSTM, forget bias 1", 0),
        ("GRU $h$", 1),
        ("RNN, median of 6", 2),
        ("LSTM, chrono biases", 3),
        ("LSTM+chrono", 3),
        ("LSTM $h$", 4),
        ("cell", 0),
        ("forget", 2),
        ("mLSTM", None),
        ("LSTM_1997", None),
        ("mine", None),
        (None, None),
    ],
)
def test_a_label_says_which_color(label, turn):
    assert turn_of(label) == turn


def test_a_kind_keeps_its_color_in_whatever_order_it_is_drawn():
    assert turns_of(["mine", "RNN", "LSTM", "LSTM"]) == [1, 2, 0, 3]
    colors = {}
    for order in (["RNN", "GRU", "LSTM"], ["LSTM", "RNN"], ["GRU", "mine"]):
        ax = plot.overlay(plot.norms, {name: profile(-0.1 * LAGS) for name in order})
        for line in ax.lines:
            if isinstance(line, Curve):
                assert colors.setdefault(line.get_label(), line.get_color()) == line.get_color()
    plt.close("all")
    assert len(set(colors.values())) == 3  # the first of no kind has the first color


def test_a_figure_that_is_made_has_the_style_and_the_axes_of_others_keep_theirs():
    with mpl.rc_context({"lines.linewidth": 7.0, "figure.figsize": (9, 9)}):
        made = plot.norms(profile(-0.1 * LAGS))
        theirs = plot.norms(profile(-0.1 * LAGS), ax=plt.subplots()[1])
        with plot.style():
            styled = plot.norms(profile(-0.1 * LAGS), ax=plt.subplots()[1])
    assert [ax.lines[0].get_linewidth() for ax in (made, theirs, styled)] == [1.3, 7.0, 1.3]
    for ax in (made, styled):
        assert figure_of(ax).get_size_inches()[0] == 3.3
    plt.close("all")
