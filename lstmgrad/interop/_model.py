"""What is built from models: stacks of layers, and loops that read their own prediction.

Wherever a model comes from, the parts of its state are called h and c, or h0, c0, h1, ... in a
stack.
"""

import collections
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from lstmgrad._calls import public
from lstmgrad._checks import check_arrays, check_hashable, check_kind
from lstmgrad._leaves import kind_of
from lstmgrad._model import Model
from lstmgrad._tag import tag
from lstmgrad._types import Inputs, Params, State, StepFn


@public
def stack(models: Sequence[Model]) -> Model:
    """Returns layers on top of each other as one model.

    Layer l reads the h of layer l - 1 at the same time step: within one step of the stack, a change
    passes from the state of a layer to the states of all layers above it.

    Args:
        models: from the lowest to the highest, of any frameworks. Each state is a NamedTuple with a
            part h.

    Returns:
        `Model` whose state has the parts h0, c0, h1, ..., numbered from the lowest layer, and whose
        parameters are a tuple of the layers' parameters.

    Raises:
        ValueError: there is no layer, or one whose state has no part h.

    Example:
        ```python
        model = lg.interop.stack([lg.interop.from_equinox(cell) for cell in cells])
        lg.backward_norms(lg.chain(model, inputs), of="h1", wrt="c0")
        ```

        >>> upper = lg.cells.gru(3, 3)
        >>> both = lg.interop.stack([model, upper.model(upper.init(jax.random.key(1)))])
        >>> lg.unroll(*both, inputs).states._fields
        ('h0', 'c0', 'h1')
    """
    if isinstance(models, Model):
        raise ValueError("models: expected a list of models, but got one Model. Pass [model].")
    models = tuple(models)
    _check_hidden(models)
    kinds = tuple(type(model.state) for model in models)
    return Model(
        _stacked(tuple(model.step for model in models), kinds),
        tuple(model.params for model in models),
        join_states(kinds)(*(part for model in models for part in model.state)),
    )


@functools.cache
def _stacked(steps: tuple[StepFn, ...], kinds: tuple[type, ...]) -> StepFn:
    def step(params: tuple[Params, ...], state: State, x: Inputs) -> State:
        parts, after = iter(state), []
        for layer, kind, weights in zip(steps, kinds, params, strict=True):
            before = kind._make(next(parts) for _ in kind._fields)
            after.append(layer(weights, before, x))
            x = after[-1].h
        return join_states(kinds)(*(part for layer in after for part in layer))

    return step


@functools.cache
def join_states(kinds: tuple[Any, ...]) -> Any:
    """Returns the NamedTuple of several layers' states, with l behind the field names of layer l.

    Args:
        kinds: the NamedTuple of each layer's state.
    """
    names = [f"{field}{index}" for index, kind in enumerate(kinds) for field in kind._fields]
    return collections.namedtuple("StackState", names)


class ClosedLoopParams(NamedTuple):
    """Attributes: model, the parameters of the model; readout, those of the readout."""

    model: Params
    readout: Params


@public
def closed_loop(
    model: Model, readout: Callable[[Params, State], Inputs], readout_params: Params
) -> Model:
    """Returns the model that reads its own prediction: x_t = readout(readout_params, s_{t-1}).

    It is a dynamical system without input, so the exponents of `lyapunov_spectrum` are those of the
    system that the network has learned.

    Args:
        model: the model without its readout.
        readout: a pure function ``readout(params, state) -> x``, such as `dense`. It is part of the
            step: pass the same function object, not a fresh lambda.
        readout_params: the parameters of the readout.

    Returns:
        `Model` whose step ignores its input: unroll it over ``jnp.arange(T)``. Its parameters are
        `ClosedLoopParams`.

    Raises:
        ValueError: the readout is not a function, or cannot be hashed.

    Example:
        ```python
        loop = lg.interop.closed_loop(model, lg.interop.dense, lg.interop.DenseParams(W, b))
        start = jax.tree.map(lambda leaf: leaf[-1], lg.unroll(*model, warm_up).states)
        chain = lg.chain(loop._replace(state=start), jnp.arange(1000))
        ```

        >>> readout = lg.interop.DenseParams(jnp.ones((2, 3)), jnp.zeros(2))
        >>> loop = lg.interop.closed_loop(model, lg.interop.dense, readout)
        >>> len(lg.chain(loop, jnp.arange(6)))
        6
    """
    check_kind(model, Model, "model")
    check_hashable(readout, "readout")
    params = ClosedLoopParams(model.params, readout_params)
    return Model(_closed(model.step, readout), params, model.state)


@functools.cache
def _closed(step: StepFn, readout: Callable[[Params, State], Inputs]) -> StepFn:
    def closed(params: ClosedLoopParams, state: State, x: Inputs) -> State:
        return step(params.model, state, readout(params.readout, state))

    return closed


class DenseParams(NamedTuple):
    """Attributes: weight (d, h), bias (d,); the kernels of Flax and Keras are the transpose."""

    weight: Float[Array, "d h"]
    bias: Float[Array, " d"]


@public
def dense(params: DenseParams, state: State) -> Float[Array, " d"]:
    """Returns W h + b, the linear readout of the topmost h.

    Args:
        params: W and b.
        state: a NamedTuple with a part h, or h0, h1, ...

    Returns:
        (d,), for the last part whose name begins with h: in a stack, that of the top layer.

    Raises:
        ValueError: a state without such a part.

    Example:
        >>> params = lg.interop.DenseParams(jnp.ones((2, 3)), jnp.zeros(2))
        >>> lg.interop.dense(params, model.state).shape
        (2,)
    """
    parts = state._asdict() if hasattr(state, "_asdict") else {}
    tops = [part for name, part in parts.items() if name.startswith("h")]
    if not tops:
        raise ValueError(
            f"state: expected a NamedTuple with a part h, or h0, h1, ..., but got {kind_of(state)}."
        )
    return params.weight @ tops[-1] + params.bias


def with_state(model: Model, state: State) -> Model:
    """Returns the model with a starting state of its own kind.

    Args:
        model: of a known cell, with the zero state.
        state: the parts in their order, by name, or as the one array that there is; None keeps
            the zero state.
    """
    if state is None:
        return model
    zero: Any = model.state
    if isinstance(state, Mapping) and set(state) == set(zero._fields):
        parts: list[Any] = [state[name] for name in zero._fields]
    else:
        parts = list(state) if isinstance(state, tuple | list) else [state]
    check_arrays(parts, "state")
    shapes = [jnp.shape(part) for part in parts]
    if shapes != [part.shape for part in zero]:
        what = ", ".join(f"{name}: {part.shape}" for name, part in zero._asdict().items())
        got = ", ".join(map(str, shapes)) or "no array"
        raise ValueError(
            f"state: expected arrays of the shapes {what}, but got {got}. Pass the parts in this "
            "order, without a batch axis."
        )
    return model._replace(state=type(zero)._make(map(jnp.asarray, parts)))


def mark_parts(state: Any) -> Any:
    """Returns the state with its parts tagged, as routes into a cell that has no tags of its own.

    Args:
        state: a NamedTuple of parts h, c, h0, c0, ...; their tags are "hidden" and "cell".
    """
    tags = {"h": "hidden", "c": "cell"}
    return type(state)._make(tag(part, tags[name[0]]) for name, part in state._asdict().items())


def _check_hidden(models: tuple[Any, ...]) -> None:
    """There are layers, and each has its output as a part h of its state."""
    if not models:
        raise ValueError("models: expected at least one layer, but got none.")
    for index, model in enumerate(models):
        check_kind(model, Model, f"models[{index}]")
        if "h" not in getattr(model.state, "_fields", ()):
            raise ValueError(
                "models: expected layers whose state is a NamedTuple with a part h, which the next "
                f"layer reads, but that of layer {index} is {type(model.state).__name__}."
            )
