"""What the options of all commands have in common."""

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from lstmgrad.cli._shared.error import CommandError


class Parser(argparse.ArgumentParser):
    """A parser that refuses as all of the command line does, with a `CommandError`."""

    def __init__(self, prog: str, description: str, epilog: str):
        super().__init__(
            prog=prog,
            description=description,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        """Raises `CommandError` with the message.

        Args:
            message: what is wrong.
        """
        raise CommandError(f"{message}; see --help")


def add_common(parser: Parser, seed_of: str) -> None:
    """Adds ``--seed``, ``--dtype`` and ``--out``.

    Args:
        parser: where to.
        seed_of: what the seed is of.
    """
    parser.add_argument(
        "--seed",
        type=whole(0, 2**32 - 1),
        metavar="N",
        default=0,
        help=f"of {seed_of}; the same seed gives the same files (default: 0)",
    )
    parser.add_argument(
        "--dtype",
        choices=("float32", "float64"),
        default="float32",
        help="precision of model and analysis (default: float32)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        default=Path("lstmgrad-out"),
        help="directory for the results, made if missing (default: lstmgrad-out)",
    )


def add_whole(parser: Parser, name: str, least: int, default: int, unit: str, what: str) -> None:
    """Adds an option that takes a whole number.

    Args:
        parser: where to.
        name: of the option, with its dashes.
        least: the smallest number allowed.
        default: the number if none is given.
        unit: how the number is called in the help.
        what: what it does.
    """
    help_ = f"{what} (default: {default})"
    parser.add_argument(name, type=whole(least), metavar=unit, default=default, help=help_)


def whole(least: int, most: int | None = None) -> Callable[[str], int]:
    """Returns the conversion of an argument to a whole number.

    Args:
        least: the smallest number allowed.
        most: the largest; None is none.
    """
    wanted = f"a whole number, {least} or more" + ("" if most is None else f", {most} at most")

    def convert(text: str) -> int:
        # int() would take "1_000", too, and refuses more than 4300 digits in its own words.
        number = int(text) if re.fullmatch(r"[+-]?[0-9]{1,18}", text.strip()) else None
        if number is None or number < least or (most is not None and number > most):
            raise argparse.ArgumentTypeError(f"expected {wanted}, but got {text!r}")
        return number

    return convert
