"""The skeleton of a command: options -> plan -> study -> tables, a sentence, a figure, files."""

import textwrap
import warnings
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import jax

from lstmgrad.cli._shared.console import say
from lstmgrad.cli._shared.json import header, json_file
from lstmgrad.cli._shared.outputs import output_directory, write_whole


class Plan(NamedTuple):
    """A run whose options and input have been checked, before anything is computed.

    Attributes:
        summary: what will be done, line by line.
        measure: ``measure() -> study``, a record of everything that was measured.
    """

    summary: Sequence[str]
    measure: Callable[[], Any]


class Command(NamedTuple):
    """A command as the functions that are called one after the other.

    Attributes:
        name: what it is called; its files are named after it.
        sizes: what to make smaller when memory does not suffice.
        parse: ``parse(argv) -> options``, which have at least `dtype`, `out` and
            `figures`.
        plan: ``plan(options) -> Plan``.
        tables: ``tables(study) -> lines``.
        reading: ``reading(study) -> str``, what the tables show in one sentence or a few.
        figure: ``figure(study) -> Figure``.
        record: ``record(study) -> dict``, the entries of the JSON file.
        others: the content of further files by suffix, ``{suffix: content(study) -> bytes}``.
        finish: ``finish(study) -> exit code``, called when everything else has been written.
    """

    name: str
    sizes: str
    parse: Callable[[Sequence[str]], Any]
    plan: Callable[[Any], Plan]
    tables: Callable[[Any], list[str]]
    reading: Callable[[Any], str]
    figure: Callable[[Any], Any]
    record: Callable[[Any], dict[str, Any]]
    others: Mapping[str, Callable[[Any], bytes]] = MappingProxyType({})
    finish: Callable[[Any], int] = lambda study: 0

    def files(self, figures: tuple[str, ...]) -> tuple[str, ...]:
        """Returns the names of the files that it writes.

        Args:
            figures: the endings of those of the figure.
        """
        return tuple(f"{self.name}.{suffix}" for suffix in (*figures, *self.others, "json"))


def run(command: Command, argv: Sequence[str]) -> int:
    """Runs a command: prints its tables, writes its files, and returns its exit code.

    Args:
        command: which command.
        argv: the arguments after its name.

    Raises:
        CommandError: the options, the input or the output directory will not do; nothing is
            written then.
    """
    options = command.parse(argv)
    # Explicit both ways, so that the dtype asked for is the one computed with.
    with jax.enable_x64(options.dtype == "float64"):
        plan, files = command.plan(options), command.files(options.figures)
        with output_directory(options.out, files):
            say(*plan.summary, "")
            study = plan.measure()
            reading = command.reading(study)
            say(*command.tables(study), "", textwrap.fill(reading, 79), "")
            # Nothing is written before everything is computed and drawn.
            contents = [
                *_drawn(command.figure, study, options.figures),
                *(content(study) for content in command.others.values()),
                json_file({**header(command.name), **command.record(study), "reading": reading}),
            ]
            write_whole(options.out, dict(zip(files, contents, strict=True)))
            say(f"Wrote {', '.join(files)} into {options.out}")
            return command.finish(study)


def _drawn(draw: Callable[[Any], Any], study: Any, kinds: tuple[Any, ...]) -> list[bytes]:
    # Not before it is needed: importing matplotlib takes longer than refusing a bad option.
    from lstmgrad import plot

    with warnings.catch_warnings():
        # A script that the font lacks is drawn as boxes; the table has the words.
        warnings.filterwarnings("ignore", message="Glyph ")
        figure = draw(study)
        return [plot.encode(figure, suffix) for suffix in kinds]
