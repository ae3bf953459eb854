"""Whether the gradient reaches the lag, and whether memory is the problem at all."""

import math

import numpy as np

from lstmgrad._norms.records import horizon_of
from lstmgrad.diagnosis._records import Evidence, Finding, shown
from lstmgrad.diagnosis._rules._case import Case, either, opposite
from lstmgrad.diagnosis._statistics import mean_with_error

_SOURCE = (
    "g_l = Σ_k (dL_{≥k+l}/ds_k) ∂step_k/∂θ, the part of the gradient that comes from l steps back "
    "or more (Pascanu, Mikolov & Bengio 2013, Equations 3 to 5)"
)


def reach(case: Case) -> Finding:
    """Whether what the steps at the lag add survives the sum and the optimizer."""
    lag, dtype = case.settings.lag, case.settings.dtype
    evidence = {
        "log_share": case.share,
        "log_size": case.size,
        "horizon": _horizon(case),
    }
    if case.needed is not None:
        evidence["least_sequences"] = case.needed
    verdict = case.reaches
    because = {
        "found": f"Steps {lag} or more back add {shown(case.share)} of the gradient, {dtype} keeps "
        f"10^{case.log_eps / math.log(10):.1f} of a sum, and their part has the size "
        f"{shown(case.size)}.{_noise(case)} Nothing can be learned from there.",
        "clear": f"Steps {lag} or more back add {shown(case.share)} of the gradient, which the sum "
        "and the optimizer keep.",
        "undecided": f"Steps {lag} or more back add {shown(case.share)} of the gradient, and the "
        "interval does not say whether that is enough. More sequences narrow it.",
    }[verdict]
    title = {
        "found": f"The gradient does not reach {lag} steps back",
        "clear": f"The gradient reaches {lag} steps back",
        "undecided": f"Whether the gradient reaches {lag} steps back is open",
    }[verdict]
    return Finding("reach", verdict, "severe", title, evidence, because, _SOURCE)


def memory_is_fine(case: Case) -> Finding:
    """Whether the gradient reaches the lag and does not explode: memory is not the problem."""
    flat = case.slope.verdict if case.slope is not None else "clear"
    verdict = opposite(either(case.reaches, case.exponent.verdict, flat))
    evidence = {"log_share": case.share, "exponent": case.exponent}
    if case.slope is not None:
        evidence["slope"] = case.slope
    because = {
        "found": f"Steps {case.settings.lag} or more back add {shown(case.share)} of the gradient, "
        "nothing explodes on the way, and the output is not flat. If it does not learn, look "
        "elsewhere: data, targets, learning rate.",
        "clear": "At least one of reach, growth and output is in trouble.",
        "undecided": "The intervals do not say.",
    }[verdict]
    title = "Memory is not the problem" if verdict == "found" else "Memory may be the problem"
    return Finding("memory-is-fine", verdict, "none", title, evidence, because, _SOURCE)


def _noise(case: Case) -> str:
    if case.needed is None or case.needed.verdict != "found":
        return ""
    return f" It takes {case.needed.value:.1g} sequences or more to see it in the noise."


def _horizon(case: Case) -> Evidence:
    profile = case.readings.norms.get("c", case.readings.norms["state"])
    longest = float(profile.lags[0, -1])
    horizons = horizon_of(profile.lags, profile.log_norms, profile.errors, case.log_eps, np)
    value, error = mean_with_error(np.minimum(horizons, longest))
    beyond = bool(np.isinf(horizons).any())
    return Evidence(
        value,
        error,
        float(case.settings.lag),
        "below",
        "steps",
        "the lag from which on a whole Jacobian of the state is smaller than the rounding"
        + (", or the length of the sequence where it is not" if beyond else ""),
        "the lag asked for",
    )
