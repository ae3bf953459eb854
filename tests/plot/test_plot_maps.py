"""Heat maps of norms: what is on the Axes, held against the numbers that were given."""

import io

import jax.numpy as jnp
import matplotlib.colors
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from plot_records import norm_map

import lstmgrad as lg
from lstmgrad import plot


@pytest.fixture
def ax():
    return Figure().subplots()


def drawn(figure: Figure) -> None:
    figure.savefig(io.BytesIO(), format="png")


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


def test_what_is_not_resolved_is_hatched_and_neither_blank_nor_zero(ax):
    values = np.array(
        [
            [0, np.nan, np.nan, np.nan],
            [-1, 0, np.nan, np.nan],
            [-9, -9, 0, np.nan],
            [-9, -np.inf, -9, 0],
        ]
    )
    hidden = values == -9
    plot.norm_map(norm_map(values, every=5, hidden=hidden), ax=ax)
    (image,) = ax.images
    shown = image.get_array()
    np.testing.assert_array_equal(np.ma.getmaskarray(shown), np.isnan(values) | hidden)
    assert image.get_clim() == pytest.approx((-1, 0))
    assert image.colorbar.extend == "min"  # the exact zero, and nothing else
    (patch,) = [patch for patch in ax.patches if isinstance(patch, PathPatch)]
    assert patch.get_hatch()
    centers = 5.0 * np.stack(np.meshgrid(np.arange(4), np.arange(4)), -1).reshape(-1, 2)
    inside = patch.get_path().contains_points(centers).reshape(4, 4)
    np.testing.assert_array_equal(inside, hidden)
    assert image.colorbar.ax.get_ylabel().endswith("(hatched: not resolved)")
    drawn(ax.figure)


def test_a_map_of_resolved_norms_has_no_hatch(ax):
    plot.norm_map(norm_map(-np.ones((2, 2))), ax=ax)
    assert not ax.patches
    assert "resolved" not in ax.images[0].colorbar.ax.get_ylabel()


def test_wrong_arguments_are_refused(ax, as_installed):
    with pytest.raises(ValueError, match=r"result: expected a NormMap, as norm_map .* ndarray"):
        plot.norm_map(np.ones((2, 2)), ax=ax)  # type: ignore[arg-type]


def saliency(values, hidden=False):
    values = jnp.asarray(values)
    return lg.Saliency(
        gradients=lg.Scaled(jnp.exp(values), jnp.zeros(values.shape, jnp.int32)),
        log_abs=np.log(10) * values,
        resolved=~jnp.broadcast_to(jnp.asarray(hidden), values.shape),
    )


def test_a_saliency_is_features_against_time(ax):
    values = np.array([[-1.0, -2.0], [-np.inf, -3.0], [0.0, -9.0]])
    result = saliency(values, values == -9)
    names = {"labels": ["the", "old", "cat"], "features": ["a", "b"]}
    assert plot.saliency(result, ax=ax, **names) is ax
    (image,) = ax.images
    shown = image.get_array()
    assert shown.shape == (2, 3)
    np.testing.assert_allclose(shown.data[0, [0, 2]], [-1, 0], atol=1e-12)
    assert shown.data[0, 1] < -1000  # an exact zero lies below the color range
    np.testing.assert_array_equal(np.ma.getmaskarray(shown), (values == -9).T)
    assert image.get_clim() == pytest.approx((-3, 0))
    assert image.get_extent() == pytest.approx([0.5, 3.5, 1.5, -0.5])
    assert image.colorbar.ax.get_ylabel().endswith("(hatched: not resolved)")
    (patch,) = [patch for patch in ax.patches if isinstance(patch, PathPatch)]
    assert patch.get_path().contains_point((3, 1))
    assert not patch.get_path().contains_point((3, 0))
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["a", "b"]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["the", "old", "cat"]
    drawn(ax.figure)
    with pytest.raises(ValueError, match="features: expected one name for each of the 2 features"):
        plot.saliency(result, ax=ax, features=["a"])
    with pytest.raises(ValueError, match="labels: expected one label for each of the 3 steps"):
        plot.saliency(result, ax=ax, labels=["a"])


def test_a_batch_is_drawn_as_its_median(ax):
    values = np.tril(-np.arange(1.0, 6.0)[:, None, None] * np.ones((3, 3)))
    values = np.where(np.tril(np.ones((3, 3))) > 0, values, np.nan)
    values[0, 2, 0], values[4, 2, 1] = np.inf, -np.inf
    given = norm_map(values, hidden=(np.arange(9).reshape(3, 3) == 3) & (values == -1))
    plot.norm_map(given, ax=ax)
    shown = np.ma.filled(ax.images[0].get_array(), np.nan)
    np.testing.assert_allclose(shown[[0, 1, 2, 2, 2], [0, 1, 0, 1, 2]], -3.0)
    assert len(ax.patches) == 1  # the largest of five at (1, 0) may be the least
    assert ax.images[0].colorbar.ax.get_ylabel().endswith("median of 5")
