"""Entry point: arguments in, an exit code out, no traceback for what a user can cause."""

import os
import sys
from collections.abc import Sequence

import jax

from lstmgrad.cli._compare import compare
from lstmgrad.cli._error import CommandError
from lstmgrad.cli._options import parse

INTERRUPTED = 130
REFUSED = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code.

    Args:
        argv: the arguments after the program's name; None takes them from `sys.argv`.

    Returns:
        0 when all is written; 2 when something was refused, with one sentence on stderr; 130 after
        Ctrl-C; 1 when the reader of the output went away.

    Raises:
        SystemExit: with code 0, after ``--help`` and ``--version``.
    """
    try:
        options = parse(sys.argv[1:] if argv is None else argv)
        # Explicit both ways, so that the dtype asked for is the one computed with.
        with jax.enable_x64(options.dtype == "float64"):
            compare(options)
        sys.stdout.flush()
    except CommandError as error:
        return _refuse(str(error))
    except KeyboardInterrupt:
        print("lstmgrad: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Or the interpreter complains once more when it flushes stdout on exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except MemoryError:
        return _refuse(_TOO_LARGE)
    except jax.errors.JaxRuntimeError as error:
        # The runtime has one type for all its errors.
        if not any(sign in str(error) for sign in ("RESOURCE_EXHAUSTED", "Out of memory")):
            raise
        return _refuse(_TOO_LARGE)
    return 0


_TOO_LARGE = "the run does not fit into memory; choose a smaller --hidden or --length"


def _refuse(message: str) -> int:
    print(f"lstmgrad: error: {message}", file=sys.stderr)
    return REFUSED
