"""What the options of a training do to the gradient: truncation and clipping."""

import math

import numpy as np

from lstmgrad.diagnosis._records import Evidence, Finding
from lstmgrad.diagnosis._rules._case import Case
from lstmgrad.diagnosis._statistics import mean_with_error, share_with_error

TOLERANCES = {"half": 0.5, "tenth": 0.1, "hundredth": 0.01}
"""The biases for which a length is named."""

_BATCHES = 400
"""Batches that are put together at random from the sequences."""


def truncation(case: Case) -> Finding:
    """Whether back-propagation is cut before the lag, or cuts off more than a tenth."""
    lag, steps = case.settings.lag, case.settings.truncation
    evidence: dict[str, Evidence] = {}
    if steps is not None:
        evidence["steps"] = Evidence(
            float(steps),
            0.0,
            lag + 0.5,
            "below",
            "steps",
            "the steps that back-propagation goes back",
            "the lag and the step that makes the state there",
        )
        evidence["bias_sliding"] = _bias(
            np.exp(tail_at(case, min(steps, case.settings.length))),
            "‖g - g_K‖/‖g‖ where every loss goes back over its own last K steps",
        )
        if case.chunked is not None:
            evidence["bias_chunked"] = _bias(
                case.chunked[:, 0],
                "the same where the sequence is cut into chunks of K steps and the state is "
                "detached between them",
            )
    for name, tolerance in TOLERANCES.items():
        evidence[f"length_{name}"] = _length(case, tolerance)
        if case.chunks is not None:
            evidence[f"chunk_{name}"] = _chunk(case, tolerance)
    vanished = case.reaches == "found"
    warning = (
        " The gradient does not reach the lag even uncut, so a length that is enough for it is not "
        "enough for the task."
        if vanished
        else ""
    )
    source = (
        "‖g - g_K‖/‖g‖ (Williams & Peng 1990; Tallec & Ollivier 2017); a chunk's first loss goes "
        "back over one step alone"
    )
    lengths = _listed(evidence, "length")
    if steps is None:
        return Finding(
            "truncation",
            "clear",
            "none",
            "Back-propagation is not truncated",
            evidence,
            f"{lengths}.{warning}",
            source,
        )
    before = evidence["steps"].verdict == "found"
    biased = evidence.get("bias_chunked", evidence["bias_sliding"])
    verdict = "found" if before else biased.verdict
    if vanished and not before:
        verdict = "undecided"
    because = (
        f"Back-propagation goes back {steps} steps, and the task needs {lag}: what happened before "
        "is never connected with the loss."
        if before
        else f"Truncation after {steps} steps leaves out {100 * biased.value:.2g} % of the "
        "gradient."
    )
    title = {
        "found": "Back-propagation is cut too early",
        "clear": "Back-propagation goes back far enough",
        "undecided": "Whether back-propagation goes back far enough is open",
    }[verdict]
    severity = "severe" if before else "mild"
    because = f"{because} {lengths}; in chunks {_listed(evidence, 'chunk')}.{warning}"
    return Finding("truncation", verdict, severity, title, evidence, because, source)


def _listed(evidence: dict[str, Evidence], kind: str) -> str:
    """The steps for every tolerance."""
    steps = (f"{number:g}: {evidence[f'{kind}_{n}'].value:.4g}" for n, number in TOLERANCES.items())
    head = "Steps for a bias of " if kind == "length" else ""
    return head + ", ".join(steps)


def clip(case: Case) -> Finding:
    """Whether the clipping bites on ordinary gradients, and which would bite on the largest."""
    limit, size = case.settings.clip, case.settings.batch_size
    sizes, trials = batch_norms(case), max(1, case.settings.sequences // size)
    mean = float(sizes.mean())
    spread = 2 * float(sizes.std()) / math.sqrt(trials) if len(sizes) > 1 else 0.0
    evidence = {
        "mean_norm": Evidence(
            mean, spread, text=f"the mean norm of the gradient of a batch of {size}"
        ),
        "clip_for_tenth": Evidence(
            float(np.quantile(sizes, 0.9)), text="the clip that bites on the largest tenth"
        ),
    }
    source = (
        "a good threshold lies between half the average norm and ten times it (Pascanu, Mikolov & "
        "Bengio 2013, Section 3.2)"
    )
    if limit is None:
        because = f"A clip of {evidence['clip_for_tenth'].value:.3g} bites on the largest tenth."
        title = "Gradients are not clipped"
        return Finding("clip", "clear", "none", title, evidence, because, source)
    share, error = share_with_error(round(float((sizes > limit).mean()) * trials), trials)
    evidence = {
        "norm_over_clip": Evidence(
            mean / limit,
            spread / limit,
            2.0,
            "above",
            "",
            "the mean norm of a batch's gradient over the clip",
            "half the average norm is the least clip that Pascanu et al. advise",
        ),
        "share_clipped": Evidence(
            share, error, text="the share of batches whose gradient is clipped"
        ),
        **evidence,
    }
    verdict = evidence["norm_over_clip"].verdict
    because = (
        f"The mean norm of a gradient is {mean:.3g}, and the clip is {limit:g}: it bites on "
        f"{100 * share:.2g} % of the batches"
        + (
            ", so that every step has the same length, whatever the gradient says."
            if verdict == "found"
            else "."
        )
    )
    title = {
        "found": "The clip bites on ordinary gradients",
        "clear": "The clip leaves ordinary gradients alone",
        "undecided": "Whether the clip bites on ordinary gradients is open",
    }[verdict]
    return Finding("clip", verdict, "mild", title, evidence, because, source)


def _bias(values: np.ndarray, text: str) -> Evidence:
    value, error = mean_with_error(values)
    basis = "a tenth of the gradient, the tolerance of lg.truncation_length"
    return Evidence(value, error, 0.1, "above", "", text, basis)


def tail_at(case: Case, steps: int) -> np.ndarray:
    """Returns ln of the bias after so many steps, by sequence; of the last reading before it.

    Args:
        case: what was read.
        steps: back.
    """
    tails = case.readings.tails
    if steps >= case.settings.length:
        return np.full(len(tails), -math.inf)
    return tails[:, steps // case.readings.stride]


def _length(case: Case, tolerance: float) -> Evidence:
    value, error = mean_with_error(length_for(case, tolerance))
    text = (
        f"the steps back from which on the bias stays within {tolerance:g}, each loss over its own"
    )
    return Evidence(value, error, unit="steps", text=text)


def length_for(case: Case, tolerance: float) -> np.ndarray:
    """Returns the steps back from which on the bias stays within a tolerance, by sequence.

    Args:
        case: what was read.
        tolerance: the largest ‖g - g_K‖/‖g‖.
    """
    tails, stride = case.readings.tails, case.readings.stride
    above = ~(tails <= math.log(tolerance))
    last = np.max(np.where(above, np.arange(1, tails.shape[1] + 1), 0), axis=1)
    steps = np.minimum(last * stride, case.settings.length).astype(float)
    return np.where(np.isnan(tails).any(axis=1), math.nan, steps)


def _chunk(case: Case, tolerance: float) -> Evidence:
    value, error = mean_with_error(chunk_for(case, tolerance))
    text = (
        f"the length of chunks with a detached state from which on the bias stays within "
        f"{tolerance:g}, of those tried"
    )
    return Evidence(value, error, unit="steps", text=text)


def chunk_for(case: Case, tolerance: float) -> np.ndarray:
    """Returns the chunks from which on the bias stays within a tolerance, by sequence.

    Chunks as long as the sequence have none. Where the loss looks at the last step alone, nothing
    shorter will do: chunks of T - 1 steps leave it a single one.

    Args:
        case: what was read.
        tolerance: the largest ‖g - g_K‖/‖g‖.
    """
    assert case.chunks is not None
    assert case.chunked is not None
    biases = case.chunked[:, 1:]
    above = ~(biases <= tolerance)
    first = np.max(np.where(above, np.arange(1, biases.shape[1] + 1), 0), axis=1)
    steps = case.chunks[1:][np.minimum(first, biases.shape[1] - 1)].astype(float)
    return np.where(np.isnan(biases).any(axis=1), math.nan, steps)


def batch_norms(case: Case) -> np.ndarray:
    """Returns norms of the mean gradients of batches put together from the sequences.

    Args:
        case: what was read.
    """
    gradients, size = case.readings.gradients, case.settings.batch_size
    logs = np.asarray(gradients.log_norms, np.float64)
    if size == 1:
        with np.errstate(over="ignore"):
            return np.exp(logs)
    top = logs.max()
    scale = np.exp(logs - top)
    products = np.asarray(gradients.cosines, np.float64) * np.outer(scale, scale)
    draws = np.random.default_rng(0).integers(0, len(logs), (_BATCHES, size))
    counts = np.stack([np.bincount(draw, minlength=len(logs)) for draw in draws]) / size
    with np.errstate(over="ignore"):
        squares = np.einsum("bn,nm,bm->b", counts, products, counts)
        return np.sqrt(np.maximum(squares, 0)) * np.exp(top)
