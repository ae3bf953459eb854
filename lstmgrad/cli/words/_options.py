"""The options of ``words``, and what each may be."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from lstmgrad.cli._shared.error import CommandError
from lstmgrad.cli._shared.parser import FIGURES, OUT, Parser, add_common, add_seed, add_whole
from lstmgrad.cli._shared.text_files import read_text

SHORT = 50
"""Words of the longest text that is trained on without being asked for."""

_DESCRIPTION = """\
How much does each word add to the gradient when a network has to recall the
first one?

An RNN, a GRU, an LSTM and an LSTM with chrono biases read the words, one per
step, and say at the end which word the first one was. The gradient of that
loss with respect to the cell's weights is a sum over the words; here it is
taken apart exactly, in many networks of each kind: at initialization, and
after a training in which the first word is another one of the text's words
every time. Prints tables, word by word, and what they say; writes words.png
and words.svg (the figure) and words.json (all numbers) into the --out
directory.

A word is whatever stands between white space, as it is written: The, the and
the, are three words. Each is one-hot in the vocabulary of the text.
"""

_EPILOG = """\
examples:
  python -m lstmgrad words "the cat that sat on the mat was black"
  python -m lstmgrad words --file speech.txt --draws 5
  python -m lstmgrad words --file poem.txt --train 1000 --hidden 64
"""


class Options(NamedTuple):
    """What the user asked for.

    Attributes:
        words: the words, two or more of them different.
        source: where they came from.
        draws: networks of each kind, each from weights of its own.
        hidden: hidden units of each network.
        train: training steps.
        seed: of everything that is drawn.
        dtype: "float32" or "float64".
        out: the directory for the results.
        figures: the endings of the files of the figure.
    """

    words: tuple[str, ...]
    source: str
    draws: int = 20
    hidden: int = 32
    train: int = 200
    seed: int = 0
    dtype: str = "float32"
    out: Path = OUT
    figures: tuple[str, ...] = FIGURES

    @property
    def untrained(self) -> str:
        """Why there is no training, for the summary."""
        if len(self.words) <= SHORT:
            return "none"
        return f"none: more than {SHORT} words are trained on only if --train says so"


def parse(argv: Sequence[str]) -> Options:
    """Returns the options that the arguments ask for, with the file already read.

    Args:
        argv: the arguments after the command.

    Raises:
        CommandError: an argument is unknown, or its value is not one it may have; the file will not
            do; there are fewer than two words, or only one that is repeated.
        SystemExit: after ``--help``.
    """
    defaults = Options._field_defaults
    parser = Parser("lstmgrad words", _DESCRIPTION, _EPILOG)
    parser.add_argument("text", nargs="*", metavar="TEXT", help="the words, quoted or not")
    parser.add_argument("--file", type=Path, metavar="FILE", help="a text in UTF-8 instead")
    draws = "networks of each kind, each from weights of its own"
    add_whole(parser, "--draws", 1, defaults["draws"], "COUNT", draws)
    add_whole(parser, "--hidden", 1, defaults["hidden"], "UNITS", "hidden units of each network")
    training = "training steps on recalling the first word; 0 for none"
    default = f"{defaults['train']}; 0 for more than {SHORT} words"
    add_whole(parser, "--train", 0, default, "STEPS", training)
    add_seed(parser, "weights and training texts")
    add_common(parser)
    given = vars(parser.parse_args(argv))
    text, file = " ".join(given.pop("text", [])), given.pop("file", None)
    if file is not None and text:
        raise CommandError("--file: expected words or a file, but got both")
    source = "the command line" if file is None else str(file)
    words = tuple((text if file is None else read_text(file)).split())
    if len(words) < 2:
        raise CommandError(
            f"{source}: expected at least 2 words, one to recall and one after it, "
            f"but got {len(words)}; see --help"
        )
    if len(set(words)) < 2:
        raise CommandError(
            f"{source}: expected at least 2 different words, so that the first one could be "
            f"another, but got one, {len(words)} times; see --help"
        )
    if len(words) > SHORT:
        given.setdefault("train", 0)
    return Options(words, source, **given)
