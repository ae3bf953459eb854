"""The rules, one family a file: pure functions of readings and settings to one finding each.

A rule reads numbers, holds each against a threshold whose origin it names, and says found, clear or
undecided; None where it does not apply to the cell. It knows nothing of the other rules: which
finding explains which is said in `EXPLAINS`.
"""

from collections.abc import Callable, Sequence

from lstmgrad.diagnosis._records import Finding
from lstmgrad.diagnosis._rules._case import Case
from lstmgrad.diagnosis._rules._gain import dead_units, gain, saturated_units
from lstmgrad.diagnosis._rules._gates import forget_gates, saturated_output
from lstmgrad.diagnosis._rules._growth import growth, non_finite
from lstmgrad.diagnosis._rules._reach import memory_is_fine, reach
from lstmgrad.diagnosis._rules._signal import directions, signal_to_noise
from lstmgrad.diagnosis._rules._training import clip, truncation

Rule = Callable[[Case], Finding | None]

RULES: dict[str, Rule] = {
    "non-finite": non_finite,
    "forget-gates": forget_gates,
    "saturated-output": saturated_output,
    "saturated-units": saturated_units,
    "dead-units": dead_units,
    "gain": gain,
    "reach": reach,
    "growth": growth,
    "truncation": truncation,
    "clip": clip,
    "signal-to-noise": signal_to_noise,
    "directions": directions,
    "memory-is-fine": memory_is_fine,
}
"""All rules by their stable names, causes before what they explain."""

EXPLAINS = {
    "non-finite": ("reach", "growth", "clip", "gain"),
    "dead-units": ("gain", "reach", "directions"),
    "saturated-units": ("gain", "reach", "directions"),
    "saturated-output": ("reach", "signal-to-noise"),
    "forget-gates": ("reach", "directions", "signal-to-noise"),
    "gain": ("reach", "growth", "directions", "signal-to-noise"),
    "growth": ("clip", "signal-to-noise"),
    "reach": ("signal-to-noise", "directions"),
}
"""Which findings follow from another one."""


def with_causes(findings: Sequence[Finding]) -> list[Finding]:
    """Returns the findings, each with the rule that explains it, where one was found that does.

    Args:
        findings: one for each rule.
    """
    found = {finding.rule for finding in findings if finding.verdict == "found"}

    def cause(finding: Finding) -> str:
        if finding.verdict != "found":
            return ""
        causes = (rule for rule, explained in EXPLAINS.items() if finding.rule in explained)
        return next((rule for rule in causes if rule in found), "")

    return [finding._replace(cause=cause(finding)) for finding in findings]


__all__ = ["EXPLAINS", "RULES", "Case", "Rule", "with_causes"]
