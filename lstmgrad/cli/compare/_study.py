"""What a comparison measured: the record that table, sentence, figure and files are made from."""

import math
import textwrap
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

import lstmgrad as lg
from lstmgrad.cli._shared.console import entry
from lstmgrad.cli._shared.kinds import KINDS
from lstmgrad.cli._shared.sequences import Sequence
from lstmgrad.cli.compare._finite import Broken

MEDIAN = 2
"""The place of the median among the quantiles of a batch summary."""

DRAWN = 20
"""Curves in a panel of the figure: as many as colors and dashes can tell apart."""


class Curve(NamedTuple):
    """One block of one cell at one stage: a part by itself, or by a part of another layer.

    Attributes:
        cell: a name from `KINDS`.
        stage: a name from the stages of the study.
        label: its name in the figure.
        profile: from `backward_norms`, lags 0 to the length; of several sequences a batch.
        decay_rate: nats per step; the median over the sequences.
        horizon: steps; inf beyond the profile, NaN where it is not known; likewise.
        path: the same through the additive path of the cell alone; None without one.
        alone: whether this is such a path.
        batch: medians and bands over the sequences; None for one.
    """

    cell: str
    stage: str
    label: str
    profile: lg.NormProfile
    decay_rate: float
    horizon: float
    path: "Curve | None" = None
    alone: bool = False
    batch: lg.BatchSummary | None = None

    @property
    def part(self) -> str:
        """The part of the state that is differentiated."""
        return str(self.profile.of)

    @property
    def wrt(self) -> str:
        """The part with respect to which it is differentiated."""
        return str(self.profile.wrt)

    @property
    def block(self) -> str:
        """The part, or both parts if they are two, "c1/c0"; "path" or "c1 path" alone."""
        if self.alone:
            return "path" if self.part == "c" else f"{self.part} path"
        return self.part if self.wrt == self.part else f"{self.part}/{self.wrt}"

    @property
    def title(self) -> str:
        """What the curve is called in a sentence."""
        return f"{KINDS[self.cell].title} {self.block.replace('/', ' by ')}"

    @property
    def unresolved(self) -> np.ndarray:
        """(T+1,), the lags at which the norm is below what the dtype resolves."""
        if self.batch is not None:
            return np.isfinite(self.batch.medians) & ~np.asarray(self.batch.resolved[MEDIAN])
        errors, log_norms = np.asarray(self.profile.errors), np.asarray(self.profile.log_norms)
        return np.isposinf(errors) & np.isfinite(log_norms)

    def log10_norm(self, lag: int) -> float | None:
        """log₁₀ ‖∂part_T/∂wrt_k‖₂ at one lag, or its median; None where it is not resolved."""
        if self.unresolved[lag]:
            return None
        norms = self.profile.log_norms if self.batch is None else self.batch.medians
        return float(norms[lag]) / math.log(10)

    def known(self, value: float) -> float | None:
        """The decay rate or the horizon; None where it hangs on norms that are not resolved."""
        lost = np.isnan(self.profile.log_norms).any() or not self.unresolved.any()
        return None if math.isnan(value) and not lost else value


class Losses(NamedTuple):
    """Losses before and after training.

    Attributes:
        unit: of all of them; None if there are none.
        chance: the loss of a prediction that has learned nothing, in words.
        values: by cell, then stage.
    """

    unit: str | None = None
    chance: str = ""
    values: Mapping[str, Mapping[str, float]] = MappingProxyType({})


class Study(NamedTuple):
    """Everything that was measured.

    Attributes:
        curves: by cell, then block, then stage.
        stages: what each stage is called in a sentence; the last one is read in the sentence.
        columns: the heads of what names a row of the table: "cell", "s", perhaps "stage".
        lags: the columns of the table.
        length: T, the steps that were analyzed.
        settings: what was asked for, for the files.
        losses: of the training, if there was one.
        broken: where a cell stops being finite; its norms are then NaN at longer lags.
    """

    curves: tuple[Curve, ...]
    stages: dict[str, str]
    columns: tuple[str, ...]
    lags: tuple[int, ...]
    length: int
    settings: dict[str, Any]
    losses: Losses = Losses()
    broken: tuple[Broken, ...] = ()

    @property
    def sequences(self) -> int:
        """Of how many sequences the numbers are the medians."""
        return self.settings.get("sequences", 1)

    @property
    def rows(self) -> list[Curve]:
        """All curves, each followed by its additive path where it has one."""
        pairs = ((curve, curve.path) for curve in self.curves)
        return [curve for pair in pairs for curve in pair if curve is not None]


def curves_of(cell: str, stage: str, found: Iterable[tuple], label: str = "") -> list[Curve]:
    """Returns what was found at one stage as curves.

    Args:
        cell: a name from `KINDS`.
        stage: the name of the stage.
        found: from `read_blocks`, on the host.
        label: what stands in front of the block in the figure.
    """
    curves = []
    for profile, rate, horizon, along in found:
        named, path = label + _symbol(profile), None
        if along is not None:
            path = _curve(cell, stage, f"{named} path", along)._replace(alone=True)
        curves.append(_curve(cell, stage, named, (profile, rate, horizon))._replace(path=path))
    return curves


def _curve(cell: str, stage: str, label: str, found: tuple) -> Curve:
    """One sequence, or the medians of several."""
    profile, rate, horizon = found
    if np.ndim(profile.log_norms) == 1:
        return Curve(cell, stage, label, profile, float(rate), float(horizon))
    batch = lg.batch_summary(profile)

    def median(name: str) -> float:
        known = batch.numbers_resolved[name][MEDIAN]
        return float(batch.numbers[name][MEDIAN]) if known else math.nan

    return Curve(cell, stage, label, profile, median("decay_rate"), median("horizon"), batch=batch)


def summary_lines(sequence: Sequence, model: list[str], shape: tuple[int, ...]) -> list[str]:
    """Returns what will be done, line by line.

    Args:
        sequence: what is read.
        model: the lines about model and training.
        shape: (N, T, ...), the sequences and the steps to analyze.
    """
    count, length = shape[:2]
    what = f"first {length} steps from the zero state"
    if sequence.pieces > 1:
        what = f"first {length} steps of {count} sequences, each from the zero state"
    elif count > 1:
        what = f"{count} stretches of {length} steps, spread evenly, each from the zero state"
    notes = (line for note in sequence.notes for line in textwrap.wrap(note, 69))
    data = entry("data", sequence.source, sequence.summary, *notes)
    return [*data, *model, *entry("analysis", what)]


def _symbol(profile: lg.NormProfile) -> str:
    return f"${profile.of}$" if profile.of == profile.wrt else f"${profile.of}$ by ${profile.wrt}$"
