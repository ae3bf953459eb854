"""Does each remedy help on a task that it is made for? Trained before and after, over seeds.

    python tests/benchmarks/remedies.py [--seeds 5] [--only NAME]

For every case: a network with one thing in its way, what the diagnosis finds, and the score after
the same training with and without each remedy of that finding, by seed, as `diagnosis.verify` has
them. The committed table is tests/diagnosis/remedies.md.
"""

import argparse
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "diagnosis"))

from cases import CASES, verified


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description="Does each remedy help where it should?")
    parser.add_argument("--seeds", type=int, default=5, help="trainings of each kind")
    parser.add_argument("--only", nargs="*", default=list(CASES), help="cases by name")
    given = parser.parse_args()
    head = "in the way", "delay", "finding", "remedy", "before", "after", "helps", "predictions"
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for name in given.only:
        case, start = CASES[name], time.perf_counter()
        try:
            found = verified(case, seeds=given.seeds)
        except ValueError as error:
            print(f"{name}: {error}", file=sys.stderr)
            continue
        for remedy in found.remedies:
            trials = [trial for trial in found.trials if trial.remedy == remedy]
            scores = (
                " ".join(f"{getattr(t, side):.2f}" for t in trials)
                for side in ("score_before", "score_after")
            )
            readings = [reading.holds for trial in trials for reading in trial.readings]
            held = f"{sum(readings)} of {len(readings)}" if readings else "none"
            helps = "yes" if found.helps(remedy) else "no"
            row = case.what, str(case.delay), case.rule, remedy, *scores, helps, held
            print(f"| {' | '.join(row)} |", flush=True)
        print(f"{name}: {time.perf_counter() - start:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
