"""Planted faults are found, by the right rule and no other; healthy networks are left alone."""

import pytest
import rigs

SEEDS = (0, 1)
QUICK = (
    "lstm-bias-0",
    "lstm-drifting",
    "lstm-clipped",
    "lstm-chrono",
    "lstm-bias-2",
)
"""Families of one cell in one dtype: one compiled program."""


def families(names):
    return [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in names]


@pytest.fixture(scope="module")
def outcomes():
    """All that was diagnosed in this module; the table is printed at the end."""
    found: dict[str, list[rigs.Outcome]] = {}
    yield found
    print(f"\n{rigs.table(found)}")


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", families(rigs.FAULTY))
def test_the_planted_cause_is_found_and_nothing_else_is_severe(name, seed, outcomes):
    family = rigs.FAULTY[name]
    found = family.draw(seed).diagnose()
    outcome = rigs.outcome(family.right, found)
    outcomes.setdefault(name, []).append(outcome)
    assert outcome.verdict == "right", found


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", families(rigs.HEALTHY))
def test_nothing_is_found_in_a_healthy_network(name, seed, outcomes):
    family = rigs.HEALTHY[name]
    found = family.draw(seed).diagnose()
    outcome = rigs.outcome(family.right, found)
    outcomes.setdefault(name, []).append(outcome)
    assert outcome.verdict == "right", found
    assert found["memory-is-fine"].verdict in ("found", "undecided")


def test_there_are_rigs_enough():
    assert len(rigs.FAULTY) * len(SEEDS) >= 24
    assert len(rigs.HEALTHY) * len(SEEDS) >= 16
