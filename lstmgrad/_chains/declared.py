"""The way of linearization that a cell declares."""

from collections.abc import Callable

from lstmgrad._chains.base import StoredChain
from lstmgrad._chains.diagonal import linearize_diagonal
from lstmgrad._chains.implicit import linearize
from lstmgrad._chains.one_sided import linearize_one_sided
from lstmgrad.cells import Cell


def linearize_as_declared(cell: Cell) -> Callable[..., StoredChain]:
    """Returns the `linearize` of `chain` that takes what a cell says of its step Jacobian.

    Args:
        cell: whose chain is wanted.
    """
    if cell.diagonal:
        return linearize_diagonal
    return linearize_one_sided if cell.one_sided else linearize
