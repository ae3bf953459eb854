"""Gradients that explode, and numbers that stop being numbers."""

import numpy as np

from lstmgrad.diagnosis._records import Evidence, Finding, shown
from lstmgrad.diagnosis._rules._case import Case
from lstmgrad.diagnosis._statistics import mean_with_error


def growth(case: Case) -> Finding:
    """Whether perturbations grow without bound: λ₁ above zero by more than its error."""
    length, exponent = case.settings.length, case.exponent
    log_norms = case.readings.norms["state"].log_norms
    top, error = mean_with_error(log_norms.max(axis=1))
    largest = Evidence(top, error, unit="ln", text="the largest ‖ds_T/ds_k‖ over all k")
    grown = Evidence(
        exponent.value * length,
        exponent.error * length,
        -case.log_eps,
        "above",
        "ln",
        "λ₁ T: what a perturbation of the start grows by",
        f"1 over the rounding of {case.settings.dtype}: beyond it, what the last steps add is lost "
        "beside what the first ones add",
    )
    sizes = case.readings.gradients.log_norms
    size, error = mean_with_error(sizes)
    gradient = Evidence(size, error, unit="ln", text="‖g‖, the gradient of a sequence")
    evidence = {
        "exponent": exponent,
        "log_growth": grown,
        "largest_log_norm": largest,
        "log_gradient": gradient,
    }
    verdict = exponent.verdict
    because = {
        "found": f"A perturbation grows by {exponent.value:.3g} nats at every step, by "
        f"{shown(grown)} over the sequence; the largest ‖ds_T/ds_k‖ is {shown(largest)}. Gradients "
        "of long sequences are dominated by chance.",
        "clear": f"A perturbation shrinks by {-exponent.value:.3g} nats at every step.",
        "undecided": "The leading exponent cannot be told from zero.",
    }[verdict]
    title = {
        "found": "The gradient explodes",
        "clear": "The gradient does not explode",
        "undecided": "Whether the gradient explodes is open",
    }[verdict]
    severity = "severe" if grown.verdict == "found" else "mild"
    source = (
        "λ₁ = lim ln ‖J_T ··· J_1 v‖ / T; above 0 gradients explode (Mikhaeil, Monfared & "
        "Durstewitz 2022; Pascanu, Mikolov & Bengio 2013, Section 2.1)"
    )
    return Finding("growth", verdict, severity, title, evidence, because, source)


def non_finite(case: Case) -> Finding:
    """Whether a state, a step Jacobian or the gradient is inf or NaN, and where first."""
    found, length = case.readings.finite, case.settings.length
    times = {"state": found.state_time, "step Jacobian": found.factor_time}
    parts = {"state": found.state_parts, "step Jacobian": found.factor_parts}
    first = {what: _first(time) for what, time in times.items()}
    broken = ~np.isfinite(case.readings.gradients.log_norms)
    broken &= ~np.isneginf(case.readings.gradients.log_norms)
    evidence = {
        f"first_{what.replace(' ', '_').lower()}": Evidence(
            float(length + 1 if time < 0 else time),
            0.0,
            length + 0.5,
            "below",
            "",
            f"the time of the first {what} with an inf or a NaN; {length + 1} for none",
            "the length of the sequence",
        )
        for what, time in first.items()
    }
    evidence["broken_gradients"] = Evidence(
        float(broken.mean()),
        0.0,
        0.0,
        "above",
        "",
        "the share of sequences whose gradient is inf or NaN",
        "there should be none",
    )
    where = [
        f"the {what} at t = {time}, in {_names(times[what], parts[what], time)}"
        for what, time in first.items()
        if time >= 0
    ]
    bad = bool(where) or bool(broken.any())
    because = "All states, step Jacobians and gradients are finite."
    if where:
        because = f"The first that is not finite: {'; '.join(where)}."
    elif bad:
        because = "The gradient leaves the range of the dtype, although all states are finite."
    return Finding(
        "non-finite",
        "found" if bad else "clear",
        "severe",
        "Numbers leave the range" if bad else "All numbers are finite",
        evidence,
        because,
        "IEEE arithmetic: the first t at which s_t or J_t has an inf or a NaN",
    )


def _first(times: np.ndarray) -> int:
    """The earliest time of any sequence; -1 for none."""
    found = times[times >= 0]
    return int(found.min()) if len(found) else -1


def _names(times: np.ndarray, parts: dict[str, np.ndarray], first: int) -> str:
    row = int(np.flatnonzero(times == first)[0])
    return ", ".join(name for name, marks in parts.items() if marks[row]) or "no part"
