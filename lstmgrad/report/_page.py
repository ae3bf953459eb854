"""One self-contained HTML file: what was found, in sentences first and in numbers below them."""

import base64
import functools
import importlib.resources
import re
from collections.abc import Mapping
from typing import Any

from lstmgrad._calls import public
from lstmgrad._checks import check_kind, require
from lstmgrad.diagnosis import Diagnosis, Evidence, Finding, shown
from lstmgrad.plot import Illustration, encode


@public
def page(
    diagnosis: Diagnosis,
    figures: Mapping[str, Illustration] | None = None,
    *,
    title: str = "Where the gradient goes",
    about: Mapping[str, str] | None = None,
) -> bytes:
    """Returns a diagnosis as one self-contained HTML file.

    What was found stands first, the severe before the mild, each with its reason, figure, evidence,
    remedies and source; then what is open, then what is in order in one table; last the settings,
    inputs and versions.

    Args:
        diagnosis: from `lg.diagnose`.
        figures: by rule, from `lg.plot.diagnosis` or of your own; they become SVG inside the file.
            None is a page without figures.
        title: of the page.
        about: what else a reader has to know, by name: where weights and inputs come from, the
            seed, the command.

    Returns:
        UTF-8, the same bytes for the same diagnosis. No network and no script are needed to read
        it.

    Raises:
        ImportError: jinja2 is not installed.
        ValueError: not a diagnosis; a figure for a rule that it does not have.

    Example:
        ``Path("page.html").write_bytes(lg.report.page(found, lg.plot.diagnosis(found)))``

        >>> batch = jnp.stack([inputs, -inputs])
        >>> found = lg.diagnose(jax.vmap(lambda one: lg.chain(model, one))(batch), lag=5)
        >>> b"<html" in lg.report.page(found)
        True
    """
    check_kind(diagnosis, Diagnosis, "diagnosis")
    figures = figures or {}
    _check_rules(set(figures), [finding.rule for finding in diagnosis])
    found, undecided, clear = (
        [_card(finding, figures) for finding in diagnosis if finding.verdict == verdict]
        for verdict in ("found", "undecided", "clear")
    )
    settings = diagnosis.settings
    used = {
        "Length T": f"{settings.length} steps",
        "Lag": f"{settings.lag} steps",
        "Sequences": str(settings.sequences),
        "Loss": settings.loss,
        "Clipping": "none" if settings.clip is None else f"norm {settings.clip:g}",
        "Truncation": "none" if settings.truncation is None else f"{settings.truncation} steps",
        "Batch": str(settings.batch_size),
        "Precision": settings.dtype,
        "Step": settings.step,
        "State": ", ".join(f"{part} ({size})" for part, size in settings.sizes.items()),
    }
    html = _template().render(
        title=title,
        headline=_headline(diagnosis),
        found=found,
        undecided=undecided,
        clear=clear,
        about=dict(about or {}),
        settings=used,
        versions=settings.versions,
    )
    return html.encode()


@functools.cache
def _template() -> Any:
    jinja = require("jinja2", "report")
    environment = jinja.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja.StrictUndefined
    )
    environment.filters["powers"] = _powers
    files = importlib.resources.files("lstmgrad.report")
    return environment.from_string(files.joinpath("page.html.jinja").read_text("utf-8"))


def _powers(text: str) -> Any:
    """The text with powers of ten set as such."""
    markup = require("markupsafe", "report")
    raised = re.sub(r"10\^(-?[0-9.]*[0-9])", r"10<sup>\1</sup>", str(markup.escape(text)))
    return markup.Markup(raised.replace("<sup>-", "<sup>−"))


def _headline(diagnosis: Diagnosis) -> str:
    """What was found, in a few sentences."""
    severe = diagnosis.severe
    others = [finding for finding in diagnosis.found if finding not in severe]
    first = severe or [finding for finding in others if not finding.cause]
    sentences = [f"{finding.title}." for finding in first]
    if more := len(diagnosis.found) - len(first):
        sentences.append(f"{more} more finding{'s' * (more > 1)} below.")
    if not severe:
        good = [f for f in diagnosis if f.verdict == "found" and f.severity == "none"]
        sentences += [f"{finding.title}." for finding in good]
        nothing = "Nothing severe was found." if others else "Nothing was found to be wrong."
        sentences.insert(0, nothing)
    return " ".join(sentences)


def _card(finding: Finding, figures: Mapping[str, Illustration]) -> dict[str, Any]:
    """A finding as the template takes it."""
    drawn = figures.get(finding.rule)
    badge = finding.verdict
    if finding.verdict == "found":
        badge = {"severe": "severe", "mild": "mild", "none": "good"}[finding.severity]
    return {
        "rule": finding.rule,
        "badge": badge,
        "title": finding.title,
        "because": finding.because,
        "cause": finding.cause,
        "source": finding.source,
        "figure": None if drawn is None else _data_uri(encode(drawn.figure, "svg")),
        "alt": "" if drawn is None else drawn.alt,
        "evidence": [_row(name, entry) for name, entry in finding.evidence.items()],
        "remedies": [
            {
                "name": remedy.name,
                "why": remedy.why,
                "code": remedy.code,
                "predicted": [
                    {
                        "reading": each.reading,
                        "value": _like(finding, each.reading, float(each.value)),
                        "low": _bare(finding, each.reading, float(each.low)),
                        "high": _bare(finding, each.reading, float(each.high)),
                        "formula": each.formula,
                    }
                    for each in remedy.predicted
                ],
            }
            for remedy in finding.remedies
        ],
    }


def _row(name: str, entry: Evidence) -> dict[str, str]:
    """A piece of evidence as text."""
    low, high = (shown(Evidence(bound, unit=_scale(entry.unit))) for bound in entry.interval)
    interval = f"{low} to {high}" if entry.error else ""
    if entry.error == float("inf"):
        interval = "not resolved"
    threshold = ""
    if entry.threshold is not None:
        limit = shown(Evidence(entry.threshold, unit=entry.unit))
        threshold = f"trouble {entry.side} {limit}"
    return {
        "name": name,
        "text": entry.text,
        "value": shown(entry),
        "interval": interval,
        "threshold": threshold,
        "basis": entry.basis,
        "verdict": entry.verdict if entry.threshold is not None else "",
    }


def _like(finding: Finding, reading: str, value: float) -> str:
    """A number in the unit of a piece of evidence."""
    entry = finding.evidence.get(reading)
    return shown(Evidence(value, unit="" if entry is None else entry.unit))


def _bare(finding: Finding, reading: str, value: float) -> str:
    """The same without the name of the unit, which stands beside it already."""
    entry = finding.evidence.get(reading)
    return shown(Evidence(value, unit=_scale("" if entry is None else entry.unit)))


def _scale(unit: str) -> str:
    """The unit without its name: logarithms stay powers of ten."""
    return unit if unit == "ln" else ""


def _data_uri(svg: bytes) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"


def _check_rules(given: set[str], known: list[str]) -> None:
    """Figures belong to findings."""
    for rule in sorted(given - set(known)):
        raise ValueError(
            f"figures: expected figures for the rules {', '.join(known)}, but got {rule!r}."
        )
