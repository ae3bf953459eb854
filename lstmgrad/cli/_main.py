"""Entry point: arguments in, an exit code out, and no traceback for what a user can cause."""

import sys
from collections.abc import Sequence

import jax

from lstmgrad.cli._shared.command import run
from lstmgrad.cli._shared.console import hush
from lstmgrad.cli._shared.error import CommandError
from lstmgrad.cli.compare import COMPARE
from lstmgrad.cli.depth import DEPTH
from lstmgrad.cli.diagnose import DIAGNOSE
from lstmgrad.cli.recall import RECALL
from lstmgrad.cli.words import WORDS

COMMANDS = {command.name: command for command in (RECALL, DIAGNOSE, COMPARE, WORDS, DEPTH)}
INTERRUPTED = 130
REFUSED = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code.

    Args:
        argv: the arguments after the program's name; None takes them from `sys.argv`. The first may
            name a command, "recall", "diagnose", "compare", "words" or "depth"; without one it is
            "recall".

    Returns:
        0 when everything has been written; 1 when ``diagnose --strict`` found something severe, and
        when the reader of the output went away; 2 when something was refused, with one sentence on
        stderr; 130 after Ctrl-C.

    Raises:
        SystemExit: with code 0, after ``--help`` and ``--version``.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    named = bool(arguments) and arguments[0] in COMMANDS
    command = COMMANDS[arguments[0]] if named else RECALL
    too_large = f"the run does not fit into memory; choose a smaller {command.sizes}"
    try:
        code = run(command, arguments[named:])
    except CommandError as error:
        return _refuse(str(error))
    except KeyboardInterrupt:
        print("lstmgrad: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        hush()
        return 1
    except MemoryError:
        return _refuse(too_large)
    except jax.errors.JaxRuntimeError as error:
        # The runtime has one type for all its errors.
        if not any(sign in str(error) for sign in ("RESOURCE_EXHAUSTED", "Out of memory")):
            raise
        return _refuse(too_large)
    return code


def _refuse(message: str) -> int:
    print(f"lstmgrad: error: {message}", file=sys.stderr)
    return REFUSED
