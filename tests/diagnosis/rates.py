"""How often the rules are wrong, on networks that no one has looked at.

    python tests/diagnosis/rates.py --seeds 3 --first 1000

draws every family of `rigs.py` with other seeds, at three other sizes, and prints how often each
planted cause was found, left undecided or missed, and how often each rule was wrong about a network
in which its fault is not planted.

    python tests/diagnosis/rates.py --near 100

draws networks of a strength at random, from far below a threshold to far above it, and holds every
verdict from eight sequences against that from 128 others.
"""

import argparse
import collections
import os

if __name__ == "__main__":
    # Programs run a few times each: quick to compile is quicker than quick.
    flags = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    os.environ.setdefault("XLA_FLAGS", flags)

import jax
from rigs import FAULTY, HEALTHY, Outcome, near_the_threshold, outcome, table

import lstmgrad as lg

SIZES = ((12, 64), (24, 72), (32, 80))
"""Hidden units and length."""

MANY = 128
"""Sequences that say what is true."""


def main() -> None:
    """Draws, diagnoses and prints."""
    parser = argparse.ArgumentParser(description="Error rates of the rules.")
    parser.add_argument("--seeds", type=int, default=3, help="networks of a family and a size")
    parser.add_argument("--first", type=int, default=1000, help="the first seed")
    parser.add_argument("--near", type=int, default=0, help="networks near the thresholds instead")
    arguments = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    if arguments.near:
        near_thresholds(arguments.near, arguments.first)
    else:
        planted(arguments)


def planted(arguments: argparse.Namespace) -> None:
    """Draws networks with a planted cause, and healthy ones."""
    outcomes: dict[str, list[Outcome]] = collections.defaultdict(list)
    wrong: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for hidden, length in SIZES:
        for name, family in {**FAULTY, **HEALTHY}.items():
            for seed in range(arguments.first, arguments.first + arguments.seeds):
                rig = family.draw(seed, hidden=hidden, length=length)
                found = rig.diagnose()
                outcomes[name].append(outcome(family.right, found))
                count_rules(wrong, family.right, found)
        jax.clear_caches()
    print(table(outcomes))
    print(f"\n{sum(map(len, outcomes.values()))} networks")
    every = [each.verdict for several in outcomes.values() for each in several]
    print(", ".join(f"{verdict} {count}" for verdict, count in collections.Counter(every).items()))
    print("\n| rule | planted, found | undecided | missed | healthy, found | clear |")
    print("|---|---|---|---|---|---|")
    for rule, counts in wrong.items():
        names = ("hit", "open", "miss", "false", "silent")
        print(f"| {rule} | {' | '.join(str(counts[name]) for name in names)} |")


def near_thresholds(count: int, first: int) -> None:
    """Holds verdicts from eight sequences against those from 128 others.

    Args:
        count: networks.
        first: the first seed.
    """
    tallies: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for seed in range(first, first + count):
        rig = near_the_threshold(seed).draw(seed)
        shape = (MANY, *rig.inputs.shape[1:])
        inputs = jax.random.normal(jax.random.fold_in(jax.random.key(seed), 2), shape, "float32")
        found, truth = rig.diagnose(), rig._replace(inputs=inputs).diagnose()
        for finding in found:
            if finding.rule in ("signal-to-noise", "memory-is-fine"):
                continue
            tallies[finding.rule][f"{truth[finding.rule].verdict} {finding.verdict}"] += 1
    words = ("found", "undecided", "clear")
    print(f"{count} networks; from {MANY} sequences: from eight\n")
    print(f"| rule | {' | '.join(f'{a}: {b}' for a in words for b in words)} |")
    print("|---" * 10 + "|")
    for rule, tally in tallies.items():
        counts = (str(tally[f"{a} {b}"]) for a in words for b in words)
        print(f"| {rule} | {' | '.join(counts)} |")


def count_rules(
    counts: dict[str, collections.Counter[str]], right: str | None, found: lg.diagnosis.Diagnosis
) -> None:
    """Counts for every rule whether it was right about a planted cause, and silent on healthy ones.

    Args:
        counts: by rule.
        right: the planted cause; None for a healthy network.
        found: the diagnosis.
    """
    for finding in found:
        if finding.severity == "none" and finding.rule == "memory-is-fine":
            continue
        if finding.rule == right:
            key = {"found": "hit", "undecided": "open", "clear": "miss"}[finding.verdict]
            counts[finding.rule][key] += 1
        elif right is None:
            key = "false" if finding.verdict == "found" else "silent"
            counts[finding.rule][key] += 1


if __name__ == "__main__":
    main()
