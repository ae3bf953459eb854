"""Half-lives, corrections of Newton's method and fixed points, held against the numbers given."""

import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.figure import Figure
from result_records import fixed_points, newton_run

from lstmgrad import plot


@pytest.fixture
def ax():
    return Figure(layout="constrained").subplots()


def test_half_lives_are_in_order(ax):
    plot.half_life(jnp.array([10.0, 1000.0, jnp.inf, 100.0]), ax=ax, label="LSTM")
    (line, *_) = ax.lines
    np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3, 4])
    np.testing.assert_allclose(line.get_ydata(), [np.nan, 3, 2, 1])
    assert line.get_label() == "LSTM"
    assert "half-life" in ax.get_ylabel()
    plot.half_life(jnp.array([[1.0, 10.0], [100.0, 1.0], [10.0, 1.0]]), ax=ax)
    np.testing.assert_allclose(ax.lines[-1].get_ydata(), [1, 0])
    with pytest.raises(ValueError, match="result: expected half-lives of several units"):
        plot.half_life(jnp.asarray(1.0), ax=ax)


def test_corrections_by_iteration(ax):
    plot.newton_unroll(newton_run(), ax=ax)
    (line,) = ax.lines
    np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3, 4, 5])
    np.testing.assert_allclose(line.get_ydata(), -(2.0 ** np.arange(5)))


def test_eigenvalues_of_distinct_points_by_kind(ax):
    plot.fixed_points(fixed_points(), ax=ax)
    stable, unstable, slow = ax.lines
    np.testing.assert_allclose(stable.get_xydata(), [[0.5, 0.0], [0.0, 0.1]])
    np.testing.assert_allclose(unstable.get_xydata(), [[2.0, 0.0], [-0.5, 0.0]])
    np.testing.assert_allclose(slow.get_xydata(), [[1.01, 0.0], [0.2, 0.0]])
    assert slow.get_markerfacecolor() == "white"
    assert [line.get_label() for line in ax.lines] == ["stable", "unstable", "slow point"]
