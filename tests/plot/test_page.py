"""Pages: panels below each other, in the default style, whatever the user's own."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest

from lstmgrad import plot


def line(ax):
    ax.plot([1, 2], [3, 4])


def test_panels_stand_below_each_other_in_the_order_given():
    figure = plot.page([line, lambda ax: ax.set_title("second")], width=4.0, height=2.0)
    assert tuple(figure.get_size_inches()) == (4, 4)
    first, second = figure.axes
    assert (len(first.lines), second.get_title()) == (1, "second")
    assert first.get_position().y0 > second.get_position().y1
    assert not plt.get_fignums()


def test_a_page_follows_no_style_and_gives_the_same_bytes():
    size = mpl.rcParams["font.size"]
    png, svg = (plot.encode(plot.page([line]), name) for name in ("png", "svg"))
    with plt.rc_context({"axes.facecolor": "red", "font.size": 20}):
        assert plot.encode(plot.page([line]), "png") == png
        assert plot.encode(plot.page([line]), "svg") == svg
    assert mpl.rcParams["font.size"] == size


def test_a_page_without_panels():
    with pytest.raises(ValueError, match="panels: expected at least one function of an Axes"):
        plot.page([])
