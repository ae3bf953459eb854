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

THRESHOLD = 1e-3
DRAWN = 20
"""Curves in a panel of the figure: as many as colors and dashes can tell apart."""

CELL = "cell"
"""The tag of c_{t-1} in c_t = f ⊙ c_{t-1} + ...: the route of the additive path."""


class Curve(NamedTuple):
    """One block of one cell at one stage: a part by itself, or by a part of another layer.

    Attributes:
        cell: a name from `KINDS`.
        stage: a name from the stages of the study.
        label: its name in the figure.
        profile: from `backward_norms`, lags 0 to the length.
        decay_rate: nats per step.
        horizon: steps; inf beyond the profile, NaN where it is not known.
        path: the same through the additive path of the cell alone; None without one.
        alone: whether this is such a path.
    """

    cell: str
    stage: str
    label: str
    profile: lg.NormProfile
    decay_rate: float
    horizon: float
    path: "Curve | None" = None
    alone: bool = False

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
    def rows(self) -> list[Curve]:
        """All curves, each followed by its additive path where it has one."""
        pairs = ((curve, curve.path) for curve in self.curves)
        return [curve for pair in pairs for curve in pair if curve is not None]


def read_blocks(chain: lg.Chain, blocks: Iterable[tuple[str, str]]) -> list[tuple]:
    """Returns (profile, decay rate, horizon, the same through the additive path) for each block.

    The last one is None where a block has no such path: it leads from a cell c to itself.

    Args:
        chain: of one cell.
        blocks: (part, part with respect to which it is differentiated).
    """
    route = lg.routes(chain).get(CELL)

    def read(along: lg.Chain, of: str, wrt: str) -> tuple:
        profile = lg.backward_norms(along, of=of, wrt=wrt)
        return profile, lg.decay_rate(profile), lg.horizon(profile, threshold=THRESHOLD)

    return [
        (
            *read(chain, of, wrt),
            read(route, of, wrt) if route is not None and of == wrt and of[0] == "c" else None,
        )
        for of, wrt in blocks
    ]


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
            alone = float(along[1]), float(along[2])
            path = Curve(cell, stage, f"{named} path", along[0], *alone, alone=True)
        curves.append(Curve(cell, stage, named, profile, float(rate), float(horizon), path))
    return curves


def summary_lines(sequence: Sequence, model: list[str], length: int) -> list[str]:
    """Returns what will be done, line by line.

    Args:
        sequence: what is read.
        model: the lines about model and training.
        length: the steps to analyze.
    """
    notes = (line for note in sequence.notes for line in textwrap.wrap(note, 69))
    data = entry("data", sequence.source, sequence.summary, *notes)
    return [*data, *model, *entry("analysis", f"first {length} steps from the zero state")]


def _symbol(profile: lg.NormProfile) -> str:
    return f"${profile.of}$" if profile.of == profile.wrt else f"${profile.of}$ by ${profile.wrt}$"
