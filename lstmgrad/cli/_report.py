"""What was measured in words: two tables and one sentence, in plain ASCII."""

import math

import numpy as np

from lstmgrad.cli._console import listed
from lstmgrad.cli._models import CELLS
from lstmgrad.cli._study import INITIAL, THRESHOLD, TRAINED, Curve, Study, stage_title


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
    lines = [
        f"Training loss, {study.loss_unit}; {chance}",
        "cell  " + "".join(f"{stage:>10}" for stage in stages),
    ]
    for cell, losses in study.losses.items():
        lines.append(f"{CELLS[cell].title:6}" + "".join(f"{losses[s]:10.3f}" for s in stages))
    return [*lines, ""]


def norm_table(study: Study) -> list[str]:
    """The lines of the table of norms, a row for every cell, part and stage.

    Args:
        study: what was measured.
    """
    columns = [f"lag {study.lags[0]}", *map(str, study.lags[1:])]
    lines = [
        "log10 of the spectral norm of ds_T/ds_k by lag T - k; decay rate in nats/step;",
        f"memory horizon: the steps after which the norm stays below {THRESHOLD:g}",
        "cell  s  stage   " + "".join(f"{name:>9}" for name in columns) + "    decay  horizon",
    ]
    for curve in study.curves:
        norms = "".join(f"{curve.log10_norm(lag):9.2f}" for lag in study.lags)
        lines.append(
            f"{CELLS[curve.cell].title:5} {curve.part:2} {curve.stage:8}{norms}"
            f"{curve.decay_rate:9.4f}{_horizon(curve, study.length):>9}"
        )
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
    stage = TRAINED if study.steps else INITIAL
    curves = [curve for curve in study.curves if curve.stage == stage]
    groups: dict[str, list[Curve]] = {"nan": [], "grown": [], "lasting": [], "faded": []}
    for curve in curves:
        last = curve.log10_norm(study.length)
        if math.isnan(curve.horizon):
            groups["nan"].append(curve)
        elif last > 0:
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


def _finite_but_unmet(curve: Curve) -> np.ndarray:
    profile = curve.profile
    return np.isfinite(profile.log_norms) & ~np.asarray(profile.converged)


def _horizon(curve: Curve, length: int) -> str:
    if math.isnan(curve.horizon):
        return "nan"
    return f"> {length}" if math.isinf(curve.horizon) else f"{curve.horizon:.0f}"
