"""Plots of what each time step adds to the gradient, held against the numbers given."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.figure import Figure

import lstmgrad as lg
from lstmgrad import plot


@pytest.fixture
def ax():
    return Figure(layout="constrained").subplots()


def record(log10_norms, shares=None) -> lg.Contributions:
    log_norm = jnp.asarray(log10_norms) * np.log(10)
    shares = jnp.full_like(log_norm, 1 / log_norm.shape[-1]) if shares is None else shares
    before = jnp.concatenate([jnp.ones((*log_norm.shape[:-1], 1)), jnp.exp(log_norm)], axis=-1)
    return lg.Contributions(
        leaf_log_norms={"w": log_norm},
        log_norms=log_norm,
        shares=jnp.asarray(shares),
        cosines=jnp.ones_like(log_norm),
        residuals=before,
        input_log_norms=log_norm,
        gradient={"w": jnp.ones(2)},
        input_gradients=jnp.exp(log_norm),
    )


def table(log10_norms, every=1) -> lg.ContributionMap:
    values = jnp.asarray(log10_norms) * np.log(10)
    return lg.ContributionMap(
        times=every * jnp.arange(1, values.shape[0] + 1),
        steps=jnp.arange(1, values.shape[1] + 1),
        log_norms=values,
    )


def test_contributions_are_curves_over_time(ax):
    assert plot.contributions(record([-3000.0, -20, 0]), ax=ax, label="RNN") is ax
    plot.contributions(record([-1.0, -2, 0]), ax=ax, label="LSTM", lw=3)
    first, second = ax.lines
    np.testing.assert_array_equal(first.get_xdata(), [1, 2, 3])
    np.testing.assert_allclose(first.get_ydata(), [-3000, -20, 0])
    assert first.get_linestyle() != second.get_linestyle()
    assert first.get_color() != second.get_color()
    assert (first.get_label(), second.get_label()) == ("RNN", "LSTM")
    assert second.get_linewidth() == 3
    assert r"\log_{10}" in ax.get_ylabel()
    assert ax.get_xlabel() == "time step $t$"


def test_steps_that_add_nothing_and_batches(ax):
    plot.contributions(record([-1.0, -np.inf, -np.inf, 0.0]), ax=ax)
    line, cross = ax.lines
    np.testing.assert_array_equal(np.isfinite(line.get_ydata()), [True, False, False, True])
    np.testing.assert_array_equal(cross.get_xdata(), [1])
    plot.contributions(record(-np.arange(11.0)[:, None] * np.ones(4)), ax=ax)
    np.testing.assert_allclose(ax.lines[2].get_ydata(), -5)
    assert len(ax.collections) == 1


@pytest.mark.parametrize("draw", [plot.contributions, plot.contribution_shares])
def test_words_stand_below_their_steps(ax, draw):
    words = ["the", "gradient", "of", "this", "sentence"]
    draw(record(np.zeros(5)), labels=words, ax=ax)
    np.testing.assert_array_equal(ax.get_xticks(), [1, 2, 3, 4, 5])
    assert [text.get_text() for text in ax.get_xticklabels()] == words
    with pytest.raises(
        ValueError, match=r"labels: expected one label for each of the 5 steps, .* 4"
    ):
        draw(record(np.zeros(5)), labels=words[1:], ax=ax)


def test_words_stay_below_their_steps_when_a_curve_is_added(ax):
    words = ["the", "gradient", "of"]
    plot.contributions(record(np.zeros(3)), labels=words, ax=ax)
    plot.contributions(record(np.ones(3)), ax=ax)
    assert [text.get_text() for text in ax.get_xticklabels()] == words
    assert ax.get_xlabel() == ""


def test_many_words_do_not_overlap(ax):
    words = [f"word{index}" for index in range(1, 121)]
    plot.contributions(record(np.zeros(120)), labels=words, ax=ax)
    ax.figure.draw_without_rendering()
    labels = ax.get_xticklabels()
    assert [text.get_text() for text in labels] == words[::3]
    boxes = [text.get_window_extent() for text in labels]
    assert all(left.x1 <= right.x0 for left, right in itertools.pairwise(boxes))


def test_shares_and_what_they_are_together(ax):
    shares = np.array([0.25, -0.5, 0.5, 0.75])
    plot.contribution_shares(record(np.zeros(4), shares), ax=ax, color="gray")
    (bars,) = ax.containers
    np.testing.assert_allclose([bar.get_height() for bar in bars], shares)
    np.testing.assert_allclose([bar.get_x() + bar.get_width() / 2 for bar in bars], [1, 2, 3, 4])
    (line,) = [line for line in ax.lines if "together" in str(line.get_label())]
    np.testing.assert_allclose(line.get_ydata(), [1.0, 0.75, 1.25, 0.75])
    np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3, 4])
    ax.figure.draw_without_rendering()
    box = ax.get_legend().get_window_extent()
    assert box.y0 >= ax.transData.transform((0, 1.25))[1]
    assert ax.get_ylim()[0] < -0.5


def test_shares_of_many_steps_are_one_outline(ax):
    shares = np.linspace(0, 1, 400) / 200
    plot.contribution_shares(record(np.zeros(400), shares), ax=ax, fc="gray")
    (outline,) = ax.patches
    np.testing.assert_array_equal(outline.get_data().values, shares)
    np.testing.assert_array_equal(outline.get_data().edges, np.arange(401) + 0.5)


def test_shares_of_a_gradient_of_zero(ax):
    plot.contribution_shares(record(np.full(3, -np.inf), np.full(3, np.nan)), ax=ax)
    ax.figure.draw_without_rendering()
    assert ax.get_ylim()[0] <= 0 < 1 <= ax.get_ylim()[1]


def test_truncation_by_length(ax):
    bias = lg.TruncationBias(lengths=jnp.arange(4), residuals=jnp.asarray([1.0, 1e-2, 1e-300, 0.0]))
    plot.truncation_bias(bias, ax=ax)
    line, cross = ax.lines
    np.testing.assert_array_equal(line.get_xdata(), [0, 1, 2, 3])
    np.testing.assert_allclose(line.get_ydata(), [0, -2, -300, np.nan])
    np.testing.assert_array_equal(cross.get_xdata(), [2])
    plot.truncation_bias(record([-1.0, -2.0]), ax=ax)
    np.testing.assert_allclose(ax.lines[2].get_ydata(), [0, -1, -2])


def test_the_map_of_pairs(ax):
    values = np.array([[0.0, 0.0, np.nan, np.nan], [-1.0, -np.inf, -2.0, -3.0]])
    assert plot.contribution_map(table(values, every=2), ax=ax) is ax
    (image,) = ax.images
    shown = image.get_array()
    np.testing.assert_array_equal(np.ma.getmaskarray(shown), np.isnan(values))
    np.testing.assert_allclose(shown.data[1, [0, 2, 3]], [-1, -2, -3])
    assert shown.data[1, 1] < -1000
    assert image.get_extent() == pytest.approx([0.5, 4.5, 5.0, 1.0])
    assert image.colorbar.extend == "min"
    assert "$k$" in ax.get_xlabel()
    assert "$t$" in ax.get_ylabel()
    ax.figure.draw_without_rendering()


def test_the_map_of_one_loss(ax):
    plot.contribution_map(table(np.zeros((1, 50))), ax=ax, vmin=-3, vmax=1)
    assert ax.get_aspect() == "auto"
    assert ax.images[0].get_clim() == (-3, 1)


def test_wrong_arguments_are_refused(ax, as_installed):
    for draw in (plot.contributions, plot.contribution_shares):
        with pytest.raises(ValueError, match="result: expected a Contributions, as contributions"):
            draw(table(np.zeros((2, 2))), ax=ax)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="result: expected a TruncationBias, as truncation_bias"):
        plot.truncation_bias(table(np.zeros((2, 2))), ax=ax)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="result: expected a ContributionMap"):
        plot.contribution_map(record(np.zeros(2)), ax=ax)  # type: ignore[arg-type]
