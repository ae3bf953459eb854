"""What a diagnosis is made of: findings with evidence, and remedies with what they predict."""

import math
import textwrap
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from lstmgrad._calls import public
from lstmgrad._checks import check_kind
from lstmgrad._writing import WIDTH, number

Verdict = Literal["found", "clear", "undecided"]
Severity = Literal["severe", "mild", "none"]
Side = Literal["above", "below"]


class Evidence(NamedTuple):
    """A number that was read, how well it is known, and what it is held against.

    Attributes:
        value: what was read, in the unit said.
        error: half the width of the interval about it: of the mean over the sequences of a batch
            at 95 %, or what the arithmetic leaves; inf where nothing is known.
        threshold: what it is held against; None where it is there to be read alone.
        side: on which side of the threshold the trouble lies.
        unit: "ln" for a natural logarithm, "steps", "nats per step", or "" for a plain number.
        text: what the number is, in words.
        basis: where the threshold comes from; empty where there is none.

    Example:
        >>> tail = lg.diagnosis.Evidence(-9.0, error=1.0, threshold=-6.9, unit="ln")
        >>> tail.interval, tail.verdict
        ((-10.0, -8.0), 'found')
    """

    value: float
    error: float = 0.0
    threshold: float | None = None
    side: Side = "below"
    unit: str = ""
    text: str = ""
    basis: str = ""

    @property
    def interval(self) -> tuple[float, float]:
        """The least and the largest value that the number may have."""
        if math.isinf(self.error):
            return -math.inf, math.inf
        return self.value - self.error, self.value + self.error

    @property
    def verdict(self) -> Verdict:
        """Found on the side of the trouble, clear on the other, undecided in between.

        Undecided, too, where the number is NaN, and where it is held against nothing.
        """
        if self.threshold is None or math.isnan(self.value):
            return "undecided"
        low, high = self.interval
        if low <= self.threshold <= high and low < high:
            return "undecided"
        beyond = low > self.threshold if self.side == "above" else high < self.threshold
        return "found" if beyond else "clear"


class Prediction(NamedTuple):
    """What a reading is predicted to be once a remedy is applied.

    Attributes:
        reading: the name of the evidence, in the same finding.
        value: what it will be, in the unit of the evidence.
        low: the least that it may be.
        high: the largest that it may be.
        formula: how the number was computed.

    Example:
        >>> half_life = lg.diagnosis.Prediction("half-life", 13.5, 12.0, 15.0, "-ln 2/ln σ(b)")
        >>> half_life.holds(13.9), half_life.holds(20.0)
        (True, False)
    """

    reading: str
    value: float
    low: float
    high: float
    formula: str

    def holds(self, value: float) -> bool:
        """Returns whether a later reading lies in the interval.

        Args:
            value: of the evidence of that name, in a diagnosis of what the remedy made.

        Example:
            >>> half_life.holds(12.0)
            True
        """
        return self.low <= value <= self.high


class Remedy(NamedTuple):
    """What to change, and what that will do.

    Attributes:
        name: a stable name, such as "forget-bias".
        kind: what is changed: the "parameters" of the model, the options of the "training" (the
            length of truncation, the clipping), or the "model" that is chosen.
        why: a sentence.
        apply: from parameters to parameters, or from a dict of training options to another one; it
            changes nothing in place.
        predicted: what readings will be, computed from a formula; empty where there is none.
        code: the same as a piece of Python for weights of PyTorch; empty where there is none.

    Example:
        >>> def cut(options):
        ...     return options | {"truncation": 9}
        >>> remedy = lg.diagnosis.Remedy("cut", "training", "Steps further back add nothing.", cut)
        >>> remedy.apply({"truncation": 20, "clip": 1.0})
        {'truncation': 9, 'clip': 1.0}
    """

    name: str
    kind: Literal["parameters", "training", "model"]
    why: str
    apply: Callable[[Any], Any]
    predicted: tuple[Prediction, ...] = ()
    code: str = ""


class Finding(NamedTuple):
    """What a rule says about a model.

    Attributes:
        rule: the stable name of the rule, such as "reach".
        verdict: "found": it is so; "clear": it is not; "undecided": the intervals do not say, or
            something that the rule needs was not given.
        severity: how bad it is where it is found: "severe", "mild", or "none" for good news.
        title: the finding in a few words.
        evidence: the numbers by name, the one that decides first.
        because: what follows from them, in plain sentences.
        source: the formula, and who says so.
        remedies: what helps, the best first.
        cause: the rule that explains this finding, as closed gates explain a gradient that does not
            reach; empty where there is none.

    Example:
        >>> batch = jnp.stack([inputs, -inputs])
        >>> found = lg.diagnose(jax.vmap(lambda one: lg.chain(model, one))(batch), lag=5)
        >>> found["non-finite"].rule, found["non-finite"].verdict
        ('non-finite', 'clear')
    """

    rule: str
    verdict: Verdict
    severity: Severity
    title: str
    evidence: dict[str, Evidence]
    because: str
    source: str
    remedies: tuple[Remedy, ...] = ()
    cause: str = ""

    def __str__(self) -> str:
        """The title, the reason and the numbers."""
        lines = [f"{self.verdict}: {self.title} [{self.rule}]"]
        lines += _wrapped(self.because)
        if self.cause:
            lines += _wrapped(f"The reason: {self.cause}.")
        for name, entry in self.evidence.items():
            lines += _wrapped(f"- {name} = {with_error(entry)}: {entry.text}{against(entry)}")
        for remedy in self.remedies:
            lines += _wrapped(f"remedy {remedy.name}: {remedy.why}")
        return "\n".join(lines)


class Settings(NamedTuple):
    """What was diagnosed, and how.

    Attributes:
        length: T.
        lag: how far back the task needs the gradient to reach.
        sequences: how many the intervals come from; with one of them they are those of the
            arithmetic alone, and the verdicts hold for this sequence.
        loss: "given", or what stands in for it.
        clip: the largest norm that gradients are allowed in training; None is none.
        truncation: the steps that back-propagation goes back in training; None is all of them.
        batch_size: sequences in a batch of the training, whose mean gradient is clipped.
        dtype: of the flat state.
        step: the name of the step function.
        sizes: the numbers in each part of the state.
        versions: of the packages.

    Example:
        >>> batch = jnp.stack([inputs, -inputs])
        >>> found = lg.diagnose(jax.vmap(lambda one: lg.chain(model, one))(batch), lag=5)
        >>> found.settings.lag, found.settings.sequences, found.settings.sizes
        (5, 2, {'h': 3, 'c': 3})
    """

    length: int
    lag: int
    sequences: int
    loss: str
    clip: float | None
    truncation: int | None
    batch_size: int
    dtype: str
    step: str
    sizes: dict[str, int]
    versions: dict[str, str]


@public
def shown(entry: Evidence) -> str:
    """Writes the value of a piece of evidence; logarithms as powers of ten, near 1 as numbers.

    Args:
        entry: the evidence.

    Returns:
        The number with its unit, three digits: "10^-9.99", "0.37", "12 steps".

    Raises:
        ValueError: something else.

    Example:
        >>> lg.diagnosis.shown(lg.diagnosis.Evidence(-23.0, unit="ln"))
        '10^-9.99'
    """
    check_kind(entry, Evidence, "entry")
    return _shown(entry.value, entry.unit)


def _shown(value: float, unit: str) -> str:
    if unit == "ln":
        decades = value / math.log(10)
        if abs(decades) < 1:
            return number(10**decades, 3)
        return "0" if decades == -math.inf else f"10^{number(decades, 3)}"
    return f"{number(value, 3)} {unit}".rstrip()


def with_error(entry: Evidence) -> str:
    """Writes the value with its interval.

    Args:
        entry: the evidence.
    """
    if entry.error == 0 or math.isnan(entry.value):
        return shown(entry)
    if math.isinf(entry.error):
        return f"{shown(entry)}, not resolved"
    low, high = entry.interval
    unit = entry.unit if entry.unit == "ln" else ""
    return f"{shown(entry)} ({_shown(low, unit)} to {_shown(high, unit)})"


def against(entry: Evidence) -> str:
    """Writes what the value is held against; nothing where there is no threshold.

    Args:
        entry: the evidence.
    """
    if entry.threshold is None:
        return ""
    return f"; trouble {entry.side} {_shown(entry.threshold, entry.unit)}, {entry.basis}"


def _wrapped(text: str) -> list[str]:
    indent = "  "
    return textwrap.wrap(text, WIDTH - 2, initial_indent=indent, subsequent_indent=indent)
