"""What a comparison measured: records that tables, sentence, figure and files are made from."""

import math
from typing import NamedTuple

import lstmgrad as lg
from lstmgrad.cli._shared.sequences import Sequence
from lstmgrad.cli._shared.training import KINDS

INITIAL, TRAINED = "initial", "trained"
THRESHOLD = 1e-3


class Curve(NamedTuple):
    """One part of one cell at one stage, by itself or by a part of another layer.

    Attributes:
        cell: a name from `KINDS`.
        part: the part of the state that is differentiated, with respect to `profile.wrt`.
        stage: `INITIAL` or `TRAINED`.
        profile: from `backward_norms`, lags 0 to the length.
        decay_rate: nats per step.
        horizon: steps; inf beyond the profile.
    """

    cell: str
    part: str
    stage: str
    profile: lg.NormProfile
    decay_rate: float
    horizon: float

    def log10_norm(self, lag: int) -> float:
        """log₁₀ ‖∂part_T/∂part_k‖₂ at one lag."""
        return float(self.profile.log_norms[lag]) / math.log(10)

    @property
    def title(self) -> str:
        """How the curve is called in a sentence."""
        across = "" if self.wrt == self.part else f" by {self.wrt}"
        return f"{KINDS[self.cell].title} {self.part}{across}"

    @property
    def wrt(self) -> str:
        """The part with respect to which it is differentiated."""
        return str(self.profile.wrt)


class Study(NamedTuple):
    """Everything that was measured.

    Attributes:
        curves: by cell, then part, then stage.
        losses: by cell, then stage, in `loss_unit`; none for weights from a file.
        lags: the columns of the table.
        length: T, the steps that were analyzed.
        steps: training steps; None for weights from a file.
        sequence: what the cells ran over.
    """

    curves: tuple[Curve, ...]
    losses: dict[str, dict[str, float]]
    lags: tuple[int, ...]
    length: int
    steps: int | None
    sequence: Sequence

    @property
    def loss_unit(self) -> str:
        """The unit of the losses."""
        if self.sequence.symbolic:
            return "nats per character"
        return "standardized mean squared error"


def stage_title(stage: str, steps: int | None) -> str:
    """The stage in words.

    Args:
        stage: `INITIAL` or `TRAINED`.
        steps: training steps; None for weights from a file.
    """
    if stage == INITIAL:
        return "at initialization"
    if steps is None:
        return "as trained"
    return f"after {steps} training step{'' if steps == 1 else 's'}"
