"""The table that a script of the gallery prints first: the paper's number, ours, the difference."""

Row = tuple[float, float, float, float]
"""The paper's number, the one here, their difference, and the largest that the script states."""


def rows_of(printed: str) -> dict[str, Row]:
    """Returns what the table says, by the quantity.

    Args:
        printed: by the script.
    """
    lines = printed.split("\n\n")[0].splitlines()
    if lines[0].split() != ["paper", "here", "difference", "stated"]:
        raise ValueError(f"printed: expected a table of paper and here, but got '{lines[0]}'.")
    rows = {}
    for line in lines[1:]:
        *words, paper, here, difference, stated = line.split()
        rows[" ".join(words)] = float(paper), float(here), float(difference), float(stated)
    return rows


def beyond(rows: dict[str, Row]) -> list[str]:
    """Returns the quantities that are not as near to the paper's as the script states.

    Args:
        rows: of the table.
    """
    return [
        what for what, (*_, difference, stated) in rows.items() if not abs(difference) <= stated
    ]
