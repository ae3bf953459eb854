"""Verification: what a remedy does to a training, and what it does not."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstmgrad as lg

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


def test_remedies_are_of_parameters_and_each_once():
    known = remedy("chrono", lambda params: params)
    with pytest.raises(ValueError, match="got none"):
        lg.diagnosis.verify(make, TASK, [], delay=DELAY)
    with pytest.raises(ValueError, match="changes an option of the training"):
        lg.diagnosis.verify(make, TASK, [known._replace(kind="training")], delay=DELAY)
    with pytest.raises(ValueError, match="each of them once"):
        lg.diagnosis.verify(make, TASK, [known, known], delay=DELAY)
    with pytest.raises(ValueError, match="seeds"):
        lg.diagnosis.verify(make, TASK, [known], seeds=1, delay=DELAY)


@pytest.mark.slow
def test_the_obvious_remedy_of_a_plain_network_does_what_it_says_and_does_not_help():
    """At the critical gain the gradient reaches 60 steps back, and the noise is as large there."""

    def plain(key):
        small = jax.nn.initializers.variance_scaling(0.25, "fan_in", "normal")
        cell = lg.cells.rnn(TASK.input_size, 16, recurrent_init=small, dtype=jnp.float32)
        return cell.model(cell.init(key))

    key = jax.random.key(1)
    gain = lg.diagnosis.on_task(plain(jax.random.key(0)), TASK, key, delay=DELAY)["gain"]
    assert [remedy.name for remedy in gain.remedies] == ["critical-gain", "orthogonal"]
    found = lg.diagnosis.verify(plain, TASK, gain.remedies, delay=DELAY, seeds=3, steps=400)
    assert all(reading.holds for trial in found.trials for reading in trial.readings)
    assert not any(found.helps(name) for name in found.remedies)
    assert found.kept == {}
    assert str(found).count("does not help") == 2


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
