"""Two tables in plain ASCII: what is recalled at which delay, and what the gradient has left."""

import math
from collections.abc import Sequence

import numpy as np

import lstmgrad as lg
from lstmgrad.cli._shared.console import log10
from lstmgrad.cli.recall._study import Networks, Study


def tables(study: Study) -> list[str]:
    """Returns the lines of both tables."""
    return [*_scores(study), "", *_gradients(study)]


def _scores(study: Study) -> list[str]:
    """Scores by delay: the median, and the range of the networks below it where they differ."""
    options, count = study.options, study.options.seeds
    when = list(study.stages.values())[-1]
    many = f"median (least-most) of {count} networks" if count > 1 else "one network"
    lines = [
        f"Share of right answers {when}, by delay; {study.baseline.score:.2f} without a",
        f"memory; {many}; longer delays where {options.delay} is recalled",
    ]
    heads = ["network", *(f"delay {d}" if not i else str(d) for i, d in enumerate(study.sizes))]
    rows = [
        [each.title, *(_range(each.scores[d]) if d in each.scores else "" for d in study.sizes)]
        for each in study.networks
    ]
    return [*lines, *aligned([heads, *rows])]


def _gradients(study: Study) -> list[str]:
    """Norms, additive paths and swaps by kind and stage, as decimal logarithms."""
    lag = study.lag
    lines = [
        f"log10 at lag {lag}, from the first input's state to the last one; medians.",
        "norm: the largest gain of dc_T/dc_1, or of dh_T/dh_1 where there is no c",
        "path: that of the additive path alone, c to c through the forget gates",
        "bias: sigma(b)^lag, the path if the gates stayed where the bias b puts them",
        "swap: how far h_T moves if the first input is another one, in float64",
    ]
    heads = ["network", "s", "stage", "norm", "path", "bias", "swap"]
    rows = [
        [
            each.title,
            each.part,
            stage,
            text(median_log10(reading.norms, lag)),
            "" if reading.path is None else text(median_log10(reading.path, lag)),
            "" if each.forget_bias is None else text(gate_power(each.forget_bias, lag)),
            _swap(each, stage),
        ]
        for each in study.networks
        for stage, reading in each.readings.items()
    ]
    table = aligned([heads, *rows])
    if any("<" in line for line in table):
        lines.append("<: below what rounding alone does, or below what the dtype resolves")
    return [*lines, *table]


def _range(scores: np.ndarray) -> str:
    middle, low, high = np.median(scores), scores.min(), scores.max()
    spread = f" ({low:.2f}-{high:.2f})" if high - low >= 0.005 else ""
    return f"{middle:.2f}{spread}"


def _swap(networks: Networks, stage: str) -> str:
    swaps = networks.swaps[stage]
    if swaps is None:
        return ""
    distance, noise = np.median(swaps.distances), np.median(swaps.noise)
    if distance <= noise:
        return f"<{math.log10(noise):.1f}"
    return f"{math.log10(distance):.1f}"


def gate_power(bias: float, lag: int) -> float:
    """Returns log10 of sigma(bias)^lag.

    Args:
        bias: of the forget gate.
        lag: how many steps.
    """
    return -lag * math.log1p(math.exp(-bias)) / math.log(10)


def median_log10(profile: lg.NormProfile, lag: int) -> tuple[float, bool]:
    """Returns the median of log10 of the norms at a lag, and whether the norms are resolved there.

    Args:
        profile: networks first.
        lag: one of its lags.
    """
    index = int(np.flatnonzero(np.asarray(profile.lags)[0] == lag)[0])
    seen = ~np.isposinf(np.asarray(profile.errors)[:, index])
    return float(np.median(log10(profile.log_norms)[:, index])), bool(seen.all())


def text(value: float | tuple[float, bool]) -> str:
    """Returns a decimal logarithm for a table, behind a < where it is only a bound.

    Args:
        value: the logarithm, perhaps with whether it is resolved.
    """
    number, seen = value if isinstance(value, tuple) else (value, True)
    if number == -math.inf:
        return "exact 0"
    return f"{'' if seen else '<'}{number:.1f}"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Returns a table as lines: the first columns of words to the left, numbers to the right.

    Args:
        rows: the first of them has the heads.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    words = {"network", "s", "stage"}
    return [
        "  ".join(
            f"{entry:<{width}}" if head in words else f"{entry:>{width}}"
            for entry, width, head in zip(row, widths, rows[0], strict=True)
        ).rstrip()
        for row in rows
    ]
