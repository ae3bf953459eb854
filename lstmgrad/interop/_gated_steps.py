"""Steps of the LSTM and the GRU with any activations, each the same object for the same functions.

The cells of this package have tanh and the logistic function; other frameworks let them be chosen,
and some have a GRU that resets before the product, n = φ(W_n x + b_n + U_n (r ⊙ h)).
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from lstmgrad._types import StepFn
from lstmgrad.cells._gru import GRUParams, GRUState, gru_after, gru_step, gru_update
from lstmgrad.cells._lstm import LSTMParams, LSTMState, lstm_after, lstm_step

Activation = Callable[[jax.Array], jax.Array]


@functools.cache
def lstm_with(activation: Activation, gate: Activation) -> StepFn:
    """Returns the step of an LSTM.

    Args:
        activation: in place of tanh, of the candidate and of the cell.
        gate: in place of the logistic function.
    """
    if (activation, gate) == (jnp.tanh, jax.nn.sigmoid):
        return lstm_step

    def step(params: LSTMParams, state: LSTMState, x: jax.Array) -> LSTMState:
        return lstm_after(params, state, x, activation, gate)

    return step


@functools.cache
def gru_with(activation: Activation, gate: Activation) -> StepFn:
    """Returns the step of a GRU that resets after the product.

    Args:
        activation: in place of tanh.
        gate: in place of the logistic function.
    """
    if (activation, gate) == (jnp.tanh, jax.nn.sigmoid):
        return gru_step

    def step(params: GRUParams, state: GRUState, x: jax.Array) -> GRUState:
        return gru_after(params, state, x, activation, gate)

    return step


@functools.cache
def reset_before_with(activation: Activation, gate: Activation) -> StepFn:
    """Returns the step of a GRU with n = φ(W_n x + b_n + U_n (r ⊙ h)), otherwise as `gru_step`.

    Args:
        activation: φ.
        gate: in place of the logistic function.
    """

    def step(params: GRUParams, state: GRUState, x: jax.Array) -> GRUState:
        r_x, z_x, n_x = jnp.split(params.weight_ih @ x + params.bias, 3)
        r_h, z_h, n_h = jnp.split(params.weight_hh, 3)
        r, z = gate(r_x + r_h @ state.h), gate(z_x + z_h @ state.h)
        n = activation(n_x + n_h @ (r * state.h))
        return GRUState(gru_update(n, z, state.h))

    return step
