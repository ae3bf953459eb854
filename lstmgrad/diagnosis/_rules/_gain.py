"""Plain networks: the gain of the recurrent weights, saturated activations and dead units."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from lstmgrad.cells import RNNParams
from lstmgrad.cells._rnn import rnn_step
from lstmgrad.diagnosis._records import Evidence, Finding
from lstmgrad.diagnosis._rules._case import SATURATED, Case, both, either
from lstmgrad.diagnosis._statistics import mean_with_error

MOST_INPUT = 10.0
"""The largest input scale that the mean field is solved for."""


def gain(case: Case) -> Finding | None:
    """Whether the recurrent weights are too small or too large for the lag."""
    if case.readings.step_gains is None:
        return None
    value, error = mean_with_error(case.readings.step_gains.mean(axis=1))
    basis = (
        "the mean square of a perturbation neither grows nor shrinks there (Poole et al. 2016; "
        "Schoenholz et al. 2017)"
    )
    text = "ln χ, χ = ‖J_t‖²_F/h: the growth of the mean square of a perturbation in a step"
    small = Evidence(value, error, 0.0, "below", "nats per step", text, basis)
    large = small._replace(side="above")
    too_small = both(small.verdict, case.reaches)
    too_large = both(large.verdict, case.exponent.verdict)
    verdict = either(too_small, too_large)
    evidence = {"log_chi": large if too_large == "found" else small, **_weights(case)}
    now = evidence["gain"]
    critical = now.threshold
    target = "" if critical is None else f"; at this input the critical one is {critical:.3g}"
    because = {
        "found": f"The recurrent weights have a gain of {now.value:.3g}{target}: the mean square "
        f"of a perturbation {'grows' if value > 0 else 'shrinks'} by {abs(value):.3g} nats at "
        "every step.",
        "clear": f"The recurrent weights have a gain of {now.value:.3g}{target}; the gradient "
        "reaches the lag and does not explode.",
        "undecided": "The intervals do not say whether the gain is the problem.",
    }[verdict]
    title = {
        "found": f"The gain of the recurrent weights is too {'large' if value > 0 else 'small'}",
        "clear": "The gain of the recurrent weights is not the problem",
        "undecided": "Whether the gain of the recurrent weights is the problem is open",
    }[verdict]
    mild = too_large == "found" and case.exponent.value * case.settings.length < -case.log_eps
    source = (
        "χ = σ² E[φ'(z)²] for recurrent weights of variance σ²/h; the critical gain solves χ = 1 "
        "at the measured input scale (lg.theory.critical_gain)"
    )
    severity = "mild" if mild else "severe"
    return Finding("gain", verdict, severity, title, evidence, because, source)


def saturated_units(case: Case) -> Finding | None:
    """Whether the inputs alone saturate most units of a plain tanh network."""
    drive = _tanh_drive(case)
    if drive is None:
        return None
    mark = math.atanh(SATURATED)
    value, error = mean_with_error((np.abs(added_to_recurrence(case)) > mark).mean(axis=(1, 2)))
    share = Evidence(
        value,
        error,
        0.5,
        "above",
        "",
        "the share of units and times at which W x + b alone is beyond tanh = .9",
        "most of them; .9 is the mark of Karpathy, Johnson & Fei-Fei 2015, Section 4.2",
    )
    every, error = mean_with_error((np.abs(drive) > mark).mean(axis=(1, 2)))
    together = Evidence(every, error, text="the same with U h, as the network runs")
    evidence = {"share_by_inputs": share, "share_saturated": together, **_input_scale(case)}
    return Finding(
        "saturated-units",
        share.verdict,
        "severe" if case.reaches == "found" else "mild",
        {
            "found": "The inputs saturate most units",
            "clear": "The inputs do not saturate the units",
            "undecided": "Whether the inputs saturate most units is open",
        }[share.verdict],
        evidence,
        f"The inputs drive the units with a size of {evidence['input_scale'].value:.3g}, which "
        f"alone puts {100 * value:.3g} % of them beyond ±.9, where the slope of tanh is below .19.",
        "φ'(z) = 1 - tanh²(z) < .19 for |tanh z| > .9; a product of such slopes vanishes",
    )


def dead_units(case: Case) -> Finding | None:
    """Whether units of a plain relu network never fire."""
    drive = case.readings.values.get("recurrent")
    if drive is None or not any(case.step is rnn_step(f) for f in (jax.nn.relu,)):
        return None
    dead = (drive <= 0).all(axis=(0, 1))
    share = Evidence(
        float(dead.mean()),
        0.0,
        0.5,
        "above",
        "",
        "the share of units that are 0 at all times in all sequences",
        "most of them",
    )
    return Finding(
        "dead-units",
        share.verdict,
        "severe",
        "Most units are dead" if share.verdict == "found" else "Units are alive",
        {"share_dead": share},
        f"{int(dead.sum())} of {len(dead)} units are never above zero on these sequences: nothing "
        "passes them, and nothing is learned in them.",
        "relu'(z) = 0 for z < 0: Maas, Hannun & Ng 2013, Section 2",
    )


def _tanh_drive(case: Case) -> np.ndarray | None:
    """What the tanh of a plain network is taken of, (N, T, h)."""
    if case.step is not rnn_step(jnp.tanh):
        return None
    return case.readings.values["recurrent"]


def _weights(case: Case) -> dict[str, Evidence]:
    """The gain of the recurrent weights, beside the critical one where that is known."""
    assert isinstance(case.params, RNNParams)
    weights = np.asarray(case.params.weight_hh, np.float64)
    value = float(np.linalg.norm(weights) / math.sqrt(len(weights)))
    found = _input_scale(case)
    scale = found["input_scale"].value
    critical, basis = None, ""
    if _tanh_drive(case) is not None and scale <= MOST_INPUT:
        from lstmgrad.theory import critical_gain

        critical = critical_gain(scale)
        basis = "the critical gain of a wide network at this input scale"
    # A random matrix of h² entries has this norm within 1/√2h of its expectation.
    error = 2 * value / math.sqrt(2) / len(weights)
    text = "‖U‖_F/√h: σ for weights N(0, σ²/h) and for σ times an orthogonal matrix"
    side = "below" if critical is None or value < critical else "above"
    return {"gain": Evidence(value, error, critical, side, "", text, basis), **found}


def _input_scale(case: Case) -> dict[str, Evidence]:
    """The size of all that is added to U h."""
    value, error = mean_with_error(np.sqrt((added_to_recurrence(case) ** 2).mean(axis=(1, 2))))
    text = "the root mean square of W x + b over units and time"
    return {"input_scale": Evidence(value, error, text=text)}


def added_to_recurrence(case: Case) -> np.ndarray:
    """Returns W x + b at every step: what is left of the drive without U h, (N, T, h).

    Args:
        case: of a plain network.
    """
    before = np.asarray(case.states["h"], np.float64)[:, :-1]
    weights = np.asarray(case.params.weight_hh, np.float64)
    return case.readings.values["recurrent"].astype(np.float64) - before @ weights.T
