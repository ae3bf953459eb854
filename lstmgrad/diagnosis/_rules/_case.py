"""What rules share: the readings on the host, and the numbers that several of them look at."""

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from lstmgrad.diagnosis._records import Evidence, Settings, Verdict
from lstmgrad.diagnosis._rules._noise import Signal, signal_of
from lstmgrad.diagnosis._statistics import mean_with_error

ADAM_EPSILON = 1e-8
"""Adam moves a parameter by m/(√v + 1e-8): what is smaller than that moves nothing."""

FEWEST = 4
"""Sequences below which a signal is not looked for."""

MANY = 1e9
"""More sequences than a training sees, where their number is not given."""

SATURATED = 0.9
"""The activation from which on a unit counts as saturated."""

FLAT = 1 - SATURATED**2
"""The slope of tanh there, .19."""


@dataclass(frozen=True)
class Case:
    """A model on a batch of sequences: all that a rule looks at.

    Attributes:
        readings: `Readings` with NumPy's arrays, sequences on axis 0.
        settings: what was diagnosed.
        params: of the model.
        step: of the model.
        states: (N, T+1, ...) by part.
        chunks: (L,), lengths of chunks, the length in use first and then from 1 to T; None where
            nothing is truncated, like the next.
        chunked: (N, L), the bias of truncation in such chunks.
        looks: the times at which the loss looks at a state.
        budget: the sequences that a training may see; None is unknown.
    """

    readings: Any
    settings: Settings
    params: Any
    step: Any
    states: dict[str, np.ndarray]
    chunks: np.ndarray | None
    chunked: np.ndarray | None
    looks: int
    budget: int | None

    @functools.cached_property
    def log_eps(self) -> float:
        """The logarithm of the rounding of the dtype."""
        return math.log(float(np.finfo(self.settings.dtype).eps))

    @functools.cached_property
    def share(self) -> Evidence:
        """What comes from the lag and from beyond it, as a share of the gradient."""
        gradients = self.readings.gradients
        nothing = np.isneginf(gradients.far_log_norms)
        with np.errstate(invalid="ignore"):
            shares = gradients.far_log_norms - gradients.log_norms
        shares = np.where(nothing, -np.inf, shares)
        value, error = mean_with_error(shares)
        return Evidence(
            value,
            error,
            self.log_eps,
            "below",
            "ln",
            f"‖g_l‖/‖g‖: what comes from {self.settings.lag} steps back or more, as a share of the "
            "gradient",
            f"the rounding of {self.settings.dtype}; what is smaller is lost in the sum",
        )

    @functools.cached_property
    def size(self) -> Evidence:
        """The same as a number, against what an optimizer looks at."""
        value, error = mean_with_error(self.readings.gradients.far_log_norms)
        return Evidence(
            value,
            error,
            math.log(ADAM_EPSILON),
            "below",
            "ln",
            f"‖g_l‖: the size of what comes from {self.settings.lag} steps back or more",
            "the epsilon that Adam adds to every denominator (Kingma & Ba 2015, Algorithm 1)",
        )

    @functools.cached_property
    def reaches(self) -> Verdict:
        """Whether the gradient reaches the lag: "found" where it does not."""
        drowned = self.needed is not None and self.needed.verdict == "found"
        return either(self.share.verdict, self.size.verdict, "found" if drowned else "clear")

    @functools.cached_property
    def signal(self) -> Signal | None:
        """What the far gradient has in common; None without the loss, or with few sequences."""
        if self.settings.loss != "given" or self.settings.sequences < FEWEST:
            return None
        return signal_of(self.readings.gradients)

    @functools.cached_property
    def needed(self) -> Evidence | None:
        """The sequences needed, at least, against more than a training sees."""
        if self.signal is None:
            return None
        return Evidence(
            self.signal.least,
            0.0,
            MANY,
            "above",
            "",
            "the sequences, at least, after which the mean of what comes from the lag is as large "
            "as the noise along it",
            "a billion, which no training sees",
        )

    @functools.cached_property
    def exponent(self) -> Evidence:
        """The leading Lyapunov exponent, against 0."""
        found = self.readings.exponents
        exponents = np.asarray(found.exponents, np.float64)[:, 0]
        value, error = mean_with_error(exponents)
        if len(exponents) == 1:
            error = 2 * float(found.standard_errors[0, 0])
        return Evidence(
            value,
            error,
            0.0,
            "above",
            "nats per step",
            "λ₁, the mean rate at which a perturbation grows",
            "perturbations neither grow nor shrink there; above, they grow without bound",
        )

    @functools.cached_property
    def slope(self) -> Evidence | None:
        """The slope of tanh(c) where the loss looks."""
        slopes = self.readings.slopes
        if slopes is None:
            return None
        value, error = mean_with_error(slopes)
        return Evidence(
            value,
            error,
            FLAT,
            "below",
            "",
            "the slope 1 - tanh²(c) between the cell and the loss, weighted with the square of "
            "what the loss asks of each unit",
            "the slope at tanh = .9, from where on a unit counts as saturated (Karpathy, Johnson & "
            "Fei-Fei 2015, Section 4.2)",
        )

    @functools.cached_property
    def path(self) -> Evidence | None:
        """What the additive path keeps over the lag, in a stack that of the layer that keeps most.

        Any one layer is enough for a gradient to go back in.
        """
        return max(self.paths.values(), key=lambda entry: entry.value, default=None)

    @functools.cached_property
    def paths(self) -> dict[str, Evidence]:
        """What the additive path of every layer keeps over the lag, by part.

        A layer without an additive path beside others that have one keeps exactly nothing, and is
        left out.
        """
        found = {}
        for part, profile in self.readings.paths.items():
            index = int(np.flatnonzero(profile.lags[0] == self.settings.lag)[0])
            if len(self.readings.paths) > 1 and np.isneginf(profile.log_norms[:, 1:]).all():
                continue
            value, error = mean_with_error(profile.log_norms[:, index])
            where = "" if part in ("c", "h") else f" ({part})"
            text = (
                f"what the additive path of the cell{where} alone keeps over the lag, in the unit "
                "that keeps most of it"
            )
            basis = f"the rounding of {self.settings.dtype}"
            found[part] = Evidence(value, error, self.log_eps, "below", "ln", text, basis)
        return found

    def values_of(self, tag: str) -> dict[str, np.ndarray]:
        """Returns tagged values by the part whose additive path they belong to.

        Args:
            tag: its name; nothing where the values do not add up to those of the layers.
        """
        values = self.readings.values.get(tag)
        letter = "h" if tag == "update" else "c"
        parts = [part for part in self.paths if part[0] == letter]
        widths = [self.settings.sizes[part] for part in parts]
        if values is None or values.shape[-1] != sum(widths):
            return {}
        pieces = np.split(values, np.cumsum(widths)[:-1], axis=-1)
        return dict(zip(parts, pieces, strict=True))


def either(*verdicts: Verdict) -> Verdict:
    """Returns found where one of them is, clear where all are, and undecided otherwise.

    Args:
        verdicts: of pieces of evidence.
    """
    if "found" in verdicts:
        return "found"
    return "clear" if all(verdict == "clear" for verdict in verdicts) else "undecided"


def both(*verdicts: Verdict) -> Verdict:
    """Returns found where all of them are, clear where one is, and undecided otherwise.

    Args:
        verdicts: of pieces of evidence.
    """
    if "clear" in verdicts:
        return "clear"
    return "found" if all(verdict == "found" for verdict in verdicts) else "undecided"


def opposite(verdict: Verdict) -> Verdict:
    """Returns clear for found, found for clear.

    Args:
        verdict: of a piece of evidence.
    """
    if verdict == "undecided":
        return "undecided"
    return "clear" if verdict == "found" else "found"
