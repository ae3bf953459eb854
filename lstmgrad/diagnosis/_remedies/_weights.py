"""Weights of plain networks: their gain, the scale of their inputs, their biases."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from lstmgrad._types import Params
from lstmgrad.cells import orthogonal
from lstmgrad.cells._rnn import rnn_step
from lstmgrad.diagnosis._records import Prediction, Remedy
from lstmgrad.diagnosis._remedies._code import (
    bias_code,
    gain_code,
    identity_code,
    input_code,
    orthogonal_code,
)
from lstmgrad.diagnosis._rules import Case
from lstmgrad.diagnosis._rules._case import SATURATED
from lstmgrad.diagnosis._rules._gain import MOST_INPUT, added_to_recurrence
from lstmgrad.diagnosis._statistics import mean_with_error


def gain_remedies(case: Case) -> list[Remedy]:
    """Returns the recurrent weights at the critical gain: scaled, or orthogonal; or the identity.

    Args:
        case: what was read.
    """
    critical = _critical_gain(case)
    if critical is None:
        return []
    weights = np.asarray(case.params.weight_hh, np.float64)
    size = len(weights)
    gain = float(np.linalg.norm(weights) / math.sqrt(size))
    # A mean over h units of φ'², each between 0 and 1, is within 1/√h of its expectation in two
    # standard deviations, whatever their distribution.
    error = critical**2 / math.sqrt(size)
    predicted = Prediction(
        "log_chi",
        0.0,
        -error,
        error,
        "χ = 1 at the critical gain of a wide network; a mean over h units of φ'² between 0 and 1 "
        "is within 1/√h of that (Popoviciu)",
    )
    key = jax.random.key(0)
    return [
        *_identity_remedies(case),
        Remedy(
            "orthogonal",
            "parameters",
            f"An orthogonal recurrent matrix times {critical:.3g} in place of what was there: "
            "perturbations neither grow nor shrink, alike in all directions.",
            functools.partial(_orthogonal, key=key, gain=critical),
            (predicted,),
            orthogonal_code(critical),
        ),
        Remedy(
            "critical-gain",
            "parameters",
            f"The recurrent weights times {critical / gain:.3g}, for a gain of {critical:.3g}: the "
            "same on average, but not alike in all directions.",
            functools.partial(_scaled, factor=critical / gain),
            (predicted,),
            gain_code(critical / gain),
        ),
    ]


def _identity_remedies(case: Case) -> list[Remedy]:
    """The identity for a relu network: what has fired once goes on until an input stops it."""
    if case.step is not rnn_step(jax.nn.relu):
        return []
    with np.errstate(divide="ignore"):
        fires = np.log((added_to_recurrence(case) > 0).mean(axis=2))
    value = mean_with_error(fires.mean(axis=1))[0]
    predicted = Prediction(
        "log_chi",
        value / 2,
        value - 1e-5,
        1e-5,
        "χ is the share of units above zero: at most all of them, and at least those with "
        "W x + b above zero, since h + W x + b is above it; and the middle of the two",
    )
    return [
        Remedy(
            "identity",
            "parameters",
            "The identity in place of the recurrent matrix: a unit above zero keeps what it has, "
            "and passes on all of the gradient.",
            _identity,
            (predicted,),
            identity_code(),
        )
    ]


def input_remedies(case: Case) -> list[Remedy]:
    """Returns input weights and biases scaled so that they drive the units with a size of 1.

    Args:
        case: what was read.
    """
    added = added_to_recurrence(case)
    factor = 1 / float(np.sqrt((added**2).mean()))
    share = float((np.abs(added) * factor > math.atanh(SATURATED)).mean())
    predicted = Prediction(
        "share_by_inputs",
        share,
        share - 1e-3,
        share + 1e-3,
        "the share of W x + b times the factor beyond atanh .9; exact but for rounding",
    )
    return [
        Remedy(
            "input-scale",
            "parameters",
            f"Input weights and bias times {factor:.3g}, or the inputs themselves, so that they "
            "drive the units with a size of 1.",
            functools.partial(_input_scaled, factor=factor),
            (predicted,),
            input_code(factor),
        )
    ]


def unit_remedies(case: Case) -> list[Remedy]:
    """Returns zero biases for a relu network.

    Args:
        case: what was read.
    """
    steps = case.settings.sequences * case.settings.length
    predicted = Prediction(
        "share_dead",
        0.0,
        0.0,
        0.5,
        f"without a bias a unit is below zero half of the time: at all {steps} times by 2^-{steps} "
        "if these were independent; the interval is the threshold's",
    )
    return [
        Remedy(
            "zero-bias",
            "parameters",
            "Biases of zero, so that every unit is above zero about half of the time.",
            _without_bias,
            (predicted,),
            bias_code(),
        )
    ]


def _critical_gain(case: Case) -> float | None:
    """√2 for relu, that of the mean field for tanh, None where it is not known."""
    if case.step is rnn_step(jax.nn.relu):
        return math.sqrt(2)
    scale = float(np.sqrt((added_to_recurrence(case) ** 2).mean()))
    if case.step is not rnn_step(jnp.tanh) or not scale <= MOST_INPUT:
        return None
    from lstmgrad.theory import critical_gain

    return critical_gain(scale)


def _scaled(params: Params, *, factor: float) -> Params:
    return params._replace(weight_hh=params.weight_hh * jnp.asarray(factor, params.weight_hh.dtype))


def _orthogonal(params: Params, *, key: jax.Array, gain: float) -> Params:
    weights = params.weight_hh
    return params._replace(weight_hh=orthogonal(gain)(key, weights.shape, weights.dtype))


def _identity(params: Params) -> Params:
    weights = params.weight_hh
    return params._replace(weight_hh=jnp.eye(len(weights), dtype=weights.dtype))


def _input_scaled(params: Params, *, factor: float) -> Params:
    weights, bias = (
        leaf * jnp.asarray(factor, leaf.dtype) for leaf in (params.weight_ih, params.bias)
    )
    return params._replace(weight_ih=weights, bias=bias)


def _without_bias(params: Params) -> Params:
    return params._replace(bias=jnp.zeros_like(params.bias))
