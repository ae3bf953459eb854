"""Remedies applied to a network and to the options of its training, and read before and after."""

import math
from collections.abc import Callable
from typing import Any

from lstmgrad._leaves import shown
from lstmgrad._types import Params
from lstmgrad.diagnosis._findings import Diagnosis
from lstmgrad.diagnosis._records import Remedy
from lstmgrad.diagnosis._verification import Reading

Options = dict[str, Any]
"""Options of a training by name."""

Compare = Callable[[Callable[[], Diagnosis]], tuple[Reading, ...]]
"""From what reads the changed network to what was predicted and read."""


def applied(
    remedy: Remedy, found: Diagnosis | None, params: Params, options: Options
) -> tuple[Params, Options, Compare]:
    """Returns parameters and options with a remedy, and how to compare the readings with it.

    Args:
        remedy: to apply. Where the diagnosis has one of that name, it is taken in its place, with
            its predictions for this network.
        found: the diagnosis of this network; None is none.
        params: of the network.
        options: of the training.
    """
    own = _own(remedy, found)
    if own.kind == "training":
        options = own.apply(options)
    else:
        params = own.apply(params)

    def compare(read: Callable[[], Diagnosis]) -> tuple[Reading, ...]:
        if found is None or not own.predicted:
            return ()
        after = read()
        return tuple(
            Reading(one.reading, _value(found, one.reading), one, _value(after, one.reading))
            for one in own.predicted
        )

    return params, options, compare


def check_remedies(remedies: Any) -> list[Remedy]:
    """Returns the remedies: at least one, each once, of parameters or of the training.

    Args:
        remedies: one, or several.
    """
    alone = isinstance(remedies, Remedy | str)
    chosen: list[Any] = [remedies] if alone else list(remedies)
    if not chosen or not all(isinstance(one, Remedy) for one in chosen):
        what = ", ".join(map(shown, chosen)) or "none"
        raise ValueError(
            "remedies: expected those of a finding, such as diagnose(...)['forget-gates'].remedies,"
            f" but got {what}."
        )
    for one in chosen:
        if one.kind == "model":
            raise ValueError(
                "remedies: expected those that change parameters or options of the training, but "
                f"got {one.name!r}, which chooses another model. Train that one beside it."
            )
    names = [one.name for one in chosen]
    if len(set(names)) < len(names):
        raise ValueError(f"remedies: expected each of them once, but got {', '.join(names)}.")
    return chosen


def _own(remedy: Remedy, found: Diagnosis | None) -> Remedy:
    """The remedy of that name with the predictions for this network."""
    for finding in found or ():
        for one in finding.remedies:
            if one.name == remedy.name:
                return one
    return remedy._replace(predicted=())


def _value(diagnosis: Diagnosis, name: str) -> float:
    """The value of the evidence of that name; NaN where there is none."""
    values = (f.evidence[name].value for f in diagnosis if name in f.evidence)
    return next(values, math.nan)
