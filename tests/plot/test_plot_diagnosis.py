"""Figures of findings: which readings are drawn, where the lines stand, and what the words say."""

import math
from typing import Any

import diagnosis_records as records
import numpy as np
import pytest
from diagnosis_records import LAG, T

import lstmgrad as lg
from lstmgrad.diagnosis import RULES

GATED = lg.plot.diagnosis(records.diagnosis())
PLAIN = lg.plot.diagnosis(records.diagnosis(gated=False))


def curve_of(line: Any) -> tuple[np.ndarray, np.ndarray]:
    return np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float)


def area(ax: Any) -> float:
    """Of all bars."""
    return sum(bar.get_width() * bar.get_height() for bar in ax.patches)


def lines_at(ax: Any, axis: int) -> list[float]:
    """The places of straight lines across the Axes."""
    found = []
    for line in ax.lines:
        xy = np.asarray(line.get_xydata(), float)
        if xy.shape == (2, 2) and xy[0, axis] == xy[1, axis] and set(xy[:, 1 - axis]) == {0, 1}:
            found.append(float(xy[0, axis]))
    return found


def test_every_rule_has_a_figure_of_what_its_cell_has():
    unit_rules = {"saturated-units", "dead-units"}
    assert set(GATED) == set(RULES) - unit_rules
    assert set(PLAIN) == set(RULES)
    assert len(GATED["forget-gates"].figure.axes) == 2
    assert len(PLAIN["forget-gates"].figure.axes) == 1
    assert lg.plot.diagnosis(records.diagnosis(verdict="clear")) == {}
    assert list(lg.plot.diagnosis(records.mixed())) == [
        "forget-gates",
        "reach",
        "clip",
        "memory-is-fine",
        "truncation",
    ]


def test_norms_are_drawn_with_the_lag_and_the_rounding():
    ax = GATED["growth"].figure.axes[0]
    drawn = {str(line.get_label()): curve_of(line) for line in ax.lines}
    curves = {label: y for label, (_, y) in drawn.items() if len(y) == T + 1}
    assert set(curves) == {"whole state", "c", "additive path alone"}
    np.testing.assert_allclose(
        curves["additive path alone"], -2.0 * np.arange(T + 1) / math.log(10), atol=1e-12
    )
    assert lines_at(ax, 0) == [LAG]
    assert lines_at(ax, 1) == pytest.approx([math.log10(np.finfo(np.float32).eps)])
    assert "10^-6.9 for the additive path alone" in GATED["growth"].alt
    assert "10^-2.1 for c" in GATED["growth"].alt


def test_shares_end_before_the_length_and_name_the_truncation():
    ax = GATED["truncation"].figure.axes[0]
    x, y = max(map(curve_of, ax.lines), key=lambda curve: len(curve[0]))
    assert x[-1] == T - 1
    expected = -0.5 * np.arange(T) / math.log(10)
    np.testing.assert_allclose(y, expected, atol=1e-12)
    assert set(lines_at(ax, 0)) == {LAG, 4}
    assert "10^-1.7" in GATED["truncation"].alt


def test_gates_cells_and_arguments_are_distributions():
    gates = GATED["forget-gates"].figure.axes[1]
    assert area(gates) == pytest.approx(1)
    assert lines_at(gates, 0) == pytest.approx([0.5 ** (1 / LAG)])
    cell = GATED["saturated-output"].figure.axes[0]
    assert lines_at(cell, 0) == pytest.approx([-math.atanh(0.9), math.atanh(0.9)])
    values = records.readings().values["cell"]
    beyond = 100 * np.mean(np.abs(values) > math.atanh(0.9))
    assert f"{beyond:.3g} % lie beyond" in GATED["saturated-output"].alt
    assert area(PLAIN["dead-units"].figure.axes[0]) == pytest.approx(1)


def test_gradients_stand_beside_the_clip_and_beside_each_other():
    ax = GATED["clip"].figure.axes[0]
    assert lines_at(ax, 0) == pytest.approx([math.log10(0.5)])
    (image,) = GATED["signal-to-noise"].figure.axes[0].images
    np.testing.assert_array_equal(np.asarray(image.get_array())[0], [1.0, 0.5, 0.5])
    assert "mean over different ones is 0.5" in GATED["signal-to-noise"].alt
    _, spectrum = curve_of(GATED["directions"].figure.axes[0].lines[0])
    np.testing.assert_allclose(spectrum, [0, -2 / math.log(10)], atol=1e-12)
    _, gains = curve_of(PLAIN["gain"].figure.axes[0].lines[0])
    np.testing.assert_array_equal(gains, np.zeros(T))


def test_what_is_not_a_diagnosis_is_refused(as_installed):
    with pytest.raises(ValueError, match=r"result: expected a Diagnosis, as lg\.diagnose returns"):
        lg.plot.diagnosis(3)  # pyright: ignore[reportArgumentType]
