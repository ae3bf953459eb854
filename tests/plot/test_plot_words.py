"""The figure of words: bars and lines held against the numbers given, long texts, and zeros."""

import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.patches import Rectangle

import lstmgrad as lg
from lstmgrad import plot
from lstmgrad.plot._curves import Curve


def record(log10_norms, shares) -> lg.Contributions:
    logs = jnp.asarray(log10_norms) * np.log(10)
    part = jnp.asarray(shares)
    return lg.Contributions(
        leaf_log_norms=None,
        log_norms=logs,
        shares=part,
        cosines=part,
        residuals=jnp.zeros((*part.shape[:-1], part.shape[-1] + 1)),
        input_log_norms=None,
        gradient=None,
        input_gradients=None,
    )


def draws(length: int, last: float = 0.0) -> lg.Contributions:
    """Three draws whose medians at step t are a norm of 10^t and a share of t percent."""
    steps = np.arange(length) + np.array([[1.0], [0.0], [-0.5]])
    return record(steps + last, np.arange(length) / 100 + np.array([[0.0], [0.3], [-0.1]]))


def bars(ax: Axes) -> list[Rectangle]:
    return [bar for bar in ax.patches if isinstance(bar, Rectangle)]


def curves(ax: Axes) -> list[np.ndarray]:
    return [np.asarray(line.get_ydata(), float) for line in ax.lines if isinstance(line, Curve)]


def test_bars_are_shares_and_lines_are_norms_over_the_last():
    stages = {"before": {"RNN": draws(4), "LSTM": draws(4, last=7.0)}, "after": {}}
    stages["after"] = stages["before"]
    figure = plot.words(stages, words=["a", "$b$", "c", "d" * 30])
    shares, _, norms, _ = figure.axes
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["before", "after", "", ""]
    heights = [bar.get_height() for bar in bars(shares)]
    np.testing.assert_allclose(heights, 2 * [0, 1, 2, 3], atol=1e-6)
    places = [bar.get_x() + bar.get_width() / 2 for bar in bars(shares)]
    np.testing.assert_allclose(places, [*np.arange(4) - 0.21, *np.arange(4) + 0.21])
    whiskers = [each for each in shares.collections if isinstance(each, LineCollection)]
    ends = np.concatenate([each.get_segments() for each in whiskers])[:, :, 1]
    np.testing.assert_allclose(ends[:4] - np.arange(4)[:, None], [[-10, 30]] * 4, atol=1e-5)
    assert len(curves(norms)) == 2
    for line in curves(norms):
        np.testing.assert_allclose(line, [-3, -2, -1, 0], atol=1e-6)
    labels = [label.get_text() for label in norms.get_xticklabels()]
    assert labels == ["a", r"\$b\$", "c", "d" * 14]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["RNN", "LSTM"]
    plot.encode(figure, "png")


def test_of_a_long_text_both_ends_are_drawn():
    words = [f"w{index}" for index in range(18)]
    figure = plot.words({"before": {"RNN": draws(18)}}, words=words)
    shares, norms = figure.axes
    labels = [label.get_text() for label in norms.get_xticklabels()]
    assert labels == [*words[:8], "...", *words[-8:]]
    (line,) = curves(norms)
    expected = [*np.arange(8.0) - 17, np.nan, *np.arange(10.0, 18) - 17]
    np.testing.assert_allclose(line, expected, atol=1e-5)
    heights = [bar.get_height() for bar in bars(shares)]
    np.testing.assert_allclose(heights, [*range(8), np.nan, *range(10, 18)], atol=1e-5)
    whole = plot.words({"before": {"RNN": draws(17)}}, words=words[:17])
    assert len(whole.axes[1].get_xticklabels()) == 17


def test_zeros_and_numbers_that_are_none_leave_gaps():
    zero = record([-np.inf, -np.inf, 0.0], [0.0, 0.0, 1.0])
    nothing = record([-np.inf] * 3, [np.nan] * 3)
    figure = plot.words({"before": {"RNN": zero, "GRU": nothing}}, words=list("abc"))
    norms = figure.axes[1]
    rnn, gru = curves(norms)
    np.testing.assert_array_equal(rnn, [np.nan, np.nan, 0.0])
    assert np.isnan(gru).all()
    plot.encode(figure, "svg")


def test_what_is_refused():
    one = draws(3)
    with pytest.raises(ValueError, match="stages: expected at least one stage with one kind"):
        plot.words({}, words=[])
    with pytest.raises(ValueError, match="words: expected one word for each of the 3 steps, but"):
        plot.words({"before": {"RNN": one}}, words=["a"])
