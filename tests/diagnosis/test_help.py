"""Remedies help where they are made for, and where they do not, that is said."""

import pytest
from cases import CASES, verified

HELP = {
    "small-gain": {"orthogonal"},
    "large-gain": {"orthogonal"},
    "exploding": {"orthogonal"},
    "small-gain-relu": {"identity"},
    "large-inputs": {"input-scale"},
    "dead-units": {"zero-bias"},
    "short-chunks": {"chunk-length"},
    "tight-clip": {"clip-largest"},
    "tight-clip-adam": set(),
}
"""What helps in all seeds; the table of five seeds is in remedies.md."""

NO_HELP = {"small-gain-relu": {"orthogonal", "critical-gain"}, "tight-clip-adam": {"clip-largest"}}
"""The obvious remedies that do what they say to the readings, and nothing to the score."""


@pytest.mark.slow
@pytest.mark.parametrize("name", HELP)
def test_a_remedy_helps_where_it_is_made_for(name):
    found = verified(CASES[name])
    for remedy in HELP[name]:
        assert found.helps(remedy), found
        assert remedy in found.kept
    for remedy in NO_HELP.get(name, ()):
        assert not found.helps(remedy), found
        assert remedy not in found.kept
        assert f"{remedy} does not help" in str(found)
    assert all(reading.holds for trial in found.trials for reading in trial.readings), found
