"""The cell: forget gates that close the additive path, and an output that is flat."""

import math

import numpy as np

from lstmgrad.diagnosis._records import Evidence, Finding, shown
from lstmgrad.diagnosis._rules._case import SATURATED, Case, both, opposite
from lstmgrad.diagnosis._statistics import mean_with_error

GATES = ("forget", "input", "output", "update")
"""Tags of values that are gates, between 0 and 1."""

_MARKS = "Karpathy, Johnson & Fei-Fei 2015, Section 4.2, for the marks .1 and .9"


def forget_gates(case: Case) -> Finding | None:
    """Whether the additive path forgets before the lag, and the gradient with it."""
    if case.path is None:
        return None
    lag = case.settings.lag
    verdict = both(case.path.verdict, case.reaches)
    evidence = {"log_path": case.path, **_layers(case), "half_life": _half_life(case)}
    evidence |= _gate_values(case) | _share_of_path(case)
    if case.slope is not None:
        evidence["slope"] = case.slope
    kept = shown(case.path)
    if len(case.paths) > 1:
        each = ", ".join(f"{part} {shown(entry)}" for part, entry in case.paths.items())
        kept = f"{kept} in the layer that keeps most ({each})"
    gate = evidence.get("mean_forget")
    needed = 0.5 ** (1 / lag)
    user = "" if gate is None else f"The mean forget gate is {gate.value:.3g}; "
    because = {
        "found": f"{user}a half-life of {lag} steps takes {needed:.4g}. In {lag} steps the path "
        f"keeps {kept}, and nothing else carries the gradient that far.",
        "clear": f"The additive path keeps {kept} over {lag} steps"
        + (
            "."
            if case.path.verdict == "clear"
            else ", and the gradient reaches the lag all the same, through the recurrent weights."
        ),
        "undecided": f"The additive path keeps {kept} over {lag} steps, and the intervals do not "
        "say whether the gradient reaches the lag.",
    }[verdict]
    title = {
        "found": "The forget gates close before the lag",
        "clear": "The forget gates are not the problem",
        "undecided": "Whether the forget gates are the problem is open",
    }[verdict]
    source = (
        "dc_t/dc_k = diag Π f along the additive path (Gers, Schmidhuber & Cummins 2000); "
        f"half-life ln 2 / -ln f (Tallec & Ollivier 2018, Section 2); {_MARKS}"
    )
    return Finding("forget-gates", verdict, "severe", title, evidence, because, source)


def saturated_output(case: Case) -> Finding | None:
    """Whether the cell lives while tanh(c) is flat, so that nothing reaches the loss."""
    if case.slope is None or case.path is None:
        return None
    lives = opposite(case.path.verdict)
    verdict = both(case.slope.verdict, lives)
    cell = list(case.values_of("cell").values() or [case.readings.values["cell"]])[-1]
    value, error = mean_with_error(cell.std(axis=(1, 2)))
    evidence = {
        "slope": case.slope,
        "log_path": case.path,
        "log_share": case.share,
        "cell_size": Evidence(
            value, error, unit="", text="the standard deviation of c over units and time"
        ),
    }
    because = {
        "found": f"The cell keeps {shown(case.path)} over {case.settings.lag} steps, but c has "
        f"grown to a size of {value:.3g}, where tanh(c) is flat: of what the loss asks, "
        f"{shown(case.slope)} passes, and what passes says little of what is stored. Open forget "
        "gates let c wander; smaller input gates or shorter time constants keep it where tanh "
        "bends. A training may still find its way out: lg.diagnosis.verify tries it.",
        "clear": f"Of what the loss asks, a share of {shown(case.slope)} passes through tanh(c).",
        "undecided": f"Of what the loss asks, a share of {shown(case.slope)} passes through "
        "tanh(c), and the interval does not say whether that is flat.",
    }[verdict]
    title = {
        "found": "The cell remembers, but its output is saturated",
        "clear": "The output of the cell is not saturated",
        "undecided": "Whether the output of the cell is saturated is open",
    }[verdict]
    source = (
        "h = o ⊙ tanh(c): dL/dc = dL/dh ⊙ o ⊙ (1 - tanh²(c)); with gates open, c is a sum of "
        "about 1/(1 - f) inputs (Tallec & Ollivier 2018, Section 2.2, for input gates of 1 - f)"
    )
    return Finding("saturated-output", verdict, "severe", title, evidence, because, source)


def _layers(case: Case) -> dict[str, Evidence]:
    """What the path of every layer keeps, in a stack."""
    if len(case.paths) < 2:
        return {}
    return {
        f"log_path_{part}": entry._replace(threshold=None, basis="")
        for part, entry in case.paths.items()
    }


def _share_of_path(case: Case) -> dict[str, Evidence]:
    """How large the additive path is beside all routes together, where there is one cell."""
    profile, whole = case.readings.path, case.readings.norms.get("c")
    if profile is None or whole is None or profile.of != "c":
        return {}
    index = int(np.flatnonzero(profile.lags[0] == case.settings.lag)[0])
    with np.errstate(invalid="ignore"):
        shares = profile.log_norms[:, index] - whole.log_norms[:, index]
    value, error = mean_with_error(shares)
    text = (
        "‖diag Π f‖/‖dc_T/dc_k‖ over the lag: 1 where the additive path is all there is, far below "
        "where the gradient comes through the recurrent weights"
    )
    return {"log_path_share": Evidence(value, error, unit="ln", text=text)}


def _half_life(case: Case) -> Evidence:
    assert case.path is not None
    lag = case.settings.lag

    def steps(log: float) -> float:
        return math.inf if log >= 0 else math.log(2) * lag / -log

    value = steps(case.path.value)
    low, high = (steps(bound) for bound in case.path.interval)
    error = max(value - low, high - value) if math.isfinite(high) else 0.0
    return Evidence(value, error, unit="steps", text="the half-life of the unit that forgets least")


def _gate_values(case: Case) -> dict[str, Evidence]:
    """Means and saturated shares of the gates that the step marks."""
    found = {}
    for name in GATES:
        values = case.readings.values.get(name)
        if values is None or values.min() < 0 or values.max() > 1:
            continue
        for key, numbers, text in (
            (f"mean_{name}", values, f"the mean of the {name} gate"),
            (f"open_{name}", values > SATURATED, f"the share of {name} gates above .9"),
            (f"closed_{name}", values < 1 - SATURATED, f"the share of {name} gates below .1"),
        ):
            mean, error = mean_with_error(np.asarray(numbers, np.float64).mean(axis=(1, 2)))
            found[key] = Evidence(mean, error, text=text)
    for name in ("forget", "update"):
        several = case.values_of(name)
        for part, values in several.items() if len(case.paths) > 1 else ():
            mean, error = mean_with_error(np.asarray(values, np.float64).mean(axis=(1, 2)))
            text = f"the mean of the {name} gate of {part}"
            found[f"mean_forget_{part}"] = Evidence(mean, error, text=text)
    if "mean_update" in found and "mean_forget" not in found:  # a GRU's update gate is what is kept
        found["mean_forget"] = found["mean_update"]
    return found
