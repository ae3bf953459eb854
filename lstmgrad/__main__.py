"""`python -m lstmgrad`: the command line."""

import sys

from lstmgrad.cli import main
from lstmgrad.cli._shared.cache import keep_programs
from lstmgrad.cli._shared.compiler import (
    collect_garbage_rarely,
    prefer_one_thread_each,
    prefer_quick_compilation,
)


def run() -> int:
    """Runs the command line in a process of its own, and returns its exit code."""
    collect_garbage_rarely()
    prefer_one_thread_each()
    prefer_quick_compilation()
    keep_programs(sys.argv[1:])
    return main()


if __name__ == "__main__":
    sys.exit(run())
