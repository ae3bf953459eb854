"""Pages and their files: in the default style, whatever the user's own; the same bytes again."""

import xml.etree.ElementTree as ElementTree

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest
from plot_records import LAGS, profile

from lstmgrad import plot


def line(ax):
    ax.plot([1, 2], [3, 4])


def test_panels_stand_below_each_other_in_the_order_given():
    before = plt.get_fignums()  # of other tests
    figure = plot.page([line, lambda ax: ax.set_title("second")], width=4.0, height=2.0)
    assert tuple(figure.get_size_inches()) == (4, 4)
    first, second = figure.axes
    assert (len(first.lines), second.get_title("left")) == (1, "second")
    assert first.get_position().y0 > second.get_position().y1
    assert plt.get_fignums() == before


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


def test_encode_is_reproducible_and_follows_no_user_style():
    panels = {"trained": [("falls", profile(-15.0 * LAGS)), ("stays", profile(-0.15 * LAGS))]}
    before = dict(mpl.rcParams)
    files = [
        [plot.encode(figure, kind) for kind in ("png", "svg", "pdf")]
        for figure in (plot.comparison(panels), plot.comparison(panels))
    ]
    assert files[0] == files[1]
    assert dict(mpl.rcParams) == before
    png, svg, pdf = files[0]
    assert pdf.startswith(b"%PDF")
    assert png.startswith(b"\x89PNG")
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "black"}):
        assert plot.encode(plot.comparison(panels), "png") == png


def test_a_file_of_another_kind(as_installed):
    with pytest.raises(ValueError, match='format: expected "png", "svg" or "pdf", but got \'eps\''):
        plot.encode(plot.page([line]), "eps")  # type: ignore[arg-type]
