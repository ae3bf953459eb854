"""Every plot of a batch: copies of one member look like that member, whatever one of them does."""

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure
from result_records import RECORDS

import lstmgrad as lg
from lstmgrad import plot

COPIES = 5
DRAWN = {
    "norm_profile": [plot.norms],
    "norm_map": [plot.norm_map],
    "singular_spectrum": [plot.singular_spectrum],
    "lyapunov_spectrum": [plot.lyapunov_spectrum, plot.lyapunov_convergence],
    "route_shares": [plot.route_shares],
    "gain_budget": [plot.gain_budget],
    "contributions": [plot.contributions, plot.contribution_shares],
    "contribution_map": [plot.contribution_map],
    "saliency": [plot.saliency],
    "truncation_bias": [plot.truncation_bias],
    "swap_response": [plot.swap_response],
    "sensitivity": [plot.sensitivity],
    "signal_to_noise": [plot.signal_to_noise],
    "fisher_memory": [plot.fisher_memory],
    "newton_run": [plot.newton_unroll],
    "training_curve": [plot.training_curve],
}
WRONG = (jnp.inf, -jnp.inf, jnp.nan)


def batch_of(record, wrong):
    """Copies of a record, the last of them with numbers that are not finite."""

    def copies(leaf):
        leaf = jnp.asarray(leaf)
        floats = jnp.issubdtype(leaf.dtype, jnp.floating)
        last = jnp.where(jnp.isnan(leaf), leaf, wrong) if floats else leaf
        return jnp.stack([leaf] * (COPIES - 1) + [last])

    return jax.tree.map(copies, record)


def curves(ax):
    """What is drawn as lines, images, steps and bars, in numbers."""
    found = [np.asarray(line.get_xydata(), float) for line in ax.lines]
    return [xy for xy in found if len(xy) > 2]


def texts(ax):
    """All that a person reads of how many there are."""
    handles = [str(label) for label in ax.get_legend_handles_labels()[1]]
    legend = ax.get_legend()
    if legend is not None:
        handles += [text.get_text() for text in [*legend.get_texts(), legend.get_title()]]
    return " ".join([*handles, *(each.get_ylabel() for each in ax.figure.axes)])


@pytest.mark.parametrize("kind", DRAWN)
@pytest.mark.parametrize("wrong", WRONG)
def test_a_batch_of_copies_looks_like_one(kind, wrong):
    record = RECORDS[kind]()
    for draw in DRAWN[kind]:
        single, batch = (
            draw(each, ax=Figure(layout="constrained").subplots())
            for each in (record, batch_of(record, wrong))
        )
        assert "edian" in texts(batch)
        if kind in ("route_shares", "gain_budget"):
            # Areas become curves.
            assert len(curves(batch)) >= len(RECORDS[kind]()._main)
        else:
            for one, many in zip(curves(single), curves(batch), strict=True):
                np.testing.assert_allclose(many, one)
        for one, many in zip(single.images, batch.images, strict=True):
            np.testing.assert_allclose(
                np.ma.filled(many.get_array(), np.nan), np.ma.filled(one.get_array(), np.nan)
            )
        batch.figure.draw_without_rendering()


def test_a_figure_of_its_own_says_how_many_there_are():
    for kind in ("norm_profile", "contributions", "truncation_bias", "training_curve"):
        ax = DRAWN[kind][0](batch_of(RECORDS[kind](), 0.0))
        assert ax.get_title(loc="right") == f"median and 10-90 % band of {COPIES}"
    plt.close("all")


def test_eigenvalues_of_a_batch_are_all_there():
    values = np.exp(1j * np.arange(24.0)).reshape(2, 3, 4)
    ax = plot.step_eigenvalues(values, ax=Figure().subplots())
    assert len(np.asarray(ax.collections[0].get_offsets())) == 24
    np.testing.assert_array_equal(
        ax.collections[0].get_array(), np.tile(np.repeat([1, 2, 3], 4), 2)
    )
    assert ax.figure.axes[1].get_ylabel() == "time step $t$, 2 sequences"


def test_tagged_values_of_a_batch():
    values = np.arange(5.0)[:, None, None] + np.zeros((5, 8, 3))
    values[0] = -np.inf
    profile = batch_of(RECORDS["norm_profile"](), -jnp.inf)
    profile = jax.tree.map(lambda leaf: leaf[:, :9], profile)
    ax = plot.tagged_values({"forget": values}, profile=profile, ax=Figure().subplots())
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), 2.0)
    assert "medians of 5" in texts(ax)
    assert "fall" not in texts(ax)


def test_padded_members_count_up_to_their_ends():
    lags = np.tile(np.arange(5), (3, 1))
    length = np.array([4, 2, 3])
    norms = np.where(lags <= length[:, None], -lags * np.array([1.0, 2.0, 3.0])[:, None], np.nan)
    profile = lg.NormProfile(
        lags=jnp.asarray(lags),
        log_norms=jnp.asarray(norms),
        errors=jnp.asarray(0.0 * lags),
        of="h",
        wrt="h",
        fixed="end",
        rtol=1e-5,
        length=jnp.asarray(length),
    )
    ax = plot.norms(profile, ax=Figure().subplots())
    expected = np.array([0, -2, -4, -9, -4]) / np.log(10)
    np.testing.assert_allclose(np.asarray(ax.lines[0].get_ydata()), expected)
    summary = plot.batch_summary(lg.batch_summary(profile), ax=Figure().subplots(), label="LSTM")
    np.testing.assert_allclose(np.asarray(summary.lines[0].get_ydata()), expected)
    assert summary.lines[0].get_label() == "LSTM, median of 3"
    assert len(summary.collections) == 2
    figure = plot.comparison({"trained": [("LSTM", profile)]})
    assert figure.axes[0].get_title(loc="left") == "trained; medians of 3, 10-90 % bands"


@pytest.mark.usefixtures("as_installed")
def test_a_summary_of_matrices_has_its_own_plot():
    summary = lg.batch_summary(batch_of(RECORDS["norm_map"](), 0.0))
    with pytest.raises(ValueError, match=r"^result: expected the summary of curves"):
        plot.batch_summary(summary)
    with pytest.raises(ValueError, match=r"^result: expected a BatchSummary, as lg.batch_summary"):
        plot.batch_summary(RECORDS["norm_profile"]())  # pyright: ignore[reportArgumentType]
