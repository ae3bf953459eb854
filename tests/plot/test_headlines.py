"""Titles of figures that are made for one result: what it says, and nothing on Axes of others."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from plot_records import LAGS, norm_map, profile

from lstmgrad import plot
from lstmgrad.plot._headline import decimal


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.mark.parametrize(
    ("log10_norms", "hidden", "title"),
    [
        (-0.5 * LAGS, False, "$10^{-10.0}$ is left after 20 steps"),
        (-0.05 * LAGS, False, "0.1 is left after 20 steps"),
        (0.5 * LAGS, False, "$10^{10.0}$ is left after 20 steps"),
        (-1.0 * LAGS, LAGS > 15, "Less than $10^{-20.0}$ is left after 20 steps"),
        (np.where(LAGS > 3, -np.inf, 0.0), False, "Nothing is left after 20 steps"),
        (np.where(LAGS > 3, np.nan, 0.0), False, ""),
    ],
)
def test_norms_say_what_is_left(log10_norms, hidden, title):
    ax = plot.norms(profile(log10_norms, hidden=hidden))
    assert ax.get_title("left") == title


def test_a_second_result_takes_the_title_of_the_first_away():
    ax = plot.norms(profile(-0.5 * LAGS))
    assert ax.get_title("left")
    plot.norms(profile(-0.1 * LAGS), ax=ax)
    assert ax.get_title("left") == ""
    plot.norms(profile(-0.2 * LAGS), ax=ax)
    assert ax.get_title("left") == ""


def test_a_title_of_the_callers_own_stays():
    ax = plot.norms(profile(-0.5 * LAGS))
    ax.set_title("mine", loc="left")
    plot.norms(profile(-0.1 * LAGS), ax=ax)
    assert ax.get_title("left") == "mine"
    theirs = plot.norms(profile(-0.5 * LAGS), ax=plt.subplots()[1])
    assert theirs.get_title("left") == ""
    assert plot.page([lambda ax: plot.norms(profile(-LAGS), ax=ax)]).axes[0].get_title("left") == ""


def test_of_a_batch_the_title_stands_above_the_number_of_members():
    ax = plot.norms(profile(np.stack([-0.5 * LAGS, -0.5 * LAGS])))
    assert ax.get_title("left") == "$10^{-10.0}$ is left after 20 steps\n"
    assert ax.get_title("right") == "median and 10-90 % band of 2"


def test_a_map_says_what_is_left_over_the_longest_lag():
    times = np.arange(5)
    lags = times[:, None] - times[None]
    ax = plot.norm_map(norm_map(np.where(lags < 0, np.nan, -1.0 * lags)))
    assert ax.get_title("left") == "$10^{-4.0}$ is left from 0 to 4"


@pytest.mark.parametrize(
    ("log10", "text"), [(0.0, "1"), (-1.0, "0.1"), (-3.0, "$10^{-3.0}$"), (-np.inf, "nothing")]
)
def test_small_numbers_are_powers_of_ten(log10, text):
    assert decimal(log10) == text
