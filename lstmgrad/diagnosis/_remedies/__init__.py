"""Remedies: what to change, and what the same readings will then be.

A prediction is computed from a formula and the readings of the network as it is. Where the formula
leaves something out, as the change of h that follows from other gates, the interval is as wide as
that may matter, and the text says so.
"""

from lstmgrad.diagnosis._records import Finding, Remedy
from lstmgrad.diagnosis._remedies._gates import gate_remedies
from lstmgrad.diagnosis._remedies._training import (
    clip_remedies,
    growth_remedies,
    truncation_remedies,
)
from lstmgrad.diagnosis._remedies._weights import gain_remedies, input_remedies, unit_remedies
from lstmgrad.diagnosis._rules import Case

_MAKERS = {
    "forget-gates": gate_remedies,
    "saturated-output": gate_remedies,
    "gain": gain_remedies,
    "saturated-units": input_remedies,
    "dead-units": unit_remedies,
    "growth": growth_remedies,
    "truncation": truncation_remedies,
    "clip": clip_remedies,
}


def remedies_of(case: Case, finding: Finding) -> tuple[Remedy, ...]:
    """Returns what helps against a finding, the best first; nothing where nothing was found.

    Args:
        case: what was read.
        finding: of one rule, with its cause.
    """
    make = _MAKERS.get(finding.cause or finding.rule)
    if finding.verdict != "found" or make is None:
        return ()
    # What explains a finding is what has to be changed; its predictions are of other readings.
    made = make(case)
    if finding.cause:
        names = set(finding.evidence)
        made = [
            one._replace(predicted=tuple(p for p in one.predicted if p.reading in names))
            for one in made
        ]
        if finding.rule == "growth":
            made += growth_remedies(case)  # bounds the steps, whatever the reason of the growth
    return tuple(made)


__all__ = ["remedies_of"]
