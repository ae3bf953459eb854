"""A diagnosis as a whole: its findings in order, printed and as plain data."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

from lstmgrad._html import as_html
from lstmgrad._labeled import frame_of
from lstmgrad.diagnosis._records import Finding, Settings, with_error


@dataclass(frozen=True, repr=False)
class Diagnosis(Sequence[Finding]):
    """The findings on a model, one for each rule, the worst first.

    A sequence of `Finding`; ``diagnosis["reach"]`` is the one of that rule.

    Attributes:
        findings: all of them.
        settings: what was diagnosed, and how.
        readings: the `Readings` that the findings come from, with sequences on axis 0.

    Example:
        >>> batch = jnp.stack([inputs, -inputs])
        >>> found = lg.diagnose(jax.vmap(lambda one: lg.chain(model, one))(batch), lag=5)
        >>> found["non-finite"].verdict, found["non-finite"] in found.found
        ('clear', False)
    """

    findings: tuple[Finding, ...]
    settings: Settings
    readings: Any

    @property
    def found(self) -> tuple[Finding, ...]:
        """What was found to be wrong, severe findings first."""
        return tuple(f for f in self.findings if f.verdict == "found" and f.severity != "none")

    @property
    def severe(self) -> tuple[Finding, ...]:
        """What was found to be badly wrong, without what another finding explains."""
        return tuple(f for f in self.found if f.severity == "severe" and not f.cause)

    @overload
    def __getitem__(self, key: int | str) -> Finding: ...
    @overload
    def __getitem__(self, key: slice) -> tuple[Finding, ...]: ...
    def __getitem__(self, key: int | str | slice) -> Finding | tuple[Finding, ...]:
        """The finding of a rule by its name, or by its place."""
        if not isinstance(key, str):
            return self.findings[key]
        for finding in self.findings:
            if finding.rule == key:
                return finding
        known = ", ".join(finding.rule for finding in self.findings)
        raise KeyError(f"diagnosis[...]: expected a rule ({known}), but got {key!r}.")

    def __len__(self) -> int:
        """The number of findings."""
        return len(self.findings)

    def __iter__(self) -> Iterator[Finding]:
        """All findings."""
        return iter(self.findings)

    def summary(self) -> dict[str, float]:
        """Returns the diagnosis as a flat dict of floats, as every logger takes it.

        Returns:
            ``{rule}/found`` is 1 for found, 0 for clear and NaN for undecided; ``{rule}/{name}``
            the value of each piece of evidence.

        Example:
            >>> found.summary()["non-finite/found"]
            0.0
        """
        marks = {"found": 1.0, "clear": 0.0, "undecided": math.nan}
        flat = {}
        for finding in self.findings:
            flat[f"{finding.rule}/found"] = marks[finding.verdict]
            for name, entry in finding.evidence.items():
                flat[f"{finding.rule}/{name}"] = float(entry.value)
        return flat

    def to_dataframe(self) -> Any:
        """Returns the diagnosis as a `pandas.DataFrame`, a row for each piece of evidence.

        Returns:
            The index is the rule and the name of the evidence; columns are what the finding says
            (verdict, severity, cause), the value with the ends of its interval, ``low`` and
            ``high``, the threshold and its side, the unit, and the words.

        Raises:
            ImportError: pandas is not installed.

        Example:
            ``found.to_dataframe().query("verdict == 'found'")``

            >>> "threshold" in found.to_dataframe().columns
            True
        """
        rows = []
        for finding in self.findings:
            said = {"verdict": finding.verdict, "severity": finding.severity}
            for name, entry in finding.evidence.items():
                low, high = entry.interval
                where = {"rule": finding.rule, "evidence": name, **said, "cause": finding.cause}
                rows.append({**where, "low": low, "high": high, **entry._asdict()})
        return frame_of(rows, ["rule", "evidence"])

    def _repr_html_(self) -> str:
        """The line, and a row for each finding with what decides it, for a notebook."""
        rows = []
        for finding in self.findings:
            first = next(iter(finding.evidence.items()), None)
            what = "" if first is None else f"{first[0]} = {with_error(first[1])}"
            severity = finding.severity if finding.verdict == "found" else ""
            rows.append([finding.rule, finding.verdict, severity, what, finding.title])
        return as_html(repr(self), (["rule", "verdict", "severity", "evidence", "title"], rows))

    def plain(self) -> dict[str, Any]:
        """Returns the diagnosis as dicts, lists, strings and numbers, for a JSON file.

        Returns:
            All but the readings; numbers that are not finite are the strings "nan", "inf" and
            "-inf". A remedy is said by name, with its sentence, predictions and code.

        Example:
            >>> found.plain()["settings"]["lag"]
            5
        """
        return strict(
            {
                "format": "lstmgrad diagnosis",
                "format_version": 1,
                "settings": self.settings._asdict(),
                "findings": [_plain_finding(finding) for finding in self.findings],
            }
        )

    def __repr__(self) -> str:
        """One line: what was found."""
        names = ", ".join(finding.rule for finding in self.found) or "nothing"
        return f"Diagnosis(lag {self.settings.lag} of T = {self.settings.length}, found: {names})"

    def __str__(self) -> str:
        """What was found in full, and the other rules by name."""
        parts = [repr(self)]
        parts += [str(finding) for finding in self.findings if finding.verdict == "found"]
        for verdict in ("undecided", "clear"):
            names = [f.rule for f in self.findings if f.verdict == verdict]
            if names:
                parts.append(f"{verdict}: {', '.join(names)}")
        return "\n\n".join(parts)


def _plain_finding(finding: Finding) -> dict[str, Any]:
    return {
        **finding._asdict(),
        "evidence": {name: entry._asdict() for name, entry in finding.evidence.items()},
        "remedies": [
            {
                "name": remedy.name,
                "kind": remedy.kind,
                "why": remedy.why,
                "predicted": [prediction._asdict() for prediction in remedy.predicted],
                "code": remedy.code,
            }
            for remedy in finding.remedies
        ],
    }


def strict(value: Any) -> Any:
    """Returns the same for JSON, which has no NaN and no infinity.

    Args:
        value: dicts, lists, strings and numbers.
    """
    if isinstance(value, dict):
        return {key: strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [strict(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    return value
