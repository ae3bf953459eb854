"""What a comparison measured: the record that table, sentence, figure and files are made from."""

import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

import lstmgrad as lg
from lstmgrad.cli._shared.console import entry
from lstmgrad.cli._shared.kinds import KINDS
from lstmgrad.cli._shared.sequences import Sequence

THRESHOLD = 1e-3
DRAWN = 20
"""Curves in a panel of the figure: as many as colors and dashes can tell apart."""


class Curve(NamedTuple):
    """One block of one cell at one stage: a part by itself, or by a part of another layer.

    Attributes:
        cell: a name from `KINDS`.
        stage: a name from the stages of the study.
        label: its name in the figure.
        profile: from `backward_norms`, lags 0 to the length.
        decay_rate: nats per step.
        horizon: steps; inf beyond the profile, NaN where it is not known.
    """

    cell: str
    stage: str
    label: str
    profile: lg.NormProfile
    decay_rate: float
    horizon: float

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
        """The part, or both parts if they are two: "c1/c0"."""
        return self.part if self.wrt == self.part else f"{self.part}/{self.wrt}"

    @property
    def title(self) -> str:
        """What the curve is called in a sentence."""
        return f"{KINDS[self.cell].title} {self.block.replace('/', ' by ')}"

    @property
    def unresolved(self) -> np.ndarray:
        """(T+1,), the lags at which the norm is below what the dtype resolves."""
        errors, log_norms = np.asarray(self.profile.errors), np.asarray(self.profile.log_norms)
        return np.isposinf(errors) & np.isfinite(log_norms)

    def log10_norm(self, lag: int) -> float | None:
        """log₁₀ ‖∂part_T/∂wrt_k‖₂ at one lag; None where it is not resolved."""
        if self.unresolved[lag]:
            return None
        return float(self.profile.log_norms[lag]) / math.log(10)

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
    """

    curves: tuple[Curve, ...]
    stages: dict[str, str]
    columns: tuple[str, ...]
    lags: tuple[int, ...]
    length: int
    settings: dict[str, Any]
    losses: Losses = Losses()


def read_blocks(chain: lg.Chain, blocks: Iterable[tuple[str, str]]) -> list[tuple]:
    """Returns (profile, decay rate, horizon) for each block.

    Args:
        chain: of one cell.
        blocks: (part, part with respect to which it is differentiated).
    """
    profiles = [lg.backward_norms(chain, of=of, wrt=wrt) for of, wrt in blocks]
    return [(p, lg.decay_rate(p), lg.horizon(p, threshold=THRESHOLD)) for p in profiles]


def curves_of(cell: str, stage: str, found: Iterable[tuple], label: str = "") -> list[Curve]:
    """Returns what was found at one stage as curves.

    Args:
        cell: a name from `KINDS`.
        stage: the name of the stage.
        found: from `read_blocks`, on the host.
        label: what stands in front of the block in the figure.
    """
    return [
        Curve(cell, stage, label + _symbol(profile), profile, float(rate), float(horizon))
        for profile, rate, horizon in found
    ]


def summary_lines(sequence: Sequence, model: list[str], length: int) -> list[str]:
    """Returns what will be done, line by line.

    Args:
        sequence: what is read.
        model: the lines about model and training.
        length: the steps to analyze.
    """
    data = entry("data", sequence.source, sequence.summary)
    return [*data, *model, *entry("analysis", f"first {length} steps from the zero state")]


def _symbol(profile: lg.NormProfile) -> str:
    return f"${profile.of}$" if profile.of == profile.wrt else f"${profile.of}$ by ${profile.wrt}$"
