"""Entry point: arguments in, an exit code out, no traceback for what a user can cause."""

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax

from lstmgrad.cli._shared.error import CommandError
from lstmgrad.cli.compare._options import parse
from lstmgrad.cli.compare._run import compare
from lstmgrad.cli.depth._options import parse_depth
from lstmgrad.cli.depth._study import depth
from lstmgrad.cli.words._options import parse_words
from lstmgrad.cli.words._study import words

INTERRUPTED = 130
REFUSED = 2


class _Command(NamedTuple):
    """Attributes: parse; run; sizes, what to make smaller when memory does not suffice."""

    parse: Callable[[Sequence[str]], Any]
    run: Callable[[Any], None]
    sizes: str


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code.

    Args:
        argv: the arguments after the program's name; None takes them from `sys.argv`. The first may
            name a command, "compare", "words" or "depth"; without one it is "compare".

    Returns:
        0 when all is written; 2 when something was refused, with one sentence on stderr; 130 after
        Ctrl-C; 1 when the reader of the output went away.

    Raises:
        SystemExit: with code 0, after ``--help`` and ``--version``.
    """
    command, arguments = _command(list(sys.argv[1:] if argv is None else argv))
    too_large = f"the run does not fit into memory; choose a smaller {command.sizes}"
    try:
        options = command.parse(arguments)
        # Explicit both ways, so that the dtype asked for is the one computed with.
        with jax.enable_x64(options.dtype == "float64"):
            command.run(options)
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
        return _refuse(too_large)
    except jax.errors.JaxRuntimeError as error:
        # The runtime has one type for all its errors.
        if not any(sign in str(error) for sign in ("RESOURCE_EXHAUSTED", "Out of memory")):
            raise
        return _refuse(too_large)
    return 0


def _command(argv: list[str]) -> tuple[_Command, list[str]]:
    comparison = _Command(parse, compare, "--hidden or --length")
    commands = {
        "compare": comparison,
        "words": _Command(parse_words, words, "--hidden or a shorter text"),
        "depth": _Command(parse_depth, depth, "--width or --layers"),
    }
    if argv and argv[0] in commands:
        return commands[argv[0]], argv[1:]
    return comparison, argv


def _refuse(message: str) -> int:
    print(f"lstmgrad: error: {message}", file=sys.stderr)
    return REFUSED
