"""Memory tasks: sequences whose answer hangs on what was shown long before.

A task is a record of pure functions, `Task`:

    inputs, targets, weights = task.batch(key, size, delay)   (size, T, d), (size, T), (size, T)
    task.loss(outputs, targets, weights), task.score(...)     of one sequence, outputs (T, o)
    task.baseline(delay)                                      loss and score without memory, exact

`delay` is the number of steps over which something has to be kept; each task's docstring says
between what and what, and how long its sequences are. Weights say which steps count. The baseline
is that of the best answer from the number of the step and the input of that step alone: a model
that does no better has remembered nothing.

A task knows no model: `lg.training.fit(model, task, key, delay=...)` brings the two together.
"""

from collections.abc import Callable

from lstmgrad._calls import public
from lstmgrad.tasks._adding import adding
from lstmgrad.tasks._copy import copy
from lstmgrad.tasks._delayed_recall import delayed_recall
from lstmgrad.tasks._delayed_xor import delayed_xor
from lstmgrad.tasks._selective_copy import selective_copy
from lstmgrad.tasks._sequential_digits import sequential_digits
from lstmgrad.tasks._task import Examples, Performance, Task
from lstmgrad.tasks._temporal_order import temporal_order

_MAKERS = (
    delayed_recall,
    copy,
    selective_copy,
    adding,
    temporal_order,
    delayed_xor,
    sequential_digits,
)

__all__ = ["Performance", "Examples", "Task", "registry", *(make.__name__ for make in _MAKERS)]


@public
def registry() -> dict[str, Callable[..., Task]]:
    """Returns all tasks by name: each is called without arguments, or with options of its own.

    Returns:
        A new dict from the name of each maker to the maker itself.

    Example:
        ``lg.tasks.registry()["copy"]()`` is ``lg.tasks.copy()``.

        >>> lg.tasks.registry()["copy"]() is lg.tasks.copy()
        True
    """
    return {make.__name__: make for make in _MAKERS}
