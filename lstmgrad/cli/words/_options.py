"""The options of ``words``, and what each may be."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from lstmgrad.cli._shared.error import CommandError
from lstmgrad.cli._shared.parser import OUT, Parser, add_common, add_seed, add_whole
from lstmgrad.cli._shared.sequences import read_text

_DESCRIPTION = """\
What does each word of a text add to the gradient in an RNN, a GRU and an LSTM?

Each cell reads the words, one per step, and predicts the last one from those
before it. The gradient of that loss with respect to the cell's weights is a
sum over the steps; here it is taken apart exactly. Prints a table, word by
word; writes words.png and words.svg (the figure) and words.json (all numbers)
into the --out directory.

A word is whatever stands between white space, as it is written: The, the and
the, are three words. Each is one-hot in the vocabulary of the text.
"""

_EPILOG = """\
examples:
  python -m lstmgrad words "the cat that sat on the mat was black"
  python -m lstmgrad words --file speech.txt --train 200 --seed 3
"""


class Options(NamedTuple):
    """What the user asked for.

    Attributes:
        words: the words, two or more.
        source: where they came from.
        hidden: hidden units of each cell.
        train: training steps.
        seed: of the parameters and the training windows.
        dtype: "float32" or "float64".
        out: the directory for the results.
    """

    words: tuple[str, ...]
    source: str
    hidden: int = 64
    train: int = 0
    seed: int = 0
    dtype: str = "float32"
    out: Path = OUT


def parse(argv: Sequence[str]) -> Options:
    """Returns the options that the arguments ask for, with the file already read.

    Args:
        argv: the arguments after the command.

    Raises:
        CommandError: an argument is unknown, or its value is not one it may have; the file will not
            do; there are fewer than two words.
        SystemExit: after ``--help``.
    """
    defaults = Options._field_defaults
    parser = Parser("lstmgrad words", _DESCRIPTION, _EPILOG)
    parser.add_argument("text", nargs="*", metavar="TEXT", help="the words, quoted or not")
    parser.add_argument("--file", type=Path, metavar="FILE", help="a text in UTF-8 instead")
    add_whole(parser, "--hidden", 1, defaults["hidden"], "UNITS", "hidden units of each cell")
    training = "training steps beforehand, on predicting every word"
    add_whole(parser, "--train", 0, defaults["train"], "STEPS", training)
    add_seed(parser, "parameters and training windows")
    add_common(parser)
    given = vars(parser.parse_args(argv))
    text, file = " ".join(given.pop("text", [])), given.pop("file", None)
    if file is not None and text:
        raise CommandError("--file: expected words or a file, but got both")
    source = "the command line" if file is None else str(file)
    words = tuple((text if file is None else read_text(file)).split())
    if len(words) < 2:
        raise CommandError(
            f"{source}: expected at least 2 words, one to predict and one before it, "
            f"but got {len(words)}; see --help"
        )
    return Options(words, source, **given)
