"""Networks with one planted cause each, and healthy ones, to hold a diagnosis against.

A rig is a model, the inputs that it runs along and the options of its training. Families draw them
from a key and a size, so that the error rates of the rules are measured on networks that no one
has looked at (`rates.py`). All rigs of the tests are of one size: few compiled programs.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

import lstmgrad as lg

HIDDEN, LENGTH, SEQUENCES, FEATURES = 16, 64, 8, 4


class Rig(NamedTuple):
    """A network on a batch of sequences.

    Attributes:
        model: the network.
        inputs: (N, T, d).
        options: of `lg.diagnose`.
    """

    model: lg.Model
    inputs: Any
    options: dict[str, Any]

    def diagnose(self) -> lg.diagnosis.Diagnosis:
        chains = jax.vmap(lambda inputs: lg.chain(self.model, inputs))(self.inputs)
        return lg.diagnose(chains, **self.options)


class Family(NamedTuple):
    """Networks alike.

    Attributes:
        right: the rule that has to find the cause; None for healthy networks.
        make: ``make(key, hidden, length, dtype) -> Rig``.
        dtype: of the networks.
    """

    right: str | None
    make: Callable[..., Rig]
    dtype: str = "float32"

    def draw(
        self, seed: int, *, hidden: int = HIDDEN, length: int = LENGTH, sequences: int = SEQUENCES
    ) -> Rig:
        key = jax.random.key(seed)
        rig = self.make(key, hidden, length, jnp.dtype(self.dtype))
        inputs = rig.inputs
        if inputs is None:
            shape = sequences, length, FEATURES
            inputs = jax.random.normal(jax.random.fold_in(key, 1), shape, self.dtype)
        return rig._replace(inputs=inputs)


def gaussian(gain: float) -> Any:
    """Recurrent weights N(0, gain²/h)."""
    return jax.nn.initializers.variance_scaling(gain**2, "fan_in", "normal")


def _lstm(bias: float) -> Callable[..., Rig]:
    def make(key, hidden, length, dtype) -> Rig:
        cell = lg.cells.lstm(FEATURES, hidden, forget_bias=bias, dtype=dtype)
        return Rig(cell.model(cell.init(key)), None, {})

    return make


def _chrono_lstm(*, whole: bool = False, **options: Any) -> Callable[..., Rig]:
    def make(key, hidden, length, dtype) -> Rig:
        cell = lg.cells.lstm(FEATURES, hidden, dtype=dtype)
        params = lg.cells.with_chrono_bias(cell.init(key), jax.random.fold_in(key, 2), length)
        return Rig(cell.model(params), None, options | ({"truncation": length} if whole else {}))

    return make


def _gru(bias: float | None) -> Callable[..., Rig]:
    def make(key, hidden, length, dtype) -> Rig:
        cell = lg.cells.gru(FEATURES, hidden, dtype=dtype)
        params, chosen = cell.init(key), jax.random.fold_in(key, 2)
        if bias is None:
            params = lg.cells.with_chrono_bias(params, chosen, length)
        else:
            params = lg.cells.with_forget_bias(params, bias)
        return Rig(cell.model(params), None, {})

    return make


def _drifting_lstm(drift: float) -> Callable[..., Rig]:
    def make(key, hidden, length, dtype) -> Rig:
        # Gates that never close, and candidates that mostly agree: c runs to where tanh is flat.
        cell = lg.cells.lstm(FEATURES, hidden, forget_bias=8.0, dtype=dtype)
        params = cell.init(key)
        bias = params.bias.at[:hidden].set(2.0).at[2 * hidden : 3 * hidden].set(drift)
        return Rig(cell.model(params._replace(bias=bias)), None, {})

    return make


def _rnn(recurrent_init: Any, activation: Any = jnp.tanh, scale: float = 1.0, bias: float = 0.0):
    def make(key, hidden, length, dtype) -> Rig:
        cell = lg.cells.rnn(
            FEATURES, hidden, activation=activation, recurrent_init=recurrent_init, dtype=dtype
        )
        params = cell.init(key)
        params = params._replace(weight_ih=scale * params.weight_ih, bias=params.bias + bias)
        return Rig(cell.model(params), None, {})

    return make


FAULTY: dict[str, Family] = {
    "lstm-bias-0": Family("forget-gates", _lstm(0.0)),
    "lstm-bias-minus-1": Family("forget-gates", _lstm(-1.0)),
    "lstm-bias-0-float64": Family("forget-gates", _lstm(0.0), "float64"),
    "gru-closed": Family("forget-gates", _gru(-2.0)),
    "rnn-gain-half": Family("gain", _rnn(gaussian(0.5))),
    "rnn-gain-half-float64": Family("gain", _rnn(gaussian(0.5)), "float64"),
    "rnn-orthogonal-half": Family("gain", _rnn(lg.cells.orthogonal(0.5))),
    "relu-gain-3": Family("gain", _rnn(gaussian(3.0), jax.nn.relu)),
    "rnn-orthogonal-4": Family("gain", _rnn(lg.cells.orthogonal(4.0), scale=0.3)),
    "rnn-orthogonal-4-float64": Family(
        "gain", _rnn(lg.cells.orthogonal(4.0), scale=0.3), "float64"
    ),
    "rnn-large-inputs": Family("saturated-units", _rnn(lg.cells.orthogonal(), scale=10.0)),
    "relu-dead": Family("dead-units", _rnn(gaussian(1.0), jax.nn.relu, bias=-4.0)),
    "relu-overflow": Family("non-finite", _rnn(lg.cells.identity(8.0), jax.nn.relu)),
    "lstm-drifting": Family("saturated-output", _drifting_lstm(0.5)),
    "lstm-drifting-far": Family("saturated-output", _drifting_lstm(2.0)),
    "lstm-truncated": Family("truncation", _chrono_lstm(truncation=16)),
    "lstm-clipped": Family("clip", _chrono_lstm(clip=1e-3)),
}
"""Families with one planted cause."""


def _critical_rnn(key, hidden, length, dtype) -> Rig:
    """An orthogonal network at the critical gain of its inputs, whose weights are N(0, .04/d)."""
    gain = lg.theory.critical_gain(0.2)
    cell = lg.cells.rnn(FEATURES, hidden, recurrent_init=lg.cells.orthogonal(gain), dtype=dtype)
    params = cell.init(key)
    weights = jax.random.normal(key, params.weight_ih.shape, dtype) * 0.2 / FEATURES**0.5
    return Rig(cell.model(params._replace(weight_ih=weights.astype(dtype))), None, {})


HEALTHY: dict[str, Family] = {
    "lstm-chrono": Family(None, _chrono_lstm()),
    "lstm-chrono-float64": Family(None, _chrono_lstm(), "float64"),
    "lstm-chrono-untruncated": Family(None, _chrono_lstm(whole=True)),
    "lstm-chrono-loose-clip": Family(None, _chrono_lstm(clip=10.0)),
    "lstm-bias-1": Family(None, _lstm(1.0)),
    "lstm-bias-2": Family(None, _lstm(2.0)),
    "gru-chrono": Family(None, _gru(None)),
    "gru-bias-2": Family(None, _gru(2.0)),
    "rnn-critical": Family(None, _critical_rnn),
    "rnn-critical-float64": Family(None, _critical_rnn, "float64"),
    "irnn": Family(None, _rnn(lg.cells.identity(), jax.nn.relu, scale=0.05, bias=0.3)),
}
"""Families with nothing wrong, and some that are near to it."""


def near_the_threshold(seed: int) -> Family:
    """A network of a strength drawn at random: on both sides of thresholds, and on them.

    Args:
        seed: even for LSTMs, whose forget biases lie between -1 and 2, odd for plain networks,
            whose gain lies between .4 and 3.
    """
    strength = jax.random.uniform(jax.random.fold_in(jax.random.key(seed), 7))
    if seed % 2 == 0:
        return Family(None, _lstm(float(3 * strength - 1)))
    return Family(None, _rnn(gaussian(float(0.4 + 2.6 * strength)), scale=0.5))


class Outcome(NamedTuple):
    """What a diagnosis said of a rig.

    Attributes:
        verdict: "right", "undecided" or "wrong". Right is the planted cause, found, and nothing
            else that is severe and without a cause; and nothing at all for a healthy network.
        found: the rules that found something wrong.
        undecided: the rules that did not say.
    """

    verdict: str
    found: tuple[str, ...]
    undecided: tuple[str, ...]


def outcome(right: str | None, diagnosis: lg.diagnosis.Diagnosis) -> Outcome:
    """What a diagnosis said of a rig whose cause is known.

    Args:
        right: the rule that has to find it; None for a healthy network.
        diagnosis: of the network.
    """
    found = tuple(finding.rule for finding in diagnosis.found)
    undecided = tuple(f.rule for f in diagnosis if f.verdict == "undecided")
    severe = {finding.rule for finding in diagnosis.severe}
    if right is None:
        return Outcome("wrong" if found else "right", found, undecided)
    if severe - {right}:
        verdict = "wrong"
    elif right in found:
        verdict = "right"
    else:
        verdict = "undecided" if right in undecided else "wrong"
    return Outcome(verdict, found, undecided)


def table(outcomes: dict[str, list[Outcome]]) -> str:
    """A table of families in Markdown: how often right, undecided and wrong, and what was found.

    Args:
        outcomes: by family.
    """
    rows = ["| network | cause | right | undecided | wrong | found |", "|---|---|---|---|---|---|"]
    for name, several in outcomes.items():
        family = {**FAULTY, **HEALTHY}[name]
        counts = [
            str(sum(each.verdict == verdict for each in several))
            for verdict in ("right", "undecided", "wrong")
        ]
        found = sorted({rule for each in several for rule in each.found})
        row = [name, family.right or "healthy", *counts, ", ".join(found) or "nothing"]
        rows.append(f"| {' | '.join(row)} |")
    return "\n".join(rows)
