"""What the tables show, in plain sentences: each is chosen by what was measured."""

import math

from lstmgrad.cli._shared.console import listed, power, rounded
from lstmgrad.cli.words._report import medians
from lstmgrad.cli.words._study import Networks, Stage, Study

LOST = -3.0
"""log₁₀ of the norm, over that of the last word, from which on a word counts as lost."""


def reading(study: Study) -> str:
    """Returns the sentences."""
    sentences = (_at_first(study), _what_is_lost(study), _recall(study), _shares_after(study))
    return " ".join(filter(None, sentences))


def _first(study: Study) -> list[tuple[Networks, Stage]]:
    return [(each, next(iter(each.stages.values()))) for each in study.networks]


def _at_first(study: Study) -> str:
    """The first word at initialization, relative to the last one and as a share."""
    ratios = [
        f"{power(_ratio(stage))} ({_percent(stage)}) in the {each.title}"
        for each, stage in _first(study)
    ]
    even = rounded(100 / len(study.words), 1)
    return (
        "At initialization, the norm of what the first word adds, divided by that of the last "
        f"word, and its share of the gradient are {listed(ratios)}: {_middle(study)}. Even shares "
        f"would be {even}%."
    )


def _what_is_lost(study: Study) -> str:
    """Whether any kind has lost the first word, before training."""
    lost = [each.title for each, stage in _first(study) if _ratio(stage) < LOST]
    unknown = [each.title for each, stage in _first(study) if math.isnan(_ratio(stage))]
    if lost:
        return (
            f"In the {listed(lost)} that is less than a thousandth of what the last word adds: "
            "training can hardly see the first word."
        )
    if unknown:
        return f"In the {listed(unknown)} the gradient is zero or not a number."
    return (
        f"That is more than a thousandth in every kind: over {len(study.words)} words the gradient "
        "does not yet vanish in any of them. Try a longer text."
    )


def _recall(study: Study) -> str:
    """How many networks recall the first word after training."""
    if len(study.stages) < 2:
        return ""
    stage, when = list(study.stages.items())[-1]
    count = f" of {study.draws} networks" if study.draws > 1 else " network"
    found = []
    for each in study.networks:
        learned = each.stages[stage].learned
        found.append(f"{learned}{'' if found else count} ({each.title})")
    return f"{_capital(when)}, the first word is recalled by {listed(found)}."


def _shares_after(study: Study) -> str:
    """Where training has raised the share of the first word, and where it has lowered it."""
    if len(study.stages) < 2:
        return ""
    before, after = study.stages
    parts = {"grown": [], "fallen": []}
    for each in study.networks:
        old, new = (each.stages[stage] for stage in (before, after))
        change = float(medians(new.shares)[0]) - float(medians(old.shares)[0])
        if math.isfinite(change):
            parts["fallen" if change < 0 else "grown"].append(
                f"to {_percent(new)} in the {each.title}"
            )
    told = [f"{verb} {listed(where)}" for verb, where in parts.items() if where]
    return f"Its share has {' and '.join(told)}." if told else ""


def _ratio(stage: Stage) -> float:
    return float(medians(stage.log10_ratios)[0])


def _percent(stage: Stage) -> str:
    return f"{rounded(100 * float(medians(stage.shares)[0]), 1)}%"


def _middle(study: Study) -> str:
    return f"medians of {study.draws} draws of the weights" if study.draws > 1 else "of one draw"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
