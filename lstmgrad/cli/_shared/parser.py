"""What the options of all commands have in common."""

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from lstmgrad._checks import check_count
from lstmgrad.cli._shared import cache
from lstmgrad.cli._shared.error import CommandError

OUT = Path("lstmgrad-out")
"""Where the results go unless something else is asked for."""

FIGURES = ("png", "svg")
"""The files of the figure, by their endings, unless others are asked for."""

_KNOWN_FIGURES = ("png", "svg", "pdf")


class Parser(argparse.ArgumentParser):
    """A parser that raises `CommandError`, and leaves out the options that were not given.

    The record of the options has the defaults.

    Args:
        prog: the program and the command.
        description: the help text above the options.
        epilog: the help text below them.
    """

    def __init__(self, prog: str, description: str, epilog: str):
        super().__init__(
            prog=prog,
            description=description,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            argument_default=argparse.SUPPRESS,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        """Raises `CommandError` with the message.

        Args:
            message: what is wrong.
        """
        raise CommandError(f"{message}; see --help")


def add_common(parser: Parser) -> None:
    """Adds ``--dtype``, ``--out``, ``--figures`` and ``--no-cache``.

    Args:
        parser: where to add them.
    """
    parser.add_argument(
        "--dtype",
        choices=("float32", "float64"),
        help="precision of the model and of the analysis (default: float32)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help=f"directory for the results, made if missing (default: {OUT})",
    )
    parser.add_argument(
        "--figures",
        type=_figures,
        metavar="KINDS",
        help=f"files of the figure, any of {','.join(_KNOWN_FIGURES)} (default: "
        f"{','.join(FIGURES)})",
    )
    parser.add_argument(
        cache.OPTION,
        nargs=0,
        action=_Known,
        help="compile every program anew (default: up to "
        f"{cache.MEGABYTES} MB of programs are kept in the user's cache directory, or in that "
        f"which {cache.VARIABLE} names; none if it is empty or 0)",
    )


class _Known(argparse.Action):
    """An option that may stand there and is no entry of the options: `cache` has read it."""

    def __call__(self, *_: Any) -> None:
        """Does nothing."""


def _figures(text: str) -> tuple[str, ...]:
    kinds = tuple(dict.fromkeys(kind.strip().lower().removeprefix(".") for kind in text.split(",")))
    if not set(kinds) <= set(_KNOWN_FIGURES):
        raise argparse.ArgumentTypeError(
            f"expected some of {', '.join(_KNOWN_FIGURES)}, separated by commas, but got {text!r}"
        )
    return kinds


def add_seed(parser: Parser, what: str) -> None:
    """Adds ``--seed``.

    Args:
        parser: where to add it.
        what: what is drawn at random.
    """
    help_ = f"seed of {what}; the same seed gives the same files (default: 0)"
    seed = whole("--seed", 0, 2**32 - 1)
    parser.add_argument("--seed", type=seed, metavar="N", help=help_)


def add_whole(
    parser: Parser, option: str, least: int, default: int | str, unit: str, what: str
) -> None:
    """Adds an option that takes a whole number.

    Args:
        parser: where to add it.
        option: its name, with the dashes.
        least: the smallest number allowed.
        default: what the help says that it is without the option.
        unit: what the number counts.
        what: what the option does.
    """
    help_ = f"{what} (default: {default})"
    parser.add_argument(option, type=whole(option, least), metavar=unit, help=help_)


def whole(option: str, least: int, most: int | None = None) -> Callable[[str], int]:
    """Returns the conversion of an option's text to a whole number.

    Args:
        option: its name, with the dashes.
        least: the smallest number allowed.
        most: the largest number allowed; None is any.
    """

    def convert(text: str) -> int:
        # int() would take "1_000", too, and refuses more than 4300 digits in its own words.
        known = re.fullmatch(r"[+-]?[0-9]{1,18}", text.strip())
        return check_whole(int(text) if known else text, option, least, most=most)

    return convert


def check_whole(
    value: Any, option: str, least: int, *, most: int | None = None, why: str = ""
) -> int:
    """Returns a whole number in its range, by the library's own rule.

    Args:
        value: what was given.
        option: its name, with the dashes.
        least: the smallest number allowed.
        most: the largest number allowed; None is any.
        why: the reason for the largest number, in words that follow a comma.

    Raises:
        CommandError: it is not a whole number in the range.
    """
    try:
        return check_count(value, option, least, most=most, why=why)
    except ValueError as error:
        raise CommandError(str(error).removesuffix(".")) from None
