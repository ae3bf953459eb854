"""The progress bar: on a terminal with tqdm installed, and nothing anywhere else."""

import sys
from collections.abc import Iterable


def with_progress(steps: Iterable[int], title: str | None, scale: int = 1) -> Iterable[int]:
    """Returns the steps, behind a progress bar if someone is watching and tqdm is installed.

    Args:
        steps: what is looped over.
        title: stands in front of the bar; None is no bar.
        scale: how many training steps one of them is.
    """
    if title is None or not sys.stderr.isatty():
        return steps
    try:
        from tqdm import tqdm
    except ImportError:
        return steps
    return tqdm(steps, desc=title, unit="step", unit_scale=scale, leave=False)
