"""Plots of norms: what is on the Axes, held against the numbers that were given."""

import io
import subprocess
import sys

import jax
import jax.numpy as jnp
import matplotlib.colors
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure
from plot_records import LAGS, norm_map, profile

import lstmgrad as lg
from lstmgrad import plot


@pytest.fixture
def ax():
    return Figure().subplots()


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def drawn(figure: Figure) -> None:
    figure.savefig(io.BytesIO(), format="png")


def luminance(color) -> float:
    return float(np.dot(matplotlib.colors.to_rgb(color), (0.299, 0.587, 0.114)))


def test_norms_draws_log10_against_the_lag(ax):
    assert plot.norms(profile(-150.0 * LAGS), ax=ax) is ax
    (line,) = ax.lines
    np.testing.assert_array_equal(line.get_xdata(), LAGS)
    np.testing.assert_allclose(line.get_ydata(), -150.0 * LAGS, rtol=1e-14)
    assert ax.get_ylim()[0] < -3000
    assert ax.get_yscale() == "linear"
    drawn(ax.figure)


@pytest.mark.parametrize(
    ("of", "wrt", "fixed", "ylabel", "xlabel"),
    [
        ("c", "c", "end", r"c_{T}/\partial c_{k}", "lag $T - k$ (steps)"),
        ("h", "c", "end", r"h_{T}/\partial c_{k}", "lag $T - k$ (steps)"),
        ("c", "c", "start", r"c_{t}/\partial c_{0}", "lag $t$ (steps)"),
        (None, None, "end", r"s_{T}/\partial s_{k}", "lag $T - k$ (steps)"),
        (0, 1, "end", r"s_{T}^{(0)}/\partial s_{k}^{(1)}", "lag $T - k$ (steps)"),
        ("my_$tate{", "{", "end", r"\mathrm{my\_\ tate}_{T}/\partial \mathrm{s}_{k}", "lag"),
    ],
)
def test_labels_name_the_parts(ax, of, wrt, fixed, ylabel, xlabel):
    plot.norms(profile(-LAGS, of, wrt, fixed), ax=ax)
    assert ylabel in ax.get_ylabel()
    assert r"\log_{10}" in ax.get_ylabel()
    assert xlabel in ax.get_xlabel()
    drawn(ax.figure)


def test_curves_of_different_parts_share_the_label_with_s(ax):
    plot.norms(profile(-LAGS, "h", "h"), ax=ax)
    assert r"h_{T}" in ax.get_ylabel()
    plot.norms(profile(-LAGS, "c", "c"), ax=ax)
    assert r"s_{T}/\partial s_{k}" in ax.get_ylabel()
    plot.norms(profile(-LAGS, "h", "h"), ax=ax)
    assert r"s_{T}/\partial s_{k}" in ax.get_ylabel()


def test_curves_of_the_same_inputs_keep_them_in_the_label(ax):
    plot.norms(profile([0, -1], "h", "x"), ax=ax)
    plot.norms(profile([0, -1], "c", "x"), ax=ax)
    assert r"s_{T}/\partial x_{k}" in ax.get_ylabel()
    plot.norms(profile([0, -1], "c", "c"), ax=ax)
    assert r"s_{T}/\partial s_{k}" in ax.get_ylabel()


def test_the_callers_own_label_stays(ax):
    ax.set(xlabel="mine", ylabel="my own")
    plot.norms(profile(-LAGS), ax=ax)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("mine", "my own")


def test_successive_curves_differ_in_gray(ax):
    ax.axhline(-3)
    for index in range(4):
        plot.norms(profile(-index * LAGS), ax=ax, label=str(index))
    lines = ax.lines[1:]
    assert len({str(line._dash_pattern) for line in lines}) == 4
    grays = sorted(luminance(line.get_color()) for line in lines)
    assert min(np.diff(grays)) > 0.1
    assert [text.get_text() for text in ax.legend().get_texts()] == ["0", "1", "2", "3"]


def test_artist_properties_and_their_short_names_win(ax):
    plot.norms(profile(-LAGS), ax=ax, c="red", ls=":", linewidth=3)
    (line,) = ax.lines
    assert (line.get_color(), line.get_linestyle(), line.get_linewidth()) == ("red", ":", 3)


def test_exact_zero_breaks_the_line_and_is_marked(ax):
    plot.norms(profile(np.where(LAGS < 8, -0.1 * LAGS, -np.inf)), ax=ax)
    line, cross = ax.lines
    assert np.isfinite(line.get_ydata()).sum() == 8
    assert cross.get_marker() == "x"
    np.testing.assert_allclose(np.ravel(cross.get_data()), [7, -0.7])
    drawn(ax.figure)


@pytest.mark.parametrize("value", [-np.inf, np.inf, np.nan])
def test_a_profile_without_a_finite_norm_is_drawn_as_nothing(ax, value):
    plot.norms(profile(np.full(21, value)), ax=ax)
    drawn(ax.figure)


def test_lag_zero_of_two_different_parts(ax):
    plot.norms(profile([-np.inf, -1, -2], "h", "c"), ax=ax)
    assert len(ax.lines) == 1
    drawn(ax.figure)


def test_batch_is_median_and_band(ax):
    slopes = np.arange(1.0, 12.0)
    plot.norms(profile(-slopes[:, None] * LAGS), ax=ax)
    (line,) = ax.lines
    np.testing.assert_allclose(line.get_ydata(), -6.0 * LAGS)
    (band,) = ax.collections
    at_end = band.get_paths()[0].vertices
    at_end = at_end[at_end[:, 0] == 20, 1]
    np.testing.assert_allclose([at_end.min(), at_end.max()], [-200, -40])


def test_batch_with_exact_zeros_has_no_arithmetic_with_infinity(ax):
    rows = [np.where(cut > LAGS, -1.0 * LAGS, -np.inf) for cut in (5, 10, 15, 30)]
    plot.norms(profile(np.stack(rows)), ax=ax)
    assert np.isfinite(ax.lines[0].get_ydata()).sum() == 10
    drawn(ax.figure)


def test_what_is_not_resolved_is_dotted_and_faint_and_no_zero(ax):
    hidden = (LAGS >= 8) & (LAGS <= 12)
    plot.norms(profile(-LAGS, hidden=hidden, missed=0.5), ax=ax, label="h")
    line, faint = ax.lines
    np.testing.assert_array_equal(np.isfinite(line.get_ydata()), ~hidden)
    # With a point on either side, so that the two lines meet.
    shown = np.isfinite(faint.get_ydata())
    np.testing.assert_array_equal(LAGS[shown], np.arange(7, 14))
    np.testing.assert_allclose(faint.get_ydata()[shown], -LAGS[shown])
    assert faint.get_color() == line.get_color()
    assert faint.get_alpha() < 1
    assert faint._dash_pattern != line._dash_pattern
    plot.norms(profile(-2 * LAGS, hidden=hidden), ax=ax, label="c")
    texts = [text.get_text() for text in ax.legend().get_texts()]
    assert texts == ["h", "not resolved", "c"]
    assert ax.lines[2].get_color() != line.get_color()
    drawn(ax.figure)


def test_a_norm_that_only_missed_its_tolerance_is_solid(ax):
    given = profile(-LAGS, missed=0.5)
    assert not given.resolved.any()
    plot.norms(given, ax=ax)
    (line,) = ax.lines
    assert np.isfinite(line.get_ydata()).all()


def test_the_cross_of_an_exact_zero_stands_at_the_end_of_what_is_not_resolved(ax):
    values = np.where(LAGS < 8, -1.0 * LAGS, -np.inf)
    plot.norms(profile(values, hidden=(LAGS >= 5) & (LAGS < 8)), ax=ax)
    _, faint, cross = ax.lines
    assert np.isfinite(faint.get_ydata()).sum() == 4
    np.testing.assert_allclose(np.ravel(cross.get_data()), [7, -7])


def test_a_quantile_is_resolved_where_it_does_not_depend_on_what_is_hidden(ax):
    values = np.tile([0.0, -5.0, -6.0], (9, 1)) - np.arange(9)[:, None]
    hidden = np.zeros((9, 3), bool)
    hidden[6:, 1] = True  # below the median, which stands
    hidden[2, 2] = True  # above the median, which may be lower
    plot.norms(profile(values, hidden=hidden), ax=ax)
    line, faint = ax.lines
    np.testing.assert_allclose(line.get_ydata(), [-4, -9, np.nan])
    np.testing.assert_allclose(faint.get_ydata(), [np.nan, -9, -10])
    sure, vague = ax.collections
    assert sure.get_alpha() > vague.get_alpha()
    assert sure.get_paths()[0].vertices[:, 0].max() == 0
    assert vague.get_paths()[0].vertices[:, 0].max() == 2


def test_batch_of_a_vmap_and_of_two_axes(ax):
    chains = jax.vmap(lambda gain: lg.DenseChain(gain * jnp.tile(jnp.eye(2), (6, 1, 1))))(
        jnp.asarray([0.1, 0.5, 0.9])
    )
    found = jax.vmap(lg.backward_norms)(chains)
    plot.norms(found, ax=ax)
    np.testing.assert_allclose(ax.lines[0].get_ydata(), np.arange(7) * np.log10(0.5), atol=1e-6)
    plot.norms(profile(-np.ones((2, 3, 21))), ax=ax)
    assert ax.lines[1].get_ydata().shape == (21,)


def test_without_ax_a_figure_is_made():
    first = plot.norms(profile(-LAGS))
    second = plot.norm_map(norm_map(-np.ones((2, 2))))
    assert first.figure is not second.figure
    assert plt.get_fignums() == [1, 2]


def test_wrong_arguments_are_refused(ax, as_installed):
    with pytest.raises(ValueError, match="result: expected a NormProfile, as backward_norms"):
        plot.norms(norm_map(-np.ones((2, 2))), ax=ax)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"ax: expected a matplotlib Axes or None, .* Figure"):
        plot.norms(profile(-LAGS), ax=Figure())  # type: ignore[arg-type]


def test_pyplot_is_imported_only_to_make_a_figure():
    code = (
        "import sys, lstmgrad as lg\n"
        "assert 'matplotlib' not in sys.modules\n"
        "lg.plot.norms\n"
        "assert 'matplotlib' in sys.modules and 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=120)
