"""Verification: what a remedy does to a training, and what it does not."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lstmgrad as lg
from lstmgrad.diagnosis import _verify

TASK = lg.tasks.delayed_recall(noise=2, dtype=jnp.float32)
DELAY, HIDDEN = 60, 8


def make(key):
    cell = lg.cells.lstm(TASK.input_size, HIDDEN, forget_bias=-1.0, dtype=jnp.float32)
    return cell.model(cell.init(key))


def remedy(name, apply):
    return lg.diagnosis.Remedy(name, "parameters", "Why.", apply)


@pytest.fixture(scope="module")
def untrained():
    """Networks that are not trained at all: nothing helps."""
    chosen = [
        remedy("chrono", lambda params: params),
        remedy("of-my-own", lambda params: lg.cells.with_forget_bias(params, 3.0)),
    ]
    return lg.diagnosis.verify(
        make, TASK, chosen, delay=DELAY, seeds=2, steps=0, sequences=4, size=20
    )


def test_what_does_not_help_is_said_and_not_kept(untrained):
    assert untrained.remedies == ("chrono", "of-my-own")
    assert not untrained.helps("of-my-own")
    assert untrained.kept == {}
    assert "does not help" in str(untrained)
    assert "helps: nothing" in repr(untrained)
    value, error = untrained.gain("of-my-own")
    gains = [t.score_after - t.score_before for t in untrained.trials if t.remedy == "of-my-own"]
    assert value == pytest.approx(np.mean(gains))
    # Student's t with one degree of freedom: 12.706.
    assert error == pytest.approx(12.7062047 * abs(gains[0] - gains[1]) / 2, rel=1e-6)


def test_a_known_remedy_is_read_for_every_network_and_its_prediction_held(untrained):
    chrono = [trial for trial in untrained.trials if trial.remedy == "chrono"]
    assert len(chrono) == 2
    for trial in chrono:
        names = [reading.name for reading in trial.readings]
        assert names == ["log_path", "slope"]
        assert all(reading.holds for reading in trial.readings), trial
        assert trial.readings[0].before < trial.readings[0].after
    assert chrono[0].readings[0].after != chrono[1].readings[0].after
    plain = untrained.plain()
    assert plain["remedies"]["chrono"]["trials"][0]["readings"][0]["holds"]


def test_remedies_change_what_is_trained_or_how_and_each_once():
    known = remedy("chrono", lambda params: params)
    with pytest.raises(ValueError, match="got none"):
        lg.diagnosis.verify(make, TASK, [], delay=DELAY)
    with pytest.raises(ValueError, match="chooses another model"):
        lg.diagnosis.verify(make, TASK, [known._replace(kind="model")], delay=DELAY)
    with pytest.raises(ValueError, match="each of them once"):
        lg.diagnosis.verify(make, TASK, [known, known], delay=DELAY)
    with pytest.raises(ValueError, match="seeds"):
        lg.diagnosis.verify(make, TASK, [known], seeds=1, delay=DELAY)


@pytest.mark.slow
def test_chrono_biases_help_where_closed_gates_do_not_and_identity_changes_nothing():
    chosen = [
        remedy("chrono", lambda params: params),
        remedy("nothing", lambda params: params),
    ]
    found = lg.diagnosis.verify(make, TASK, chosen, delay=DELAY, seeds=3, steps=600)
    assert found.helps("chrono")
    assert not found.helps("nothing")
    assert set(found.kept) == {"chrono"}
    kept = found.kept["chrono"]
    again = lg.training.evaluate(kept, TASK, jax.random.key(9), delay=DELAY)
    scores = [trial.score_after for trial in found.trials if trial.remedy == "chrono"]
    # Five standard errors of a difference of shares from 100 and from 200 sequences.
    np.testing.assert_allclose(again.score, scores, atol=5 * math.sqrt(0.25 / 100 + 0.25 / 200))
    assert found.gain("nothing") == (0.0, 0.0)


def test_limits_are_those_of_every_network_and_none_where_nothing_is_limited():
    plain = {"truncation": None, "clip": 1.0}
    changed = [plain, {"truncation": 5, "clip": 1.0}, {"truncation": None, "clip": 0.1}]
    assert _verify._of_each(changed, None, length=61) == {
        "truncation": [61, 5, 61],
        "clip": [1.0, 1.0, 0.1],
    }
    # The default optimizer clips at 1 by itself, another one not at all.
    assert _verify._of_each([plain, plain], None, length=61) == {}
    assert _verify._of_each([plain], SGD, length=61) == {"clip": [1.0]}
    unlimited = {"truncation": None, "clip": None}
    assert _verify._of_each([unlimited], SGD, length=61) == {}
    assert _verify._of_each([unlimited, plain], SGD, length=61) == {"clip": [math.inf, 1.0]}


def slope_of(params, key, truncation=None):
    """A loss of one's own: the distance of a sum from a number that the key draws."""
    shift = 0.0 if truncation is None else float(truncation)
    target = 3.0 + 0.01 * jax.random.normal(key, (), jnp.float32) + shift
    return jnp.sum((params["rnn"].bias - target) ** 2)


def test_a_loss_of_ones_own_is_trained_by_its_own_options():
    """Descent on a parabola: nearer from a nearer start, and nearer with a larger clip."""

    def start(key):
        params = lg.cells.rnn(1, 1, dtype=jnp.float32).init(key)
        return {"rnn": params, "rest": jnp.ones(2, jnp.float32)}

    def shifted(params):
        return params._replace(bias=params.bias + 1)

    chosen = [
        remedy("nearer", shifted),
        remedy("nothing", lambda params: params),
        remedy("larger-clip", lambda options: {**options, "clip": 2.0})._replace(kind="training"),
        remedy("worse", lambda options: {**options, "truncation": 9})._replace(kind="training"),
    ]
    found = lg.diagnosis.verify_loss(
        start,
        slope_of,
        chosen,
        steps=4,
        seeds=2,
        recurrent=lambda params: params["rnn"],
        options={"clip": 1.0},
        optimizer=SGD,
        score=lambda params, key: params["rnn"].bias[0],
        diagnose=None,
    )
    ends = {trial.remedy: trial.score_after for trial in found.trials}
    # Every step is of length .1 times the clip, towards 3.
    assert found.trials[0].score_before == pytest.approx(0.4, abs=1e-5)
    assert ends["nearer"] == pytest.approx(1.4, abs=1e-5)
    assert ends["larger-clip"] == pytest.approx(0.8, abs=1e-5)
    assert ends["worse"] == pytest.approx(0.4, abs=1e-5)
    assert found.helps("nearer")
    assert found.helps("larger-clip")
    assert found.gain("nothing") == (0.0, 0.0)
    assert set(found.kept) == {"nearer", "larger-clip"}
    np.testing.assert_allclose(found.kept["nearer"]["rnn"].bias, [[1.4], [1.4]], rtol=1e-5)
    assert np.asarray(found.kept["nearer"]["rest"]).shape == (2, 2)
    assert repr(found) == "Verification(slope_of, helps: nearer, larger-clip)"


SGD = optax.sgd(0.1)


def test_what_breaks_counts_as_the_worst():
    def verification(*pairs):
        trials = [
            lg.diagnosis.Trial("a", seed, before, after, ())
            for seed, (before, after) in enumerate(pairs)
        ]
        return lg.diagnosis.Verification(tuple(trials), "t", None, 1, math.nan, {})

    nan = math.nan
    assert verification((nan, 0.5), (nan, 0.6), (nan, 0.4)).helps("a")
    assert not verification((0.5, nan), (0.5, 0.9), (0.5, 0.9)).helps("a")
    assert not verification((nan, nan), (nan, nan)).helps("a")
    value, error = verification((nan, 0.5), (0.5, 0.6), (0.5, 0.7)).gain("a")
    assert value == pytest.approx((0.2 + 0.1 + 0.2) / 3)
    assert error > 0
    assert verification((nan, 0.5)).plain()["remedies"]["a"]["gain"] == "inf"
