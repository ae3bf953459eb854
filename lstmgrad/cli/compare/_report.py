"""What was measured in words: two tables and one sentence, in plain ASCII."""

import math

import numpy as np

from lstmgrad.cli._shared.console import listed
from lstmgrad.cli._shared.training import KINDS
from lstmgrad.cli.compare._study import INITIAL, THRESHOLD, TRAINED, Curve, Study, stage_title


def loss_table(study: Study) -> list[str]:
    """The lines of the table of losses.

    Args:
        study: what was measured.
    """
    if study.sequence.symbolic:
        chance = f"{math.log(study.sequence.width):.3f} if all were equally likely"
    else:
        # Not 1 where a column is constant.
        chance = f"{np.mean(study.sequence.rows**2):.3f} for always the mean"
    stages = [INITIAL, TRAINED] if study.steps else [INITIAL]
    rows = [("cell",), *((KINDS[cell].title,) for cell in study.losses)]
    names = _aligned(rows, (5,))
    values = [[f"{stage:>10}" for stage in stages]]
    values += [[f"{losses[s]:10.3f}" for s in stages] for losses in study.losses.values()]
    lines = [name + "".join(numbers) for name, numbers in zip(names, values, strict=True)]
    return [f"Training loss, {study.loss_unit}; {chance}", *lines, ""]


def norm_table(study: Study) -> list[str]:
    """The lines of the table of norms, a row for every cell, part and stage.

    Args:
        study: what was measured.
    """
    columns = [f"lag {study.lags[0]}", *map(str, study.lags[1:])]
    lines = [
        "log10 of the spectral norm of ds_T/ds_k by lag T - k; decay rate in nats/step;",
        f"memory horizon: the steps after which the norm stays below {THRESHOLD:g}",
    ]
    if across := [_block(curve) for curve in study.curves if curve.wrt != curve.part]:
        lines.append(f"{', '.join(across)}: the top layer at T by the lowest at k")
    rows = [("cell", "s", "stage")]
    rows += [(KINDS[curve.cell].title, _block(curve), curve.stage) for curve in study.curves]
    if study.steps is None:  # there is one stage
        rows = [row[:2] for row in rows]
    names = _aligned(rows, (5, 2, 7))
    lines.append(names[0] + "".join(f"{name:>9}" for name in columns) + "    decay  horizon")
    for name, curve in zip(names[1:], study.curves, strict=True):
        norms = "".join(f"{curve.log10_norm(lag):9.2f}" for lag in study.lags)
        horizon = _horizon(curve, study.length)
        lines.append(f"{name}{norms}{curve.decay_rate:9.4f}{horizon:>9}")
    unmet = sum(int(np.sum(_finite_but_unmet(curve))) for curve in study.curves)
    if unmet:
        lines.append(
            f"{unmet} norms, over all lags, may be too low by more than the tolerance asked for."
        )
    return [*lines, ""]


def reading(study: Study) -> str:
    """One sentence that says what the table's last stage shows, whatever that is.

    Args:
        study: what was measured.
    """
    stage = INITIAL if study.steps == 0 else TRAINED
    curves = [curve for curve in study.curves if curve.stage == stage]
    groups: dict[str, list[Curve]] = {"nan": [], "grown": [], "lasting": [], "faded": []}
    for curve in curves:
        last = curve.log10_norm(study.length)
        if math.isnan(curve.horizon):
            groups["nan"].append(curve)
        elif last >= 0.05:  # less is printed as 10^0.0, and may be rounding
            groups["grown"].append(curve)
        else:
            groups["lasting" if math.isinf(curve.horizon) else "faded"].append(curve)
    end = f"lag {study.length}"
    clauses = []
    if grown := groups["grown"]:
        names = [f"{curve.title} (10^{curve.log10_norm(study.length):.1f})" for curve in grown]
        clauses.append(f"has grown above 1 at {end} in {listed(names)}")
    if lasting := groups["lasting"]:
        names = [curve.title for curve in lasting]
        clauses.append(f"is still {THRESHOLD:g} or more at {end} in {listed(names)}")
    if faded := sorted(groups["faded"], key=lambda curve: -curve.horizon):
        names = [f"lag {curve.horizon:.0f} in {curve.title}" for curve in faded]
        clauses.append(f"is below {THRESHOLD:g} for good from {listed(names)}")
    if zero := [curve for curve in faded if curve.log10_norm(study.length) == -math.inf]:
        clauses.append(f"is exactly zero at {end} in {listed([curve.title for curve in zero])}")
    if broken := groups["nan"]:
        clauses.append(f"is not a number in {listed([curve.title for curve in broken])}")
    text = f"{stage_title(stage, study.steps)}, the norm of the gradient {'; it '.join(clauses)}"
    ranked = sorted(groups["grown"] + lasting + faded, key=lambda curve: -curve.horizon)
    if len(ranked) > 1 and ranked[0].horizon > ranked[1].horizon:
        text += f"; so the gradient reaches farthest in {ranked[0].title}"
    return f"{text[0].upper()}{text[1:]}."


def _block(curve: Curve) -> str:
    return curve.part if curve.wrt == curve.part else f"{curve.part}/{curve.wrt}"


def _aligned(rows: list[tuple[str, ...]], least: tuple[int, ...]) -> list[str]:
    """The rows as text, every column as wide as its longest entry, each with a space behind it."""
    columns = zip(*rows, strict=True)
    widths = [max(width, *map(len, c)) for width, c in zip(least, columns, strict=False)]
    return ["".join(f"{x:{w}} " for x, w in zip(row, widths, strict=True)) for row in rows]


def _finite_but_unmet(curve: Curve) -> np.ndarray:
    profile = curve.profile
    return np.isfinite(profile.log_norms) & ~np.asarray(profile.converged)


def _horizon(curve: Curve, length: int) -> str:
    if math.isnan(curve.horizon):
        return "nan"
    return f"> {length}" if math.isinf(curve.horizon) else f"{curve.horizon:.0f}"
