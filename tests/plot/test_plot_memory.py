"""The figure of recall, its training curves, and additive paths beside norms in their color."""

import jax.numpy as jnp
import numpy as np
import pytest
from plot_records import LAGS, profile

import lstmgrad as lg
from lstmgrad import plot
from lstmgrad.plot._curves import Curve

SCORES = np.array([[0.25, 0.5, 1.0], [0.3, 0.4, 0.9], [0.2, 0.6, 0.8]])


def curve(scores=SCORES) -> lg.training.TrainingCurve:
    steps = np.broadcast_to([10, 20, 25], np.shape(scores))
    return lg.training.TrainingCurve(
        steps=jnp.asarray(steps),
        losses=1 - jnp.asarray(scores),
        scores=jnp.asarray(scores),
        task="delayed_recall",
        delay=99,
        baseline_loss=1.386,
        baseline_score=0.25,
    )


def kinds(trained: bool = True) -> list[plot.Memory]:
    stages = ["at initialization", *(["after 25 training steps"] if trained else [])]
    slow, fast = profile(-0.1 * LAGS), profile(-2.0 * LAGS)
    return [
        plot.Memory(
            label=label,
            norms=dict.fromkeys(stages, norm),
            paths=dict.fromkeys(stages, fast) if label == "LSTM" else {},
            forget_bias=1.0 if label == "LSTM" else None,
            curve=curve() if trained else None,
            scores={99: np.array([1.0, 0.9]), 1000: np.array([0.5, 0.7])},
        )
        for label, norm in (("RNN", fast), ("LSTM", slow))
    ]


def test_four_panels_with_the_path_in_the_color_of_its_norm():
    figure = plot.memory(kinds(), baseline=0.25, delay=99)
    assert len(figure.axes) == 4
    assert [ax.get_title(loc="left") for ax in figure.axes] == [
        "(a) gradient at initialization",
        "(b) gradient after 25 training steps",
        "(c) recall during training",
        "(d) recall by delay",
    ]
    assert figure.legends[0].get_title().get_text() == ""
    for ax in figure.axes[:2]:
        norms = [line for line in ax.lines if isinstance(line, Curve)]
        (path,) = [line for line in ax.lines if line.get_label() == "_path"]
        assert path.get_color() == norms[1].get_color() != norms[0].get_color()
        np.testing.assert_allclose(np.asarray(path.get_ydata()), np.asarray(norms[0].get_ydata()))
        (power,) = [line for line in ax.lines if line.get_color() == "0.45"]
        expected = LAGS * np.log10(1 / (1 + np.exp(-1.0)))
        np.testing.assert_allclose(np.asarray(power.get_ydata()), expected)
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim()
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts[:3] == ["RNN", "LSTM", "its additive path alone, same color"]
    figure.draw_without_rendering()
    assert plot.encode(figure, "png").startswith(b"\x89PNG")


def test_two_panels_without_training():
    figure = plot.memory(kinds(trained=False), baseline=0.25, delay=99)
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert titles == ["(a) gradient at initialization", "(b) recall by delay"]
    with pytest.raises(ValueError, match="kinds: expected at least one kind of networks"):
        plot.memory([], baseline=0.25, delay=99)


def test_a_training_is_the_median_of_its_networks_over_the_baseline():
    ax = plot.training_curve(curve(), label="LSTM")
    (line,) = [line for line in ax.lines if isinstance(line, Curve)]
    np.testing.assert_allclose(np.asarray(line.get_xdata()), [10, 20, 25])
    np.testing.assert_allclose(np.asarray(line.get_ydata()), np.median(SCORES, axis=0))
    assert list(np.asarray(ax.lines[0].get_ydata())) == [0.25, 0.25]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("training step", "score")
    plot.training_curve(curve(SCORES[0]), ax=ax)
    assert sum(isinstance(line, Curve) for line in ax.lines) == 2


def test_what_is_no_training(as_installed):
    with pytest.raises(ValueError, match="result: expected a TrainingCurve, as "):
        plot.training_curve(SCORES)  # pyright: ignore[reportArgumentType]


def test_paths_beside_a_comparison():
    norms = {"at initialization": [("h", profile(-0.1 * LAGS)), ("c", profile(-0.2 * LAGS))]}
    figure = plot.comparison(norms, paths={"at initialization": {"c": profile(-0.3 * LAGS)}})
    (ax,) = figure.axes
    (path,) = [line for line in ax.lines if line.get_label() == "_path"]
    curves = [line for line in ax.lines if isinstance(line, Curve)]
    assert path.get_color() == curves[1].get_color()
    np.testing.assert_allclose(np.asarray(path.get_ydata()), -0.3 * LAGS)
    assert "path alone" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_a_title_stands_above_the_legend_in_lines_that_fit():
    title = "At a delay of 99, the LSTM recalls what was shown; " + "; ".join(["and so on"] * 6)
    figure = plot.memory(kinds(), baseline=0.25, delay=99, title=title)
    figure.draw_without_rendering()
    (legend,) = figure.legends
    text = legend.get_title()
    assert text.get_text().replace("\n", " ") == title
    assert 0 < text.get_window_extent().x0 < text.get_window_extent().x1 < figure.bbox.width
    assert legend.get_window_extent().y0 > figure.axes[0].get_window_extent().y1
    assert figure.get_figheight() > plot.memory(kinds(), baseline=0.25, delay=99).get_figheight()
    panels = {"at initialization": [("LSTM", profile(-0.1 * LAGS))]}
    figure = plot.comparison(panels, title="The gradient reaches 30 steps in the LSTM, and so on")
    figure.draw_without_rendering()
    text = figure.legends[0].get_title()
    assert 0 < text.get_window_extent().x0 < text.get_window_extent().x1 < figure.bbox.width
