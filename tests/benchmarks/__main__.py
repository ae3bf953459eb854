"""Every benchmark in one run: one table with ratios, growth with the sizes, and a JSON file.

    python -m tests.benchmarks [--only NAME ...] [--quick] [--repeats N] [--json FILE]

Contenders of a part take turns, round by round. Columns: median time, least and largest; the median
ratio, round by round, to the floor, what cannot be avoided, and to ours; compile time (first call
less a later one); peak memory beyond a process that has run one small jitted product, each in its
own process; the largest error against the part's reference; the share of the numbers that claim to
have met their tolerance, and how many of these have not. A "~" marks a time that is extrapolated
from fewer steps or lags. Parts:

    profile, map, stream, wide, parallel   norms.py: against jacrev + SVD, PyTorch, a NumPy loop
    batch, block, devices                  batches.py: against the bare products; on two devices
    rate, lorenz                           lyapunov.py: against lyapax and a NumPy loop
    contributions                          contributions.py: against jax.grad and PyTorch
    first, command                         first_calls.py: programs and seconds of first calls

Rivals that are not installed are left out: PyTorch, lyapax. The JSON file has the machine, the
versions, the date and all numbers.
"""

import argparse
import importlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

MODULES = ("norms", "batches", "lyapunov", "contributions", "first_calls")

CHILDREN = {
    "profile": "norms",
    "map": "norms",
    "stream": "norms",
    "wide": "norms",
    "devices": "batches",
    "rate": "lyapunov",
    "contributions": "contributions",
    "call": "first_calls",
    "command": "first_calls",
}
"""The module with the `child` that runs one contender of a part alone."""


def prepare() -> None:
    """Sets what has to be known before NumPy and JAX are imported."""
    sys.path.insert(0, str(Path(__file__).parent))
    sys.argv[0] = __file__  # what children are started with
    # Of a device's memory, take what is needed: several processes share it.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    # Threads for small matrices wait for each other, and measure the load.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("MKL_NUM_THREADS", "1")


def chosen_of(table: dict[str, Callable[[], None]], only: list[str] | None) -> list[str]:
    """The names of the parts that are asked for.

    Args:
        table: all parts.
        only: whole names, or what stands before a dash; None is all.
    """
    # A whole name means this part alone, although it may begin the name of another.
    return [
        name
        for name in table
        if not only or any(name == one or name.startswith(one + "-") for one in only)
    ]


def parser() -> argparse.ArgumentParser:
    """The options."""
    found = argparse.ArgumentParser(
        "python -m tests.benchmarks", description=(__doc__ or "").split("\n")[0]
    )
    option = found.add_argument
    only = "these parts, e.g. profile, profile-64, profile-64-100, map, rate"
    option("--only", nargs="+", metavar="NAME", help=only)
    option("--quick", action="store_true", help="small sizes: does it run?")
    option("--repeats", type=int, default=7, help="rounds at most (7)")
    option("--json", type=Path, metavar="FILE", help="where all numbers go")
    return found


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Prints the table, and returns its numbers.

    Args:
        options: of the command.
    """
    import jax
    from growth import exponents, print_exponents
    from measure import PRINTED, machine, print_head, print_machine

    table: dict[str, Callable[[], None]] = {}
    for name in MODULES:
        table |= importlib.import_module(name).parts(options.quick, max(options.repeats, 1))
    chosen = chosen_of(table, options.only)
    if not chosen:
        parser().error(f"--only: expected (the words before a dash of) one of {', '.join(table)}")
    about = machine()
    print_machine(about)
    print_head()
    with jax.default_matmul_precision("highest"):
        for name in chosen:
            try:
                table[name]()
            except (RuntimeError, MemoryError) as failure:  # XLA's out of memory is the former
                print(f"{name}: skipped, {str(failure).splitlines()[0]}", flush=True)
    found = exponents(PRINTED)
    print_exponents(found)
    return {"machine": about, "quick": options.quick, "rows": PRINTED, "growth": found}


def main() -> None:
    """Prints the table and writes the file, or runs one contender alone."""
    prepare()
    if sys.argv[1:2] == ["--child"]:  # whose arguments may look like options
        part, *arguments = sys.argv[2:]
        module = importlib.import_module(CHILDREN[part])
        print(json.dumps(module.child(part, *arguments)))
        return
    options = parser().parse_args()
    content = json.dumps(run(options), indent=1) + "\n"
    if options.json:
        options.json.write_text(content, "utf-8")


if __name__ == "__main__":
    main()
