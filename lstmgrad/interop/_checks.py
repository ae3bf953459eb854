"""Rules that several frameworks share: one function per rule, one sentence per message."""

from typing import Any, Literal

from lstmgrad._leaves import kind_of, shown
from lstmgrad._types import Inputs

Keys = Literal["inputs"] | None
"""Where a cell that draws random numbers gets its keys from."""


def check_known(cell: Any, state: Any, known: str, call: str, argument: str = "cell") -> None:
    """The cell has a known state, or its starting state is given.

    Args:
        cell: that has no known state.
        state: the starting state, or None.
        known: which cells have one, in words.
        call: how any other cell is called, in words.
        argument: what the cell is called.
    """
    if state is None:
        raise ValueError(
            f"{argument}: expected {known}, but got {kind_of(cell)}. Any other cell, {call}, "
            "needs its starting state: pass state=. Its parts are what `of` and `wrt` name."
        )


def check_keys(keys: Any) -> None:
    """The keys come with the inputs, or there are none."""
    if keys not in (None, "inputs"):
        raise ValueError(f"keys: expected 'inputs' or None, but got {shown(keys)}.")


def with_key(x: Inputs, keys: Keys) -> tuple[Inputs, Any]:
    """One step's input and its random key; the key is None where none is drawn.

    Args:
        x: one step's input, or a pair of it and a key.
        keys: where the keys come from.
    """
    if keys is None:
        return x, None
    if not isinstance(x, tuple | list) or len(x) != 2:
        raise ValueError(
            "inputs: expected a pair of inputs and random keys, because keys='inputs', but got "
            f"{type(x).__name__ if isinstance(x, tuple | list | dict) else 'an array'}. Pass "
            "(inputs, jax.random.split(key, T))."
        )
    return x[0], x[1]


def draws(argument: str) -> ValueError:
    """The error of a cell that draws random numbers and was given no keys for it.

    Args:
        argument: what the cell is called.
    """
    return ValueError(
        f"{argument}: expected a cell that draws no random numbers, but got one that does, as with "
        "dropout. Turn it off, or pass keys='inputs' and one key for each step: lg.chain(model, "
        "(inputs, jax.random.split(key, T)))."
    )


def check_direction(direction: Any, both: bool, argument: str) -> None:
    """There is a direction if there are two, and none, or forward, if there is one.

    Args:
        direction: "forward", "reverse" or None.
        both: whether the layer has two directions.
        argument: what the layer is called.
    """
    if direction not in (None, "forward", "reverse"):
        raise ValueError(
            f"direction: expected 'forward', 'reverse' or None, but got {shown(direction)}."
        )
    if both and direction is None:
        raise ValueError(
            f"direction: expected 'forward' or 'reverse', because {argument} is bidirectional and "
            "its directions are two separate recurrences, but got None. The reverse one reads the "
            "sequence from its end: inputs[::-1]."
        )
    if direction == "reverse" and not both:
        raise ValueError(
            f"direction: expected 'forward' or None, because {argument} has one direction, but "
            "got 'reverse'."
        )


def check_type(kind: type, kinds: tuple[type, ...], argument: str) -> None:
    """The type is one of a framework's own recurrent layers; a subclass may compute anything.

    Args:
        kind: the type.
        kinds: those of the framework.
        argument: what the layer is called.
    """
    if kind not in kinds:
        raise ValueError(
            f"{argument}: expected one of {', '.join(kind.__name__ for kind in kinds)}, but got "
            f"{kind.__name__}. For any other cell, write the step: any "
            "step(params, state, x) -> state will do."
        )
