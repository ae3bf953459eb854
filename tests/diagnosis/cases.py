"""Networks and trainings with one thing in their way, and what the remedies of the finding do."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

import lstmgrad as lg

TASK = lg.tasks.delayed_recall(noise=2, dtype=jnp.float32)
SEQUENCES = 16


class Case(NamedTuple):
    """A network and a training with one thing in the way.

    Attributes:
        make: ``make(key) -> Model``.
        rule: that finds it.
        delay: of delayed recall.
        steps: of every training.
        what: in words.
        optimizer: None is Adam at 0.003, clipped at 1.
        options: of the training, as `verify` takes them.
    """

    make: Callable[..., lg.Model]
    rule: str
    delay: int
    steps: int
    what: str
    optimizer: Any = None
    options: dict[str, Any] = {}  # noqa: RUF012, never changed


def gaussian(gain: float) -> Any:
    """Recurrent weights N(0, gain²/h)."""
    return jax.nn.initializers.variance_scaling(gain**2, "fan_in", "normal")


def plain(init: Any, activation: Any = jnp.tanh, scale: float = 1.0, bias: float = 0.0) -> Any:
    """A plain network of 16 units."""
    cell = lg.cells.rnn(
        TASK.input_size, 16, activation=activation, recurrent_init=init, dtype=jnp.float32
    )

    def make(key: Any) -> lg.Model:
        params = cell.init(key)
        weights = scale * params.weight_ih
        return cell.model(params._replace(weight_ih=weights, bias=params.bias + bias))

    return make


def gated(bias: float | None, longest: int = 0) -> Any:
    """An LSTM of 8 units, with one forget bias or with chrono biases."""
    cell = lg.cells.lstm(TASK.input_size, 8, dtype=jnp.float32)

    def make(key: Any) -> lg.Model:
        params = cell.init(key)
        if bias is None:
            return cell.model(lg.cells.with_chrono_bias(params, key, longest))
        return cell.model(lg.cells.with_forget_bias(params, bias))

    return make


MOMENTUM = optax.sgd(0.3, momentum=0.9)
DESCENT = optax.sgd(0.3)

CASES = {
    "closed-gates": Case(gated(-1.0), "forget-gates", 60, 600, "LSTM, forget bias -1"),
    "small-gain": Case(plain(gaussian(0.3)), "gain", 20, 400, "tanh, gain .3"),
    "small-gain-far": Case(plain(gaussian(0.3)), "gain", 60, 400, "tanh, gain .3"),
    "large-gain": Case(plain(lg.cells.orthogonal(4.0)), "gain", 20, 400, "tanh, orthogonal × 4"),
    "small-gain-relu": Case(plain(gaussian(0.3), jax.nn.relu), "gain", 20, 400, "relu, gain .3"),
    "large-inputs": Case(
        plain(lg.cells.orthogonal(), scale=20.0), "saturated-units", 10, 400, "tanh, inputs × 20"
    ),
    "dead-units": Case(
        plain(gaussian(1.0), jax.nn.relu, bias=-4.0), "dead-units", 5, 400, "relu, bias -4"
    ),
    "short-chunks": Case(
        gated(None, 31),
        "truncation",
        30,
        600,
        "LSTM, chrono, chunks of 5 steps",
        options={"truncation": 5},
    ),
    "tight-clip": Case(
        gated(None, 21),
        "clip",
        20,
        600,
        "LSTM, chrono, clip .001, momentum",
        MOMENTUM,
        {"clip": 1e-3},
    ),
    "tight-clip-adam": Case(
        gated(None, 21), "clip", 20, 600, "LSTM, chrono, clip .001, Adam", None, {"clip": 1e-3}
    ),
    "exploding": Case(
        plain(lg.cells.orthogonal(4.0)), "growth", 10, 400, "tanh, orthogonal × 4, descent", DESCENT
    ),
    "exploding-adam": Case(
        plain(lg.cells.orthogonal(4.0)),
        "growth",
        10,
        400,
        "tanh, orthogonal × 4, Adam unclipped",
        None,
        {"clip": math.inf},
    ),
}
"""What is in the way, by name."""


def verified(case: Case, *, seeds: int = 3) -> lg.diagnosis.Verification:
    """Returns what the remedies do that the diagnosis of a first network has.

    Args:
        case: of `CASES`.
        seeds: trainings of each kind.
    """
    key = jax.random.key(0)
    options = {name: value for name, value in case.options.items() if value != math.inf}
    found = lg.diagnosis.on_task(
        case.make(key), TASK, key, delay=case.delay, sequences=SEQUENCES, **options
    )[case.rule]
    if found.verdict != "found":
        raise ValueError(f"The diagnosis does not find what is in the way.\n{found}")
    return lg.diagnosis.verify(
        case.make,
        TASK,
        found.remedies,
        delay=case.delay,
        seeds=seeds,
        steps=case.steps,
        optimizer=case.optimizer,
        sequences=SEQUENCES,
        **case.options,
    )
