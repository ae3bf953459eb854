"""What paths and slopes will be with other biases of the gates.

With a bias b the gate is σ(b + d), where d is what the inputs and h drive it with. The drive is
known from the gates as they are, so that the path with another bias is

    ln Π_t σ(b' + d_t),      d_t = σ⁻¹(f_t) - b.

That h changes with the gates, and d with h, is left out. The interval reaches from there to no
drive that lasts, d_t less its mean, and to an h of full size, whose drive has the size
s = rms(o) ‖U_f‖_F/√h: where it comes and goes, the path loses e^(s²/2) times as much; where it
lasts, it helps the luckiest of the units by s √(2 ln h).

With gates open, c is a sum over about 1/(1 - f²) steps of independent parts i g,

    var c = E (i g)² (1 - f^{2T}) / (1 - f²),

and the slope of tanh at the output is the mean of 1 - tanh² over a Gaussian of this variance. An h
that lasts makes parts agree, which then add up like steps: the interval reaches to there.
"""

import math
from collections.abc import Callable

import numpy as np

from lstmgrad._types import Params
from lstmgrad.cells import LSTMParams
from lstmgrad.diagnosis._records import Prediction
from lstmgrad.diagnosis._rules import Case
from lstmgrad.diagnosis._statistics import mean_with_error

Change = Callable[[Params], Params]
"""From the parameters of a cell to others."""

_KEPT = {"forget": "f", "update": "z"}
"""Tags of gates that are the share kept, by the letter that the parameters call them."""

_SLOPE_ERROR = 0.02
"""What else may differ: what the loss asks changes with the outputs."""

_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(64)


def _bias(params: Params, letter: str) -> np.ndarray:
    """The bias of one gate, (h,)."""
    gate = type(params).forget_gate
    leaf = np.asarray(getattr(params, gate.leaf), np.float64)
    units = len(leaf) // len(gate.order)
    start = gate.order.index(letter) * units
    return leaf[start : start + units]


def _kept(case: Case, change: Change) -> tuple[np.ndarray, np.ndarray] | None:
    """Pre-activations of what is kept with the new biases, (N, T, h), and these biases, (h,)."""
    gate = type(case.params).forget_gate
    for tag, letter in _KEPT.items():
        values = case.readings.values.get(tag)
        if values is None or letter not in gate.kept:
            continue
        old, new = (_bias(params, letter) for params in (case.params, change(case.params)))
        if values.shape[-1] != len(old) or values.min() < 0 or values.max() > 1:
            continue
        return _logit(values) + (new - old), new
    return None


def path_predicted(case: Case, change: Change, *, below: bool) -> tuple[Prediction, ...]:
    found = _kept(case, change)
    if found is None:
        return ()
    drive, bias = found
    lag = case.settings.lag
    drive = drive[:, -lag:]

    def kept(drive: np.ndarray) -> tuple[float, float]:
        return mean_with_error((-np.logaddexp(0, -drive)).sum(axis=1).max(axis=1))

    value, error = kept(drive)
    passing, _ = kept(bias + drive - drive.mean(axis=1, keepdims=True))
    spread, units = _drive_of_h(case, below=below), len(bias)
    push = spread * math.sqrt(2 * math.log(max(units, 2)))
    alone, helped = (-lag * float(np.logaddexp(0, -(bias.max() + more))) for more in (0.0, push))
    # A drive that comes and goes costs more than it gives: E e^-d = e^(var/2) of a normal one.
    shaken = passing * math.exp(spread**2 / 2)
    return (
        Prediction(
            "log_path",
            value,
            min(value, alone, passing, shaken) - error,
            max(value, alone, helped) + error,
            "max over units of Σ_t ln σ(b' + d_t), with the drives d_t as they are; the interval "
            "reaches from an h of full size that comes and goes to one that lasts and helps "
            "the luckiest unit",
        ),
    )


def _drive_of_h(case: Case, *, below: bool) -> float:
    """The size of the drive of the gate of what is kept, from h of full size.

    Args:
        case: of a layer.
        below: whether a layer lies below, whose h comes in and changes, too.
    """
    gate = type(case.params).forget_gate
    letter = next((letter for letter in _KEPT.values() if letter in gate.kept), None)
    names = ("weight_hh", "weight_ih") if below else ("weight_hh",)
    output = case.readings.values.get("output")
    size = 1.0 if output is None else float(np.sqrt((output**2).mean()))
    square = 0.0
    for name in names:
        weights = getattr(case.params, name, None)
        if weights is None or letter is None or len(weights) % len(gate.order):
            continue
        units = len(weights) // len(gate.order)
        start = gate.order.index(letter) * units
        rows = np.asarray(weights, np.float64)[start : start + units]
        # The size of what comes from below is not known, but at most 1.
        square += (size if name == "weight_hh" else 1.0) ** 2 * (rows**2).sum(axis=1).mean()
    return math.sqrt(square)


def slope_predicted(case: Case, change: Change) -> tuple[Prediction, ...]:
    found = _kept(case, change)
    if found is None or case.slope is None or not isinstance(case.params, LSTMParams):
        return ()
    drive, _ = found
    old, new = (_bias(params, "i") for params in (case.params, change(case.params)))
    values = case.readings.values
    written = _sigmoid(_logit(values["input"]) + (new - old)) * values["candidate"]
    square = np.exp(-2 * np.logaddexp(0, -drive).mean(axis=(0, 1)))
    length = case.settings.length
    with np.errstate(divide="ignore", invalid="ignore"):
        count = np.where(square < 1, (1 - square**length) / (1 - square), length)
    # Parts that agree add up like steps, parts that do not like their square root.
    mean, variance = written.mean(axis=(0, 1)), written.var(axis=(0, 1))
    gate = np.sqrt(square)
    with np.errstate(divide="ignore", invalid="ignore"):
        steps = np.where(gate < 1, (1 - gate**length) / (1 - gate), length)
    spread = np.sqrt(variance * count)
    agreeing = np.abs(written).mean(axis=(0, 1)) * steps
    weights = _asked(case)
    value = _mean_slope(weights, mean * steps, spread)
    least = _mean_slope(weights, agreeing, spread)
    # None of them agree: what the mean was adds to the scatter.
    apart = _mean_slope(weights, 0 * mean, np.sqrt((variance + mean**2) * count))
    most = max(apart, _mean_slope(weights, mean * steps / 2, spread / 2))
    return (
        Prediction(
            "slope",
            value,
            min(value, least) - _SLOPE_ERROR,
            max(value, most) + _SLOPE_ERROR,
            "E[1 - tanh²(c)] over Gaussian c with the mean and the variance of a sum of i g under "
            "the new gates; the interval reaches from parts that all agree, as an h that lasts "
            "makes them, to parts that do not agree at all, and to c of half the size",
        ),
    )


def _asked(case: Case) -> np.ndarray:
    """What the loss asks of each unit, (h,), which adds up to 1."""
    asked = np.asarray(case.readings.asked, np.float64).mean(axis=0)
    return asked / asked.sum()


def _mean_slope(weights: np.ndarray, mean: np.ndarray, spread: np.ndarray) -> float:
    cells = mean[:, None] + spread[:, None] * _NODES
    slopes = (1 - np.tanh(cells) ** 2) @ _WEIGHTS / _WEIGHTS.sum()
    return float(weights @ slopes)


def _logit(values: np.ndarray) -> np.ndarray:
    tiny = np.finfo(values.dtype).tiny
    values = np.clip(values.astype(np.float64), tiny, 1 - np.finfo(values.dtype).epsneg)
    return np.log(values) - np.log1p(-values)


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0, -values))
