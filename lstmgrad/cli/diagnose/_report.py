"""What was found, in words on the terminal, as a page, a figure and JSON."""

import textwrap
from typing import Any

import lstmgrad as lg
from lstmgrad.cli.diagnose._study import Study
from lstmgrad.diagnosis import Evidence, Finding, shown

_WIDTH = 79


def tables(study: Study) -> list[str]:
    """Returns what was found and what is open in full, and what is in order by name."""
    lines: list[str] = []
    for finding in study.diagnosis:
        if finding.verdict == "found":
            lines += [*_in_full(finding), ""]
    for verdict, title in (("undecided", "open"), ("clear", "in order")):
        names = [finding.rule for finding in study.diagnosis if finding.verdict == verdict]
        if names:
            lines += _wrapped(f"{title}: {', '.join(names)}", "")
    return lines


def reading(study: Study) -> str:
    """Returns in one sentence or a few what was found."""
    severe, found = study.diagnosis.severe, study.diagnosis.found
    first = severe or [finding for finding in found if not finding.cause]
    titles = [finding.title for finding in first]
    if not titles:
        good = [f.title for f in study.diagnosis if f.verdict == "found"]
        return ". ".join(["Nothing was found to be wrong", *good]) + "."
    head = [] if severe else ["Nothing severe was found"]
    more = len(found) - len(titles)
    tail = [f"{more} more finding{'s' * (more > 1)}, mild or explained by these"] if more else []
    return ". ".join([*head, *titles, *tail]) + "."


def figure(study: Study) -> Any:
    """Returns the figure: norms by lag, and the share of the gradient that comes from there."""
    from lstmgrad.plot._diagnosis import overview

    return overview(study.diagnosis)


def page(study: Study) -> bytes:
    """Returns diagnose.html."""
    return lg.report.page(study.diagnosis, lg.plot.diagnosis(study.diagnosis), about=study.about)


def record(study: Study) -> dict[str, Any]:
    """Returns the entries of diagnose.json: those of `lg.report.json`, under a head of its own."""
    plain = study.diagnosis.plain()
    return {
        "about": study.about,
        "settings": plain["settings"],
        "findings": plain["findings"],
    }


def _in_full(finding: Finding) -> list[str]:
    severity = {"none": "good news"}.get(finding.severity, finding.severity)
    lines = _wrapped(f"{finding.title} [{finding.rule}, {severity}]", "")
    lines += _wrapped(finding.because)
    if finding.cause:
        lines += _wrapped(f"The reason: {finding.cause}.")
    for name, entry in finding.evidence.items():
        if entry.threshold is not None:
            lines += _wrapped(f"- {name} {_numbers(entry)}", "  ", "    ")
    for remedy in finding.remedies if not finding.cause else ():
        lines += _wrapped(f"* {remedy.name}: {remedy.why}", "  ", "    ")
    return lines


def _numbers(entry: Evidence) -> str:
    """A number, its interval and the threshold."""
    text = shown(entry)
    if entry.error and entry.error < float("inf"):
        unit = entry.unit if entry.unit == "ln" else ""  # the others have it at the value
        low, high = (shown(Evidence(bound, unit=unit)) for bound in entry.interval)
        text += f" ({low} to {high})"
    assert entry.threshold is not None
    limit = shown(Evidence(entry.threshold, unit=entry.unit))
    return f"{text}; trouble {entry.side} {limit}: {entry.basis}"


def _wrapped(text: str, indent: str = "  ", later: str | None = None) -> list[str]:
    more = indent if later is None else later
    return textwrap.wrap(text, _WIDTH, initial_indent=indent, subsequent_indent=more)
