"""A model of another framework as three pure things, and what is built of such models.

Whatever a model comes from, it is a `Model`: a step that looks the same to every analysis, the
parameters, and a starting state whose parts are called h and c, or h0, c0, h1, ... in a stack.
"""

import collections
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from lstmgrad._checks import check_hashable
from lstmgrad._model import Model
from lstmgrad._tag import tag
from lstmgrad._types import Inputs, Params, State, StepFn
from lstmgrad.cells._cell import HiddenState
from lstmgrad.cells._lstm import LSTMState
from lstmgrad.interop._checks import check_hidden


def stack(models: Sequence[Model]) -> Model:
    """Returns layers on top of each other as one model.

    Layer l reads the h of layer l - 1 at the same time step: within one step of the stack a
    change passes from the state of a layer to those of all layers above it.

    Args:
        models: from the lowest to the highest, of any frameworks; each with a state that is a
            NamedTuple with a part h.

    Returns:
        `Model` with parts h0, c0, h1, ... of the state, numbered from the lowest layer, and a tuple
        of the layers' parameters.

    Raises:
        ValueError: there is no layer, or one whose state has no part h.

    Example:
        ```python
        model = lg.interop.stack([lg.interop.from_equinox(cell) for cell in cells])
        chain = lg.linearize(model.step, model.params, lg.unroll(*model, inputs))
        lg.backward_norms(chain, of="h1", wrt="c0")
        ```
    """
    models = tuple(models)
    check_hidden(models)
    kinds = tuple(type(model.state) for model in models)
    return Model(
        _stacked(tuple(model.step for model in models), kinds),
        tuple(model.params for model in models),
        joined(kinds)(*(part for model in models for part in model.state)),
    )


@functools.cache
def _stacked(steps: tuple[StepFn, ...], kinds: tuple[type, ...]) -> StepFn:
    def step(params: tuple[Params, ...], state: State, x: Inputs) -> State:
        parts, after = iter(state), []
        for layer, kind, weights in zip(steps, kinds, params, strict=True):
            before = kind._make(next(parts) for _ in kind._fields)
            after.append(layer(weights, before, x))
            x = after[-1].h
        return joined(kinds)(*(part for layer in after for part in layer))

    return step


@functools.cache
def joined(kinds: tuple[Any, ...]) -> Any:
    """The NamedTuple of several layers' states: the fields of layer l with l behind their names.

    Args:
        kinds: the NamedTuple of each layer's state.
    """
    names = [f"{field}{index}" for index, kind in enumerate(kinds) for field in kind._fields]
    return collections.namedtuple("StackState", names)


class ClosedLoopParams(NamedTuple):
    """Attributes: model, its parameters; readout, those of the readout."""

    model: Params
    readout: Params


def closed_loop(
    model: Model, readout: Callable[[Params, State], Inputs], readout_params: Params
) -> Model:
    """Returns the model that reads its own prediction: x_t = readout(readout_params, s_{t-1}).

    Its step Jacobian is that of a dynamical system without input, so that the exponents of
    `lyapunov_spectrum` are those of the system which the network has learned.

    Args:
        model: the model without its readout.
        readout: a pure function ``readout(params, state) -> x``, such as `dense`. Pass the same
            function object, not a fresh lambda: it is part of the step.
        readout_params: of the readout.

    Returns:
        `Model` whose step ignores its input: unroll it over ``jnp.arange(T)``. Its parameters are
        `ClosedLoopParams`.

    Raises:
        ValueError: the readout is no function, or cannot be hashed.

    Example:
        ```python
        loop = lg.interop.closed_loop(model, lg.interop.dense, lg.interop.DenseParams(W, b))
        start = jax.tree.map(lambda leaf: leaf[-1], lg.unroll(*model, warm_up).states)
        lg.unroll(loop.step, loop.params, start, jnp.arange(1000))
        ```
    """
    check_hashable(readout, "readout")
    params = ClosedLoopParams(model.params, readout_params)
    return Model(_closed(model.step, readout), params, model.state)


@functools.cache
def _closed(step: StepFn, readout: Callable[[Params, State], Inputs]) -> StepFn:
    def closed(params: ClosedLoopParams, state: State, x: Inputs) -> State:
        return step(params.model, state, readout(params.readout, state))

    return closed


class DenseParams(NamedTuple):
    """Attributes: weight (d, h), bias (d,); transposed against the kernels of Flax and Keras."""

    weight: Float[Array, "d h"]
    bias: Float[Array, " d"]


def dense(params: DenseParams, state: State) -> Float[Array, " d"]:
    """Returns W h + b, the linear readout of the topmost h.

    Args:
        params: W and b.
        state: a NamedTuple with a part h, or h0, h1, ...
    """
    top = [part for name, part in state._asdict().items() if name.startswith("h")][-1]
    return params.weight @ top + params.bias


def zero_hidden(size: int, dtype: Any) -> HiddenState:
    """The zero state of a cell that has h alone.

    Args:
        size: of h.
        dtype: of h.
    """
    return HiddenState(jnp.zeros(size, dtype))


def zero_lstm(size: int, dtype: Any) -> LSTMState:
    """The zero state of an LSTM.

    Args:
        size: of h and of c.
        dtype: of both.
    """
    return LSTMState(jnp.zeros(size, dtype), jnp.zeros(size, dtype))


def marked(state: Any) -> Any:
    """The state with its parts tagged, as the routes into a cell that has no tags of its own.

    Args:
        state: a NamedTuple of parts h, c, h0, c0, ...; their tags are "hidden" and "cell".
    """
    tags = {"h": "hidden", "c": "cell"}
    return type(state)._make(tag(part, tags[name[0]]) for name, part in state._asdict().items())
