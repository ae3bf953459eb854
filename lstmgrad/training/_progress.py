"""The progress bar: on a terminal with tqdm installed, and nothing anywhere else."""

import contextlib
import sys
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def progress_bar(total: int, title: str | None) -> Iterator[Callable[[int], object]]:
    """Shows a progress bar if someone is watching and tqdm is installed.

    Args:
        total: the steps in all.
        title: stands in front of the bar; None is no bar.

    Yields:
        ``advance(count)``, to be called after so many more steps.
    """
    bar = None
    if title is not None and sys.stderr.isatty():
        with contextlib.suppress(ImportError):
            from tqdm import tqdm

            bar = tqdm(total=total, desc=title, unit="step", leave=False)
    if bar is None:
        yield lambda count: None
        return
    with bar:
        yield bar.update
