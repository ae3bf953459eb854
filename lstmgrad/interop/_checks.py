"""Rules that several frameworks share: one function per rule, one sentence per message."""

from typing import Any


def check_known(cell: Any, state: Any, known: str, call: str) -> None:
    """The cell has a known state, or its starting state is given."""
    if state is None:
        raise ValueError(
            f"cell: expected {known}, but got {type(cell).__name__}. Any other cell, {call}, needs "
            "its starting state: pass state=. The parts of that state are what `of` and `wrt` name."
        )


def not_pure(argument: str, way_out: str) -> ValueError:
    """The error of a cell that draws random numbers, or writes into its variables."""
    return ValueError(
        f"{argument}: expected one whose step is a function of its arguments alone, but got one "
        f"that draws random numbers, or writes into its variables, at every step. {way_out}"
    )


def check_direction(direction: Any, both: bool, argument: str) -> None:
    """There is a direction if there are two, and none, or forward, if there is one."""
    if direction not in (None, "forward", "reverse"):
        raise ValueError(
            f"direction: expected 'forward', 'reverse' or None, but got {direction!r}."
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
    """The type is one of a framework's own recurrent layers; a subclass may compute anything."""
    if kind not in kinds:
        raise ValueError(
            f"{argument}: expected one of {', '.join(kind.__name__ for kind in kinds)}, but got "
            f"{kind.__name__}. For any other cell, write the step: every "
            "step(params, state, x) -> state will do."
        )
