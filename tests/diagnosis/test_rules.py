"""Verdicts from numbers: intervals, signal and noise, and each rule at its threshold."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

import lstmgrad as lg
from lstmgrad.diagnosis import Evidence
from lstmgrad.diagnosis._rules._case import both, either, opposite
from lstmgrad.diagnosis._rules._noise import signal_of
from lstmgrad.diagnosis._statistics import mean_with_error, share_with_error


@pytest.mark.parametrize(
    ("value", "error", "side", "verdict"),
    [
        (2.0, 0.5, "above", "found"),
        (2.0, 1.5, "above", "undecided"),
        (0.0, 0.5, "above", "clear"),
        (0.0, 0.5, "below", "found"),
        (2.0, 0.5, "below", "clear"),
        (1.0, 0.0, "below", "clear"),
        (-math.inf, 0.0, "below", "found"),
        (math.nan, 0.0, "below", "undecided"),
        (5.0, math.inf, "above", "undecided"),
    ],
)
def test_a_verdict_is_undecided_where_the_interval_straddles_the_threshold(
    value, error, side, verdict
):
    assert Evidence(value, error, 1.0, side).verdict == verdict


def test_evidence_that_is_held_against_nothing_says_nothing():
    assert Evidence(1.0).verdict == "undecided"


def test_verdicts_are_put_together_like_and_and_or():
    words = ("clear", "undecided", "found")  # in order
    for a in words:
        for b in words:
            assert either(a, b) == max(a, b, key=words.index)
            assert both(a, b) == min(a, b, key=words.index)
    assert [opposite(word) for word in words] == ["found", "undecided", "clear"]


@pytest.mark.parametrize("count", [4, 16])
def test_intervals_of_a_mean_hold_for_19_of_20(count):
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(2000):
        value, error = mean_with_error(rng.normal(1.0, 2.0, count))
        held += abs(value - 1.0) <= error
    # Five standard errors of a share of .95 in 2000 draws.
    assert abs(held / 2000 - 0.95) < 5 * math.sqrt(0.95 * 0.05 / 2000)


def test_what_is_not_finite_is_not_averaged():
    assert mean_with_error([-np.inf, -np.inf]) == (-math.inf, 0.0)
    assert mean_with_error([-np.inf, 1.0]) == (1.0, math.inf)
    value, error = mean_with_error([np.nan, 1.0])
    assert math.isnan(value)
    assert math.isinf(error)
    assert mean_with_error([3.0]) == (3.0, 0.0)


def test_intervals_of_a_share_are_those_of_wilson():
    # Agresti & Coull 1998: 0 of 10 gives 0 to .278.
    assert share_with_error(0, 10) == (0.0, pytest.approx(0.2775, abs=1e-4))


def far_and_whole(seed: int, count: int, size: float, spread: float = 1.0):
    """Far gradients μ + noise, and whole gradients that are those and more noise."""
    rng = np.random.default_rng(seed)
    signal = np.full(20, size / math.sqrt(20))
    far = signal + 0.1 * rng.normal(size=(count, 20))
    whole = far + spread * rng.normal(size=(count, 20))
    logs = [np.log(np.linalg.norm(part, axis=1)) for part in (whole, far)]
    units = [part / np.exp(log)[:, None] for part, log in zip((whole, far), logs, strict=True)]
    cosines = units[0] @ units[0].T, units[1] @ units[1].T, units[1] @ units[0].T
    return lg.diagnosis.Gradients(*map(jnp.asarray, (*logs, *cosines)))


def test_sequences_needed_are_noise_along_the_signal_over_its_square():
    size, spread = 0.5, 1.0
    found = [signal_of(far_and_whole(seed, 64, size, spread)) for seed in range(20)]
    consistency = size**2 / (size**2 + 20 * 0.01)
    assert np.mean([one.consistency for one in found]) == pytest.approx(consistency, rel=0.05)
    needed = (spread**2 + 0.01) / size**2
    assert np.median([one.needed for one in found]) == pytest.approx(needed, rel=0.2)
    assert all(one.least <= one.needed <= one.most < math.inf for one in found)


def test_no_signal_is_never_claimed_from_noise_more_often_than_the_interval_allows():
    claimed = [math.isfinite(signal_of(far_and_whole(seed, 8, 0.0)).most) for seed in range(200)]
    # One side of a 95 % interval; the leave-one-out error of so few is a rough one.
    assert np.mean(claimed) < 0.05


def test_a_diagnosis_is_a_sequence_that_prints_and_goes_into_a_file():
    finding = lg.diagnosis.Finding(
        rule="reach",
        verdict="found",
        severity="severe",
        title="The gradient does not reach",
        evidence={"log_share": Evidence(-60.0, 1.0, -16.0, "below", "ln", "a share", "a basis")},
        because="Because.",
        source="A formula.",
        remedies=(lg.diagnosis.Remedy("chrono", "parameters", "Why.", lambda params: params),),
    )
    open_one = finding._replace(
        rule="growth", verdict="undecided", evidence={"exponent": Evidence(math.nan, math.inf)}
    )
    settings = lg.diagnosis.Settings(10, 9, 4, "given", None, None, 4, "float32", "step", {}, {})
    found = lg.diagnosis.Diagnosis((finding, open_one), settings, None)
    assert len(found) == 2
    assert found["reach"] is found[0]
    assert [one.rule for one in found] == ["reach", "growth"]
    assert found.severe == (finding,)
    assert finding._replace(cause="gain") not in found.severe
    with pytest.raises(KeyError, match="expected a rule"):
        found["nothing"]
    text = str(found)
    assert "10^-26.1" in text
    assert "undecided: growth" in text
    assert found.summary()["reach/found"] == 1.0
    assert math.isnan(found.summary()["growth/found"])
    import json

    plain = json.loads(json.dumps(found.plain(), allow_nan=False))
    assert plain["findings"][1]["evidence"]["exponent"]["value"] == "nan"
    assert plain["findings"][0]["remedies"][0]["name"] == "chrono"
