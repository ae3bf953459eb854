"""Whether the far gradient says the same in every sequence, and in how many directions it comes."""

import math

import numpy as np

from lstmgrad.diagnosis._records import Evidence, Finding, Verdict
from lstmgrad.diagnosis._rules._case import FEWEST, MANY, Case
from lstmgrad.diagnosis._statistics import mean_with_error

ONE_DIRECTION = math.exp(-(0.99 * math.log(0.99) + 0.01 * math.log(0.01)))
"""The effective rank where one direction has 99 % and another one the rest: 1.06."""


def signal_to_noise(case: Case) -> Finding:
    """Whether what comes from the lag adds up over sequences, and how many that takes."""
    count, budget = case.settings.sequences, case.budget
    title = "Whether the lag can be learned from is open"
    source = (
        "g_l of sequence n is μ + noise; ‖μ‖² is the mean of ⟨g_l(n), g_l(m)⟩ over n ≠ m, and a "
        "mean over B sequences has noise of Var⟨g, μ/‖μ‖⟩/B along μ: B = Var/‖μ‖² (McCandlish et "
        "al. 2018, Section 2.2)"
    )
    if case.signal is None:
        why = (
            "The loss was not given, and a readout at random asks for nothing in particular."
            if case.settings.loss != "given"
            else f"At least {FEWEST} sequences are needed, and {count} were given."
        )
        return Finding("signal-to-noise", "undecided", "mild", title, {}, why, source)
    found, limit = case.signal, float(MANY if budget is None else budget)
    far_off = max(found.most - found.needed, found.needed - found.least)
    evidence = {
        "consistency": Evidence(
            found.consistency,
            found.error,
            0.0,
            "below",
            "",
            "‖μ‖²/E‖g_l‖²: 1 where the far gradient is the same in all sequences, 0 for noise",
            "no signal at all",
        ),
        "sequences_needed": Evidence(
            found.needed,
            far_off if math.isfinite(found.most) else math.inf,
            limit,
            "above",
            "",
            "the sequences after which the signal of the lag is as large as the noise along it",
            "more than a training sees" if budget is None else "the sequences of the training",
        ),
    }
    verdict: Verdict = "undecided"
    if found.least > limit:
        verdict = "found"
    elif found.most <= limit:
        verdict = "clear"
    because = {
        "clear": f"The far gradient has a part that is the same in all sequences; about "
        f"{found.needed:.2g} of them show it.",
        "found": f"{found.least:.2g} sequences or more are needed before the signal of the lag is "
        f"as large as the noise; {limit:.2g} are too few.",
        "undecided": f"From {count} sequences it cannot be said whether the signal of the lag "
        f"shows in the noise: it takes {found.least:.2g} sequences at least.",
    }[verdict]
    title = {
        "clear": "The far gradient has a signal",
        "found": "The signal of the lag drowns in noise",
        "undecided": title,
    }[verdict]
    return Finding("signal-to-noise", verdict, "severe", title, evidence, because, source)


def directions(case: Case) -> Finding | None:
    """Whether more than one direction of the state is still told apart at the lag."""
    spectrum = case.readings.spectrum
    if spectrum is None:
        return None
    values = np.asarray(spectrum, np.float64)
    values = np.where(np.isnan(values).any(axis=1, keepdims=True), np.nan, values)
    shares = values / values.sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        ranks = np.exp(-np.where(shares > 0, shares * np.log(shares), 0 * shares).sum(axis=1))
    value, error = mean_with_error(ranks)
    rank = Evidence(
        value,
        error,
        ONE_DIRECTION,
        "below",
        "",
        f"the effective rank of dh_T/ds_k over {case.settings.lag} steps",
        "one direction with 99 % of all",
    )
    condition, error = mean_with_error(-np.log(np.maximum(values[:, 1:2].ravel(), 1e-300)))
    evidence = {
        "effective_rank": rank,
        "log_gap": Evidence(
            condition, error, unit="ln", text="the largest singular value over the second"
        ),
    }
    title = {
        "found": "One direction alone survives the lag",
        "clear": "Several directions survive the lag",
        "undecided": "Whether several directions survive the lag is open",
    }[rank.verdict]
    because = (
        f"Of {values.shape[1]} directions, {value:.3g} are told apart after {case.settings.lag} "
        "steps."
    )
    source = "exp of the entropy of the singular values (Roy & Vetterli 2007, Section 2)"
    return Finding("directions", rank.verdict, "mild", title, evidence, because, source)
