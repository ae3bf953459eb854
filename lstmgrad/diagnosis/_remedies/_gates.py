"""Biases of forget gates: chrono initialization, or one half-life for all."""

import dataclasses
import math
from collections.abc import Callable
from typing import NamedTuple

import jax

from lstmgrad._types import Params
from lstmgrad.cells import with_chrono_bias, with_forget_bias
from lstmgrad.diagnosis._records import Prediction, Remedy
from lstmgrad.diagnosis._remedies._code import chrono_code, forget_bias_code
from lstmgrad.diagnosis._remedies._gate_predictions import path_predicted, slope_predicted
from lstmgrad.diagnosis._rules import Case
from lstmgrad.diagnosis._rules._case import FLAT


def half_life_bias(lag: int) -> float:
    """Returns the bias of a forget gate that lets go of half in so many steps.

    b = -ln(2^(1/lag) - 1), so that σ(b)^lag = 1/2.

    Args:
        lag: steps.
    """
    return -math.log(math.expm1(math.log(2) / lag))


def gate_remedies(case: Case) -> list[Remedy]:
    """Returns chrono biases and one bias for all, those first whose output stays alive.

    In a stack every layer that forgets gets them.

    Args:
        case: what was read.
    """
    layers = _layers(case)
    if not layers:
        return []
    lag = case.settings.lag
    if lag < 2:
        return [_uniform(layers, lag)]
    made = [_chrono(layers, lag), _uniform(layers, lag)]
    return sorted(made, key=_dies)


class _Layer(NamedTuple):
    """A cell that forgets, alone or in a stack.

    Attributes:
        case: what was read of it alone.
        place: in the stack; None for a single cell.
        part: whose additive path it is; empty for a single cell.
    """

    case: Case
    place: int | None
    part: str


def _layers(case: Case) -> list[_Layer]:
    """The cells that forget."""
    if hasattr(type(case.params), "forget_gate"):
        return [_Layer(case, None, "")]
    stacked = isinstance(case.params, tuple) and not hasattr(case.params, "_fields")
    found = []
    for part in case.paths if stacked else ():
        index = int(part[1:] or 0)
        params = case.params[index]
        if not hasattr(type(params), "forget_gate"):
            continue
        values = {tag: case.values_of(tag).get(part) for tag in case.readings.values}
        readings = case.readings._replace(
            paths={part: case.readings.paths[part]},
            values={tag: piece for tag, piece in values.items() if piece is not None},
            slopes=None,
        )
        alone = dataclasses.replace(case, params=params, readings=readings)
        found.append(_Layer(alone, index, part))
    return found


Change = Callable[[Params, int], Params]
"""From the parameters of a layer and its place, from 0, to others."""


def _chrono(layers: list[_Layer], lag: int) -> Remedy:
    key = jax.random.key(0)

    def change(params: Params, index: int) -> Params:
        own = jax.random.fold_in(key, index) if index else key
        return with_chrono_bias(params, own, lag + 1)

    why = (
        f"Forget biases ln U(1, {lag}), and input biases of the opposite sign: units remember for "
        f"1 to {lag} steps, and write the less, the longer they remember."
    )
    return _remedy(layers, "chrono", why, change, lambda params: chrono_code(params, lag + 1))


def _uniform(layers: list[_Layer], lag: int) -> Remedy:
    bias = half_life_bias(lag)

    def change(params: Params, index: int) -> Params:
        return with_forget_bias(params, bias)

    why = f"A forget bias of {bias:.3g}: every unit keeps half over {lag} steps."
    return _remedy(
        layers, "forget-bias", why, change, lambda params: forget_bias_code(params, bias)
    )


def _remedy(
    layers: list[_Layer], name: str, why: str, change: Change, code: Callable[[Params], str]
) -> Remedy:
    predicted = _predicted(layers, change)
    flat = next((p for p in predicted if p.reading == "slope" and p.value < FLAT), None)
    if flat is not None:
        why += f" But c will run to where tanh is flat: a slope of {flat.value:.2g}."
    places = {layer.place for layer in layers}

    def apply(params: Params) -> Params:
        if places == {None}:
            return change(params, 0)
        return tuple(
            change(layer, index) if index in places else layer for index, layer in enumerate(params)
        )

    lines = [code(layer.case.params).replace("_l0", f"_l{layer.place or 0}") for layer in layers]
    return Remedy(name, "parameters", why, apply, predicted, "\n".join(filter(None, lines)))


def _predicted(layers: list[_Layer], change: Change) -> tuple[Prediction, ...]:
    """Of the path of every layer and of the best of them; and of the slope of a single cell.

    In a stack what an upper layer writes changes with the h of the layer below, by no formula.
    """
    paths = {}
    for layer in layers:
        place = layer.place or 0

        def changed(params: Params, place: int = place) -> Params:
            return change(params, place)

        for path in path_predicted(layer.case, changed, below=place > 0):
            paths[layer.part] = path
        if layer.place is None:
            return (*paths.values(), *slope_predicted(layer.case, changed))
    if len(paths) < len(layers):
        return ()
    value, low, high = (
        max(getattr(path, side) for path in paths.values()) for side in ("value", "low", "high")
    )
    formula = f"the largest of all layers: {paths[layers[0].part].formula}"
    best = Prediction("log_path", value, low, high, formula)
    # A stack of which one layer alone forgets is read like a single cell.
    each = [path._replace(reading=f"log_path_{part}") for part, path in paths.items()]
    return (best, *(each if len(each) > 1 else ()))


def _dies(remedy: Remedy) -> bool:
    """Whether the output is predicted to be flat."""
    return any(p.reading == "slope" and p.value < FLAT for p in remedy.predicted)
