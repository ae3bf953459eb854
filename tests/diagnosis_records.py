"""A diagnosis put together by hand: every verdict, every kind of number, and readings to draw."""

import math
from typing import Any

import jax.numpy as jnp
import numpy as np

import lstmgrad as lg
from lstmgrad.diagnosis import (
    RULES,
    Diagnosis,
    Evidence,
    Finding,
    Gradients,
    Prediction,
    Readings,
    Remedy,
    Settings,
)

N, T, H, LAG = 3, 12, 2, 8

SETTINGS = Settings(
    length=T,
    lag=LAG,
    sequences=N,
    loss="given",
    clip=0.5,
    truncation=4,
    batch_size=N,
    dtype="float32",
    step="lstm_step",
    sizes={"h": H, "c": H},
    versions={"lstmgrad": "0.1.0", "jax": "0.10.2"},
)


def profile(rate: float, part: str | None) -> lg.NormProfile:
    lags = np.broadcast_to(np.arange(T + 1), (N, T + 1))
    spread = np.array([0.9, 1.0, 1.1])[:, None]
    return lg.NormProfile(
        lags=jnp.asarray(lags),
        log_norms=jnp.asarray(-rate * spread * lags),
        errors=jnp.zeros((N, T + 1)),
        of=part,
        wrt=part,
        fixed="end",
        rtol=1e-5,
    )


def readings(*, gated: bool = True) -> Readings:
    """Those of an LSTM, or of a plain network."""
    values = np.random.default_rng(0).uniform(size=(N, T, H))
    tails = -0.5 * np.arange(T + 1) * np.array([0.9, 1.0, 1.1])[:, None]
    gates = {"forget": values, "cell": 4 * values - 2}
    cosines = np.eye(N) * 0.5 + 0.5
    logs = np.array([-1.0, -0.5, 0.0])
    drawn = {
        "norms": {"state": profile(0.5, None)} | ({"c": profile(0.6, "c")} if gated else {}),
        "paths": {"c": profile(2.0, "c")} if gated else {},
        "values": gates if gated else {"recurrent": 6 * values - 3},
        "tails": tails,
        "stride": 1,
        "gradients": Gradients(logs, logs - 3, cosines, cosines, cosines),  # pyright: ignore
        "spectrum": np.exp(-2.0 * np.arange(H)) * np.ones((N, 1)),
        "step_gains": None if gated else np.zeros((N, T)),
    }
    others = dict.fromkeys(Readings._fields)  # which no figure looks at
    return Readings(**(others | drawn))  # pyright: ignore[reportArgumentType]


def finding(rule: str, **other: Any) -> Finding:
    evidence = {
        "log_share": Evidence(-70.0, 2.0, -15.9, "below", "ln", "the share", "the rounding"),
        "half_life": Evidence(3.0, 0.5, unit="steps", text="the half-life"),
        "unknown": Evidence(math.nan, math.inf, 1.0, "above", "", "a number <b>in</b> doubt", "1"),
    }
    remedy = Remedy(
        "forget-bias",
        "parameters",
        "A forget bias of 2.45: half over 8 steps.",
        lambda params: params,
        (Prediction("log_share", -3.0, -4.0, -2.0, "max Σ ln σ(b)"),),
        "state['bias_ih_l0'][2:4] = 2.45  # < forget",
    )
    what = Finding(
        rule,
        "found",
        "severe",
        f"The title of {rule} <&>",
        evidence,
        "It keeps 10^-51.8 over 8 steps.",
        "a formula (an author 2018)",
        (remedy,),
    )
    return what._replace(**other)


def diagnosis(*, gated: bool = True, verdict: str = "found") -> Diagnosis:
    """Every rule at one verdict."""
    findings = tuple(finding(rule, verdict=verdict) for rule in RULES)
    return Diagnosis(findings, SETTINGS, readings(gated=gated))


def mixed() -> Diagnosis:
    """One finding of each kind."""
    findings = (
        finding("forget-gates"),
        finding("reach", cause="forget-gates"),
        finding("clip", severity="mild", remedies=()),
        finding("memory-is-fine", severity="none"),
        finding("truncation", verdict="undecided", evidence={}),
        finding("growth", verdict="clear"),
    )
    return Diagnosis(findings, SETTINGS, readings())
