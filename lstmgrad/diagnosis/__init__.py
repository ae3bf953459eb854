"""From numbers to answers: readings of a chain, what they say is wrong, and what helps.

    chains = jax.vmap(lambda inputs: lg.chain(model, inputs))(batch)
    found = lg.diagnose(chains, cotangents, lag=200)
    print(found)                        what was found, with numbers, thresholds and sources
    found["reach"].verdict              "found", "clear" or "undecided"
    found["reach"].remedies[0].apply    from parameters to parameters

A `Finding` is what one rule says. Its evidence are numbers with their intervals, each held against
a threshold whose origin is said: a formula, the rounding of the dtype, or the noise that was
measured. Where the interval straddles the threshold, the rule says "undecided".
"""

from lstmgrad.diagnosis._diagnose import diagnose
from lstmgrad.diagnosis._findings import Diagnosis
from lstmgrad.diagnosis._gradients import Gradients
from lstmgrad.diagnosis._on_task import on_task
from lstmgrad.diagnosis._readings import Readings
from lstmgrad.diagnosis._records import (
    Evidence,
    Finding,
    Prediction,
    Remedy,
    Settings,
    shown,
)
from lstmgrad.diagnosis._rules import RULES
from lstmgrad.diagnosis._verification import Reading, Trial, Verification
from lstmgrad.diagnosis._verify import verify
from lstmgrad.diagnosis._verify_loss import verify_loss

__all__ = [
    "RULES",
    "Diagnosis",
    "Evidence",
    "Finding",
    "Gradients",
    "Prediction",
    "Reading",
    "Readings",
    "Remedy",
    "Settings",
    "Trial",
    "Verification",
    "diagnose",
    "on_task",
    "shown",
    "verify",
    "verify_loss",
]
