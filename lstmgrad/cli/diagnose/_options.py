"""The options of ``diagnose``, and what each may be."""

import argparse
import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lstmgrad.cli._shared.error import CommandError
from lstmgrad.cli._shared.kinds import KINDS
from lstmgrad.cli._shared.parser import FIGURES, OUT, Parser, add_common, add_seed, add_whole
from lstmgrad.cli._shared.reading import TABLES, add_reading
from lstmgrad.cli._shared.tables import Reading
from lstmgrad.cli._shared.weights import Weights, add_weights
from lstmgrad.cli.diagnose._demos import DEMOS

LOSSES = ("last", "every", "next")
WEIGHT_FILES = (".safetensors", ".pt", ".pth", ".bin")

_DESCRIPTION = """\
What is wrong with a recurrent network on what it reads, how sure is that, and
what helps?

Reads a trained network of PyTorch from a file, or makes a cell at
initialization, runs it over sequences and measures where the gradient goes:
whether it reaches --lag steps back, whether it explodes, what the gates do,
what truncation and clipping cost. Prints what was found, each finding with its
numbers, their intervals and the threshold they are held against; writes
diagnose.html (one page, to be read in a browser), diagnose.png and .svg (the
figure) and diagnose.json (all numbers) into the --out directory.

The exit code is 0 whether or not something was found; with --strict it is 1
when something severe was.
"""

_EPILOG = """\
input files:
@TABLES@
         One long sequence is cut into --sequences stretches of --length steps;
         a .npy array of shape (N, T, d) is N sequences.
  .txt   (with --cells) text in UTF-8, one-hot characters, cut alike

targets (.npy or a table), whole numbers for classes, others for squared errors:
  one for each sequence (N,) is asked for at its last step; one for each step,
  (N, T), or as long as a single sequence, at every step. The readout is the
  linear layer of --weights that fits, or one at random.

losses without targets:
  last   a readout at random of the last hidden state (the default)
  every  a readout at random of every hidden state
  next   predicting the next row, or the next character, by a readout at random

networks with a planted fault, to see what a finding looks like:
@DEMOS@

examples:
  python -m lstmgrad diagnose --demo closed-gates
  python -m lstmgrad diagnose --weights model.safetensors --input data.npy \\
      --targets labels.npy --lag 100
  python -m lstmgrad diagnose --weights model.safetensors --input data.npy \\
      --apply forget-gates --save-weights better.safetensors
  python -m lstmgrad diagnose --cells gru --input weather.csv --loss next
"""


class Options(NamedTuple):
    """What the user asked for.

    Attributes:
        source: a network in a file; None for `cells` or `demo`.
        cells: the name of a cell, made here.
        demo: the name of a network with a planted fault.
        hidden: hidden units of the cell.
        input: the file to read.
        reading: which columns of a table in it, and what closes gaps.
        targets: the file of what should be said.
        loss: one of `LOSSES`.
        length: steps of a sequence that is cut out of a longer one.
        sequences: how many are read at most.
        lag: steps over which something has to be learned; None is all of them.
        truncation: steps that back-propagation goes back in training.
        clip: the largest norm of a gradient in training.
        batch: sequences in a batch of the training; None is as many as are read.
        budget: sequences that the training will see.
        apply: a rule, whose remedy is applied; or a rule and a remedy, with a colon between.
        save_weights: where to write the weights after it.
        strict: whether a severe finding makes the exit code 1.
        seed: of the parameters, the readout and the sequences of a demo.
        dtype: "float32" or "float64".
        out: the directory for the results.
        figures: the endings of the files of the figure.
    """

    source: Weights | None = None
    cells: str | None = None
    demo: str | None = None
    hidden: int = 64
    input: Path | None = None
    reading: Reading = Reading()
    targets: Path | None = None
    loss: str = LOSSES[0]
    length: int | None = None
    sequences: int = 8
    lag: int | None = None
    truncation: int | None = None
    clip: float | None = None
    batch: int | None = None
    budget: int | None = None
    apply: str | None = None
    save_weights: Path | None = None
    strict: bool = False
    seed: int = 0
    dtype: str = "float32"
    out: Path = OUT
    figures: tuple[str, ...] = FIGURES


def parse(argv: Sequence[str]) -> Options:
    """Returns the options that the arguments ask for.

    Args:
        argv: the arguments after the command.

    Raises:
        CommandError: an argument is unknown, its value is not one it may have, or two do not go
            together.
        SystemExit: after ``--help``.
    """
    given = vars(_parser().parse_args(argv))
    weights = {name: given.pop(name) for name in Weights._fields if name in given}
    if weights and "weights" not in weights:
        raise CommandError(f"--{min(weights)}: expected --weights, the file that it is about")
    source = Weights(**weights) if weights else None
    reading = {name: given.pop(name) for name in Reading._fields if name in given}
    options = Options(source, reading=Reading(**reading), **given)
    _check_together(options, {*given, *reading})
    return options


def _check_together(options: Options, given: set[str]) -> None:
    """One network, with the options that it takes."""
    named = [options.source is not None, options.cells is not None, options.demo is not None]
    if sum(named) != 1:
        raise CommandError("expected one of --weights, --cells and --demo; see --help")
    if options.demo is not None:
        known = {*Reading._fields, "input", "targets", "loss", "hidden", "length", "budget"}
        own = known & given
        for name in sorted(own):
            raise CommandError(
                f"--{name}: expected no such option beside --demo, which has its own"
            )
    elif options.input is None:
        raise CommandError("--input: expected a file of what the network reads")
    if options.cells is None and "hidden" in given:
        raise CommandError("--hidden: expected --cells, because other networks have their size")
    if {"targets", "loss"} <= given:
        raise CommandError(
            "--loss: expected no such option beside --targets, which say what counts"
        )
    if options.save_weights is not None:
        if options.apply is None or options.source is None:
            raise CommandError(
                "--save-weights: expected --apply, the rule whose remedy is applied, and "
                "--weights, the file that is changed"
            )
        if options.save_weights.suffix not in WEIGHT_FILES:
            raise CommandError(
                f"--save-weights: expected a file that ends in {', '.join(WEIGHT_FILES)}, but got "
                f"{options.save_weights}"
            )
    elif options.apply is not None:
        raise CommandError("--apply: expected --save-weights, the file for the weights after it")


def _parser() -> Parser:
    demos = "\n".join(
        textwrap.fill(demo.what, 79, initial_indent=f"  {name:17}", subsequent_indent=" " * 19)
        for name, demo in DEMOS.items()
    )
    parser = Parser(
        "lstmgrad diagnose",
        _DESCRIPTION,
        _EPILOG.replace("@DEMOS@", demos).replace("@TABLES@", TABLES),
    )
    option, defaults = parser.add_argument, Options._field_defaults
    add_weights(parser, "to be diagnosed on the numbers of --input as they are")
    option("--cells", choices=tuple(KINDS), metavar="NAME", help="a cell at initialization instead")
    option("--demo", choices=tuple(DEMOS), metavar="NAME", help="a network with a planted fault")
    add_whole(parser, "--hidden", 1, defaults["hidden"], "UNITS", "hidden units of --cells")
    option("--input", type=Path, metavar="FILE", help="what the network reads")
    add_reading(parser)
    option("--targets", type=Path, metavar="FILE", help="what it should say")
    option("--loss", choices=LOSSES, help="what stands in for the targets (default: last)")
    what = "steps of a sequence cut out of a longer one"
    add_whole(parser, "--length", 2, "200, or all there are", "STEPS", what)
    what = "sequences to read at most; intervals need several"
    add_whole(parser, "--sequences", 1, defaults["sequences"], "N", what)
    what = "how far back something has to be learned from"
    add_whole(parser, "--lag", 1, "the whole sequence", "STEPS", what)
    what = "steps that back-propagation goes back in training"
    add_whole(parser, "--truncation", 1, "all of them", "STEPS", what)
    option(
        "--clip", type=_positive, metavar="NORM", help="the largest norm of a gradient in training"
    )
    what = "sequences in a batch of the training"
    add_whole(parser, "--batch", 1, "as many as are read", "N", what)
    what = "sequences that the training will see"
    add_whole(parser, "--budget", 1, "unknown", "N", what)
    option(
        "--apply",
        metavar="RULE",
        help="apply the remedy of a finding to the weights: its rule, or RULE:REMEDY",
    )
    option("--save-weights", type=Path, metavar="FILE", help="where the weights after it go")
    option("--strict", action="store_true", help="exit with 1 when something severe was found")
    add_seed(parser, "parameters, readout and demo")
    add_common(parser)
    return parser


def _positive(text: str) -> float:
    try:
        value: Any = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number above zero, but got {text!r}")
    return value
