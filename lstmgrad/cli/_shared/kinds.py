"""The cells that the commands know: all those of the library, with a title and random numbers."""

import zlib
from collections.abc import Callable
from typing import NamedTuple

import jax

import lstmgrad as lg
from lstmgrad._chains.layout import layout_of


class Kind(NamedTuple):
    """A kind of cell.

    Attributes:
        title: its name in tables and figures.
        make: ``make(input_size, hidden_size, dtype=) -> Cell``.
        number: keeps the random numbers of a cell the same, whichever cells run beside it.
    """

    title: str
    make: Callable[..., lg.cells.Cell]
    number: int

    def parts(self, hidden: int) -> tuple[str, ...]:
        """Returns the parts of its state whose norms are measured: those with a derivative.

        Args:
            hidden: hidden units.
        """
        cell = self.make(1, hidden)
        layout = layout_of(jax.eval_shape(cell.initial_state))
        return tuple(str(part) for part in layout.parts if part not in cell.held)


def _kinds() -> dict[str, Kind]:
    titles = {"rnn": "RNN", "gru": "GRU", "lstm": "LSTM"}
    numbers = {"rnn": 0, "gru": 1, "lstm": 2}
    # The number comes from the name alone, so that a new cell in the registry does not change it.
    return {
        name: Kind(titles.get(name, name), make, numbers.get(name, zlib.crc32(name.encode())))
        for name, make in lg.cells.registry().items()
    }


KINDS = _kinds()
"""All cells of the library, by name and in its order."""

CELLS = {name: KINDS[name] for name in ("rnn", "gru", "lstm")}
"""The cells that are compared unless others are asked for."""
