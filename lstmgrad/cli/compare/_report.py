"""What was measured in words: two tables and one sentence, in plain ASCII."""

import math

import numpy as np

from lstmgrad.cli._shared.console import listed, power
from lstmgrad.cli._shared.kinds import KINDS
from lstmgrad.cli.compare._finite import THRESHOLD
from lstmgrad.cli.compare._study import DRAWN, Curve, Study

UNRESOLVED = "n/r"


def tables(study: Study) -> list[str]:
    """Returns the lines of both tables."""
    return [*_loss_table(study), *_norm_table(study)]


def reading(study: Study) -> str:
    """Returns one sentence that says what the table's last stage shows, whatever that is."""
    stage, title = list(study.stages.items())[-1]
    end, groups = f"lag {study.length}", _grouped(study, stage)
    grown, lasting, faded, hidden, unknown, broken = groups.values()
    clauses = []
    if grown:
        names = [f"{curve.title} (10^{curve.log10_norm(study.length):.1f})" for curve in grown]
        clauses.append(f"has grown above 1 at {end} in {listed(names)}")
    if lasting:
        clauses.append(f"is still {THRESHOLD:g} or more at {end} in {_titles(lasting)}")
    if faded:
        names = [f"lag {curve.horizon:.0f} in {curve.title}" for curve in faded]
        clauses.append(f"is below {THRESHOLD:g} for good from {listed(names)}")
    if zero := [curve for curve in faded if curve.log10_norm(study.length) == -math.inf]:
        clauses.append(f"is exactly zero at {end} in {_titles(zero)}")
    if hidden:
        dtype = study.settings["dtype"]
        clauses.append(f"is not resolved at {end} by {dtype} in {_titles(hidden)}")
    if unknown:
        clauses.append(f"is not resolved where it falls below {THRESHOLD:g} in {_titles(unknown)}")
    if broken:
        clauses.append(f"is not a number in {_titles(broken)}")
    count = study.sequences
    norm = "norm of the gradient" if count == 1 else f"median norm of the gradient, of {count}"
    text = f"{title}, the {norm}{' sequences,' * (count > 1)} {'; it '.join(clauses)}"
    ranked = sorted(grown + lasting + faded, key=lambda curve: -curve.horizon)
    if len(ranked) > 1 and not unknown and ranked[0].horizon > ranked[1].horizon:
        text += f"; so the gradient reaches farthest in {ranked[0].title}"
    last = [curve for curve in study.curves if curve.stage == stage]
    if paths := [_path(curve, study.length) for curve in last if curve.path is not None]:
        text += f"; through the additive path alone it is {listed(paths)} at {end}"
    ends = [each.sentence(KINDS[each.cell].title) for each in study.broken if each.stage == stage]
    return " ".join([f"{text[0].upper()}{text[1:]}.", *ends])


def headline(study: Study) -> str:
    """Returns one line on the last stage: where the gradient reaches farthest, if that is known."""
    stage, title = list(study.stages.items())[-1]
    grown, lasting, faded, _, unknown, broken = _grouped(study, stage).values()
    ranked = sorted(grown + lasting + faded, key=lambda curve: -curve.horizon)
    far = [curve for curve in ranked if curve.horizon == ranked[0].horizon]
    if unknown:
        text = f"it is not resolved how far the gradient reaches in {_titles(unknown)}"
    elif not ranked:
        text = f"the gradient is not a number in {_titles(broken)}"
    elif math.isinf(ranked[0].horizon):
        text = f"the gradient reaches all {study.length} steps in {_titles(far)}"
    elif len(far) < len(ranked):
        text = f"the gradient reaches farthest in {_titles(far)}: {far[0].horizon:.0f} steps"
    else:
        text = f"the gradient reaches {far[0].horizon:.0f} steps in {_titles(far)}"
    return f"{title[0].upper()}{title[1:]}, {text}"


def _loss_table(study: Study) -> list[str]:
    """The table of losses; nothing for a study without losses."""
    unit, chance, values = study.losses
    if not values:
        return []
    names = _aligned([("cell",), *((KINDS[cell].title,) for cell in values)], (5,))
    columns = [[f"{stage:>10}" for stage in study.stages]]
    columns += [[f"{losses[stage]:10.3f}" for stage in study.stages] for losses in values.values()]
    lines = [name + "".join(numbers) for name, numbers in zip(names, columns, strict=True)]
    return [f"Training loss, {unit}; {chance}", *lines, ""]


def _norm_table(study: Study) -> list[str]:
    """The table of norms, with a row for every cell, block and stage."""
    lags = [f"lag {study.lags[0]}", *map(str, study.lags[1:])]
    lines = [
        "log10 of the spectral norm of ds_T/ds_k by lag T - k; decay rate in nats/step;",
        f"horizon: the lag from which the norm stays below {THRESHOLD:g}, that is from how far",
        "back something can be learned, not how long it is remembered (lstmgrad recall)",
    ]
    if any(curve.alone for curve in study.rows):
        lines.append("path: the additive path alone, from c to c through the forget gates")
    if across := [curve.block for curve in study.curves if curve.wrt != curve.part]:
        lines.append(f"{', '.join(across)}: the top layer at T by the lowest at k")
    if (several := study.sequences) > 1:
        lines.append(
            f"medians of {several} sequences; compare.json has their 10 % and 90 % quantiles"
        )
    count = len(study.columns)
    rows = [(KINDS[c.cell].title, c.block, c.stage)[:count] for c in study.rows]
    names = _aligned([study.columns, *rows], (5, 2, 7))
    lines.append(names[0] + "".join(f"{name:>9}" for name in lags) + "   decay horizon")
    for name, curve in zip(names[1:], study.rows, strict=True):
        norms = "".join(f"{_text(curve.log10_norm(lag), 2):>9}" for lag in study.lags)
        rate, horizon = _text(curve.known(curve.decay_rate), 4), _horizon(curve, study.length)
        lines.append(f"{name}{norms}{rate:>8}{horizon:>8}")
    if any(UNRESOLVED in line for line in lines):
        dtype = study.settings["dtype"]
        lines.append(f"{UNRESOLVED}: not resolved, because {dtype} cannot tell the norm from zero")
    if unmet := sum(int(np.sum(_finite_but_unmet(curve))) for curve in study.rows):
        lines.append(
            f"{unmet} norms, over all lags, may be too low by more than the tolerance asked for."
        )
    if (count := len({(curve.cell, curve.block) for curve in study.curves})) > DRAWN:
        lines.append(f"The figure shows the first {DRAWN} of {count} curves; compare.npz has all.")
    return lines


def _grouped(study: Study, stage: str) -> dict[str, list[Curve]]:
    """The curves of a stage by what became of the norm; those that faded, the last one first."""
    groups = {name: [] for name in ("grown", "lasting", "faded", "hidden", "unknown", "broken")}
    for curve in (curve for curve in study.curves if curve.stage == stage):
        last, horizon = curve.log10_norm(study.length), curve.horizon
        if last is None:
            groups["hidden"].append(curve)
        if math.isnan(horizon) or (last is not None and math.isnan(last)):
            unknown = curve.known(horizon) is None
            groups["unknown" if unknown else "broken"].append(curve)
        elif math.isfinite(horizon):
            groups["faded"].append(curve)
        elif last is not None:
            # Less is printed as 10^0.0, and may be rounding.
            groups["grown" if last >= 0.05 else "lasting"].append(curve)
    groups["faded"].sort(key=lambda curve: -curve.horizon)
    return groups


def _path(curve: Curve, lag: int) -> str:
    """The norm of the additive path of a curve, in words."""
    assert curve.path is not None
    log = curve.path.log10_norm(lag)
    return f"{'not resolved' if log is None else power(log)} in {curve.title}"


def _titles(curves: list[Curve]) -> str:
    return listed([curve.title for curve in curves])


def _aligned(rows: list[tuple[str, ...]], least: tuple[int, ...]) -> list[str]:
    """The rows as text, every column as wide as its longest entry and followed by a space."""
    columns = zip(*rows, strict=True)
    widths = [max(width, *map(len, c)) for width, c in zip(least, columns, strict=False)]
    return ["".join(f"{x:{w}} " for x, w in zip(row, widths, strict=True)) for row in rows]


def _finite_but_unmet(curve: Curve) -> np.ndarray:
    profile = curve.profile
    return np.isfinite(profile.log_norms) & ~np.asarray(profile.resolved) & ~curve.unresolved


def _text(value: float | None, places: int) -> str:
    return UNRESOLVED if value is None else f"{value:.{places}f}"


def _horizon(curve: Curve, length: int) -> str:
    steps = curve.known(curve.horizon)
    if steps == math.inf:
        reached = int(np.max(np.sum(~np.isnan(curve.profile.log_norms), axis=-1))) - 1
        return f"> {min(length, reached)}"
    return _text(steps, 0)
