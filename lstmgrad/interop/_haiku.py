"""Cores of Haiku: functions that find their weights by name, called (x, state) -> (output, state).

An LSTM stacks its gates in the order **i, g, f, o**, and adds **1 to f when it runs**: no weight
contains that 1. A GRU resets *before* the product with U_n, and its z is the share that is
*replaced*. `VanillaRNN` is a ReLU network with two biases. Where these cores run, their last lines
are those of `lg.cells`, with the gates named; their weights are found by Haiku's own code.
"""

import contextlib
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from lstmgrad._calls import public
from lstmgrad._checks import check_hashable, require
from lstmgrad._leaves import kind_of
from lstmgrad._model import Model
from lstmgrad._tag import tag
from lstmgrad._types import Inputs, Params, State, StepFn
from lstmgrad.cells._cell import HiddenState
from lstmgrad.cells._gru import gru_update
from lstmgrad.cells._lstm import LSTMState, lstm_update
from lstmgrad.interop._checks import Keys, check_keys, draws, with_key
from lstmgrad.interop._model import join_states, mark_parts


@public
def from_haiku(
    core: Callable[[], Any],
    params: Mapping[str, Any],
    *,
    scope: str = "",
    keys: Keys = None,
) -> Model:
    """Returns a recurrent core of Haiku as a model.

    Args:
        core: a function that makes the core, ``lambda: hk.LSTM(8)``. It is part of the step: pass
            the same function object, not a fresh lambda.
        params: the parameters of a transformed function, by module and name.
        scope: the module that the core was made in, ``"policy"`` or ``"policy/~"``; the names of
            the core's modules start with it. Empty if the core was made in no module.
        keys: "inputs" for a core that draws random numbers, as dropout does: each step's input is
            then a pair (x, key). None is for all others.

    Returns:
        `Model` whose step runs the core, with the core's own params as parameters. The parts are h
        and c for `hk.LSTM`, h for `hk.GRU` and `hk.VanillaRNN`, and h0, c0, h1, ... for an
        `hk.DeepRNN` of those. Any other core keeps the parts that its state has.

    Raises:
        ImportError: Haiku is not installed.
        ValueError: core is not a function, or cannot be hashed; there are no parameters in the
            scope; and, when it runs, the core draws random numbers without `keys`.

    Notes:
        The start is ``core().initial_state(None)`` in the dtype of the parameters. The routes of
        the gradient and the tagged values have the names of `lg.cells`: "forget", "input",
        "candidate", "output" and "cell"; "candidate", "update" and "carry" for a GRU, where
        "update" is 1 - z, the share of h that is kept; "recurrent". A core of one's own with such
        a state has "hidden" and "cell", after the part of the state.

    Example:
        ```python
        def core():
            return hk.LSTM(8)

        def network(inputs):
            lstm = core()
            return hk.dynamic_unroll(lstm, inputs, lstm.initial_state(None))

        params = hk.transform(network).init(key, inputs)
        chain = lg.chain(lg.interop.from_haiku(core, params), inputs)
        ```

        >>> import haiku as hk
        >>> def core():
        ...     return hk.LSTM(3)
        >>> def network(inputs):
        ...     lstm = core()
        ...     return hk.dynamic_unroll(lstm, inputs, lstm.initial_state(None))
        >>> params = hk.transform(network).init(jax.random.key(0), inputs)
        >>> lg.unroll(*lg.interop.from_haiku(core, params), inputs).states.c.shape
        (7, 3)
    """
    require("haiku", "haiku")
    check_hashable(core, "core")
    check_keys(keys)
    if not isinstance(params, Mapping):
        raise ValueError(
            f"params: expected those of a transformed function, by module and name, but got "
            f"{kind_of(params)}. Pass what hk.transform(...).init returned."
        )
    inside = f"{scope}/" if scope else ""
    weights = {
        name[len(inside) :]: tree for name, tree in params.items() if name.startswith(inside)
    }
    if not weights:
        what = ", ".join(map(repr, params)) or "no module at all"
        raise ValueError(
            f"scope: expected the module that the core was made in, but the params have {what}, "
            f"none of them in {scope!r}. Pass what stands in front of the core's own names there."
        )
    dtype = jax.tree.leaves(weights)[0].dtype

    def cast(leaf: Any) -> Any:
        return leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    return Model(_step(core, keys), weights, _named(jax.tree.map(cast, _start(core))))


def _start(core: Callable[[], Any]) -> Any:
    """The core's own starting state."""
    hk = require("haiku", "haiku")
    return hk.transform(lambda: core().initial_state(None)).apply({}, None)


@functools.cache
def _step(core: Callable[[], Any], keys: Keys) -> StepFn:
    hk = require("haiku", "haiku")
    transformed = hk.transform(lambda x, state: core()(x, state))
    start = _start(core)
    structure, known = jax.tree.structure(start), _named(start) is not start
    own = hk.transform(lambda: _is_own(core())).apply({}, None)

    def step(params: Params, state: State, x: Inputs) -> State:
        # Haiku's states have their leaves in the order of ours, under other names.
        leaves = jax.tree.leaves(mark_parts(state) if known and not own else state)
        before = jax.tree.unflatten(structure, leaves)
        x, key = with_key(x, keys)
        naming = hk.intercept_methods(_naming_gates) if own else contextlib.nullcontext()
        try:
            with naming:
                return _named(transformed.apply(params, key, x, before)[1])
        except Exception as error:
            if type(error).__name__ != "MissingRNGError":  # Haiku does not export it
                raise
            raise draws("core") from error

    return step


def _is_own(core: Any) -> bool:
    """Whether a core is made of Haiku's own recurrent cores, and of functions between them."""
    hk = require("haiku", "haiku")
    deep = type(core).__module__.startswith("haiku.") and hasattr(core, "layers")
    layers = [layer for layer in core.layers if isinstance(layer, hk.RNNCore)] if deep else [core]
    return all(type(layer) in (hk.LSTM, hk.GRU, hk.VanillaRNN) for layer in layers)


def _naming_gates(call: Callable, args: tuple, options: dict, context: Any) -> Any:
    """A method of a module, or one of the updates below where it is a recurrent core's own."""
    hk, core = require("haiku", "haiku"), context.module
    updates = {hk.LSTM: _lstm, hk.GRU: _gru, hk.VanillaRNN: _vanilla_rnn}
    if context.method_name != "__call__" or type(core) not in updates:
        return call(*args, **options)
    return updates[type(core)](core, *args, **options)


def _lstm(core: Any, inputs: jax.Array, prev_state: Any) -> tuple[jax.Array, Any]:
    hk = require("haiku", "haiku")
    both = jnp.concatenate([inputs, prev_state.hidden], axis=-1)
    i, g, f, o = jnp.split(hk.Linear(4 * core.hidden_size)(both), 4, axis=-1)
    h, c = lstm_update([i, f + 1, g, o], prev_state.cell)
    return h, hk.LSTMState(h, c)


def _gru(core: Any, inputs: jax.Array, state: jax.Array) -> tuple[jax.Array, jax.Array]:
    hk, size, dtype = require("haiku", "haiku"), core.hidden_size, inputs.dtype
    weight_ih = hk.get_parameter("w_i", [inputs.shape[-1], 3 * size], dtype, core.w_i_init)
    weight_hh = hk.get_parameter("w_h", [size, 3 * size], dtype, core.w_h_init)
    bias = hk.get_parameter("b", [3 * size], dtype, core.b_init)
    z_x, r_x, n_x = jnp.split(inputs @ weight_ih + bias, 3, axis=-1)
    z_h, r_h, n_h = jnp.split(weight_hh, 3, axis=1)
    z, r = jax.nn.sigmoid(z_x + state @ z_h), jax.nn.sigmoid(r_x + state @ r_h)
    after = gru_update(jnp.tanh(n_x + (r * state) @ n_h), 1 - z, state)
    return after, after


def _vanilla_rnn(core: Any, inputs: jax.Array, prev_state: jax.Array) -> tuple:
    hk = require("haiku", "haiku")
    entering = hk.Linear(core.hidden_size)
    recurrent = hk.Linear(core.hidden_size, with_bias=core.double_bias)
    after = jax.nn.relu(tag(entering(inputs) + recurrent(prev_state), "recurrent"))
    return after, after


def _named(state: Any) -> Any:
    """A state of Haiku with the parts h and c, or h0, c0, ..., if it is one of the known states."""
    hk = require("haiku", "haiku")
    if isinstance(state, hk.LSTMState):
        return LSTMState(state.hidden, state.cell)
    if isinstance(state, jax.Array):
        return HiddenState(state)
    layers = [_named(layer) for layer in state] if type(state) is tuple and state else []
    if layers and all(isinstance(layer, LSTMState | HiddenState) for layer in layers):
        kinds = tuple(type(layer) for layer in layers)
        return join_states(kinds)(*(part for layer in layers for part in layer))
    return state
