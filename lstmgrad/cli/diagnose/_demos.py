"""Networks with one planted fault each, on delayed recall, to see what a finding looks like."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

import lstmgrad as lg

HIDDEN, DELAY = 16, 63
"""Units, and steps between what is shown and what is asked."""


class Demo(NamedTuple):
    """A network with a planted fault.

    Attributes:
        what: the fault, in a few words.
        make: ``make(key, input_size, dtype) -> (cell, params)``.
        options: of the training, as `lg.diagnose` takes them.
    """

    what: str
    make: Callable[..., tuple[lg.cells.Cell, Any]]
    options: dict[str, Any]


def _lstm(forget_bias: float) -> Callable[..., tuple[lg.cells.Cell, Any]]:
    def make(key: jax.Array, input_size: int, dtype: Any) -> tuple[lg.cells.Cell, Any]:
        cell = lg.cells.lstm(input_size, HIDDEN, forget_bias=forget_bias, dtype=dtype)
        return cell, cell.init(key)

    return make


def _chrono(key: jax.Array, input_size: int, dtype: Any) -> tuple[lg.cells.Cell, Any]:
    cell, params = _lstm(1.0)(key, input_size, dtype)
    return cell, lg.cells.with_chrono_bias(params, jax.random.fold_in(key, 1), DELAY + 1)


def _drifting(key: jax.Array, input_size: int, dtype: Any) -> tuple[lg.cells.Cell, Any]:
    """Gates that never close, and candidates that mostly agree: c runs to where tanh is flat."""
    cell, params = _lstm(8.0)(key, input_size, dtype)
    bias = params.bias.at[:HIDDEN].set(2.0).at[2 * HIDDEN : 3 * HIDDEN].set(2.0)
    return cell, params._replace(bias=bias)


def _rnn(gain: float, activation: Any = jnp.tanh, bias: float = 0.0, scale: float = 1.0) -> Any:
    def make(key: jax.Array, input_size: int, dtype: Any) -> tuple[lg.cells.Cell, Any]:
        cell = lg.cells.rnn(
            input_size,
            HIDDEN,
            activation=activation,
            recurrent_init=lg.cells.orthogonal(gain),
            dtype=dtype,
        )
        params = cell.init(key)
        return cell, params._replace(weight_ih=scale * params.weight_ih, bias=params.bias + bias)

    return make


DEMOS = {
    "closed-gates": Demo("an LSTM whose forget gates are half closed", _lstm(0.0), {}),
    "flat-output": Demo("an LSTM whose cell has run to where tanh is flat", _drifting, {}),
    "small-gain": Demo("a plain network with recurrent weights too small", _rnn(0.5), {}),
    "exploding": Demo("a plain network with recurrent weights too large", _rnn(4.0, scale=0.3), {}),
    "dead-units": Demo(
        "a network of rectifiers that are never on", _rnn(1.0, jax.nn.relu, bias=-6.0), {}
    ),
    "truncated": Demo(
        "an LSTM that would learn, if back-propagation went back far enough",
        _chrono,
        {"truncation": 16},
    ),
    "clipped": Demo("an LSTM whose gradients are clipped far too hard", _chrono, {"clip": 1e-4}),
    "healthy": Demo("an LSTM with chrono biases, which has nothing wrong", _chrono, {}),
}
"""By name."""
