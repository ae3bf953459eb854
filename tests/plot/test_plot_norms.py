"""Plots: what is on the Axes, and that no value of a norm can break them."""

import io
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import jax
import jax.numpy as jnp
import matplotlib as mpl
import matplotlib.colors
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

import lstmgrad as lg
from lstmgrad import plot
from lstmgrad.plot._comparison import vertical_range

LAGS = np.arange(21)


def profile(log10_norms, of="h", wrt="h", fixed="end") -> lg.NormProfile:
    values = jnp.asarray(log10_norms, jnp.float64) * np.log(10)
    lags = jnp.broadcast_to(jnp.arange(values.shape[-1]), values.shape)
    return lg.NormProfile(
        lags=lags,
        log_norms=values,
        errors=jnp.zeros_like(values),
        of=of,
        wrt=wrt,
        fixed=fixed,
        rtol=1e-5,
    )


def norm_map(log10_norms, every=1, of="c", wrt="c") -> lg.NormMap:
    values = jnp.asarray(log10_norms, jnp.float64) * np.log(10)
    times = every * jnp.arange(values.shape[-1])
    return lg.NormMap(
        times=times,
        log_norms=values,
        errors=jnp.zeros_like(values),
        of=of,
        wrt=wrt,
        rtol=1e-5,
    )


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
    figure = plot.comparison({"a": [("x", profile(np.full(21, value)))]})
    drawn(figure)


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


def test_batch_of_a_vmap_and_of_two_axes(ax):
    chains = jax.vmap(lambda gain: lg.DenseChain(gain * jnp.tile(jnp.eye(2), (6, 1, 1))))(
        jnp.asarray([0.1, 0.5, 0.9])
    )
    found = jax.vmap(lg.backward_norms)(chains)
    plot.norms(found, ax=ax)
    np.testing.assert_allclose(ax.lines[0].get_ydata(), np.arange(7) * np.log10(0.5), atol=1e-6)
    plot.norms(profile(-np.ones((2, 3, 21))), ax=ax)
    assert ax.lines[1].get_ydata().shape == (21,)


def test_map_shows_pairs_as_a_matrix(ax):
    values = np.array([[0, np.nan, np.nan], [-1, 0, np.nan], [-np.inf, -2, 0]])
    assert plot.norm_map(norm_map(values, every=5), ax=ax) is ax
    (image,) = ax.images
    shown = image.get_array()
    np.testing.assert_array_equal(np.ma.getmaskarray(shown), np.isnan(values))
    np.testing.assert_allclose(shown.data[1, 0], -1)
    assert shown.data[2, 0] < -1000  # an exact zero is not blank: it lies below the color range
    assert image.get_clim() == pytest.approx((-2, 0))
    assert image.get_extent() == pytest.approx([-2.5, 12.5, 12.5, -2.5])
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # t runs downward
    assert "$k$" in ax.get_xlabel()
    assert "$t$" in ax.get_ylabel()
    assert image.colorbar.extend == "min"
    assert r"c_{t}/\partial c_{k}" in image.colorbar.ax.get_ylabel()
    drawn(ax.figure)


@pytest.mark.parametrize("value", [0.0, -np.inf, np.inf, np.nan])
def test_map_of_one_time(ax, value):
    plot.norm_map(norm_map([[value]]), ax=ax, cmap="gray")
    assert ax.images[0].get_cmap().name == "gray"
    drawn(ax.figure)


def test_map_takes_the_callers_range(ax):
    plot.norm_map(norm_map(-np.ones((2, 2))), ax=ax, vmin=-9, vmax=3)
    assert ax.images[0].get_clim() == (-9, 3)
    norm = matplotlib.colors.Normalize(-5, 5)
    plot.norm_map(norm_map(-np.ones((2, 2))), ax=ax, norm=norm)
    assert ax.images[1].get_clim() == (-5, 5)


def test_without_ax_a_figure_is_made():
    first = plot.norms(profile(-LAGS))
    second = plot.norm_map(norm_map(-np.ones((2, 2))))
    assert first.figure is not second.figure
    assert plt.get_fignums() == [1, 2]


def test_wrong_arguments_are_refused(ax, as_installed):
    with pytest.raises(ValueError, match="result: expected a NormProfile, as backward_norms"):
        plot.norms(norm_map(-np.ones((2, 2))), ax=ax)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"result: expected a NormMap, as norm_map .* ndarray"):
        plot.norm_map(np.ones((2, 2)), ax=ax)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"ax: expected a matplotlib Axes or None, .* Figure"):
        plot.norms(profile(-LAGS), ax=Figure())  # type: ignore[arg-type]
    batch = jax.tree.map(lambda leaf: jnp.stack([leaf] * 2), norm_map(np.ones((3, 3))))
    with pytest.raises(ValueError, match=r"one sequence, .* batch of shape \(2, 3, 3\)"):
        plot.norm_map(batch, ax=ax)
    with pytest.raises(ValueError, match="panels: expected at least one panel"):
        plot.comparison({})
    with pytest.raises(ValueError, match="panels: expected at least one panel"):
        plot.comparison({"a": []})


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
    assert figure.get_size_inches()[0] == 3.4
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


def test_encode_is_reproducible_and_follows_no_user_style():
    before = dict(mpl.rcParams)
    files = [
        (plot.encode(figure, "png"), plot.encode(figure, "svg"))
        for figure in (plot.comparison(two_panels()), plot.comparison(two_panels()))
    ]
    assert files[0] == files[1]
    assert dict(mpl.rcParams) == before
    png, svg = files[0]
    assert png.startswith(b"\x89PNG")
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "black"}):
        assert plot.encode(plot.comparison(two_panels()), "png") == png
    with pytest.raises(ValueError, match="Format 'nonsense' is not supported"):
        plot.encode(plot.comparison(two_panels()), "nonsense")


def test_pyplot_is_imported_only_to_make_a_figure():
    code = (
        "import sys, lstmgrad as lg\n"
        "assert 'matplotlib' not in sys.modules\n"
        "lg.plot.norms\n"
        "assert 'matplotlib' in sys.modules and 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=120)
